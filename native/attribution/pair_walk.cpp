#include "attribution/pair_walk.hpp"

namespace whybox {
namespace {

// Adds one leaf of one pair to a row's attributions (order 1) or to its pairwise interactions (order 2).
struct Attribute {
    const double *weights, *table;
    int side, order, players, outputs;
    double* row;
    PairState* state;

    double share(int only_x, int only_b) const { return table[only_x * side + only_b]; }

    void operator()(std::uint32_t b, const double* v, int first, int width) const {
        const double w = weights[b];
        if (w == 0) return;
        order == 1 ? single(b, w, v, first, width) : pairs(b, w, v, first, width);
    }

    void add(double* cell, double by, const double* v, int width) const {
        for (int c = 0; c < width; ++c) cell[c] += by * v[c];
    }

    void single(std::uint32_t b, double w, const double* v, int first, int width) const {
        const int x = state->only_x[b], y = state->only_b[b];
        const double up = x ? w * share(x - 1, y) : 0, down = y ? -w * share(x, y - 1) : 0;
        for (const int p : state->path) {
            const auto s = state->of(p, b);
            if (s != kBoth) add(row + static_cast<std::size_t>(p) * outputs + first, s == kOnlyX ? up : down, v, width);
        }
    }

    void pairs(std::uint32_t b, double w, const double* v, int first, int width) const {
        const int x = state->only_x[b], y = state->only_b[b];
        const double xx = x > 1 ? w * share(x - 2, y) : 0, xy = x && y ? -w * share(x - 1, y - 1) : 0, yy = y > 1 ? w * share(x, y - 2) : 0;
        for (std::size_t i = 1; i < state->path.size(); ++i) {
            const int p = state->path[i];
            const auto s = state->of(p, b);
            if (s == kBoth) continue;
            for (std::size_t j = 0; j < i; ++j) {
                const int o = state->path[j];
                const auto t = state->of(o, b);
                if (t == kBoth) continue;
                const double by = s != t ? xy : s == kOnlyX ? xx : yy;
                add(row + (static_cast<std::size_t>(p) * players + o) * outputs + first, by, v, width);
                add(row + (static_cast<std::size_t>(o) * players + p) * outputs + first, by, v, width);
            }
        }
    }
};

}  // namespace

void pair_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, TreeRange trees, Rows x, double* out) {
    Attribute attribute{b.weights, table.data(), side, order, players.count, e.outputs(), out, nullptr};
    PairWalk<Attribute> walk(e, players, b, attribute);
    attribute.state = &walk.state;
    const std::size_t n = players.count, per_row = (order == 1 ? n : n * n) * e.outputs();
    for (std::size_t i = 0; i < x.rows; ++i) {
        attribute.row = out + i * per_row;
        if (b.per_row) attribute.weights = b.weights + i * b.rows.rows;
        walk.row(x.row(i), trees);
    }
}

}  // namespace whybox

#include "attribution/pair_walk.hpp"

namespace whybox {
namespace {

// Adds one leaf of one pair to a row's attributions (order 1) or to its pairwise interactions (order 2).
struct AddContributions {
    const double *weights, *table;
    int side, order, players, outputs;
    double* row;
    PairState* state;

    double moment(int row_only, int background_only) const { return table[row_only * side + background_only]; }

    void operator()(std::uint32_t b, const double* v, int first, int width) const {
        const double w = weights[b];
        if (w == 0) return;
        order == 1 ? add_attributions(b, w, v, first, width) : add_interactions(b, w, v, first, width);
    }

    void add_scaled(double* cell, double factor, const double* v, int width) const {
        for (int c = 0; c < width; ++c) cell[c] += factor * v[c];
    }

    void add_attributions(std::uint32_t b, double w, const double* v, int first, int width) const {
        const int x = state->row_only[b], y = state->background_only[b];
        const double row_gain = x ? w * moment(x - 1, y) : 0, background_gain = y ? -w * moment(x, y - 1) : 0;
        for (const int p : state->path) {
            const auto s = state->status(p, b);
            if (s != kByBoth) add_scaled(row + static_cast<std::size_t>(p) * outputs + first, s == kByRowOnly ? row_gain : background_gain, v, width);
        }
    }

    void add_interactions(std::uint32_t b, double w, const double* v, int first, int width) const {
        const int x = state->row_only[b], y = state->background_only[b];
        const double xx = x > 1 ? w * moment(x - 2, y) : 0, xy = x && y ? -w * moment(x - 1, y - 1) : 0, yy = y > 1 ? w * moment(x, y - 2) : 0;
        for (std::size_t i = 1; i < state->path.size(); ++i) {
            const int p = state->path[i];
            const auto s = state->status(p, b);
            if (s == kByBoth) continue;
            for (std::size_t j = 0; j < i; ++j) {
                const int q = state->path[j];
                const auto t = state->status(q, b);
                if (t == kByBoth) continue;
                const double factor = s != t ? xy : s == kByRowOnly ? xx : yy;
                add_scaled(row + (static_cast<std::size_t>(p) * players + q) * outputs + first, factor, v, width);
                add_scaled(row + (static_cast<std::size_t>(q) * players + p) * outputs + first, factor, v, width);
            }
        }
    }
};

}  // namespace

void pair_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, TreeRange trees, Rows x, double* out) {
    AddContributions add_contributions{b.weights, table.data(), side, order, players.count, e.outputs(), out, nullptr};
    PairWalk<AddContributions> walk(e, players, b, add_contributions);
    add_contributions.state = &walk.state;
    const std::size_t n = players.count, per_row = (order == 1 ? n : n * n) * e.outputs();
    for (std::size_t i = 0; i < x.rows; ++i) {
        add_contributions.row = out + i * per_row;
        if (b.per_row) add_contributions.weights = b.weights + i * b.rows.rows;
        walk.walk_row(x.row(i), trees);
    }
}

}  // namespace whybox

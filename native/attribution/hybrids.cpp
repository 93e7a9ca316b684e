// The whole game of one row: its raw output for every coalition of players, against each background row.
//
// A leaf counts for coalition S when A is inside S and N outside it (pair_walk.hpp). Written in the basis "T is inside S", that
// is sum over U inside N of (-1)^|U| [A + U inside S]: add the signed value at A + U for every U, and one subset-sum transform
// at the end gives all 2^d values.

#include <bit>

#include "attribution/pair_walk.hpp"

namespace whybox {
namespace {

struct MobiusTransform {
    std::size_t coalitions;
    int outputs;
    double* out;
    PairState* state;

    void operator()(std::uint32_t b, const double* v, int first, int width) const {
        std::size_t a = 0, n = 0;
        for (const int p : state->path) {
            const auto s = state->status(p, b);
            if (s == kByRowOnly) a |= std::size_t{1} << p;
            if (s == kByBackgroundOnly) n |= std::size_t{1} << p;
        }
        double* game = out + static_cast<std::size_t>(b) * coalitions * outputs + first;
        for (std::size_t u = n;; u = (u - 1) & n) {  // every subset of n
            const double sign = std::popcount(u) & 1 ? -1.0 : 1.0;
            for (int c = 0; c < width; ++c) game[(a | u) * outputs + c] += sign * v[c];
            if (u == 0) break;
        }
    }
};

}  // namespace

void hybrids(const Ensemble& e, Players players, const Background& b, const double* x, double* out) {
    const std::size_t coalitions = std::size_t{1} << players.count, k = e.outputs();
    std::fill_n(out, b.rows.rows * coalitions * k, 0.0);
    MobiusTransform transform{coalitions, e.outputs(), out, nullptr};
    PairWalk<MobiusTransform> walk(e, players, b, transform);
    transform.state = &walk.state;
    walk.walk_row(x, {0, e.trees()});
    for (std::size_t r = 0; r < b.rows.rows; ++r) {
        double* game = out + r * coalitions * k;
        for (int j = 0; j < players.count; ++j) {
            const std::size_t bit = std::size_t{1} << j;
            for (std::size_t s = 0; s < coalitions; ++s)
                if (s & bit)
                    for (std::size_t c = 0; c < k; ++c) game[s * k + c] += game[(s ^ bit) * k + c];
        }
    }
}

}  // namespace whybox

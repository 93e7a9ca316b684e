#include "attribution/product_games.hpp"

#include <algorithm>
#include <vector>

#include "core/aligned.hpp"
#include "core/threads.hpp"

namespace whybox {
namespace {

constexpr std::size_t kTileBytes = 24 * 1024;  // of background rows that stay in the first cache while rows are compared with them
constexpr std::size_t kRowsAtOnce = 16;        // of a task

}  // namespace

void product_games(const ProductFactors& f, std::span<const double> weights, std::span<const double> nodes, std::span<const double> node_weights,
    const InstructionSet& set, int threads, double* out) {
    const std::size_t size = f.players * kProductsAtOnce;
    const std::size_t tile = std::max<std::size_t>(1, kTileBytes / (size * sizeof(double)));
    const std::size_t row_blocks = (f.n_rows + kRowsAtOnce - 1) / kRowsAtOnce;
    std::vector<AlignedArray<double>> scratch(static_cast<std::size_t>(std::max(threads, 1)));
    parallel_for(row_blocks * f.groups, threads, [&](int worker, std::size_t task) {
        auto& own = scratch[static_cast<std::size_t>(worker)];
        if (own.size() == 0) own.resize(6 * size);
        const std::size_t group = task % f.groups, first = task / f.groups * kRowsAtOnce, last = std::min(f.n_rows, first + kRowsAtOnce);
        for (std::size_t b = 0; b < f.background; b += tile)
            for (std::size_t i = first; i < last; ++i) {
                const std::size_t at = (i * f.groups + group) * size;
                set.product_games({static_cast<std::int64_t>(f.players), static_cast<std::int64_t>(nodes.size()),
                    static_cast<std::int64_t>(std::min(tile, f.background - b)), f.rows + at, f.donors + (group * f.background + b) * size, weights.data() + b,
                    nodes.data(), node_weights.data(), own.data(), out + at});
            }
    });
}

}  // namespace whybox

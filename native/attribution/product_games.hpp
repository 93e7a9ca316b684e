// Values of games whose worth is a mean over background rows of a product with one factor a player.
#pragma once

#include <span>

#include "simd/program.hpp"

namespace whybox {

// Factors of kProductsAtOnce products side by side; both arrays start on a cache line.
struct ProductFactors {
    const double* rows;    // rows x groups x players x products of a group
    const double* donors;  // groups x background x players x products of a group
    std::size_t n_rows, groups, players, background;
};

// The node count is even: an odd rule has a node of weight zero at its end. Adds to out (rows x groups x players x products of a group, on a cache line) the weighted
// sum over the background of the integral over p of (row - donor of the player) times the product over the others of p row + (1 - p) donor. No number depends on
// the threads or on which rows are computed together.
void product_games(const ProductFactors& factors, std::span<const double> weights, std::span<const double> nodes, std::span<const double> node_weights,
    const InstructionSet& set, int threads, double* out);

}  // namespace whybox

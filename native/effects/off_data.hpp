// How many of some changed rows are off the data, for many sets of neighbours (methods/common/extrapolation.py says what that means).
#pragma once

#include <cstdint>
#include <span>

#include "core/predict.hpp"
#include "simd/program.hpp"

namespace whybox {

constexpr std::size_t kHalfPairs = 6;  // of four quarters of the neighbours

struct OffDataRows {
    Rows data;                            // rows x dimensions
    std::span<const std::int64_t> which;  // the rows that are changed, in order
    std::span<const double> weights;      // of these
    double usual_share;                   // of the neighbours, that are not farther from their own nearest one than what is usual
};

// neighbours: sets x size, positions of rows; with five starts, quarter after quarter, with two, all as one part.
// shares: sets x (1 + kHalfPairs with quarters, else 1), weights of rows off the data, by all neighbours and by each half.
// squares: sets, the sum of squared weights of the rows that are off the data by all neighbours.
void off_data_shares(const OffDataRows& rows, std::span<const std::int64_t> neighbours, std::size_t size, std::span<const std::int64_t> starts,
    const InstructionSet& set, double* shares, double* squares);

}  // namespace whybox

// How far rows are from the nearest of some points.
#pragma once

#include <span>

#include "core/predict.hpp"
#include "simd/program.hpp"

namespace whybox {

// Squared distances to the nearest point of each part: points starts[p] .. starts[p + 1] - 1. itself: points, the row that each point is and that is not compared
// with it; -1: none. out: parts x rows, infinite where a part has no other point.
void nearest_squares(Rows x, Rows points, const std::int64_t* itself, std::span<const std::int64_t> starts, const InstructionSet& set, double* out);

}  // namespace whybox

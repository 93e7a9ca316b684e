// Predictions of many rows: 64 rows go through a tree together, as bits.
#pragma once

#include "core/predict.hpp"
#include "simd/program.hpp"

namespace whybox {

// As predict() (core/predict.hpp), bit for bit.
void predict_blocks(const Ensemble& e, Rows x, TreeRange trees, const InstructionSet& set, double* out);

}  // namespace whybox

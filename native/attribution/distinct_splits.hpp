// The splits of a tree's nodes in the form that kernels compare: one comparison, or a call of goes_left.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ensemble.hpp"
#include "simd/program.hpp"

namespace whybox {

// Rounds a node's test to what a lane compares: x < t, x <= t, each with or without NaN; kScalar where that cannot say it.
// `single`: columns hold float32 (or float64 values rounded to float32). `as_float`: compared in float32.
Split compile_split(const Ensemble& e, std::size_t tree, std::int32_t node, bool single, bool as_float);

// Whether every numeric node reads its column as float32.
bool reads_single(const Ensemble& e);

// The distinct splits of a tree, and how many of them each subtree has. Trees with the same split in many nodes (CatBoost's symmetric
// trees: one for each level) then need one bit for it instead of many; in other trees every node counts as a split of its own.
class DistinctSplits {
public:
    DistinctSplits(const Ensemble& e, std::size_t tree);
    int distinct_below(std::int32_t node) const { return distinct_below_[static_cast<std::size_t>(node)]; }  // in its subtree; many: 1 << 20
    int operator[](std::int32_t node) const { return index_[static_cast<std::size_t>(node)]; }
    int count() const { return count_; }

private:
    std::vector<int> distinct_below_, index_;
    int count_ = 0;
};

}  // namespace whybox

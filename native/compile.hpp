// From an ensemble to programs for lanes: which nodes are walked, which subtrees become tables, and every constant they need.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ensemble.hpp"
#include "kernels.hpp"
#include "program.hpp"

namespace whybox {

// A growing array whose memory starts on a cache line, for aligned vector loads.
template <class T>
class Aligned {
public:
    Aligned() = default;
    void resize(std::size_t n);  // keeps what was there; new entries are zero
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return memory_.get()[i]; }

private:
    struct Free { void operator()(T* p) const; };
    std::unique_ptr<T, Free> memory_;
    std::size_t size_ = 0, room_ = 0;
};
extern template class Aligned<float>;
extern template class Aligned<double>;
extern template class Aligned<std::int32_t>;
extern template class Aligned<std::uint16_t>;
extern template class Aligned<std::uint64_t>;

// Rounds a node's test to what a lane compares: x < t, x <= t, each with or without NaN; kScalar where that cannot say it.
// `single`: columns hold float32 (or float64 values rounded to float32). `as_float`: compared in float32.
Split split_of(const Ensemble& e, std::size_t tree, std::int32_t node, bool single, bool as_float);

// Whether every numeric node reads its column as float32.
bool reads_single(const Ensemble& e);

// The questions of a tree and how many different ones each subtree asks. Trees that ask the same question in many nodes (CatBoost's symmetric
// trees: one for each level) then need one bit for it instead of many; in others every node counts as a question of its own.
class Questions {
public:
    Questions(const Ensemble& e, std::size_t tree);
    int different(std::int32_t node) const { return different_[static_cast<std::size_t>(node)]; }  // in its subtree; many: 1 << 20
    int operator[](std::int32_t node) const { return number_[static_cast<std::size_t>(node)]; }
    int count() const { return count_; }

private:
    std::vector<int> different_, number_;
    int count_ = 0;
};

template <class T>
struct WalkTree {
    std::vector<Top> tops;
    std::vector<Split> splits;
    std::vector<Bottom> bottoms;
    std::vector<std::int32_t> ints;
    Aligned<T> tables;
    std::vector<T> constants;
    std::int64_t first_node = 0;
    std::int32_t root = 0;
    int q = 1, width = 1, first_output = 0, depth = 0;

    TreeView<T> view() const {
        return {tops.data(), splits.data(), bottoms.data(), ints.data(), tables.data(), constants.data(), first_node, root, q, width, first_output};
    }
    std::size_t bytes() const {
        return tops.size() * sizeof(Top) + splits.size() * sizeof(Split) + bottoms.size() * sizeof(Bottom) + ints.size() * 4 +
               (tables.size() + constants.size()) * sizeof(T);
    }
};

struct WalkShape {
    int bits;        // largest bottom
    bool single, as_float;
};

// Path-dependent attributions of one tree, for lanes_walk.hpp.
template <class T>
WalkTree<T> compile_walk(const Ensemble& e, std::size_t tree, Players players, const Quadrature& rule, const WalkShape& shape);

}  // namespace whybox

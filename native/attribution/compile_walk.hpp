// From a tree to a program for the walk of simd/lanes_walk.hpp: which nodes are walked, which subtrees become tables, and every constant they need.
#pragma once

#include <cstdint>
#include <vector>

#include "attribution/games.hpp"
#include "core/aligned.hpp"
#include "core/ensemble.hpp"
#include "simd/program.hpp"

namespace whybox {

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

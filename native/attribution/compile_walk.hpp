// From a tree to a program for the walk of simd/lanes_walk.hpp: which nodes are walked, which subtrees become tables, and every constant they need.
#pragma once

#include <cstdint>
#include <vector>

#include "attribution/games.hpp"
#include "attribution/result_cells.hpp"
#include "core/aligned.hpp"
#include "core/ensemble.hpp"
#include "simd/program.hpp"

namespace whybox {

template <class T>
struct WalkTree {
    std::vector<UpperNode> upper_nodes;
    std::vector<Split> splits;
    std::vector<SubtreeTables> subtrees;
    std::vector<std::int32_t> indices;
    AlignedArray<T> tables;
    std::vector<T> constants;
    std::vector<std::int32_t> first_sum;
    std::int64_t first_node = 0;
    std::int32_t root = 0;
    int q = 1, leaf_width = 1, first_output = 0, depth = 0;

    TreeView<T> view() const {
        return {upper_nodes.data(), splits.data(), subtrees.data(), indices.data(), tables.data(), constants.data(), first_sum.data(), first_node, root, q, leaf_width, first_output};
    }
    std::size_t bytes() const {
        return upper_nodes.size() * sizeof(UpperNode) + splits.size() * sizeof(Split) + subtrees.size() * sizeof(SubtreeTables) + (indices.size() + first_sum.size()) * 4 +
               (tables.size() + constants.size()) * sizeof(T);
    }
};

struct WalkShape {
    int max_bits;  // of the largest subtree in tables
    bool single, as_float;
    const ResultCells* pairs = nullptr;  // order 2: a walk of interactions
};

// Path-dependent attributions of one tree, for lanes_walk.hpp, or interactions, for lanes_interactions.hpp.
template <class T>
WalkTree<T> compile_walk(const Ensemble& e, std::size_t tree, Players players, const QuadratureView& rule, const WalkShape& shape);

}  // namespace whybox

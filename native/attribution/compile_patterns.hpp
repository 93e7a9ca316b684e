// From a tree to tables of whole patterns (simd/lanes_look_up.hpp): for a subtree and the path to its root, a row is a pattern of bits, and what the
// subtree's leaves contribute to every player, or pair of players, is a function of that pattern.
#pragma once

#include <cstdint>
#include <vector>

#include "attribution/games.hpp"
#include "attribution/result_cells.hpp"
#include "core/aligned.hpp"
#include "simd/program.hpp"

namespace whybox {

template <class T>
struct PatternTree {
    std::vector<UpperNode> upper_nodes;
    std::vector<Split> splits;
    std::vector<PatternTables> subtrees;
    std::vector<std::int32_t> indices;
    AlignedArray<T> tables;
    std::int64_t first_node = 0;
    std::int32_t root = 0;
    int depth = 0;

    PatternView<T> view() const { return {upper_nodes.data(), splits.data(), subtrees.data(), indices.data(), tables.data(), first_node, root}; }
    std::size_t bytes() const {
        return upper_nodes.size() * sizeof(UpperNode) + splits.size() * sizeof(Split) + subtrees.size() * sizeof(PatternTables) +
            indices.size() * 4 + tables.size() * sizeof(T);
    }
};

// What absent players are replaced by. Path-dependent: `rule` alone. Interventional: background rows with weights (1 x rows), and
// moments[s * side + t] = E[p^s (1-p)^t]; `columns` and `rounded` hold the rows column by column, as they are and rounded to float32.
struct Replacement {
    QuadratureView rule;
    std::span<const double> weights;  // of background rows; empty: path-dependent
    const double *columns, *rounded;
    std::span<const double> moments;
    int side;
};

struct PatternShape {
    int max_bits;  // of the largest subtree in tables, unless a single leaf needs more
    bool single, as_float;
};

template <class T>
PatternTree<T> compile_patterns(const Ensemble& e, std::size_t tree, Players players, const ResultCells& cells, const Replacement& replacement, const PatternShape& shape);

}  // namespace whybox

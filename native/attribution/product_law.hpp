// Expectation of an ensemble whose columns are independent, and its derivative for each player: docs/mathematics.md, "How are trees under a product law computed?".
//
// A player's law gives each point of its grid a mass M and a derivative D. Along a path, the points that meet the splits of a player become fewer. With r = D / M
// of such a set, r of a leaf is the sum of the changes of r at the edges above that split on the player, so its derivative is a sum over edges of the
// change times what the leaves below add to the expectation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/aligned.hpp"
#include "effects/effects.hpp"
#include "simd/program.hpp"

namespace whybox {

// The trees as nodes in the order of a walk, and for each edge the points of its player that meet all splits so far. Needs no masses.
class ProductPaths {
public:
    explicit ProductPaths(const Grid& grid);  // throws std::invalid_argument where a split's column has no player

    const Grid& grid;

    struct PointSet { std::uint32_t begin, count; };  // ranges of points
    struct Edges {  // of a node
        PointSet sides[2];
        std::int32_t previous;  // the last edge above of the same player: twice its node's position among the player's, plus its side; -1: there is none
    };

    std::span<const Range> ranges(const PointSet& s) const { return {ranges_.data() + s.begin, s.count}; }
    const Edges& edges(std::int32_t node) const { return edges_[static_cast<std::size_t>(node)]; }
    const std::vector<std::int32_t>& nodes_of(std::size_t player) const { return nodes_of_[player]; }
    std::size_t trees() const { return trees_.size(); }
    std::int64_t first_node(std::size_t tree) const { return first_node_[tree]; }
    int depth(TreeRange trees) const;
    // Nodes, leaf values; all but the tables.
    ProductTrees view(TreeRange trees) const;

private:
    std::int32_t add_node(const Node* root, const Node& n, double weight);
    std::int32_t add_leaf(const Node& n, double weight);

    std::vector<ProductNode> nodes_;
    std::vector<Edges> edges_;
    Ranges ranges_;
    std::vector<ProductTree> trees_;
    std::vector<std::int64_t> first_node_;             // of each tree, and the end
    std::vector<std::vector<std::int32_t>> nodes_of_;  // by player
    std::vector<double> leaf_values_;                  // those of leaf 0 are zero: no point reaches it
    struct PathState { PointSet points; std::int32_t edge; };
    std::vector<PathState> path_;  // by player, while nodes are added
};

// Masses and derivatives of the players' laws; of each player in turn laws x points of the grid.
struct PlayerLaws {
    std::span<const double> mass, derivative;
    std::span<const std::int64_t> laws;  // of each player
};

// The tables of some trees under given laws.
class ProductTables {
public:
    // The trees from `first` on whose tables take no more than max_bytes, at least one tree.
    ProductTables(const ProductPaths& paths, const PlayerLaws& laws, std::size_t first, std::size_t max_bytes, int threads);

    TreeRange trees() const { return trees_; }
    std::size_t bytes() const { return tables_.size() * sizeof(double); }

    // law_of: rows x players. Adds to expected (rows x outputs) and to derivative (rows x players x outputs); each row's numbers are those that it has alone.
    void run(const std::int64_t* law_of, std::size_t rows, const InstructionSet& set, int threads, double* expected, double* derivative) const;

private:
    class Worker;
    struct LawRows { const double *mass, *derivative; std::int64_t laws; };  // of one player

    bool by_row(std::size_t player) const { return laws_[player].laws > table_laws_; }  // its laws are too many: a block of rows has tables of its own
    template <int laws>
    void fill(std::size_t player, const std::int64_t* law_of_lane, double* tables) const;
    void fill_player(std::size_t player, const std::int64_t* law_of_lane, double* tables) const;

    const ProductPaths& paths_;
    std::vector<LawRows> laws_;
    std::int64_t table_laws_;  // 4, 8 or 16: of each table
    bool any_by_row_;
    TreeRange trees_;
    AlignedArray<double> tables_;  // nodes x 4 x laws
};

}  // namespace whybox

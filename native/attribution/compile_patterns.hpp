// From a tree to tables of whole patterns (simd/lanes_look_up.hpp): a bottom is a subtree with the path to its root, a row meets it as a
// pattern of bits, and everything its leaves contribute to every player, or pair of players, is a function of that pattern.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "attribution/games.hpp"
#include "core/aligned.hpp"
#include "simd/program.hpp"

namespace whybox {

template <class T>
struct PatternTree {
    std::vector<Top> tops;
    std::vector<Split> splits;
    std::vector<Leaves> bottoms;
    std::vector<std::int32_t> ints;
    Aligned<T> tables;
    std::int64_t first_node = 0;
    std::int32_t root = 0;
    int depth = 0;

    PatternView<T> view() const { return {tops.data(), splits.data(), bottoms.data(), ints.data(), tables.data(), first_node, root}; }
    std::size_t bytes() const {
        return tops.size() * sizeof(Top) + splits.size() * sizeof(Split) + bottoms.size() * sizeof(Leaves) + ints.size() * 4 + tables.size() * sizeof(T);
    }
};

// Which sums are kept: one per player (order 1), or one per pair of players that are on one path together (order 2), sorted.
class Cells {
public:
    Cells(const Ensemble& e, Players players, int order);
    int order() const { return order_; }
    std::size_t count() const { return order_ == 1 ? static_cast<std::size_t>(players_) : pairs_.size(); }
    std::int32_t of(int i, int j) const { return number_.at(key(i, j)); }
    const std::vector<std::pair<std::int32_t, std::int32_t>>& pairs() const { return pairs_; }

private:
    static std::uint64_t key(int i, int j) { return static_cast<std::uint64_t>(i < j ? i : j) << 32 | static_cast<std::uint32_t>(i < j ? j : i); }
    int order_, players_;
    std::unordered_map<std::uint64_t, std::int32_t> number_;
    std::vector<std::pair<std::int32_t, std::int32_t>> pairs_;
};

// What absent players are replaced by. Path-dependent: `rule` alone. Interventional: background rows with weights (1 x rows), and
// moments[s * side + t] = E[p^s (1-p)^t]; `columns` and `singles` hold the rows column by column, as they are and rounded to float32.
struct Absent {
    Quadrature rule;
    std::span<const double> weights;  // of background rows; empty: path-dependent
    const double *columns, *singles;
    std::span<const double> moments;
    int side;
};

struct PatternShape {
    int bits;  // largest bottom, unless a single leaf needs more
    bool single, as_float;
};

template <class T>
PatternTree<T> compile_patterns(const Ensemble& e, std::size_t tree, Players players, const Cells& cells, const Absent& absent, const PatternShape& shape);

}  // namespace whybox

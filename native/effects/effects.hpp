// Feature effects of tree ensembles: a model's output with a player set to each point of a grid. docs/mathematics.md, "How are effects of tree ensembles computed?".
//
// Two ideas: the model treats all values of an interval between its thresholds alike, so a row or a grid is a few small integers (`ValueIntervals`); and
// any split of a player's columns is a set of grid points, a few ranges of them (`Grid`). Both are made with goes_left (core/split.hpp): nothing here
// knows `<`, `<=`, missing values or categories.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/aligned.hpp"
#include "core/ensemble.hpp"
#include "core/predict.hpp"
#include "simd/program.hpp"

namespace whybox {

// Intervals of a column's values, in increasing order: interval i holds the values above edges[i - 1] and up to edges[i]; the last one is NaN.
class ValueIntervals {
public:
    explicit ValueIntervals(const Ensemble& e);

    std::size_t columns() const { return edges_.size(); }
    std::span<const double> edges(std::size_t column) const { return edges_[column]; }
    std::uint32_t missing_index(std::size_t column) const { return static_cast<std::uint32_t>(edges_[column].size()) + 1; }
    void find(std::size_t column, const double* x, std::size_t stride, std::size_t count, std::uint32_t* out) const;
    double representative(std::size_t column, std::uint32_t interval) const;  // a value of it
    // The intervals below this one go left and the others right, except NaN; -1: goes_left decides for each interval (categories, zero as missing).
    std::int32_t cut_index(std::int64_t node) const { return cuts_[static_cast<std::size_t>(node)]; }

private:
    std::vector<std::vector<double>> edges_;
    std::vector<std::int32_t> cuts_;
};

using Ranges = std::vector<Range>;

struct PlayerPoints {  // the points of one player, as the caller gives them
    std::vector<std::int32_t> columns;
    const double* values;  // points x columns
    std::size_t points;
};

// The points of every player, in an order of their own in which the points that go left at a node are a few ranges. Points that the
// model treats alike are one.
class Grid {
public:
    Grid(const Ensemble& e, const ValueIntervals& intervals, std::span<const PlayerPoints> points_of_players);

    const Ensemble& e;
    const ValueIntervals& intervals;

    std::size_t players() const { return index_.size(); }
    int player(const Node& n) const { return of_column_[static_cast<std::size_t>(n.feature)]; }  // -1: no player
    std::span<const std::int32_t> columns(std::size_t player) const { return columns_[player]; }
    std::size_t points(std::size_t player) const { return points_[player]; }
    std::size_t first(std::size_t player) const { return first_[player]; }  // where the player's points begin when all stand end to end
    std::size_t total() const { return first_.back(); }
    std::span<const std::uint32_t> index(std::size_t player) const { return index_[player]; }  // of the points as they were given
    bool missing(std::size_t player) const { return missing_[player] != 0; }                   // the player's last point is NaN

    // The end of the points that go left, except NaN; kListed: they are listed in left_ranges_.
    static constexpr std::uint32_t kListed = 0xffffffff;
    std::uint32_t cut(const Node& n) const { return cuts_[static_cast<std::size_t>(&n - e.nodes.data())].cut; }

    // Of the points of the node's player that lie in stack[begin, begin + count), appends to `stack` those that go to one side; returns the number of
    // ranges.
    std::uint32_t append_side(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const {
        const NodeCut& p = cuts_[static_cast<std::size_t>(&n - e.nodes.data())];
        if (p.cut == kListed) return listed_side(n, left, begin, count, stack);
        const Range kept = left ? Range{0, p.cut} : Range{p.cut, p.end};
        std::uint32_t n_ranges = 0;
        for (std::size_t k = begin; k < begin + count; ++k) {
            const Range r{std::max(stack[k].from, kept.from), std::min(stack[k].to, kept.to)};
            if (r.from < r.to) stack.push_back(r), ++n_ranges;
        }
        if (left && p.nan && count && stack[begin + count - 1].to > p.end) stack.push_back({p.end, p.end + 1}), ++n_ranges;
        return n_ranges;
    }

private:
    // A node whose left points are those before the cut, and NaN, the last point, if it goes left; `end`: the end of its right points.
    struct NodeCut { std::uint32_t cut, end; bool nan; };

    void set_points_by_interval(const PlayerPoints& points, std::size_t player, std::vector<std::vector<std::uint32_t>>& present);
    NodeCut interval_cut(const Node& n, std::span<const std::uint32_t> present) const;
    void list_left_points(const Node& n, const PlayerPoints& points, std::size_t column);
    std::uint32_t listed_side(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const;

    std::vector<std::int32_t> of_column_;
    std::vector<std::vector<std::int32_t>> columns_;
    std::vector<std::size_t> points_, first_;
    std::vector<char> missing_;
    std::vector<std::vector<std::uint32_t>> index_;
    std::vector<std::vector<double>> values_;  // players of one column: a value of each point
    std::vector<NodeCut> cuts_;                // by node; kListed: `end` is the position of its ranges in left_ranges_
    Ranges left_ranges_;                       // those that go left, after an entry with their number
};

// A block of rows as intervals of their values, column by column; sets of rows are bits.
class RowBlock {
public:
    static constexpr std::size_t kMaxRows = 32768;  // so that the intervals in one block can be numbered in 16 bits

    RowBlock(const ValueIntervals& intervals, const Ensemble& e, const InstructionSet& set);
    void fill(Rows x);
    std::size_t rows() const { return rows_; }
    std::size_t words() const { return lanes_ / 64; }
    void left(const Node& n, std::uint64_t* out);  // the rows that go left
    struct SplitTest { const std::uint16_t* of_row; std::uint16_t cut, missing; bool missing_left, by_interval; };
    SplitTest test(const Node& n) const;
    bool left(const SplitTest& t, const Node& n, std::uint16_t row) const {
        const std::uint16_t c = t.of_row[row];
        if (t.by_interval) return interval_goes_left(n, c);
        return c < t.cut || (c == t.missing && t.missing_left);
    }

private:
    bool interval_goes_left(const Node& n, std::uint32_t interval) const;
    void number_present(std::size_t column, std::vector<std::uint32_t>& intervals);

    const ValueIntervals& intervals_;
    const Ensemble& e_;
    const InstructionSet& set_;
    std::vector<char> has_split_;                         // by column
    std::size_t rows_ = 0, lanes_ = 0;
    AlignedArray<std::uint16_t> interval_of_row_;  // columns x lanes
    AlignedArray<std::uint64_t> missing_;          // columns x words
    std::vector<char> any_missing_;
    std::vector<std::vector<std::uint32_t>> present_;     // of columns with too many intervals: those of this block
    std::vector<char> goes_left_;
};

// Sums over rows of the model's outputs with one player, or the two of a pair, set to each of their points. A leaf counts, for each player on its path,
// the rows that meet its conditions on all the others (for pairs: on all others but two): bits while they are many, lists of rows when few are left.
// Everything but base, not divided by the rows' weight; load_rows() and add_trees() may be called for many blocks of rows.
class EffectSums {
public:
    using Pair = std::pair<std::int32_t, std::int32_t>;  // of players, the first the smaller

    EffectSums(const Grid& grid, std::vector<Pair> pairs, const InstructionSet& set);

    const Grid& grid;
    const std::vector<Pair> pairs;

    void load_rows(Rows x, const double* weights);  // the rows of add_trees(), RowBlock::kMaxRows at most; null: each weighs one
    void add_trees(TreeRange trees);
    void merge(const EffectSums& other);
    void curve(std::size_t player, double* out) const;  // points x outputs, in the grid's own order
    void surface(std::size_t pair, double* out) const;  // points of the first x points of the second x outputs

private:
    struct RowSet { const std::uint64_t* bits; std::int32_t p, q; };  // rows that meet all but the players at these positions, -1: none
    using PackedRow = std::uint64_t;                                  // the same, a row at a time: 16 bits each for row, p, q (kNoPlayer)
    using RowList = std::span<const PackedRow>;
    struct DepthBuffers { std::vector<RowSet> sets; AlignedArray<std::uint64_t> bits, left, partitions[2]; };
    struct PathPlayer { std::int32_t player; std::uint32_t begin, end; };  // points that meet the player's splits so far, in ranges_
    struct SurfaceOffsets { std::size_t surface, first_curve, second_curve, constant; };  // in surfaces_
    struct PathStep { std::int32_t position; bool is_new; PathPlayer before, sides[2]; std::size_t n_ranges; };

    PathStep push_player(const Node& n);
    PathPlayer restrict_points(const Node& n, const PathPlayer& before, bool left);
    void pop_player(const PathStep& step);
    static bool has_points(const PathStep& step, bool left) { return step.position >= 0 && step.sides[left].begin < step.sides[left].end; }
    static std::uint64_t position_or_none(const PathStep& step) { return step.position < 0 ? kNoPlayer - 1 : static_cast<std::uint64_t>(step.position); }
    std::int32_t surface_index(std::int32_t p, std::int32_t q) const;
    bool can_add(std::int32_t p, std::int32_t q, std::int32_t position) const { return q < 0 && (p < 0 || (with_pairs_ && surface_index(p, position) >= 0)); }
    void descend(std::int32_t id, std::size_t depth);
    void enter_child(std::int32_t child, const PathStep& step, bool left, std::size_t depth);
    void count_at_leaf(const Node& n, const PathStep& step, bool left, const DepthBuffers& here);
    bool few_rows_left(std::int32_t id, std::size_t depth);
    void list_rows(const std::vector<RowSet>& sets);
    void descend_rows(std::int32_t id, std::size_t depth, RowList rows);
    void partition_by_interval(const Node& n, const PathStep& step, RowList rows, PackedRow* (&to)[2]);
    void partition_for_pairs(const Node& n, const PathStep& step, RowList rows, PackedRow* (&to)[2]);
    void count_rows(RowList rows);
    void start_counts();
    void record(std::int32_t p, std::int32_t q, double rows);
    void add_leaf(const Node& n);
    void add_leaf_pairs(const double* v, std::size_t width);
    double total_weight(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip);

    const InstructionSet& set_;
    RowBlock block_;
    AlignedArray<double> weights_;
    bool weighted_ = false;
    std::size_t outputs_;
    bool with_pairs_;

    std::vector<double> total_, player_offsets_, differences_, surfaces_;  // outputs; players x outputs; between points; see SurfaceOffsets
    std::vector<SurfaceOffsets> surface_of_;
    std::vector<std::int32_t> pair_index_;  // players x players, or empty

    // Of the path.
    std::vector<DepthBuffers> levels_;
    std::vector<PathPlayer> path_;
    std::vector<std::int32_t> position_of_;  // of a player, or -1
    Ranges ranges_;
    std::vector<PackedRow> listed_rows_;
    std::vector<char> forms_pair_;  // positions whose players form a pair with the node's player
    AlignedArray<std::uint64_t> all_rows_, scratch_;

    // Of a leaf: the weight of rows that meet all of its splits; by position, all splits but this player's; by two positions, all but these players'.
    double meeting_all_ = 0;
    std::vector<double> meeting_all_but_, meeting_all_but_two_;

    // Of the tree.
    const Node* root_ = nullptr;
    std::vector<std::int32_t> leaves_below_;
    double weight_ = 1;
    std::size_t first_output_ = 0;
};

// out: rows x players x outputs: the output with the player at point `high` less that with it at point `low` (rows x players, as given).
void point_differences(const Ensemble& e, std::span<const PlayerPoints> points_of_players, Rows x, const std::int32_t* low, const std::int32_t* high, double* out);

}  // namespace whybox

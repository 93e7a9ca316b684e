// Row by row: what a row's prediction becomes when one player is set to each of its points, for all players at once.
//
// Three methods, one chosen for each tree of a grid. Trees of few leaves: leaves as bits, eight rows side by side, no path is walked at all
// (simd/lanes_leaves.hpp). Larger ones: each row's own path, and a list of the paths on which one player differs; a round moves each path of the list one
// node further, so that many reads of memory are in flight at a time (path_lists.cpp). Larger ones with splits that no single cut among the points
// expresses (categories, players of several columns): one path after the other (path_walk.cpp).
#pragma once

#include <bit>
#include <optional>

#include "effects/effects.hpp"

namespace whybox {

// A node of a large tree. child: left, right; another node, or ~leaf. Rows of an interval below the cut, in a column of CurveBlock::intervals, go left, and so
// do points before `point`.
struct LargeNode {
    std::int32_t child[2];
    std::int32_t cut;
    std::uint16_t column, point;
};

// The columns compared hold every column of the model twice: with a missing value above all others, for splits where it goes right, and below them, for
// splits where it goes left; so a split is one comparison. Trees of few leaves have at most this many more, for splits that are not a comparison.
constexpr std::size_t kOtherSplits = 63;

// What the curves of a grid need of the model, for any rows.
class CurvePlan {
public:
    // only_lists: no leaves as bits, also where trees have few leaves.
    explicit CurvePlan(const Grid& grid, bool only_lists = false);

    const Grid& grid;

    enum class TreeMethod : char { none, bits, lists, walk };
    TreeMethod method(std::size_t tree) const { return trees_[tree].method; }
    bool any(TreeMethod method) const;
    LeafBits bits(std::size_t tree) const;
    std::span<const std::int32_t> other_splits(std::size_t tree) const;  // trees of few leaves: the nodes of the columns after the model's
    std::span<const LargeNode> large_nodes(std::size_t tree) const { return {large_nodes_.data() + trees_[tree].first_node, trees_[tree].nodes}; }
    std::size_t columns() const { return 2 * static_cast<std::size_t>(grid.e.columns); }
    std::size_t n_slots() const { return grid.total() + grid.players(); }  // of differences: a player has one more than its points
    std::size_t slot(std::size_t player) const { return grid.first(player) + player; }
    std::span<const std::uint32_t> given_points() const { return given_points_; }  // for each point as it was given, players end to end: its index among the grid's own

private:
    struct Tree {
        TreeMethod method = TreeMethod::none;
        // lists
        std::size_t first_node = 0, nodes = 0;
        // bits
        std::size_t first_mask = 0, first_range = 0, first_player = 0, n_players = 0, first_value = 0, first_other = 0, n_other = 0, bits = 0;
    };
    struct NodeMask { const Node* node; int player; std::uint64_t leaves; };  // of a tree of few leaves

    void compile_leaf_bits(std::size_t t, std::size_t leaves);
    void compile_player(std::size_t t, std::span<const NodeMask> masks);
    void add_ranges(std::size_t player, int first_output, std::span<const NodeMask> masks);
    bool compile_large(std::size_t t);
    std::uint16_t column(const Node& n) const;
    std::int32_t cut(const Node& n) const;

    std::vector<Tree> trees_;
    std::vector<LargeNode> large_nodes_;
    std::vector<SplitMask> split_masks_;
    std::vector<PointRange> ranges_;
    std::vector<PlayerSplits> player_splits_;
    AlignedArray<double> values_;
    std::vector<std::int32_t> other_splits_;
    std::vector<std::uint32_t> given_points_;
};

// A block of rows and the sums for it, in groups of eight rows side by side.
struct CurveBlock {
    Rows x;                               // the block
    std::vector<std::int32_t> intervals;  // rows x CurvePlan::columns(), the interval of each value
    double* predictions;                  // groups x outputs x 8
    double* differences;                  // groups x slots x outputs x 8
    std::size_t predictions_stride, differences_stride;
    double* predictions_of(std::size_t row) const { return predictions + row / kGroupRows * predictions_stride + row % kGroupRows; }
    double* differences_of(std::size_t row) const { return differences + row / kGroupRows * differences_stride + row % kGroupRows; }
};

// Fills in the intervals of the block's rows.
void find_intervals(const CurvePlan& plan, CurveBlock& b);

// Where one row's curves change, of all players, and by how much.
class CurveChanges {
public:
    CurveChanges(std::size_t slots, std::size_t outputs) : slot_bits_(static_cast<unsigned>(std::bit_width(slots))), outputs_(outputs) {}

    void clear() { keys_.clear(), differences_.clear(); }
    // From one slot to another an output is different; 2^31 times at most.
    double* add_difference() { return differences_.resize(differences_.size() + outputs_), differences_.data() + differences_.size() - outputs_; }
    void add_range(std::size_t from, std::size_t to) {  // of the last difference
        const std::uint64_t last = differences_.size() / outputs_ - 1;
        keys_.push_back(std::uint64_t{from} << 32 | last << 1);
        keys_.push_back(std::uint64_t{to} << 32 | last << 1 | 1);
    }
    void sort();
    std::span<const std::uint64_t> keys() const { return keys_; }  // of changes
    static std::size_t slot(std::uint64_t key) { return key >> 32; }
    double difference(std::uint64_t key, std::size_t output) const {
        const double d = differences_[(key & 0xffffffff) / 2 * outputs_ + output];
        return key & 1 ? -d : d;
    }

private:
    unsigned slot_bits_;
    std::size_t outputs_;
    std::vector<std::uint64_t> keys_, sorted_;
    std::vector<double> differences_;
};

// The paths through large trees, in lists.
class PathLists {
public:
    explicit PathLists(const CurvePlan& plan);
    void tree(std::size_t t, const CurveBlock& b);                         // adds to the block's differences
    void tree(std::size_t t, const CurveBlock& b, CurveChanges* of_rows);  // or to the changes of each row

private:
    struct PointSet {  // of a player: a range, and whether NaN, its last point, is one of them; 16 bits each
        std::uint64_t all = 0;
        PointSet() = default;
        PointSet(std::uint64_t from, std::uint64_t to, bool nan) : all(from | to << 16 | std::uint64_t{nan} << 32) {}
        std::uint64_t from() const { return all & 0xffff; }
        std::uint64_t to() const { return all >> 16 & 0xffff; }
        bool nan() const { return all >> 32 != 0; }
        bool any() const { return (from() < to()) | nan(); }
        // NaN may be the only point left: the range is then empty, and never ends before it begins.
        PointSet before(std::uint64_t point, bool nan_too) const { return {from(), std::max(from(), std::min(to(), point)), (nan_too & nan()) != 0}; }
        PointSet after(std::uint64_t point, bool nan_stays_before) const { return {std::min(to(), std::max(from(), point)), to(), (!nan_stays_before & nan()) != 0}; }
    };
    struct Path {  // an unfinished path: its node, its row, the player that differs, in 32, 16 and 16 bits
        std::uint64_t packed;
        PointSet points;
        std::uint32_t node() const { return static_cast<std::uint32_t>(packed); }
        std::size_t row() const { return packed >> 32 & 0xffff; }
        std::size_t player() const { return packed >> 48; }
    };
    struct PathWriter {  // without branches: a path is written to both lists, and kept in one or none
        const char* memory[2];  // nodes, leaf values, and the bytes of one
        std::size_t sizes[2];
        Path *next, *ended;
        void add_if_any(std::int32_t node, std::uint64_t row_and_player, PointSet points) { write(node, row_and_player, points, points.any()); }
        void add(std::int32_t node, std::uint64_t row_and_player, PointSet points) { write(node, row_and_player, points, true); }
        void write(std::int32_t node, std::uint64_t row_and_player, PointSet points, bool any);
    };
    struct RowPath { std::int32_t node, row; };

    PathWriter after(Path* next, Path* ended) const;
    void follow_tree(std::size_t t, const CurveBlock& b);
    void follow_rows(std::size_t t, const CurveBlock& b);
    void extend_paths(const CurveBlock& b);
    bool nan_left(const LargeNode& n) const { return n.column >= player_.size() / 2; }
    void add_own_leaves(std::size_t t, const CurveBlock& b) const;
    void add_leaves(std::size_t t, const CurveBlock& b) const;

    const CurvePlan& plan_;
    std::vector<std::int32_t> player_;                   // of each column of CurveBlock::intervals
    std::vector<PointSet> all_points_, points_on_path_;  // by player; of each row, those that meet the splits so far
    std::vector<RowPath> row_paths_;
    std::vector<std::int32_t> own_leaf_;
    std::vector<Path> paths_, next_paths_, ended_paths_;
    std::size_t n_paths_ = 0, n_next_ = 0, n_ended_ = 0;
    std::span<const LargeNode> nodes_;
};

// One path after the other.
class PathWalk {
public:
    explicit PathWalk(const CurvePlan& plan);
    void tree(std::size_t t, const double* x, double* predictions, double* differences);

private:
    struct Branch { std::int32_t child; std::int32_t player; std::uint32_t begin, count; };  // points in stack_

    void follow_branch(std::int32_t id, std::size_t player, std::uint32_t begin, std::uint32_t count, const double* x, double* differences);

    const CurvePlan& plan_;
    const Grid& grid_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> points_on_path_;  // by player: the points that meet its splits so far
    std::vector<std::int32_t> restricted_players_;
    std::vector<Branch> branches_;
    Ranges stack_;
    const Node* root_ = nullptr;
    const double* own_leaf_ = nullptr;
    double weight_ = 1;
    std::size_t first_output_ = 0;
};

class CurveBlocks {
public:
    CurveBlocks(const CurvePlan& plan, const InstructionSet& set);

    const CurvePlan& plan;
    // The curves of the next few rows, eight at most. Returns how many.
    std::size_t next_rows(Rows x, std::size_t first);
    // The same, left as they are: rows side by side, what a point adds to the one before. Lanes beyond repeat the last row.
    std::size_t next_group(Rows x, std::size_t first);
    const double* group_predictions() const { return row_predictions_.data() + group_ * block_buffers_.predictions_stride; }  // outputs x 8
    const double* group_differences() const { return differences_.data() + group_ * block_buffers_.differences_stride; }      // slots x outputs x 8
    const double* prediction(std::size_t i) const { return predictions_.data() + i * outputs_; }  // base included
    const double* differences(std::size_t i) const { return deltas_.data() + i * cells_; }  // (the grid's own points) x outputs: what a point adds to the prediction

private:
    void fill(Rows x, std::size_t first);
    void add_leaf_bits(std::size_t from, std::size_t to);
    void accumulate();

    const InstructionSet& set_;
    std::size_t outputs_, cells_, rows_per_block_;
    CurveBlock block_buffers_;
    std::size_t begin_ = 0, end_ = 0, group_ = 0;  // of the block's rows; the group of the last call
    AlignedArray<double> row_predictions_, differences_;
    AlignedArray<std::int32_t> intervals_;  // groups x (columns + kOtherSplits) x 8
    std::optional<PathLists> path_lists_;
    std::optional<PathWalk> path_walk_;
    std::vector<double> predictions_, deltas_;
};

// out: rows x (total points as given) x outputs.
void individual(const CurvePlan& plan, Rows x, const InstructionSet& set, double* out);

// Adds to sum and squares, (total points) x outputs: weight * d and weight * d^2, where d is link(curve), less the link of the row's own prediction
// if less_own, less `centre`, (total points) x outputs.
void moments(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* weights, Link link, bool less_own, const double* centre, double* sum, double* squares);

// out: rows x players x outputs: the mean of a row's curve over the points, by their masses (total points).
void averages(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* masses, double* out);

// Losses of rows with one player set to each of its points, D: less the row's own loss, exactly 0 where it stands.
struct PairLosses {
    RowLoss loss;
    std::size_t first_output, outputs;  // that the loss reads
    const double* truth;                // rows: numbers, or positions of the true classes
    const double* row_weights;          // rows
    const std::int32_t* own_points;     // rows x players: where the row stands, of the grid's own points
    const double* point_weights;        // total points
};
struct WatchedPoint { std::size_t row, player, point; };  // ordered by row

// own_outputs: rows x outputs of the loss, raw. of_row: rows x players: the sum of D over points, by their weights. at_points: total points: added to, D by the rows' weights. Of the points watched: raw
// outputs, points x outputs, and D.
void pair_losses(const CurvePlan& plan, Rows x, const InstructionSet& set, const PairLosses& losses, std::span<const WatchedPoint> watched, double* own_outputs,
    double* of_row, double* at_points, double* watched_outputs, double* watched_differences);

// The same, only where curves change: of a plan of lists alone.
void pair_losses_at_changes(const CurvePlan& plan, Rows x, const InstructionSet& set, const PairLosses& losses, std::span<const WatchedPoint> watched,
    double* own_outputs, double* of_row, double* at_points, double* watched_outputs, double* watched_differences);

}  // namespace whybox

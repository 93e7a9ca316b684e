// Row by row: what a row's prediction becomes when one player is set to each of its points, for all players at once.
//
// Three methods, one chosen for each tree of a grid. Trees of few leaves: leaves as bits, eight rows side by side, no path is walked at all
// (simd/lanes_leaves.hpp). Larger ones: each row's own path, and a list of the paths on which one player differs; a round moves each path of the list one
// node further, so that many reads of memory are in flight at a time (lists.cpp). Larger ones with splits that no single cut among the points
// expresses (categories, players of several columns): one path after the other (ways.cpp).
#pragma once

#include <optional>

#include "effects/effects.hpp"

namespace whybox {

enum class Link { identity, logistic, exponential, softmax };

// A node of a large tree. kid: left, right; another node, or ~leaf. Rows of a class under the cut, in a column of Places, go left, and so do points before `point`.
struct Inner {
    std::int32_t kid[2];
    std::int32_t cut;
    std::uint16_t column, point;
};

// Every column of the model is there twice among the columns compared: with a missing value above all others, where it goes right, and below them,
// where it goes left; so that a split is one comparison. Trees of few leaves have kAsked more, for splits that are no comparison.
constexpr std::size_t kAsked = 63;

// What the curves of a grid need of the model, whatever the rows.
class CurvePlan {
public:
    explicit CurvePlan(const Grid& grid);

    const Grid& grid;

    enum class Way : char { none, bits, lists, walk };
    Way way(std::size_t tree) const { return trees_[tree].way; }
    bool any(Way way) const;
    LeafBits bits(std::size_t tree) const;
    std::span<const std::int32_t> asked(std::size_t tree) const;  // trees of few leaves: nodes whose answers belong in the columns after the model's
    std::span<const Inner> inner(std::size_t tree) const { return {inner_.data() + trees_[tree].first_node, trees_[tree].nodes}; }
    std::size_t columns() const { return 2 * static_cast<std::size_t>(grid.e.columns); }
    std::size_t slots() const { return grid.total() + grid.players(); }  // of differences: a player has one more than its points
    std::size_t slot(std::size_t player) const { return grid.first(player) + player; }
    std::span<const std::uint32_t> given() const { return given_; }  // for each point as it was given, players end to end: its place among the grid's own

private:
    struct Tree {
        Way way = Way::none;
        std::size_t first_node = 0, nodes = 0;                                                           // lists
        std::size_t question = 0, stretch = 0, party = 0, parties = 0, value = 0, ask = 0, asks = 0, bits = 0;  // bits
    };
    struct Met { const Node* node; int player; std::uint64_t keeps; };  // a question of a tree of few leaves

    void few(std::size_t t, std::size_t leaves);
    void party(std::size_t t, std::span<const Met> questions);
    void stretches(std::size_t player, int first_output, std::span<const Met> questions);
    bool large(std::size_t t);
    std::uint16_t column(const Node& n) const;
    std::int32_t cut(const Node& n) const;

    std::vector<Tree> trees_;
    std::vector<Inner> inner_;
    std::vector<Question> questions_;
    std::vector<Stretch> stretches_;
    std::vector<Party> parties_;
    Aligned<double> values_;
    std::vector<std::int32_t> asked_;
    std::vector<std::uint32_t> given_;
};

// A block of rows, and what is added up for it: eight rows side by side, slots x outputs x 8 numbers for each eight.
struct Bench {
    Rows x;                            // the block
    std::vector<std::int32_t> places;  // rows x CurvePlan::columns(), the class of each value
    double* own;                       // eights x outputs x 8
    double* steps;                     // eights x slots x outputs x 8
    std::size_t own_stride, steps_stride;
    double* own_of(std::size_t row) const { return own + row / kBeside * own_stride + row % kBeside; }
    double* steps_of(std::size_t row) const { return steps + row / kBeside * steps_stride + row % kBeside; }
};

// The paths through large trees, in lists.
class Lists {
public:
    explicit Lists(const CurvePlan& plan);
    void tree(std::size_t t, const Bench& b);

private:
    struct Points {  // of a player: a range, and whether NaN, its last point, is one of them; 16 bits each
        std::uint64_t all = 0;
        Points() = default;
        Points(std::uint64_t from, std::uint64_t to, bool nan) : all(from | to << 16 | std::uint64_t{nan} << 32) {}
        std::uint64_t from() const { return all & 0xffff; }
        std::uint64_t to() const { return all >> 16 & 0xffff; }
        bool nan() const { return all >> 32 != 0; }
        bool any() const { return (from() < to()) | nan(); }
        // NaN may be left alone, with no other point: the range is then empty, and never one that ends before it begins.
        Points before(std::uint64_t point, bool nan_too) const { return {from(), std::max(from(), std::min(to(), point)), (nan_too & nan()) != 0}; }
        Points after(std::uint64_t point, bool nan_before) const { return {std::min(to(), std::max(from(), point)), to(), (!nan_before & nan()) != 0}; }
    };
    struct Item {  // a path under way: its node, its row, the player that differs, in 32, 16 and 16 bits
        std::uint64_t way;
        Points points;
        std::uint32_t node() const { return static_cast<std::uint32_t>(way); }
        std::size_t row() const { return way >> 32 & 0xffff; }
        std::size_t player() const { return way >> 48; }
    };
    struct To {  // where items go; without branches: an item is written to both lists, and kept in one or none
        const char* memory[2];  // nodes, leaf values, and how much of it each takes
        std::size_t each[2];
        Item *next, *ended;
        void put(std::int32_t node, std::uint64_t who, Points points) { write(node, who, points, points.any()); }
        void go(std::int32_t node, std::uint64_t who, Points points) { write(node, who, points, true); }
        void write(std::int32_t node, std::uint64_t who, Points points, bool any);
    };
    struct Own { std::int32_t node, row; };

    To after(Item* next, Item* ended) const;
    void own_ways(const Bench& b);
    void round(const Bench& b);
    bool nan_left(const Inner& n) const { return n.column >= player_.size() / 2; }
    void arrive(std::size_t t, const Bench& b) const;

    const CurvePlan& plan_;
    std::vector<std::int32_t> player_;  // of each column of Places
    std::vector<Points> whole_, now_;   // by player; of each row, those that meet the questions so far
    std::vector<Own> own_;
    std::vector<std::int32_t> own_leaf_;
    std::vector<Item> items_, next_, ended_;
    std::size_t many_ = 0, more_ = 0, ends_ = 0;
    std::span<const Inner> nodes_;
};

// One path after the other.
class Ways {
public:
    explicit Ways(const CurvePlan& plan);
    void tree(std::size_t t, const double* x, double* own, double* steps);

private:
    struct Turn { std::int32_t child; std::int32_t player; std::uint32_t begin, count; };  // points in stack_

    void astray(std::int32_t id, std::size_t player, std::uint32_t begin, std::uint32_t count, const double* x, double* steps);

    const CurvePlan& plan_;
    const Grid& grid_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> now_;  // by player: the points that meet its questions so far
    std::vector<std::int32_t> asked_;
    std::vector<Turn> turns_;
    Ranges stack_;
    const Node* root_ = nullptr;
    const double* own_ = nullptr;
    double weight_ = 1;
    std::size_t first_output_ = 0;
};

class Curves {
public:
    Curves(const CurvePlan& plan, const InstructionSet& set);

    const CurvePlan& plan;
    // The curves of the next few rows, eight at most. Returns how many.
    std::size_t some(Rows x, std::size_t first);
    const double* prediction(std::size_t i) const { return predictions_.data() + i * outputs_; }  // base included
    const double* delta(std::size_t i) const { return deltas_.data() + i * cells_; }  // (the grid's own points) x outputs: what a point adds to the prediction

private:
    void fill(Rows x, std::size_t first);
    void few_leaves(std::size_t from, std::size_t to);
    void sum(std::size_t eight);

    const InstructionSet& set_;
    std::size_t outputs_, cells_, block_;
    Bench bench_;
    std::size_t begin_ = 0, end_ = 0;  // of the block's rows
    Aligned<double> own_, steps_;
    Aligned<std::int32_t> classes_;                // eights x (columns + kAsked) x 8
    std::optional<Lists> lists_;
    std::optional<Ways> ways_;
    std::vector<double> predictions_, deltas_;
};

// out: rows x (total points as given) x outputs.
void individual(const CurvePlan& plan, Rows x, const InstructionSet& set, double* out);

// Adds to sum and squares, (total points) x outputs: weight * off and weight * off^2, where off is link(curve), less the link of the row's own prediction
// where that is wanted, less `centre`, (total points) x outputs.
void moments(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* weights, Link link, bool less_own, const double* centre, double* sum, double* squares);

// out: rows x players x outputs: the mean of a row's curve over the points, by their masses (total points).
void averages(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* masses, double* out);

}  // namespace whybox

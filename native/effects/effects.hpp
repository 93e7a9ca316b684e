// Feature effects of tree ensembles: a model's output with a player set to each point of a grid. docs/mathematics.md, "How are effects of tree ensembles computed?".
//
// Two ideas carry all of it. A column's values fall into classes that no question of the model tells apart, so a row or a grid is a few small
// integers (`Classes`); and a condition on a player is a set of grid points, a few ranges of them, whatever the split asks (`Grid`). Both are
// made with goes_left (core/split.hpp): nothing here knows `<`, `<=`, missing values or categories.
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

// Classes of a column's values, in increasing order: class i holds the values above edges[i - 1] and up to edges[i]; the last class is NaN.
class Classes {
public:
    explicit Classes(const Ensemble& e);

    std::span<const double> edges(std::size_t column) const { return edges_[column]; }
    std::uint32_t missing(std::size_t column) const { return static_cast<std::uint32_t>(edges_[column].size()) + 1; }
    void of(std::size_t column, const double* x, std::size_t stride, std::size_t count, std::uint32_t* out) const;
    double example(std::size_t column, std::uint32_t which) const;  // a value of a class
    // The classes below this one go left and the others right, but for NaN; -1: goes_left decides for each class (categories, zero as missing).
    std::int32_t cut(std::int64_t node) const { return cuts_[static_cast<std::size_t>(node)]; }

private:
    std::vector<std::vector<double>> edges_;
    std::vector<std::int32_t> cuts_;
};

struct Range { std::uint32_t from, to; };  // of grid points
using Ranges = std::vector<Range>;

struct Levels {  // what the caller hands over for one player
    std::vector<std::int32_t> columns;
    const double* values;  // points x columns
    std::size_t points;
};

// The points of every player, in an order of their own in which the points that go left at a node are a few ranges. Points that the
// model does not tell apart are one.
class Grid {
public:
    Grid(const Ensemble& e, const Classes& classes, std::span<const Levels> levels);

    const Ensemble& e;
    const Classes& classes;

    std::size_t players() const { return index_.size(); }
    int player(const Node& n) const { return of_column_[static_cast<std::size_t>(n.feature)]; }  // -1: nobody
    std::span<const std::int32_t> columns(std::size_t player) const { return columns_[player]; }
    std::size_t points(std::size_t player) const { return points_[player]; }
    std::size_t first(std::size_t player) const { return first_[player]; }  // where the player's points begin when all stand end to end
    std::size_t total() const { return first_.back(); }
    std::span<const std::uint32_t> index(std::size_t player) const { return index_[player]; }  // of the points as they were given
    bool missing(std::size_t player) const { return missing_[player] != 0; }                   // the player's last point is NaN

    // Where the points that go left end, NaN apart; kAsk: side() finds them with goes_left.
    static constexpr std::uint32_t kAsk = 0xffffffff;
    std::uint32_t cut(const Node& n) const { return plain_[static_cast<std::size_t>(&n - e.nodes.data())].cut; }

    // Adds to the end of `stack` what goes to one side of the node, of those points of its player that lie in stack[begin, begin + count); returns the
    // number of ranges.
    std::uint32_t side(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const {
        const Plain& p = plain_[static_cast<std::size_t>(&n - e.nodes.data())];
        if (p.cut == kAsk) return side_asked(n, left, begin, count, stack);
        const Range only = left ? Range{0, p.cut} : Range{p.cut, p.end};
        std::uint32_t many = 0;
        for (std::size_t k = begin; k < begin + count; ++k) {
            const Range r{std::max(stack[k].from, only.from), std::min(stack[k].to, only.to)};
            if (r.from < r.to) stack.push_back(r), ++many;
        }
        if (left && p.nan && count && stack[begin + count - 1].to > p.end) stack.push_back({p.end, p.end + 1}), ++many;
        return many;
    }

private:
    // A node whose left points are those before the cut, and NaN, the last point, if it goes left; `end`: the end of its right points.
    struct Plain { std::uint32_t cut, end; bool nan; };

    void by_class(const Levels& levels, std::size_t player, std::vector<std::vector<std::uint32_t>>& here);
    Plain plain(const Node& n, std::span<const std::uint32_t> here) const;
    void ask(const Node& n, const Levels& levels, std::size_t column);
    std::uint32_t side_asked(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const;

    std::vector<std::int32_t> of_column_;
    std::vector<std::vector<std::int32_t>> columns_;
    std::vector<std::size_t> points_, first_;
    std::vector<char> missing_;
    std::vector<std::vector<std::uint32_t>> index_;
    std::vector<std::vector<double>> values_;  // players of one column: a value of each point
    std::vector<Plain> plain_;                 // by node; kAsk: `end` is where its ranges are in pool_
    Ranges pool_;                              // those that go left, after an entry with their number
};

// A block of rows as classes, column by column; sets of rows are bits.
class Block {
public:
    static constexpr std::size_t kMost = 32768;  // so that the classes in one block can be numbered in 16 bits

    Block(const Classes& classes, const Ensemble& e, const InstructionSet& set);
    void fill(Rows x);
    std::size_t rows() const { return rows_; }
    std::size_t words() const { return lanes_ / 64; }
    void left(const Node& n, std::uint64_t* out);  // the rows that go left
    struct Test { const std::uint16_t* of_row; std::uint16_t cut, missing; bool missing_left, ask; };
    Test test(const Node& n) const;
    bool left(const Test& t, const Node& n, std::uint16_t row) const {
        const std::uint16_t c = t.of_row[row];
        if (t.ask) return asked(n, c);
        return c < t.cut || (c == t.missing && t.missing_left);
    }

private:
    bool asked(const Node& n, std::uint32_t which) const;
    void renumber(std::size_t column, std::vector<std::uint32_t>& those);

    const Classes& classes_;
    const Ensemble& e_;
    const InstructionSet& set_;
    std::vector<char> wanted_;                        // columns of splits
    std::size_t rows_ = 0, lanes_ = 0;
    Aligned<std::uint16_t> of_row_;                   // columns x lanes
    Aligned<std::uint64_t> missing_;                  // columns x words
    std::vector<char> any_missing_;
    std::vector<std::vector<std::uint32_t>> numbers_; // of columns with too many classes: those of this block
    std::vector<char> table_;
};

// Sums over rows of the model's outputs with one player, or the two of a pair, set to each of their points. A leaf counts, for each player on its path,
// the rows that meet its conditions on all the others (for pairs: on all others but two): bits while they are many, lists of rows when few are left.
// Everything but base, not divided by the rows' weight; fill() and add() may be called for many blocks of rows.
class Means {
public:
    using Pair = std::pair<std::int32_t, std::int32_t>;  // of players, the first the smaller

    Means(const Grid& grid, std::vector<Pair> pairs, const InstructionSet& set);

    const Grid& grid;
    const std::vector<Pair> pairs;

    void fill(Rows x, const double* weights);  // the rows that add() goes over, Block::kMost at most; null: each weighs one
    void add(TreeRange trees);
    void merge(const Means& other);
    void one(std::size_t player, double* out) const;  // points x outputs, in the grid's own order
    void pair(std::size_t which, double* out) const;  // points of the first x points of the second x outputs

private:
    struct Set { const std::uint64_t* bits; std::int32_t p, q; };  // rows that meet all but the players at these places, -1: nobody
    using Row = std::uint64_t;                                     // the same, a row at a time: 16 bits each for row, p, q (kNobody)
    using List = std::span<const Row>;
    struct Level { std::vector<Set> sets; Aligned<std::uint64_t> room, left, those[2]; };
    struct Place { std::int32_t player; std::uint32_t begin, end; };  // points that meet the player's conditions so far, in ranges_
    struct Surface { std::size_t body, one, two, rest; };             // in surfaces_
    struct Step { std::int32_t place; bool fresh; Place before, sides[2]; std::size_t kept; };

    Step enter(const Node& n);
    Place narrow(const Node& n, const Place& before, bool left);
    void leave(const Step& step);
    static bool open(const Step& step, bool left) { return step.place >= 0 && step.sides[left].begin < step.sides[left].end; }
    static std::uint64_t place_or_none(const Step& step) { return step.place < 0 ? kNobody - 1 : static_cast<std::uint64_t>(step.place); }
    std::int32_t surface(std::int32_t p, std::int32_t q) const;
    bool room(std::int32_t p, std::int32_t q, std::int32_t place) const { return q < 0 && (p < 0 || (two_ && surface(p, place) >= 0)); }
    void descend(std::int32_t id, std::size_t depth);
    void side(std::int32_t child, const Step& step, bool left, std::size_t depth);
    void side_leaf(const Node& n, const Step& step, bool left, const Level& here);
    bool few(std::int32_t id, std::size_t depth);
    void list(const std::vector<Set>& sets);
    void descend_rows(std::int32_t id, std::size_t depth, List those);
    void part_asked(const Node& n, const Step& step, List those, Row* (&to)[2]);
    void part_pairs(const Node& n, const Step& step, List those, Row* (&to)[2]);
    void count(List those);
    void start_counts();
    void record(std::int32_t p, std::int32_t q, double rows);
    void leaf(const Node& n);
    void leaf_pairs(const double* v, std::size_t width);
    double measure(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip);

    const InstructionSet& set_;
    Block block_;
    Aligned<double> weights_;
    bool weighted_ = false;
    std::size_t outputs_;
    bool two_;

    std::vector<double> total_, less_, steps_, surfaces_;  // total_: outputs; less_: players x outputs; steps_: differences between points
    std::vector<Surface> surface_of_;
    std::vector<std::int32_t> of_pair_;  // players x players, or empty

    // Of the path.
    std::vector<Level> levels_;
    std::vector<Place> places_;
    std::vector<std::int32_t> place_of_;  // of a player, or -1
    Ranges ranges_;
    std::vector<Row> few_;
    std::vector<char> pairs_with_;        // places that make a pair with the one asked now
    Aligned<std::uint64_t> everyone_, scratch_;

    // Of a leaf: rows that meet all of its conditions; by place, those but for this player's; by two places, those but for these players'.
    double all_ = 0;
    std::vector<double> but_, but_two_;

    // Of the tree.
    const Node* root_ = nullptr;
    std::vector<std::int32_t> below_;  // leaves
    double weight_ = 1;
    std::size_t first_output_ = 0;
};

// out: rows x players x outputs: the output with the player at point `high` less that with it at point `low` (rows x players, as given).
void shifted(const Ensemble& e, std::span<const Levels> levels, Rows x, const std::int32_t* low, const std::int32_t* high, double* out);

}  // namespace whybox

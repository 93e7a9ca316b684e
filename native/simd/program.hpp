// What the kernels of an instruction set work on, and the table of those kernels (InstructionSet, at the end).
// A tree compiled for lanes: an upper part that is walked node by node, and small subtrees ("bottoms") that are looked up in tables.
// Plain data only, so that code compiled for one instruction set and code compiled for another can share it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace whybox {

enum Compare : std::uint8_t {  // x < t, x <= t; or NaN
    kLess = 0,
    kLessOrNan = 1,
    kNotAbove = 2,
    kNotAboveOrNan = 3,
    kScalar = 4,  // a split that is no comparison (categories, zero as missing): goes_left decides row by row
};

struct Split {
    double threshold;      // already rounded to the columns' precision where that is float32
    std::int32_t feature;
    std::int32_t node;     // relative to the tree
    Compare kind;
};

struct Top {
    Split split;
    std::int32_t player;
    std::int32_t kid[2];   // left, right: another top, or ~bottom
    std::int32_t place;    // tables: bit of the path index that is this player's
    std::int64_t constants;
    bool repeat;           // the player has another split above on the path
};

// A bottom's index has one bit per split (the row goes left), then one per player with splits above (all met so far).
struct Bottom {
    std::int64_t table;
    std::int32_t first_split, first_player;  // into splits; into ints: the players of the table, then the players with a bit
    std::int16_t splits, players, repeats, bits;
};

template <class T>
struct TreeView {
    const Top* tops;
    const Split* splits;
    const Bottom* bottoms;
    const std::int32_t* ints;
    const T* tables;
    const T* constants;
    std::int64_t first_node;  // of the tree in the ensemble
    std::int32_t root;
    int q, width, first_output;
};

// Tables of whole patterns: a bottom's index has one bit per player of the path (met so far), then one per split of its subtree; its
// tables, one per cell, hold everything its leaves contribute. No constants and no quadrature are left when rows come.
struct Leaves {
    std::int64_t table;
    std::int32_t first_split, first_cell;  // into splits; into ints
    std::int32_t splits, cells, places, bits;
};

template <class T>
struct PatternView {
    const Top* tops;
    const Split* splits;
    const Leaves* bottoms;
    const std::int32_t* ints;
    const T* tables;
    std::int64_t first_node;
    std::int32_t root;
};

// One block of rows and room to work on it. Every pointer is aligned to 64 bytes.
template <class T, class C>
struct Desk {
    const C* columns;          // columns x lanes
    T* phi;                    // cells x lanes, added to
    T* product;                // (depth + 2) x q x lanes
    T* sums;                   // (depth + 2) x width x q x lanes
    void* path;                // pattern tables: (depth + 2) x groups of indices
    void* met;                 // players x groups of masks
    int outputs;
    const double* rows;        // the block's first row as the caller gave it, for scalar splits
    std::int64_t stride;       // its columns
    int last;                  // index of the block's last row; lanes beyond repeat it
    const void* ensemble;
    bool (*goes_left)(const void* ensemble, std::int64_t node, double x);
};

// What one instruction set offers. Blocks have `rows` rows; `mask_bytes` is what one player takes in Desk::met, `index_bytes` what one
// level takes in Desk::path; `table_bits` is the largest table looked up in registers (others are gathered), `walk_bits` the largest bottom of a walk.
template <class T, class C>
struct Walker {
    int rows, mask_bytes, index_bytes, table_bits, walk_bits;
    void (*reset)(void* met, void* path, int players);
    void (*walk)(const TreeView<T>& tree, Desk<T, C>& desk);
    void (*look_up)(const PatternView<T>& tree, Desk<T, C>& desk);
};

// A tree of at most 64 leaves, its leaves as bits, the leftmost the highest: a row reaches the first leaf that no split excludes (Lucchese
// et al., "QuickScorer", SIGIR 2015). Rows stand eight side by side.
constexpr int kBeside = 8;
struct Question { std::int32_t column, cut; std::uint64_t keeps; };  // classes that are not under the cut keep these leaves
struct Stretch { std::uint64_t keeps; std::int64_t cell; };          // points of a player that the tree does not tell apart: leaves they keep, where they begin
struct Party { std::int32_t questions, stretches; };                 // of a player (of nobody: no stretches)
struct LeafBits {
    const Question* questions;
    const Stretch* stretches;
    const Party* parties;
    const double* values;                                            // width x 2^bits, times the tree's weight
    std::int32_t many, bits, width, first_output;                    // many: parties
};

// Rows on their paths, each in one word: its number, and the places of the (at most two) players whose conditions it does not meet; 16 bits each.
constexpr std::uint64_t kNobody = 0xffff;
constexpr std::uint64_t as_row(std::uint64_t row, std::uint64_t p, std::uint64_t q) { return row | p << 16 | q << 32; }

// How a node splits rows that miss one player at most: classes under the cut and one more (beyond 16 bits: none) go left. A row also goes the other way if it
// misses nobody else than the node's player, at this place, and points of that player go there (open: right, left).
struct Parting {
    const std::uint16_t* of_row;
    std::uint32_t cut, also;
    std::uint64_t place;
    bool open[2];
};

struct InstructionSet {
    const char* name;
    bool (*available)();
    std::uint64_t (*left)(const double* column, double threshold, Compare kind);  // which of 64 values, aligned, go left
    // Sets of rows as bits, 64 a word, in memory that starts on a cache line (Aligned); numbers of words are multiples of eight.
    void (*below)(const std::uint16_t* classes, std::uint16_t cut, std::uint64_t* out, std::size_t words);  // rows of a class under the cut
    bool (*both)(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::uint64_t* out, std::size_t words);  // a and (b xor flip); any?
    std::size_t (*count)(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::size_t words);  // of a and (b xor flip)
    double (*weigh)(const std::uint64_t* a, const double* weights, std::size_t words);
    // to: right, left; moved to the end of what was written. There must be room for eight more.
    void (*part)(const Parting& how, const std::uint64_t* rows, std::size_t many, std::uint64_t* (&to)[2]);
    // classes: columns x 8 rows. Adds to own (outputs x 8) where the rows end, and to steps (cells x 8), where each stretch begins, what it adds to the one before
    // (the first: to own).
    void (*turn)(const LeafBits& tree, const std::int32_t* classes, double* own, double* steps);
    Walker<float, float> single;
    Walker<float, double> mixed;    // float32 arithmetic over columns that are compared in float64
    Walker<double, double> exact;
};

}  // namespace whybox

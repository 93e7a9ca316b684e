// What the kernels of an instruction set work on, and the table of those kernels (InstructionSet, at the end).
// A tree compiled for lanes: an upper part that is walked node by node, and small subtrees that are looked up in tables.
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
    kScalar = 4,  // a split that is not a comparison (categories, zero as missing): goes_left decides row by row
};

struct Split {
    double threshold;      // already rounded to the columns' precision where that is float32
    std::int32_t feature;
    std::int32_t node;     // relative to the tree
    Compare kind;
};

struct UpperNode {
    Split split;
    std::int32_t player;
    std::int32_t child[2];  // left, right: another upper node, or ~subtree
    std::int32_t position;  // tables: bit of the path index that is this player's; walk of interactions: into indices (compile_walk.cpp, list_below)
    std::int64_t constants;
    bool repeated;          // the player has another split above on the path
};

// A subtree's index has one bit per split (the row goes left), then one per player with splits above (the row meets them all so far).
// Walk of interactions: in indices, the cells of the pairs of its players follow.
struct SubtreeTables {
    std::int64_t table;
    std::int32_t first_split, first_player;  // into splits; into indices: the players of the table, then the players with a bit
    std::int16_t splits, players, repeated, bits, pairs;
};

template <class T>
struct TreeView {
    const UpperNode* upper_nodes;
    const Split* splits;
    const SubtreeTables* subtrees;
    const std::int32_t* indices;
    const T* tables;
    const T* constants;
    const std::int32_t* first_sum;  // walk of interactions: for each depth, where its subtrees' sums begin (depth + 2 numbers)
    std::int64_t first_node;  // of the tree in the ensemble
    std::int32_t root;
    int q, leaf_width, first_output;
};

// Tables of whole patterns: a subtree's index has one bit per player of the path (the row meets its splits so far), then one per split of the subtree;
// its tables, one per cell, hold everything its leaves contribute. Rows then need no constants and no quadrature.
struct PatternTables {
    std::int64_t table;
    std::int32_t first_split, first_cell;  // into splits; into indices
    std::int32_t splits, cells, path_players, bits;
};

template <class T>
struct PatternView {
    const UpperNode* upper_nodes;
    const Split* splits;
    const PatternTables* subtrees;
    const std::int32_t* indices;
    const T* tables;
    std::int64_t first_node;
    std::int32_t root;
};

// One block of rows and the buffers to work on it. Every pointer is aligned to 64 bytes.
template <class T, class C>
struct LaneBlock {
    const C* columns;  // columns x lanes
    T* results;        // cells x lanes, added to
    T* product;        // (depth + 2) x q x lanes
    T* subtree_sums;   // (depth + 2) x width x q x lanes; walk of interactions: the last of first_sum x q x lanes
    void* path;        // pattern tables: (depth + 2) x vectors of indices
    void* masks;       // players x vectors of masks
    int outputs;
    const double* rows;   // the block's first row as the caller gave it, for scalar splits
    std::int64_t stride;  // its columns
    int last;             // index of the block's last row; lanes beyond repeat it
    const void* ensemble;
    bool (*goes_left)(const void* ensemble, std::int64_t node, double x);
};

// What one instruction set offers. Blocks have `rows` rows; `mask_bytes` is what one player takes in LaneBlock::masks, `index_bytes` what one
// level takes in LaneBlock::path; `table_bits` is the largest table looked up in registers (others are gathered), `max_walk_bits` the largest subtree
// of a walk.
template <class T, class C>
struct LaneKernels {
    int rows, mask_bytes, index_bytes, table_bits, max_walk_bits;
    void (*reset)(void* masks, void* path, int players);
    void (*walk)(const TreeView<T>& tree, LaneBlock<T, C>& block);
    void (*walk_interactions)(const TreeView<T>& tree, LaneBlock<T, C>& block);
    void (*look_up)(const PatternView<T>& tree, LaneBlock<T, C>& block);
};

// A tree of at most 64 leaves, its leaves as bits, the leftmost the highest: a row reaches the first leaf that no split excludes (Lucchese
// et al., "QuickScorer", SIGIR 2015). Rows stand eight side by side.
constexpr int kGroupRows = 8;
struct SplitMask { std::int32_t column, cut; std::uint64_t leaves; };  // intervals not below the cut exclude all leaves but these
struct PointRange { std::uint64_t leaves; std::int64_t cell; };        // points of a player with equal paths: the leaves they do not exclude, where they begin
struct PlayerSplits { std::int32_t splits, ranges; };                  // counts for one player (splits of no player: no ranges)
struct LeafBits {
    const SplitMask* splits;
    const PointRange* ranges;
    const PlayerSplits* player_splits;
    const double* values;  // leaf_width x 2^bits, times the tree's weight
    std::int32_t players, bits, leaf_width, first_output;
};

// Losses of a row, and the link between the model's raw outputs and the predictions that they compare with the truth.
enum class Link { identity, logistic, exponential, softmax };
enum class LossKind { squared, absolute, pinball, log, brier, zero_one, poisson };  // poisson: behind the exponential link alone
struct RowLoss {
    LossKind kind;
    Link link;
    double scale, level;  // raw outputs are multiplied by the scale before the link; level: of pinball
};

// The losses of eight rows side by side with one player set to each of its points. Rows stand in the last dimension of 8.
struct LossCurve {
    RowLoss loss;
    std::int64_t points, outputs, stride;  // outputs: that the loss reads, one or all of several classes; stride: from point to point in differences
    const double* predictions;             // outputs x 8
    const double* differences;             // points x stride; what each point adds to the one before
    const double* truth;                   // 8: a number, or the position of the true class
    const std::int32_t* own_point;         // 8: where each row stands
    const double* row_weights;             // 8
    const double* point_weights;           // points
    double* values;                        // points x outputs x 8: the raw outputs; then, points x 8, the loss less that at the row's own point
    double* of_row;                        // 8: the sum of these over points, by their weights
    double* at_points;                     // points x 8: added to, by the rows' weights
};

// Rows on their paths, each in one word: its number, and the positions of the (at most two) players whose splits it does not meet; 16 bits each.
constexpr std::uint64_t kNoPlayer = 0xffff;
constexpr std::uint64_t pack_row(std::uint64_t row, std::uint64_t p, std::uint64_t q) { return row | p << 16 | q << 32; }

// How a node splits rows that fail at most one player's splits: intervals below the cut and one extra (beyond 16 bits: none) go left. A row also goes to
// the other side if it fails only the splits of the node's player, at this position, and points of that player go there (has_points: right, left).
struct RowPartition {
    const std::uint16_t* of_row;
    std::uint32_t cut, extra;
    std::uint64_t position;
    bool has_points[2];
};

// Squared distances of a group of rows to the nearest of some points.
constexpr int kNearestGroup = 32;
struct NearestRows {
    std::int64_t dimensions, stride;  // stride: rows of all groups
    const double* rows;               // dimensions x stride
    std::int64_t first_row;           // of the group
    const double* points;             // points x dimensions
    const std::int64_t* itself;       // points: the row that is this point and not compared with it; -1: none
    std::int64_t first_point, last_point;
    double* out;                      // 32; infinite where there is no other point
};

// Products with one factor a player, side by side, for one row against some background rows (attribution/product_games.hpp). Arrays start on a cache line.
constexpr int kProductsAtOnce = 8;
struct ProductGames {
    std::int64_t players, nodes, background;  // nodes: an even number
    const double* row;                        // players x 8
    const double* donors;                     // background x players x 8
    const double* weights;                    // background
    const double *node, *node_weight;
    double* scratch;                          // 6 x players x 8
    double* out;                              // players x 8, added to
};

// Trees whose columns are independent (attribution/product_law.hpp). A node has four tables, an entry a law of its player: the masses of the
// left and of the right child as a share of the node's, then by how much the derivative of each child's mass, as a share of that mass, is above the
// node's.
struct ProductNode { std::int32_t player, child[2]; };  // child: another node, or ~leaf
struct ProductTree { std::int32_t root, first_output; };
struct ProductTrees {
    const ProductNode* nodes;
    const ProductTree* trees;
    const double* leaf_values;  // leaves x leaf_width, times the trees' weights
    const double* tables;       // from the first node on
    std::int64_t count, first_node;
    std::int32_t leaf_width, outputs, players;
};

// One block of rows and the buffers to work on it. Every pointer is aligned to 64 bytes.
struct ProductBlock {
    const std::int64_t* law_index;  // players x rows, as ProductKernels::law_index makes it
    double* products;               // (depth + 2) x rows
    double* sums;                   // (depth + 2) x leaf_width x rows
    double* results;                // (players + 1) x outputs x rows, added to: the derivative for each player, then the expectation
};

struct Range { std::uint32_t from, to; };        // of grid points
struct PointSet { std::uint32_t begin, count; };  // ranges of points
struct EdgePoints {  // of a node: the points of its player that meet all splits down to each child
    PointSet sides[2];
    std::int32_t previous;  // the last edge above of the same player: twice its node's position among the player's, plus its side; -1: there is none
};

// The nodes of one player, and its laws: as many side by side as the tables have entries.
struct LawEdges {
    const double *mass, *derivative;  // laws x points
    const std::int64_t* law_of_lane;
    std::int64_t points, count, first, first_node;  // count: nodes; first: position among the player's nodes
    const std::int32_t* nodes;
    const EdgePoints* edges;  // of every node
    const Range* ranges;
    double* sums;    // scratch, law_sums(points) x 2 x laws
    double* states;  // scratch, count x 8 x laws: of both edges of a node, the mass twice and the derivative divided by it twice
    double* tables;  // from the first node on
};
constexpr std::int64_t kPointBlock = 16;
constexpr std::int64_t law_sums(std::int64_t points) {
    const std::int64_t blocks = (points + kPointBlock - 1) / kPointBlock;
    std::int64_t levels = 1;
    while (std::int64_t{1} << levels < blocks) ++levels;
    return 3 * points + levels * blocks;
}

struct ProductKernels {
    int rows;  // of a block
    std::int64_t (*law_index)(std::int64_t law);
    void (*fill_tables[3])(const LawEdges& edges);  // tables of 4, 8, 16 laws
    void (*add[3])(const ProductTrees& trees, const ProductBlock& block);  // tables of 4, 8, 16 laws
    void (*add_eight)(const ProductTrees& trees, const ProductBlock& block);  // blocks of kGroupRows, tables of 8 laws
};

struct InstructionSet {
    const char* name;
    bool (*available)();
    std::uint64_t (*goes_left)(const double* column, double threshold, Compare kind);  // which of 64 values, aligned, go left
    // Sets of rows as bits, 64 a word, in memory that starts on a cache line (AlignedArray); numbers of words are multiples of eight.
    void (*intervals_below)(const std::uint16_t* intervals, std::uint16_t cut, std::uint64_t* out, std::size_t words);  // rows of an interval below the cut
    bool (*intersect)(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::uint64_t* out, std::size_t words);  // a and (b xor flip); any?
    std::size_t (*count_intersection)(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::size_t words);  // of a and (b xor flip)
    double (*sum_weights)(const std::uint64_t* a, const double* weights, std::size_t words);
    // to: right, left; moved to the end of what was written. There must be space for eight more.
    void (*partition)(const RowPartition& partition, const std::uint64_t* rows, std::size_t count, std::uint64_t* (&to)[2]);
    // intervals: columns x 8 rows. Adds the rows' own leaves to predictions (outputs x 8), and to differences (cells x 8), where each range begins, its
    // difference to the range before (of the first: to the prediction).
    void (*add_curves)(const LeafBits& tree, const std::int32_t* intervals, double* predictions, double* differences);
    void (*curve_values)(const LossCurve& curve);  // fills in its values
    void (*losses)(const LossCurve& curve);        // raw outputs in its values become losses; reads loss, points, outputs and truth alone
    void (*curve_losses)(const LossCurve& curve);  // the same, and these are added up
    void (*exponentials)(double* values, std::size_t count);  // in place; count is a multiple of eight
    void (*logarithms)(double* values, std::size_t count);
    void (*nearest_squares)(const NearestRows& rows);
    void (*product_games)(const ProductGames& games);
    ProductKernels products;
    LaneKernels<float, float> single;
    LaneKernels<float, double> mixed;    // float32 arithmetic over columns that are compared in float64
    LaneKernels<double, double> exact;
};

}  // namespace whybox

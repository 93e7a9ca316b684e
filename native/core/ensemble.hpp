// A tree ensemble as flat arrays, checked once when made. Only bindings/ knows Python.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace whybox {

// How one node routes a value; the meaning of every bit is in split.hpp and in models/trees.py, nowhere else.
enum Flag : std::uint8_t {
    kLessEqual = 1,     // x <= threshold goes left (else x < threshold)
    kSingle = 2,        // the library rounds x to float32 first
    kMissingLeft = 4,   // a missing value goes left
    kZeroMissing = 8,   // zero counts as missing
    kNanAsZero = 16,    // NaN is read as zero
    kCategorical = 32,  // membership of a set instead of a comparison
    kSetRight = 64,     // members of the set go right (else left)
    kTinyAsZero = 128,  // a value within 1e-35 of zero is read as zero; of a category, the fraction is cut off
};

struct Node {
    double threshold;
    double cover;
    std::int64_t set_begin;  // first word of the category set
    std::int32_t set_words;  // words of 32 categories; negative: that many categories, in increasing order
    std::int32_t left, right;  // relative to the tree's first node; -1 at a leaf
    std::int32_t feature;
    std::int32_t leaf;  // row of leaf_values; -1 inside
    std::uint8_t flags;
};

struct EnsembleArrays {  // the caller's arrays, one entry a node unless a comment says otherwise
    std::span<const std::int64_t> tree_offsets;  // trees + 1
    std::span<const std::int32_t> left, right, feature, leaf;
    std::span<const double> threshold, cover;
    std::span<const std::uint8_t> flags;
    std::span<const std::int64_t> set_begin;
    std::span<const std::int32_t> set_words;
    std::span<const std::uint32_t> sets;         // all category sets, as bits or as lists
    std::span<const double> leaf_values;         // leaves x width
    std::span<const std::int32_t> tree_output;   // trees; -1: the leaf holds every output
    std::span<const double> tree_weight;         // trees
    std::span<const double> base;                // outputs
    std::span<const std::int64_t> linear_offset; // leaves + 1, or empty
    std::span<const std::int32_t> linear_feature;
    std::span<const double> linear_coef;
    std::span<const double> linear_const;        // leaves, or empty
    std::int32_t columns;
};

class Ensemble {
public:
    explicit Ensemble(const EnsembleArrays& a);  // throws std::invalid_argument naming what is wrong

    std::vector<Node> nodes;
    std::vector<std::int64_t> tree_offsets;
    std::vector<std::uint32_t> sets;
    std::vector<double> leaf_values;
    std::vector<std::int32_t> tree_output;
    std::vector<double> tree_weight;
    std::vector<double> base;
    std::vector<std::int64_t> linear_offset;
    std::vector<std::int32_t> linear_feature;
    std::vector<double> linear_coef, linear_const;
    std::int32_t columns;
    int leaf_width;          // values per leaf
    std::vector<int> depth;  // per tree: edges on the longest path

    std::size_t trees() const { return tree_output.size(); }
    int outputs() const { return static_cast<int>(base.size()); }
    const Node* root(std::size_t tree) const { return nodes.data() + tree_offsets[tree]; }
    bool has_linear_leaves() const { return !linear_offset.empty(); }
    int first_output(std::size_t tree) const { return tree_output[tree] < 0 ? 0 : tree_output[tree]; }
    const double* values_of(const Node& leaf) const { return leaf_values.data() + static_cast<std::size_t>(leaf.leaf) * leaf_width; }

    // Share of a node's training weight that went to a child; a node that saw none is split evenly.
    static double cover_share(const Node& node, const Node& child) { return node.cover > 0 ? child.cover / node.cover : 0.5; }
};

}  // namespace whybox

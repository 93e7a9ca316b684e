#include "core/ensemble.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>

namespace whybox {
namespace {

[[noreturn]] void invalid_node(const std::string& what, std::size_t where) {
    throw std::invalid_argument(what + " at node " + std::to_string(where));
}

template <class T>
std::vector<T> to_vector(std::span<const T> s) { return {s.begin(), s.end()}; }

void check_lengths(const EnsembleArrays& a) {
    const std::size_t node_count = a.left.size(), trees = a.tree_output.size();
    const bool same = a.right.size() == node_count && a.feature.size() == node_count && a.leaf.size() == node_count && a.threshold.size() == node_count
        && a.cover.size() == node_count &&
                      a.flags.size() == node_count && a.set_begin.size() == node_count && a.set_words.size() == node_count;
    if (!same) throw std::invalid_argument("node arrays differ in length");
    if (a.tree_offsets.size() != trees + 1 || a.tree_weight.size() != trees) throw std::invalid_argument("tree arrays differ in length");
    if (a.tree_offsets.front() != 0 || a.tree_offsets.back() != static_cast<std::int64_t>(node_count)) throw std::invalid_argument("tree offsets do not span the nodes");
    if (a.base.empty()) throw std::invalid_argument("no outputs");
}

// Children lie after their parent and inside the tree, and every node but the root has one parent: no cycle, no orphan.
int check_tree(const EnsembleArrays& a, std::int64_t begin, std::int64_t end, std::size_t leaves, std::size_t n_set_words) {
    if (end <= begin) throw std::invalid_argument("a tree without nodes");
    const auto node_count = static_cast<std::int32_t>(end - begin);
    std::vector<int> depth(node_count, -1);
    depth[0] = 0;
    int max_depth = 0;
    for (std::int32_t i = 0; i < node_count; ++i) {
        const std::size_t index = begin + i;
        if (depth[i] < 0) invalid_node("no parent", index);
        max_depth = std::max(max_depth, depth[i]);
        if (a.left[index] < 0) {
            if (a.leaf[index] < 0 || static_cast<std::size_t>(a.leaf[index]) >= leaves) invalid_node("leaf value out of range", index);
            continue;
        }
        if (a.feature[index] < 0 || a.feature[index] >= a.columns) invalid_node("feature out of range", index);
        if (a.flags[index] & kCategorical) {
            const std::int64_t first_word = a.set_begin[index], word_count = std::abs(static_cast<std::int64_t>(a.set_words[index]));
            if (first_word < 0 || first_word + word_count > static_cast<std::int64_t>(n_set_words)) invalid_node("category set out of range", index);
            const auto first = a.sets.begin() + first_word;
            if (a.set_words[index] < 0 && std::adjacent_find(first, first + word_count,
                std::greater_equal<>()) != first + word_count) invalid_node("category list out of order", index);
        }
        for (const std::int32_t child : {a.left[index], a.right[index]}) {
            if (child <= i || child >= node_count || depth[child] >= 0) invalid_node("child out of order", index);
            depth[child] = depth[i] + 1;
        }
    }
    return max_depth;
}

}  // namespace

Ensemble::Ensemble(const EnsembleArrays& a)
    : tree_offsets(to_vector(a.tree_offsets)), sets(to_vector(a.sets)), leaf_values(to_vector(a.leaf_values)), tree_output(to_vector(a.tree_output)),
      tree_weight(to_vector(a.tree_weight)), base(to_vector(a.base)), linear_offset(to_vector(a.linear_offset)), linear_feature(to_vector(a.linear_feature)),
      linear_coef(to_vector(a.linear_coef)), linear_const(to_vector(a.linear_const)), columns(a.columns) {
    check_lengths(a);
    bool has_vector_leaves = false;
    for (const auto o : tree_output) {
        if (o < -1 || o >= outputs()) throw std::invalid_argument("tree output out of range");
        has_vector_leaves |= o < 0;
    }
    leaf_width = has_vector_leaves ? outputs() : 1;
    if (has_vector_leaves && outputs() > 1)
        for (const auto o : tree_output)
            if (o >= 0) throw std::invalid_argument("scalar and vector trees in one ensemble");
    const std::size_t leaves = leaf_values.size() / leaf_width;
    if (leaves * leaf_width != leaf_values.size()) throw std::invalid_argument("leaf values are not leaves x outputs");
    if (has_linear_leaves() && (linear_offset.size() != leaves + 1 || linear_const.size() != leaves || leaf_width != 1 || linear_coef.size() != linear_feature.size() ||
                     linear_offset.back() != static_cast<std::int64_t>(linear_coef.size())))
        throw std::invalid_argument("linear leaves do not match the leaves");
    for (const auto f : linear_feature)
        if (f < 0 || f >= columns) throw std::invalid_argument("linear leaf feature out of range");
    depth.reserve(trees());
    for (std::size_t t = 0; t < trees(); ++t) depth.push_back(check_tree(a, tree_offsets[t], tree_offsets[t + 1], leaves, sets.size()));
    nodes.reserve(a.left.size());
    for (std::size_t i = 0; i < a.left.size(); ++i)
        nodes.push_back({a.threshold[i], a.cover[i], a.set_begin[i], a.set_words[i], a.left[i], a.right[i], a.feature[i], a.leaf[i], a.flags[i]});
}

}  // namespace whybox

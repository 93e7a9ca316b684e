#include "core/ensemble.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>

namespace whybox {
namespace {

[[noreturn]] void bad(const std::string& what, std::size_t where) {
    throw std::invalid_argument(what + " at node " + std::to_string(where));
}

template <class T>
std::vector<T> copy(std::span<const T> s) { return {s.begin(), s.end()}; }

void check_lengths(const Arrays& a) {
    const std::size_t n = a.left.size(), trees = a.tree_output.size();
    const bool same = a.right.size() == n && a.feature.size() == n && a.leaf.size() == n && a.threshold.size() == n && a.cover.size() == n &&
                      a.flags.size() == n && a.set_begin.size() == n && a.set_words.size() == n;
    if (!same) throw std::invalid_argument("node arrays differ in length");
    if (a.tree_offsets.size() != trees + 1 || a.tree_weight.size() != trees) throw std::invalid_argument("tree arrays differ in length");
    if (a.tree_offsets.front() != 0 || a.tree_offsets.back() != static_cast<std::int64_t>(n)) throw std::invalid_argument("tree offsets do not span the nodes");
    if (a.base.empty()) throw std::invalid_argument("no outputs");
}

// Children lie after their parent and inside the tree, and every node but the root has one parent: no cycle, no orphan.
int check_tree(const Arrays& a, std::int64_t begin, std::int64_t end, std::size_t leaves, std::size_t set_total) {
    if (end <= begin) throw std::invalid_argument("a tree without nodes");
    const auto n = static_cast<std::int32_t>(end - begin);
    std::vector<int> depth(n, -1);
    depth[0] = 0;
    int deepest = 0;
    for (std::int32_t i = 0; i < n; ++i) {
        const std::size_t g = begin + i;
        if (depth[i] < 0) bad("no parent", g);
        deepest = std::max(deepest, depth[i]);
        if (a.left[g] < 0) {
            if (a.leaf[g] < 0 || static_cast<std::size_t>(a.leaf[g]) >= leaves) bad("leaf value out of range", g);
            continue;
        }
        if (a.feature[g] < 0 || a.feature[g] >= a.columns) bad("feature out of range", g);
        if (a.flags[g] & kCategorical) {
            const std::int64_t from = a.set_begin[g], words = std::abs(static_cast<std::int64_t>(a.set_words[g]));
            if (from < 0 || from + words > static_cast<std::int64_t>(set_total)) bad("category set out of range", g);
            const auto first = a.sets.begin() + from;
            if (a.set_words[g] < 0 && std::adjacent_find(first, first + words, std::greater_equal<>()) != first + words) bad("category list out of order", g);
        }
        for (const std::int32_t child : {a.left[g], a.right[g]}) {
            if (child <= i || child >= n || depth[child] >= 0) bad("child out of order", g);
            depth[child] = depth[i] + 1;
        }
    }
    return deepest;
}

}  // namespace

Ensemble::Ensemble(const Arrays& a)
    : tree_offsets(copy(a.tree_offsets)), sets(copy(a.sets)), leaf_values(copy(a.leaf_values)), tree_output(copy(a.tree_output)),
      tree_weight(copy(a.tree_weight)), base(copy(a.base)), linear_offset(copy(a.linear_offset)), linear_feature(copy(a.linear_feature)),
      linear_coef(copy(a.linear_coef)), linear_const(copy(a.linear_const)), columns(a.columns) {
    check_lengths(a);
    bool vector = false;
    for (const auto o : tree_output) {
        if (o < -1 || o >= outputs()) throw std::invalid_argument("tree output out of range");
        vector |= o < 0;
    }
    width = vector ? outputs() : 1;
    if (vector && outputs() > 1)
        for (const auto o : tree_output)
            if (o >= 0) throw std::invalid_argument("scalar and vector trees in one ensemble");
    const std::size_t leaves = leaf_values.size() / width;
    if (leaves * width != leaf_values.size()) throw std::invalid_argument("leaf values are not leaves x outputs");
    if (linear() && (linear_offset.size() != leaves + 1 || linear_const.size() != leaves || width != 1 || linear_coef.size() != linear_feature.size() ||
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

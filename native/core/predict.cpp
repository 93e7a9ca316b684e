#include "core/predict.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "core/split.hpp"

namespace whybox {
namespace {

constexpr std::size_t kTraversals = 8;      // traversals at a time, so that one node is fetched while the other rows are compared
constexpr std::size_t kRowsPerBlock = 512;  // rows that go through a tree before the next tree is read

struct Traversal {
    const Node* node;
    const Node* root;
    const double* x;
};

// Moves every traversal from its root to its leaf.
void traverse(const Ensemble& e, std::span<Traversal> traversals) {
    for (auto& w : traversals) w.node = w.root;
    for (bool moved = true; moved;) {
        moved = false;
        for (auto& w : traversals) {
            const Node& current = *w.node;
            if (current.left < 0) continue;
            const std::int32_t children[2] = {current.right, current.left};
            w.node = w.root + children[goes_left(e, current, w.x[current.feature])];
            moved = true;
        }
    }
}

// Calls visit(row, tree, leaf); for each row, trees come in order.
template <class Visit>
void for_each_leaf(const Ensemble& e, Rows x, TreeRange trees, const Visit& visit) {
    const auto [first_tree, last_tree] = trees;
    Traversal traversals[kTraversals];
    if (x.rows < kTraversals) {
        for (std::size_t i = 0; i < x.rows; ++i)
            for (std::size_t t = first_tree; t < last_tree; t += kTraversals) {
                const std::size_t count = std::min(kTraversals, last_tree - t);
                for (std::size_t k = 0; k < count; ++k) traversals[k] = {nullptr, e.root(t + k), x.row(i)};
                traverse(e, {traversals, count});
                for (std::size_t k = 0; k < count; ++k) visit(i, t + k, *traversals[k].node);
            }
        return;
    }
    for (std::size_t first = 0; first < x.rows; first += kRowsPerBlock) {
        const std::size_t last = std::min(first + kRowsPerBlock, x.rows);
        for (std::size_t t = first_tree; t < last_tree; ++t)
            for (std::size_t i = first; i < last; i += kTraversals) {
                const std::size_t count = std::min(kTraversals, last - i);
                for (std::size_t k = 0; k < count; ++k) traversals[k] = {nullptr, e.root(t), x.row(i + k)};
                traverse(e, {traversals, count});
                for (std::size_t k = 0; k < count; ++k) visit(i + k, t, *traversals[k].node);
            }
    }
}

double linear_value(const Ensemble& e, const Node& leaf, const double* x) {
    double value = e.linear_const[leaf.leaf];
    for (auto k = e.linear_offset[leaf.leaf]; k < e.linear_offset[leaf.leaf + 1]; ++k) {
        const double v = x[e.linear_feature[k]];
        if (std::isnan(v)) return *e.values_of(leaf);
        value += e.linear_coef[k] * v;
    }
    return value;
}

}  // namespace

void predict(const Ensemble& e, Rows x, TreeRange trees, double* out) {
    const auto k = static_cast<std::size_t>(e.outputs());
    for (std::size_t i = 0; i < x.rows; ++i) std::copy(e.base.begin(), e.base.end(), out + i * k);
    add_trees(e, x, trees, out);
}

void add_trees(const Ensemble& e, Rows x, TreeRange trees, double* out) {
    const auto k = static_cast<std::size_t>(e.outputs());
    for_each_leaf(e, x, trees, [&](std::size_t i, std::size_t t, const Node& leaf) {
        double* o = out + i * k + e.first_output(t);
        const double w = e.tree_weight[t];
        if (e.has_linear_leaves()) {
            *o += w * linear_value(e, leaf, x.row(i));
            return;
        }
        const double* v = e.values_of(leaf);
        for (int c = 0; c < e.leaf_width; ++c) o[c] += w * v[c];
    });
}

void reached_leaves(const Ensemble& e, Rows x, std::int32_t* out) {
    for_each_leaf(e, x, {0, e.trees()}, [&](std::size_t i, std::size_t t, const Node& leaf) { out[i * e.trees() + t] = static_cast<std::int32_t>(&leaf - e.root(t)); });
}

void expectation(const Ensemble& e, double* out) {
    std::copy(e.base.begin(), e.base.end(), out);
    std::vector<double> reach;
    for (std::size_t t = 0; t < e.trees(); ++t) {
        const Node* root = e.root(t);
        const auto n = static_cast<std::size_t>(e.tree_offsets[t + 1] - e.tree_offsets[t]);
        reach.assign(n, 0.0);
        reach[0] = 1.0;
        for (std::size_t i = 0; i < n; ++i) {  // children lie after their parent
            const Node& node = root[i];
            if (node.left < 0) {
                const double* v = e.values_of(node);
                for (int c = 0; c < e.leaf_width; ++c) out[e.first_output(t) + c] += e.tree_weight[t] * v[c] * reach[i];
                continue;
            }
            for (const auto child : {node.left, node.right}) reach[child] = reach[i] * Ensemble::cover_share(node, root[child]);
        }
    }
}

}  // namespace whybox

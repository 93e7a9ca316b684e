#include "core/predict.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "core/split.hpp"

namespace whybox {
namespace {

constexpr std::size_t kAbreast = 8;  // walks at a time, so that one node is fetched while the other rows are compared
constexpr std::size_t kTogether = 512;  // rows that walk a tree before the next tree is read

struct Walk {
    const Node* at;
    const Node* root;
    const double* x;
};

// Moves every walk from its root to its leaf.
void walk(const Ensemble& e, std::span<Walk> walks) {
    for (auto& w : walks) w.at = w.root;
    for (bool on = true; on;) {
        on = false;
        for (auto& w : walks) {
            const Node& n = *w.at;
            if (n.left < 0) continue;
            const std::int32_t kids[2] = {n.right, n.left};
            w.at = w.root + kids[goes_left(e, n, w.x[n.feature])];
            on = true;
        }
    }
}

// Calls use(row, tree, leaf); for each row, trees come in order.
template <class Use>
void each_leaf(const Ensemble& e, Rows x, TreeRange trees, const Use& use) {
    const auto [from, to] = trees;
    Walk walks[kAbreast];
    if (x.rows < kAbreast) {
        for (std::size_t i = 0; i < x.rows; ++i)
            for (std::size_t t = from; t < to; t += kAbreast) {
                const std::size_t many = std::min(kAbreast, to - t);
                for (std::size_t k = 0; k < many; ++k) walks[k] = {nullptr, e.root(t + k), x.row(i)};
                walk(e, {walks, many});
                for (std::size_t k = 0; k < many; ++k) use(i, t + k, *walks[k].at);
            }
        return;
    }
    for (std::size_t first = 0; first < x.rows; first += kTogether) {
        const std::size_t last = std::min(first + kTogether, x.rows);
        for (std::size_t t = from; t < to; ++t)
            for (std::size_t i = first; i < last; i += kAbreast) {
                const std::size_t many = std::min(kAbreast, last - i);
                for (std::size_t k = 0; k < many; ++k) walks[k] = {nullptr, e.root(t), x.row(i + k)};
                walk(e, {walks, many});
                for (std::size_t k = 0; k < many; ++k) use(i + k, t, *walks[k].at);
            }
    }
}

double linear_value(const Ensemble& e, const Node& leaf, const double* x) {
    double value = e.linear_const[leaf.leaf];
    for (auto k = e.linear_offset[leaf.leaf]; k < e.linear_offset[leaf.leaf + 1]; ++k) {
        const double v = x[e.linear_feature[k]];
        if (std::isnan(v)) return *e.values(leaf);
        value += e.linear_coef[k] * v;
    }
    return value;
}

}  // namespace

void predict(const Ensemble& e, Rows x, TreeRange trees, double* out) {
    const auto k = static_cast<std::size_t>(e.outputs());
    for (std::size_t i = 0; i < x.rows; ++i) std::copy(e.base.begin(), e.base.end(), out + i * k);
    each_leaf(e, x, trees, [&](std::size_t i, std::size_t t, const Node& leaf) {
        double* o = out + i * k + e.first_output(t);
        const double w = e.tree_weight[t];
        if (e.linear()) {
            *o += w * linear_value(e, leaf, x.row(i));
            return;
        }
        const double* v = e.values(leaf);
        for (int c = 0; c < e.width; ++c) o[c] += w * v[c];
    });
}

void leaves(const Ensemble& e, Rows x, std::int32_t* out) {
    each_leaf(e, x, {0, e.trees()}, [&](std::size_t i, std::size_t t, const Node& leaf) { out[i * e.trees() + t] = static_cast<std::int32_t>(&leaf - e.root(t)); });
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
                const double* v = e.values(node);
                for (int c = 0; c < e.width; ++c) out[e.first_output(t) + c] += e.tree_weight[t] * v[c] * reach[i];
                continue;
            }
            for (const auto child : {node.left, node.right}) reach[child] = reach[i] * Ensemble::ratio(node, root[child]);
        }
    }
}

}  // namespace whybox

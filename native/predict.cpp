#include "kernels.hpp"
#include "split.hpp"

#include <vector>

namespace whybox {
namespace {

const Node* find_leaf(const Ensemble& e, const Node* root, const double* x) {
    const Node* n = root;
    while (n->left >= 0) n = root + (goes_left(e, *n, x[n->feature]) ? n->left : n->right);
    return n;
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

void predict(const Ensemble& e, Rows x, double* out) {
    const int k = e.outputs();
    for (std::size_t i = 0; i < x.rows; ++i) {
        double* o = out + i * k;
        std::copy(e.base.begin(), e.base.end(), o);
        for (std::size_t t = 0; t < e.trees(); ++t) {
            const Node& leaf = *find_leaf(e, e.root(t), x.row(i));
            const double w = e.tree_weight[t];
            if (e.linear()) {
                o[e.first_output(t)] += w * linear_value(e, leaf, x.row(i));
                continue;
            }
            const double* v = e.values(leaf);
            for (int c = 0; c < e.width; ++c) o[e.first_output(t) + c] += w * v[c];
        }
    }
}

void leaves(const Ensemble& e, Rows x, std::int32_t* out) {
    for (std::size_t i = 0; i < x.rows; ++i)
        for (std::size_t t = 0; t < e.trees(); ++t)
            out[i * e.trees() + t] = static_cast<std::int32_t>(find_leaf(e, e.root(t), x.row(i)) - e.root(t));
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

int Players::on_path(const Ensemble& e, std::size_t tree) const {
    const Node* root = e.root(tree);
    std::vector<int> met(count, 0);
    int now = 0, most = 0;
    struct Step { std::int32_t node; bool leave; };
    std::vector<Step> stack{{0, false}};
    while (!stack.empty()) {
        const Step s = stack.back();
        stack.pop_back();
        const Node& node = root[s.node];
        if (node.left < 0) {
            most = std::max(most, now);
            continue;
        }
        const auto p = of_column[node.feature];
        if (s.leave) {
            if (--met[p] == 0) --now;
            continue;
        }
        if (met[p]++ == 0) ++now;
        stack.push_back({s.node, true});
        stack.push_back({node.left, false});
        stack.push_back({node.right, false});
    }
    return most;
}

}  // namespace whybox

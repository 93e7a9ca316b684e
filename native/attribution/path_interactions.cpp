// Path-dependent interactions by quadrature, row by row: for paths of more players than tables can hold (compile_patterns.hpp).
//
// A leaf of value v contributes to players i and j of its path, with a = 1 if the row meets a player's condition, r the share of training
// weight that does, and P the product of p a + (1-p) r over the path's players,
//     v * E_p[ P * K(a_i, r_i) * K(a_j, r_j) ],    K(a, r) = (a - r) / (p a + (1-p) r)
// (Quadrature-TreeSHAP, arXiv 2605.04497; docs/mathematics.md). One walk down the tree carries P for every quadrature node. Lanes are rows; an edge
// multiplies P by one of three constants, chosen per lane, so nothing is divided per row.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "attribution/games.hpp"
#include "core/split.hpp"

namespace whybox {
namespace {

constexpr int kLanes = 16;
using LaneMask = std::int64_t;  // all ones or zero, one per lane, so that compilers vectorise the choice

struct PlayerCondition {  // what the path so far requires of one player
    LaneMask met[kLanes];
    double share = 1.0;
    int occurrences = 0;
};

class PathInteractions {
public:
    PathInteractions(const Ensemble& e, Players players, double* out) : e_(e), players_(players), out_(out), conditions_(players.count) {
        for (auto& c : conditions_) std::fill_n(c.met, kLanes, LaneMask{-1});
    }

    void run_block(Rows x, std::size_t first, std::span<const QuadratureView> rules) {
        lanes_ = static_cast<int>(std::min<std::size_t>(kLanes, x.rows - first));
        first_ = first;
        columns_.resize(x.columns * kLanes);
        for (std::size_t c = 0; c < x.columns; ++c)
            for (int l = 0; l < kLanes; ++l) columns_[c * kLanes + l] = x.row(first + std::min(l, lanes_ - 1))[c];
        for (std::size_t t = 0; t < e_.trees(); ++t) run_tree(t, rules[t]);
    }

private:
    const Ensemble& e_;
    Players players_;
    double* out_;
    std::vector<PlayerCondition> conditions_;
    std::vector<double> columns_;  // columns x lanes
    std::vector<double> product_;  // depth x nodes x lanes
    std::vector<double> log_derivatives_;  // players of the path x nodes x lanes
    std::vector<int> path_;  // the different players on the path
    QuadratureView rule_;
    const Node* root_ = nullptr;
    std::size_t first_ = 0;
    int lanes_ = 0, q_ = 0, leaf_width_ = 1, first_output_ = 0;
    double weight_ = 1;

    void run_tree(std::size_t t, const QuadratureView& rule) {
        rule_ = rule;
        q_ = static_cast<int>(rule.nodes.size());
        root_ = e_.root(t);
        leaf_width_ = e_.leaf_width;
        first_output_ = e_.first_output(t);
        weight_ = e_.tree_weight[t];
        const std::size_t depth = e_.depth[t] + 1;
        product_.resize(std::max(product_.size(), depth * q_ * kLanes));
        std::fill_n(product_.begin(), q_ * kLanes, 1.0);
        descend(0, 0);
    }

    double* product(int depth) { return product_.data() + static_cast<std::size_t>(depth) * q_ * kLanes; }

    void descend(std::int32_t id, int depth) {
        const Node& node = root_[id];
        if (node.left < 0) return visit_leaf(node, depth);
        LaneMask left[kLanes];
        const double* x = columns_.data() + static_cast<std::size_t>(node.feature) * kLanes;
        for (int l = 0; l < kLanes; ++l) left[l] = -static_cast<LaneMask>(goes_left(e_, node, x[l]));
        follow_edge(node, node.left, left, depth);
        for (auto& m : left) m = ~m;
        follow_edge(node, node.right, left, depth);
    }

    void follow_edge(const Node& node, std::int32_t child, const LaneMask* side, int depth) {
        const int player = players_.of_column[node.feature];
        PlayerCondition& c = conditions_[player];
        const double ratio = Ensemble::cover_share(node, root_[child]), share = c.share * ratio, old_share = c.share;
        LaneMask previous_met[kLanes], any_met = 0;
        std::copy_n(c.met, kLanes, previous_met);
        for (int l = 0; l < kLanes; ++l) any_met |= c.met[l] &= side[l];
        if (share > 0 || any_met) {  // else every product below is zero
            for (int q = 0; q < q_; ++q) {
                const double p = rule_.nodes[q], f = path_factor(p, 1, old_share);
                const double both = path_factor(p, 1, share) / f, lost = path_factor(p, 0, share) / f;
                const double *from = product(depth) + q * kLanes, failed_before = ratio;
                double* to = product(depth + 1) + q * kLanes;
                for (int l = 0; l < kLanes; ++l) to[l] = from[l] * (c.met[l] ? both : previous_met[l] ? lost : failed_before);
            }
            c.share = share;
            if (c.occurrences++ == 0) path_.push_back(player);
            descend(child, depth + 1);
            if (--c.occurrences == 0) path_.pop_back();
            c.share = old_share;
        }
        std::copy_n(previous_met, kLanes, c.met);
    }

    // v * E_p[P K_i K_j] for every two players on the path.
    void visit_leaf(const Node& leaf, int depth) {
        const double *v = e_.values_of(leaf), *products = product(depth);
        const std::size_t stride = static_cast<std::size_t>(q_) * kLanes;
        log_derivatives_.resize(std::max(log_derivatives_.size(), path_.size() * stride));
        for (std::size_t i = 0; i < path_.size(); ++i) {
            const PlayerCondition& c = conditions_[path_[i]];
            for (int q = 0; q < q_; ++q) {
                const double if_met = log_derivative(rule_.nodes[q], 1, c.share), if_failed = log_derivative(rule_.nodes[q], 0, c.share);
                double* to = log_derivatives_.data() + i * stride + q * kLanes;
                for (int l = 0; l < kLanes; ++l) to[l] = c.met[l] ? if_met : if_failed;
            }
        }
        for (std::size_t i = 1; i < path_.size(); ++i)
            for (std::size_t j = 0; j < i; ++j) {
                double sum[kLanes] = {};
                const double *k_i = log_derivatives_.data() + i * stride, *k_j = log_derivatives_.data() + j * stride;
                for (int q = 0; q < q_; ++q)
                    for (int l = 0; l < kLanes; ++l) {
                        const int at = q * kLanes + l;
                        sum[l] += rule_.weights[q] * products[at] * k_i[at] * k_j[at];
                    }
                add(path_[i], path_[j], sum, v);
            }
    }

    void add(int i, int j, const double* sum, const double* v) {
        const std::size_t n = players_.count, outputs = e_.outputs();
        for (int l = 0; l < lanes_; ++l) {
            double* row = out_ + (first_ + l) * n * n * outputs;
            for (int c = 0; c < leaf_width_; ++c) {
                const double value = weight_ * v[c] * sum[l];
                row[(i * n + j) * outputs + first_output_ + c] += value;
                row[(j * n + i) * outputs + first_output_ + c] += value;
            }
        }
    }
};

}  // namespace

void path_interactions(const Ensemble& e, Players players, std::span<const QuadratureView> rule_of_tree, Rows x, double* out) {
    PathInteractions walk(e, players, out);
    for (std::size_t i = 0; i < x.rows; i += kLanes) walk.run_block(x, i, rule_of_tree);
}

}  // namespace whybox

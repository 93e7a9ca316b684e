// Path-dependent attributions by quadrature (Quadrature-TreeSHAP, arXiv 2605.04497; the identity is in docs/mathematics.md).
//
// A leaf of value v whose path asks something of players F contributes, with a_j = 1 if the row meets player j's condition
// and r_j the share of training weight that does,
//     phi_j = v * E_p[ (a_j - r_j) * prod_{k in F, k != j} (p a_k + (1-p) r_k) ].
// With P the full product and K(a, r) = (a - r) / (p a + (1-p) r), this is v * E_p[P * K(a_j, r_j)], and K summed over the
// edges that change (a_j, r_j) telescopes: so one walk down carries P, one walk up carries the subtree's sum H of v * P,
// and an edge adds E_p[H * (K(new) - K(old))] to its player. Lanes are rows; the three possible (old a, new a) of an edge give
// three constants, chosen per lane, so nothing is divided per row.

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.hpp"
#include "split.hpp"

namespace whybox {
namespace {

constexpr int kLanes = 16;
using Mask = std::int64_t;  // all ones or zero, one per lane: blends vectorise

struct State {  // what the path so far asks of one player
    Mask met[kLanes];
    double share = 1.0;
    int times = 0;
};

class PathWalk {
public:
    PathWalk(const Ensemble& e, Players players, int order, double* out) : e_(e), players_(players), order_(order), out_(out), state_(players.count) {
        for (auto& s : state_) std::fill_n(s.met, kLanes, Mask{-1});
        if (order == 1) phi_.resize(static_cast<std::size_t>(players.count) * e.outputs() * kLanes);
    }

    void block(Rows x, std::size_t first, std::span<const Quadrature> rules) {
        lanes_ = static_cast<int>(std::min<std::size_t>(kLanes, x.rows - first));
        first_ = first;
        columns_.resize(x.columns * kLanes);
        for (std::size_t c = 0; c < x.columns; ++c)
            for (int l = 0; l < kLanes; ++l) columns_[c * kLanes + l] = x.row(first + std::min(l, lanes_ - 1))[c];
        std::fill(phi_.begin(), phi_.end(), 0.0);
        for (std::size_t t = 0; t < e_.trees(); ++t) tree(t, rules[t]);
        if (order_ == 1) write();
    }

private:
    const Ensemble& e_;
    Players players_;
    int order_;
    double* out_;
    std::vector<State> state_;
    std::vector<double> phi_;      // players x outputs x lanes
    std::vector<double> columns_;  // columns x lanes
    std::vector<double> product_;  // depth x nodes x lanes
    std::vector<double> sums_;     // depth x width x nodes x lanes
    std::vector<double> kays_;     // order 2: path players x nodes x lanes
    std::vector<int> path_;        // order 2: the different players on the path
    Quadrature rule_;
    const Node* root_ = nullptr;
    std::size_t first_ = 0;
    int lanes_ = 0, q_ = 0, k_ = 1, first_output_ = 0;
    double weight_ = 1;

    void tree(std::size_t t, const Quadrature& rule) {
        rule_ = rule;
        q_ = static_cast<int>(rule.nodes.size());
        root_ = e_.root(t);
        k_ = e_.width;
        first_output_ = e_.first_output(t);
        weight_ = e_.tree_weight[t];
        const std::size_t depth = e_.depth[t] + 1;
        product_.resize(std::max(product_.size(), depth * q_ * kLanes));
        if (order_ == 1) sums_.resize(std::max(sums_.size(), depth * k_ * q_ * kLanes));
        std::fill_n(product_.begin(), q_ * kLanes, 1.0);
        descend(0, 0);
    }

    double* product(int depth) { return product_.data() + static_cast<std::size_t>(depth) * q_ * kLanes; }
    double* sums(int depth) { return sums_.data() + static_cast<std::size_t>(depth) * k_ * q_ * kLanes; }

    void descend(std::int32_t id, int depth) {
        const Node& node = root_[id];
        if (node.left < 0) return order_ == 1 ? leaf_sums(node, depth) : leaf_pairs(node, depth);
        if (order_ == 1) std::fill_n(sums(depth), k_ * q_ * kLanes, 0.0);
        Mask left[kLanes];
        const double* x = columns_.data() + static_cast<std::size_t>(node.feature) * kLanes;
        for (int l = 0; l < kLanes; ++l) left[l] = -static_cast<Mask>(goes_left(e_, node, x[l]));
        edge(node, node.left, left, depth);
        for (auto& m : left) m = ~m;
        edge(node, node.right, left, depth);
    }

    void edge(const Node& node, std::int32_t child, const Mask* side, int depth) {
        const int player = players_.of_column[node.feature];
        State& s = state_[player];
        const double ratio = Ensemble::ratio(node, root_[child]), share = s.share * ratio, old_share = s.share;
        Mask old_met[kLanes], any = 0;
        std::copy_n(s.met, kLanes, old_met);
        for (int l = 0; l < kLanes; ++l) any |= s.met[l] &= side[l];
        if (share > 0 || any) {  // else every product below is zero
            for (int q = 0; q < q_; ++q) {
                const double p = rule_.nodes[q], f = factor(p, 1, old_share);
                const double both = factor(p, 1, share) / f, lost = factor(p, 0, share) / f;
                const double *from = product(depth) + q * kLanes, never = ratio;
                double* to = product(depth + 1) + q * kLanes;
                for (int l = 0; l < kLanes; ++l) to[l] = from[l] * (s.met[l] ? both : old_met[l] ? lost : never);
            }
            s.share = share;
            if (s.times++ == 0 && order_ == 2) path_.push_back(player);
            descend(child, depth + 1);
            if (--s.times == 0 && order_ == 2) path_.pop_back();
            s.share = old_share;
            if (order_ == 1) collect(player, s.met, old_met, share, old_share, depth);
        }
        std::copy_n(old_met, kLanes, s.met);
    }

    void collect(int player, const Mask* met, const Mask* old_met, double share, double old_share, int depth) {
        for (int c = 0; c < k_; ++c) {
            double* phi = phi_.data() + (static_cast<std::size_t>(player) * e_.outputs() + first_output_ + c) * kLanes;
            const double* below = sums(depth + 1) + static_cast<std::size_t>(c) * q_ * kLanes;
            double* here = sums(depth) + static_cast<std::size_t>(c) * q_ * kLanes;
            for (int q = 0; q < q_; ++q) {
                const double p = rule_.nodes[q], w = rule_.weights[q], old = kay(p, 1, old_share);
                const double both = w * (kay(p, 1, share) - old), lost = w * (kay(p, 0, share) - old);
                for (int l = 0; l < kLanes; ++l) {
                    const double h = below[q * kLanes + l];
                    phi[l] += h * (met[l] ? both : old_met[l] ? lost : 0.0);
                    here[q * kLanes + l] += h;
                }
            }
        }
    }

    void leaf_sums(const Node& leaf, int depth) {
        const double* v = e_.values(leaf);
        const double* from = product(depth);
        for (int c = 0; c < k_; ++c) {
            double* to = sums(depth) + static_cast<std::size_t>(c) * q_ * kLanes;
            const double value = weight_ * v[c];
            for (int i = 0; i < q_ * kLanes; ++i) to[i] = value * from[i];
        }
    }

    // Pairs: v * E_p[P K_i K_j] for every two players on the path.
    void leaf_pairs(const Node& leaf, int depth) {
        const double *v = e_.values(leaf), *P = product(depth);
        const std::size_t stride = static_cast<std::size_t>(q_) * kLanes;
        kays_.resize(std::max(kays_.size(), path_.size() * stride));
        for (std::size_t i = 0; i < path_.size(); ++i) {
            const State& s = state_[path_[i]];
            for (int q = 0; q < q_; ++q) {
                const double yes = kay(rule_.nodes[q], 1, s.share), no = kay(rule_.nodes[q], 0, s.share);
                double* to = kays_.data() + i * stride + q * kLanes;
                for (int l = 0; l < kLanes; ++l) to[l] = s.met[l] ? yes : no;
            }
        }
        for (std::size_t i = 1; i < path_.size(); ++i)
            for (std::size_t j = 0; j < i; ++j) {
                double sum[kLanes] = {};
                const double *ki = kays_.data() + i * stride, *kj = kays_.data() + j * stride;
                for (int q = 0; q < q_; ++q)
                    for (int l = 0; l < kLanes; ++l) {
                        const int at = q * kLanes + l;
                        sum[l] += rule_.weights[q] * P[at] * ki[at] * kj[at];
                    }
                add_pair(path_[i], path_[j], sum, v);
            }
    }

    void add_pair(int i, int j, const double* sum, const double* v) {
        const std::size_t n = players_.count, outputs = e_.outputs();
        for (int l = 0; l < lanes_; ++l) {
            double* row = out_ + (first_ + l) * n * n * outputs;
            for (int c = 0; c < k_; ++c) {
                const double add = weight_ * v[c] * sum[l];
                row[(i * n + j) * outputs + first_output_ + c] += add;
                row[(j * n + i) * outputs + first_output_ + c] += add;
            }
        }
    }

    void write() {
        const std::size_t per_row = static_cast<std::size_t>(players_.count) * e_.outputs();
        for (std::size_t i = 0; i < per_row; ++i)
            for (int l = 0; l < lanes_; ++l) out_[(first_ + l) * per_row + i] += phi_[i * kLanes + l];
    }
};

}  // namespace

void path_walk(const Ensemble& e, Players players, std::span<const Quadrature> rule_of_tree, int order, Rows x, double* out) {
    PathWalk walk(e, players, order, out);
    for (std::size_t i = 0; i < x.rows; i += kLanes) walk.block(x, i, rule_of_tree);
}

}  // namespace whybox

// Interventional games: walk a tree for one row x and all background rows at once, following only nodes that x or some
// background row reaches. A background row is active at a node while x or it meets the splits of every player on the path.
//
// At a leaf, an active background row b says which players only x meets (A) and which only b does (N): the leaf is reached
// by the hybrid of coalition S exactly when A is inside S and N is outside it. Everything an index needs is |A| and |N|.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "attribution/games.hpp"
#include "core/split.hpp"

namespace whybox {

enum MetBy : std::uint8_t { kByBoth = 0, kByRowOnly = 1, kByBackgroundOnly = 2 };

class PairState {
public:
    PairState(int players, std::size_t background) : met_by(static_cast<std::size_t>(players) * background), row_only(background), background_only(background),
                                                     occurrences(players), background_(background) {}
    std::vector<std::uint8_t> met_by;            // players x background rows
    std::vector<int> row_only, background_only;  // |A| and |N| of each background row
    std::vector<int> path;                       // the different players on the path
    std::vector<int> occurrences;                // how often each is on it

    std::uint8_t& status(int player, std::size_t b) { return met_by[static_cast<std::size_t>(player) * background_ + b]; }
    // One more split of the player, which x (b) meets if by_x (by_b). False: neither meets all of the player's splits. `changed` says whether to undo.
    bool require(int player, std::size_t b, bool by_x, bool by_b, bool& changed) {
        changed = false;
        std::uint8_t& s = status(player, b);
        if (by_x && by_b) return true;
        if (!by_x && !by_b) return false;
        const std::uint8_t required = by_x ? kByRowOnly : kByBackgroundOnly;
        if (s == required) return true;
        if (s != kByBoth) return false;
        s = required;
        ++(by_x ? row_only : background_only)[b];
        changed = true;
        return true;
    }
    void undo(int player, std::size_t b) {
        std::uint8_t& s = status(player, b);
        --(s == kByRowOnly ? row_only : background_only)[b];
        s = kByBoth;
    }
    void push_player(int player) { if (occurrences[player]++ == 0) path.push_back(player); }
    void pop_player(int player) { if (--occurrences[player] == 0) path.pop_back(); }

private:
    std::size_t background_;
};

// Visitor is called as visit(b, values, first output, outputs) for each active background row of a leaf; `state` tells which row meets
// which player.
template <class Visitor>
class PairWalk {
public:
    PairWalk(const Ensemble& e, Players players, const Background& b, Visitor& visitor)
        : state(players.count, b.rows.rows), e_(e), players_(players), b_(b), visitor_(visitor) {
        columns_.resize(b.rows.rows * b.rows.columns);
        for (std::size_t i = 0; i < b.rows.rows; ++i)
            for (std::size_t c = 0; c < b.rows.columns; ++c) columns_[c * b.rows.rows + i] = b.rows.row(i)[c];
    }

    PairState state;

    void walk_row(const double* x, TreeRange trees) {
        x_ = x;
        for (std::size_t t = trees.first; t < trees.last; ++t) {
            root_ = e_.root(t);
            first_output_ = e_.first_output(t);
            weight_ = e_.tree_weight[t];
            if (active_.size() < static_cast<std::size_t>(e_.depth[t]) + 1) active_.resize(e_.depth[t] + 1), changed_.resize(e_.depth[t] + 1),
                left_.resize(e_.depth[t] + 1);
            active_[0].resize(b_.rows.rows);
            for (std::size_t i = 0; i < b_.rows.rows; ++i) active_[0][i] = static_cast<std::uint32_t>(i);
            descend(0, 0);
        }
    }

private:
    const Ensemble& e_;
    Players players_;
    const Background& b_;
    Visitor& visitor_;
    std::vector<double> columns_;
    std::vector<std::vector<std::uint32_t>> active_, changed_;
    std::vector<std::vector<std::uint8_t>> left_;
    const double* x_ = nullptr;
    const Node* root_ = nullptr;
    int first_output_ = 0;
    double weight_ = 1;
    std::vector<double> scaled_;

    void descend(std::int32_t id, int depth) {
        const Node& node = root_[id];
        if (node.left < 0) return visit_leaf(node, depth);
        const auto& active = active_[depth];
        auto& left = left_[depth];
        left.resize(active.size());
        const double* column = columns_.data() + static_cast<std::size_t>(node.feature) * b_.rows.rows;
        for (std::size_t i = 0; i < active.size(); ++i) left[i] = goes_left(e_, node, column[active[i]]);
        const bool x_left = goes_left(e_, node, x_[node.feature]);
        follow_edge(node, node.left, x_left, true, depth);
        follow_edge(node, node.right, !x_left, false, depth);
    }

    void follow_edge(const Node& node, std::int32_t child, bool by_x, bool side, int depth) {
        const int player = players_.of_column[node.feature];
        auto& next = active_[depth + 1];
        auto& changed = changed_[depth];
        next.clear();
        changed.clear();
        for (std::size_t i = 0; i < active_[depth].size(); ++i) {
            const auto b = active_[depth][i];
            bool change;
            if (!state.require(player, b, by_x, (left_[depth][i] != 0) == side, change)) continue;
            next.push_back(b);
            if (change) changed.push_back(b);
        }
        if (!next.empty()) {
            state.push_player(player);
            descend(child, depth + 1);
            state.pop_player(player);
        }
        for (const auto b : changed_[depth]) state.undo(player, b);
    }

    void visit_leaf(const Node& node, int depth) {
        const double* v = e_.values_of(node);
        scaled_.resize(e_.leaf_width);
        for (int c = 0; c < e_.leaf_width; ++c) scaled_[c] = weight_ * v[c];
        const bool linear = e_.has_linear_leaves() && e_.linear_offset[node.leaf] != e_.linear_offset[node.leaf + 1];
        if (!linear && e_.has_linear_leaves()) scaled_[0] = weight_ * e_.linear_const[node.leaf];
        for (const auto b : active_[depth]) {
            if (linear) visit_linear_leaf(node, b);
            else visitor_(b, scaled_.data(), first_output_, e_.leaf_width);
        }
    }

    // A linear leaf is its plain value, plus, where no value it reads is missing, (constant + sum of terms - plain value).
    // Each term is a player's own: taken from x inside the coalition and from b outside it.
    void visit_linear_leaf(const Node& node, std::uint32_t b) {
        visitor_(b, scaled_.data(), first_output_, 1);
        struct Term { int player; double from_x = 0, from_b = 0; bool in_x = true, in_b = true; };
        std::vector<Term> terms;
        for (auto k = e_.linear_offset[node.leaf]; k < e_.linear_offset[node.leaf + 1]; ++k) {
            const auto column = e_.linear_feature[k];
            const int player = players_.of_column[column];
            auto it = std::find_if(terms.begin(), terms.end(), [&](const Term& t) { return t.player == player; });
            if (it == terms.end()) it = terms.insert(terms.end(), Term{player});
            const double in_x = x_[column], in_b = b_.rows.row(b)[column];
            it->from_x += e_.linear_coef[k] * in_x;
            it->from_b += e_.linear_coef[k] * in_b;
            it->in_x &= !std::isnan(in_x);
            it->in_b &= !std::isnan(in_b);
        }
        std::vector<int> undo;
        bool active = true;
        for (const auto& t : terms) state.push_player(t.player);
        for (const auto& t : terms) {
            bool change = false;
            if (active) active = state.require(t.player, b, t.in_x, t.in_b, change);
            if (change) undo.push_back(t.player);
        }
        if (active) {
            double constant = e_.linear_const[node.leaf] - *e_.values_of(node);
            for (const auto& t : terms) constant += state.status(t.player, b) == kByRowOnly ? t.from_x : t.from_b;
            const double value = weight_ * constant;
            visitor_(b, &value, first_output_, 1);
            for (const auto& t : terms) {
                if (state.status(t.player, b) != kByBoth) continue;
                const double difference = weight_ * (t.from_x - t.from_b);
                bool change;
                state.require(t.player, b, true, false, change);
                visitor_(b, &difference, first_output_, 1);
                state.undo(t.player, b);
            }
        }
        for (const int p : undo) state.undo(p, b);
        for (auto t = terms.rbegin(); t != terms.rend(); ++t) state.pop_player(t->player);
    }
};

}  // namespace whybox

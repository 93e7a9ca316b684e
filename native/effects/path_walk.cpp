// Large trees with splits that no single cut expresses: one path after the other.
#include "core/split.hpp"
#include "effects/curves.hpp"

namespace whybox {

PathWalk::PathWalk(const CurvePlan& plan) : plan_(plan), grid_(plan.grid), points_on_path_(grid_.players()) {
    for (std::size_t j = 0; j < grid_.players(); ++j) {  // the stack begins with every player's whole grid
        stack_.push_back({0, static_cast<std::uint32_t>(grid_.points(j))});
        points_on_path_[j] = {static_cast<std::uint32_t>(j), 1};
    }
}

void PathWalk::tree(std::size_t t, const double* x, double* predictions, double* differences) {
    root_ = grid_.e.root(t);
    weight_ = grid_.e.tree_weight[t];
    first_output_ = static_cast<std::size_t>(grid_.e.first_output(t));
    branches_.clear();
    restricted_players_.clear();
    std::int32_t id = 0;
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        const bool left = goes_left(grid_.e, n, x[n.feature]);
        if (const int j = grid_.player(n); j >= 0) {
            const auto [begin, count] = points_on_path_[static_cast<std::size_t>(j)];
            auto at = static_cast<std::uint32_t>(stack_.size());
            if (const auto n_ranges = grid_.append_side(n, !left, begin, count, stack_)) {
                branches_.push_back({left ? n.right : n.left, j, at, n_ranges});
                at = static_cast<std::uint32_t>(stack_.size());
                points_on_path_[static_cast<std::size_t>(j)] = {at, grid_.append_side(n, left, begin, count, stack_)};
                restricted_players_.push_back(j);
            }
        }
        id = left ? n.left : n.right;
    }
    own_leaf_ = grid_.e.values_of(root_[id]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(grid_.e.leaf_width); ++c) predictions[(first_output_ + c) * kGroupRows] += weight_ * own_leaf_[c];
    for (const Branch& branch : branches_) follow_branch(branch.child, static_cast<std::size_t>(branch.player), branch.begin, branch.count, x, differences);
    for (const auto j : restricted_players_) points_on_path_[static_cast<std::size_t>(j)] = {static_cast<std::uint32_t>(j), 1};
    stack_.resize(grid_.players());
}

// From a node reached by the row with this player set to these points: the other players follow the row.
void PathWalk::follow_branch(std::int32_t id, std::size_t player, std::uint32_t begin, std::uint32_t count, const double* x, double* differences) {
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        if (grid_.player(n) != static_cast<int>(player)) {
            id = goes_left(grid_.e, n, x[n.feature]) ? n.left : n.right;
            continue;
        }
        const auto at = static_cast<std::uint32_t>(stack_.size());
        if (const auto n_ranges = grid_.append_side(n, true, begin, count, stack_)) follow_branch(n.left, player, at, n_ranges, x, differences);
        stack_.resize(at);
        const auto rest = grid_.append_side(n, false, begin, count, stack_);
        if (!rest) return;
        begin = at, count = rest, id = n.right;
    }
    const auto outputs = static_cast<std::size_t>(grid_.e.outputs());
    const double* v = grid_.e.values_of(root_[id]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(grid_.e.leaf_width); ++c) {
        const double difference = weight_ * (v[c] - own_leaf_[c]);
        double* first = differences + (plan_.slot(player) * outputs + first_output_ + c) * kGroupRows;
        for (std::uint32_t r = begin; r < begin + count; ++r) {
            first[stack_[r].from * outputs * kGroupRows] += difference;
            first[stack_[r].to * outputs * kGroupRows] -= difference;
        }
    }
}

}  // namespace whybox

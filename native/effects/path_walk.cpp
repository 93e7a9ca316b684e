// Large trees with splits that no single cut expresses: one path after the other.
#include "core/split.hpp"
#include "effects/curves.hpp"

namespace whybox {

Ways::Ways(const CurvePlan& plan) : plan_(plan), grid_(plan.grid), now_(grid_.players()) {
    for (std::size_t j = 0; j < grid_.players(); ++j) {  // the stack begins with every player's whole grid
        stack_.push_back({0, static_cast<std::uint32_t>(grid_.points(j))});
        now_[j] = {static_cast<std::uint32_t>(j), 1};
    }
}

void Ways::tree(std::size_t t, const double* x, double* own, double* steps) {
    root_ = grid_.e.root(t);
    weight_ = grid_.e.tree_weight[t];
    first_output_ = static_cast<std::size_t>(grid_.e.first_output(t));
    turns_.clear();
    asked_.clear();
    std::int32_t id = 0;
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        const bool left = goes_left(grid_.e, n, x[n.feature]);
        if (const int j = grid_.player(n); j >= 0) {
            const auto [begin, count] = now_[static_cast<std::size_t>(j)];
            auto at = static_cast<std::uint32_t>(stack_.size());
            if (const auto many = grid_.side(n, !left, begin, count, stack_)) {
                turns_.push_back({left ? n.right : n.left, j, at, many});
                at = static_cast<std::uint32_t>(stack_.size());
                now_[static_cast<std::size_t>(j)] = {at, grid_.side(n, left, begin, count, stack_)};
                asked_.push_back(j);
            }
        }
        id = left ? n.left : n.right;
    }
    own_ = grid_.e.values(root_[id]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(grid_.e.width); ++c) own[(first_output_ + c) * kBeside] += weight_ * own_[c];
    for (const Turn& turn : turns_) astray(turn.child, static_cast<std::size_t>(turn.player), turn.begin, turn.count, x, steps);
    for (const auto j : asked_) now_[static_cast<std::size_t>(j)] = {static_cast<std::uint32_t>(j), 1};
    stack_.resize(grid_.players());
}

// Where only this player, set to these points, can have led: the other players follow the row.
void Ways::astray(std::int32_t id, std::size_t player, std::uint32_t begin, std::uint32_t count, const double* x, double* steps) {
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        if (grid_.player(n) != static_cast<int>(player)) {
            id = goes_left(grid_.e, n, x[n.feature]) ? n.left : n.right;
            continue;
        }
        const auto at = static_cast<std::uint32_t>(stack_.size());
        if (const auto many = grid_.side(n, true, begin, count, stack_)) astray(n.left, player, at, many, x, steps);
        stack_.resize(at);
        const auto rest = grid_.side(n, false, begin, count, stack_);
        if (!rest) return;
        begin = at, count = rest, id = n.right;
    }
    const auto outputs = static_cast<std::size_t>(grid_.e.outputs());
    const double* v = grid_.e.values(root_[id]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(grid_.e.width); ++c) {
        const double by = weight_ * (v[c] - own_[c]);
        double* to = steps + (plan_.slot(player) * outputs + first_output_ + c) * kBeside;
        for (std::uint32_t r = begin; r < begin + count; ++r) {
            to[stack_[r].from * outputs * kBeside] += by;
            to[stack_[r].to * outputs * kBeside] -= by;
        }
    }
}

}  // namespace whybox

// Large trees: the ways that one player's points lead to, a round of them at a time.
#include <algorithm>

#include "effects_curves.hpp"

namespace whybox {

Lists::Lists(const CurvePlan& plan) : plan_(plan), player_(plan.columns(), -1) {
    const Grid& grid = plan.grid;
    for (std::size_t j = 0; j < grid.players(); ++j) {
        for (const auto c : grid.columns(j)) player_[static_cast<std::size_t>(c)] = player_[static_cast<std::size_t>(c + grid.e.columns)] = static_cast<std::int32_t>(j);
        // a player of more points is asked nothing by trees that are walked here
        const auto regular = static_cast<std::uint16_t>(std::min<std::size_t>(grid.points(j), 0xffff) - grid.missing(j));
        whole_.push_back({0, regular, static_cast<std::uint16_t>(grid.missing(j))});
    }
}

void Lists::tree(std::size_t t, const Bench& b) {
    nodes_ = plan_.inner(t);
    ends_ = more_ = 0;
    own_ways(b);
    while (more_) {
        std::swap(items_, next_);
        many_ = more_;
        round(b);
    }
    arrive(t, b);
}

namespace {

template <class T>
void at_least(std::vector<T>& v, std::size_t n) {
    if (v.size() < n) v.resize(2 * n);
}

}  // namespace

// Without branches: written to both lists, and kept in one.
void Lists::put(std::int32_t node, std::uint16_t row, std::uint16_t player, Points points) {
    const Item item{node, row, player, points, 0};
    const unsigned any = (points.from < points.to) | points.nan, inner = node >= 0;
    next_[more_] = item;
    ended_[ends_] = item;
    more_ += any & inner;
    ends_ += any & ~inner & 1U;
}

// Each row as it is; where a player's points would go the other way, these are put on the list.
void Lists::own_ways(const Bench& b) {
    const std::size_t players = whole_.size();
    own_leaf_.resize(b.x.rows);
    now_.resize(b.x.rows * players);
    own_.clear();
    for (std::size_t r = 0; r < b.x.rows; ++r) {
        own_.push_back({0, static_cast<std::int32_t>(r)});
        std::copy(whole_.begin(), whole_.end(), now_.begin() + static_cast<std::ptrdiff_t>(r * players));
    }
    while (!own_.empty()) {
        at_least(next_, more_ + own_.size() + 1);
        at_least(ended_, ends_ + own_.size() + 1);
        std::size_t stay = 0;
        for (const Own o : own_) {
            const Inner& n = nodes_[static_cast<std::size_t>(o.node)];
            const auto row = static_cast<std::size_t>(o.row);
            const bool right = b.places[row * plan_.columns() + n.column] >= n.cut;
            if (const auto j = player_[n.column]; j >= 0) {
                Points& p = now_[row * players + static_cast<std::size_t>(j)];
                const bool nan_left = n.column >= plan_.columns() / 2;
                const Points before{p.from, std::min(p.to, n.point), static_cast<std::uint16_t>(nan_left ? p.nan : 0)};
                const Points after{std::max(p.from, n.point), p.to, static_cast<std::uint16_t>(nan_left ? 0 : p.nan)};
                p = right ? after : before;
                put(n.kid[!right], static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(j), right ? before : after);
            }
            const std::int32_t kid = n.kid[right];
            own_leaf_[row] = ~kid;
            own_[stay] = {kid, o.row};
            stay += kid >= 0;
        }
        own_.resize(stay);
    }
}

void Lists::round(const Bench& b) {
    more_ = 0;
    at_least(next_, 2 * many_ + 2);
    at_least(ended_, ends_ + 2 * many_ + 2);
    const std::size_t columns = plan_.columns();
    for (std::size_t i = 0; i < many_; ++i) {
        const Item it = items_[i];
        const Inner& n = nodes_[static_cast<std::size_t>(it.node)];
        if (player_[n.column] == it.player) {
            const bool nan_left = n.column >= columns / 2;
            put(n.kid[0], it.row, it.player, {it.points.from, std::min(it.points.to, n.point), static_cast<std::uint16_t>(nan_left ? it.points.nan : 0)});
            put(n.kid[1], it.row, it.player, {std::max(it.points.from, n.point), it.points.to, static_cast<std::uint16_t>(nan_left ? 0 : it.points.nan)});
        } else put(n.kid[b.places[it.row * columns + n.column] >= n.cut], it.row, it.player, it.points);
    }
}

void Lists::arrive(std::size_t t, const Bench& b) const {
    const Ensemble& e = plan_.grid.e;
    const auto outputs = static_cast<std::size_t>(e.outputs()), width = static_cast<std::size_t>(e.width), first = static_cast<std::size_t>(e.first_output(t));
    const double weight = e.tree_weight[t];
    for (std::size_t r = 0; r < b.x.rows; ++r)
        for (std::size_t c = 0; c < width; ++c) b.own_of(r)[(first + c) * kBeside] += weight * e.leaf_values[static_cast<std::size_t>(own_leaf_[r]) * width + c];
    for (std::size_t i = 0; i < ends_; ++i) {
        const Item& it = ended_[i];
        const double *v = e.leaf_values.data() + static_cast<std::size_t>(~it.node) * width, *own = e.leaf_values.data() + static_cast<std::size_t>(own_leaf_[it.row]) * width;
        double* steps = b.steps_of(it.row) + (plan_.slot(it.player) * outputs + first) * kBeside;
        const std::size_t regular = whole_[it.player].to;
        for (std::size_t c = 0; c < width; ++c, steps += kBeside) {
            const double by = weight * (v[c] - own[c]);
            steps[it.points.from * outputs * kBeside] += by;  // nothing, where the range is empty
            steps[it.points.to * outputs * kBeside] -= by;
            if (!it.points.nan) continue;
            steps[regular * outputs * kBeside] += by;
            steps[(regular + 1) * outputs * kBeside] -= by;
        }
    }
}

}  // namespace whybox

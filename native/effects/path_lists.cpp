// Large trees: the paths that one player's points take, a round of them at a time.
#include <algorithm>

#include "effects/curves.hpp"

namespace whybox {
namespace {

// Memory that will be read soon. Nodes are met in an order close to random: without this most of the time goes into waiting for them.
inline void soon(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    static_cast<void>(p);
#endif
}

template <class T>
void at_least(std::vector<T>& v, std::size_t n) {
    if (v.size() < n) v.resize(2 * n);
}

}  // namespace

Lists::Lists(const CurvePlan& plan) : plan_(plan), player_(plan.columns(), -1) {
    const Grid& grid = plan.grid;
    for (std::size_t j = 0; j < grid.players(); ++j) {
        for (const auto c : grid.columns(j)) player_[static_cast<std::size_t>(c)] = player_[static_cast<std::size_t>(c + grid.e.columns)] = static_cast<std::int32_t>(j);
        // trees that are walked here have no split of a player with more points
        const std::size_t regular = std::min<std::size_t>(grid.points(j), 0xffff) - grid.missing(j);
        whole_.push_back(Points(0, regular, grid.missing(j)));
    }
}

inline void Lists::To::write(std::int32_t node, std::uint64_t who, Points points, bool any) {
    const Item item{static_cast<std::uint32_t>(node) | who, points};
    const bool inner = node >= 0;
    *next = item;
    *ended = item;
    next += any & inner;
    ended += any & !inner;
    const std::uint32_t leaf = !inner;
    soon(memory[leaf] + static_cast<std::size_t>(static_cast<std::uint32_t>(node) ^ (0U - leaf)) * each[leaf]);
}

Lists::To Lists::after(Item* next, Item* ended) const {
    const Ensemble& e = plan_.grid.e;
    return {{reinterpret_cast<const char*>(nodes_.data()), reinterpret_cast<const char*>(e.leaf_values.data())},
            {sizeof(Inner), sizeof(double) * static_cast<std::size_t>(e.width)}, next, ended};
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
        To to = after(next_.data() + more_, ended_.data() + ends_);
        std::size_t stay = 0;
        for (const Own o : own_) {
            const Inner& n = nodes_[static_cast<std::size_t>(o.node)];
            const auto row = static_cast<std::size_t>(o.row);
            const bool right = b.places[row * plan_.columns() + n.column] >= n.cut;
            if (const auto j = player_[n.column]; j >= 0) {
                Points& p = now_[row * players + static_cast<std::size_t>(j)];
                const Points sides[2] = {p.before(n.point, nan_left(n)), p.after(n.point, nan_left(n))};
                p = sides[right];
                to.put(n.kid[!right], static_cast<std::uint64_t>(row) << 32 | static_cast<std::uint64_t>(j) << 48, sides[!right]);
            }
            const std::int32_t kid = n.kid[right];
            own_leaf_[row] = ~kid;
            own_[stay] = {kid, o.row};
            soon(nodes_.data() + (kid >= 0 ? kid : 0));
            stay += kid >= 0;
        }
        own_.resize(stay);
        more_ = static_cast<std::size_t>(to.next - next_.data()), ends_ = static_cast<std::size_t>(to.ended - ended_.data());
    }
}

void Lists::round(const Bench& b) {
    at_least(next_, 2 * many_ + 2);
    at_least(ended_, ends_ + 2 * many_ + 2);
    const std::size_t columns = plan_.columns();
    const std::int32_t *places = b.places.data(), *player = player_.data();
    const Inner* nodes = nodes_.data();
    To to = after(next_.data(), ended_.data() + ends_);
    for (const Item *it = items_.data(), *end = it + many_; it != end; ++it) {
        const Inner& n = nodes[it->node()];
        const std::uint64_t who = it->way & ~std::uint64_t{0xffffffff};
        if (player[n.column] == static_cast<std::int32_t>(it->player())) {
            to.put(n.kid[0], who, it->points.before(n.point, nan_left(n)));
            to.put(n.kid[1], who, it->points.after(n.point, nan_left(n)));
        } else to.go(n.kid[places[it->row() * columns + n.column] >= n.cut], who, it->points);
    }
    more_ = static_cast<std::size_t>(to.next - next_.data()), ends_ = static_cast<std::size_t>(to.ended - ended_.data());
}

void Lists::arrive(std::size_t t, const Bench& b) const {
    const Ensemble& e = plan_.grid.e;
    const auto outputs = static_cast<std::size_t>(e.outputs()), width = static_cast<std::size_t>(e.width), first = static_cast<std::size_t>(e.first_output(t));
    const double weight = e.tree_weight[t];
    for (std::size_t r = 0; r < b.x.rows; ++r)
        for (std::size_t c = 0; c < width; ++c) b.own_of(r)[(first + c) * kBeside] += weight * e.leaf_values[static_cast<std::size_t>(own_leaf_[r]) * width + c];
    for (std::size_t i = 0; i < ends_; ++i) {
        const Item& it = ended_[i];
        const std::size_t row = it.row(), player = it.player(), from = it.points.from(), until = it.points.to();
        const double *v = e.leaf_values.data() + static_cast<std::size_t>(~static_cast<std::int32_t>(it.node())) * width, *own = e.leaf_values.data() + static_cast<std::size_t>(own_leaf_[row]) * width;
        double* steps = b.steps_of(row) + (plan_.slot(player) * outputs + first) * kBeside;
        const std::size_t regular = whole_[player].to();
        for (std::size_t c = 0; c < width; ++c, steps += kBeside) {
            const double by = weight * (v[c] - own[c]);
            steps[from * outputs * kBeside] += by;  // nothing, where the range is empty
            steps[until * outputs * kBeside] -= by;
            if (!it.points.nan()) continue;
            steps[regular * outputs * kBeside] += by;
            steps[(regular + 1) * outputs * kBeside] -= by;
        }
    }
}

}  // namespace whybox

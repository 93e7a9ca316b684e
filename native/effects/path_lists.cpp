// Large trees: the paths that one player's points take, in lists.
#include <algorithm>

#include "effects/curves.hpp"

namespace whybox {
namespace {

// Nodes are visited in an order close to random: without this most of the time would be spent waiting for memory.
inline void prefetch(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    static_cast<void>(p);
#endif
}

template <class T>
void grow(std::vector<T>& v, std::size_t n) {
    if (v.size() < n) v.resize(2 * n);
}

}  // namespace

PathLists::PathLists(const CurvePlan& plan) : plan_(plan), player_(plan.columns(), -1) {
    const Grid& grid = plan.grid;
    for (std::size_t j = 0; j < grid.players(); ++j) {
        for (const auto c : grid.columns(j)) player_[static_cast<std::size_t>(c)] = player_[static_cast<std::size_t>(c + grid.e.columns)] = static_cast<std::int32_t>(j);
        // trees that are walked here have no split of a player with more points
        const std::size_t regular = std::min<std::size_t>(grid.points(j), 0xffff) - grid.missing(j);
        all_points_.push_back(PointSet(0, regular, grid.missing(j)));
    }
}

inline void PathLists::PathWriter::write(std::int32_t node, std::uint64_t row_and_player, PointSet points, bool any) {
    const Path path{static_cast<std::uint32_t>(node) | row_and_player, points};
    const bool is_inner = node >= 0;
    *next = path;
    *ended = path;
    next += any & is_inner;
    ended += any & !is_inner;
    const std::uint32_t leaf = !is_inner;
    prefetch(memory[leaf] + static_cast<std::size_t>(static_cast<std::uint32_t>(node) ^ (0U - leaf)) * sizes[leaf]);
}

PathLists::PathWriter PathLists::after(Path* next, Path* ended) const {
    const Ensemble& e = plan_.grid.e;
    return {{reinterpret_cast<const char*>(nodes_.data()), reinterpret_cast<const char*>(e.leaf_values.data())},
            {sizeof(LargeNode), sizeof(double) * static_cast<std::size_t>(e.leaf_width)}, next, ended};
}

void PathLists::tree(std::size_t t, const CurveBlock& b) {
    follow_tree(t, b);
    add_leaves(t, b);
}

void PathLists::tree(std::size_t t, const CurveBlock& b, CurveChanges* of_rows) {
    follow_tree(t, b);
    const Ensemble& e = plan_.grid.e;
    const auto width = static_cast<std::size_t>(e.leaf_width), first = static_cast<std::size_t>(e.first_output(t));
    for (std::size_t i = 0; i < n_ended_; ++i) {
        const Path& path = ended_paths_[i];
        const double *v = e.leaf_values.data() + static_cast<std::size_t>(~static_cast<std::int32_t>(path.node())) * width,
            *own = e.leaf_values.data() + static_cast<std::size_t>(own_leaf_[path.row()]) * width;
        CurveChanges& changes = of_rows[path.row()];
        double* const differences = changes.add_difference();
        for (std::size_t c = 0; c < width; ++c) differences[first + c] = e.tree_weight[t] * (v[c] - own[c]);
        const std::size_t slot = plan_.slot(path.player()), regular = all_points_[path.player()].to();
        if (path.points.from() < path.points.to()) changes.add_range(slot + path.points.from(), slot + path.points.to());
        if (path.points.nan()) changes.add_range(slot + regular, slot + regular + 1);
    }
}

// Every row's own leaf, and the paths of points that leave it.
void PathLists::follow_tree(std::size_t t, const CurveBlock& b) {
    nodes_ = plan_.large_nodes(t);
    n_ended_ = n_next_ = 0;
    follow_rows(t, b);
    while (n_next_) {
        std::swap(paths_, next_paths_);
        n_paths_ = n_next_;
        extend_paths(b);
    }
    add_own_leaves(t, b);
}

// Each row as it is; where some of a player's points go to the other side, these are appended to the list.
void PathLists::follow_rows(std::size_t t, const CurveBlock& b) {
    const std::size_t players = all_points_.size();
    own_leaf_.assign(b.x.rows, plan_.grid.e.root(t)->leaf);
    if (nodes_.empty()) return;  // of one leaf
    points_on_path_.resize(b.x.rows * players);
    row_paths_.clear();
    for (std::size_t r = 0; r < b.x.rows; ++r) {
        row_paths_.push_back({0, static_cast<std::int32_t>(r)});
        std::copy(all_points_.begin(), all_points_.end(), points_on_path_.begin() + static_cast<std::ptrdiff_t>(r * players));
    }
    while (!row_paths_.empty()) {
        grow(next_paths_, n_next_ + row_paths_.size() + 1);
        grow(ended_paths_, n_ended_ + row_paths_.size() + 1);
        PathWriter to = after(next_paths_.data() + n_next_, ended_paths_.data() + n_ended_);
        std::size_t n_remaining = 0;
        for (const RowPath o : row_paths_) {
            const LargeNode& n = nodes_[static_cast<std::size_t>(o.node)];
            const auto row = static_cast<std::size_t>(o.row);
            const bool right = b.intervals[row * plan_.columns() + n.column] >= n.cut;
            if (const auto j = player_[n.column]; j >= 0) {
                PointSet& p = points_on_path_[row * players + static_cast<std::size_t>(j)];
                const PointSet sides[2] = {p.before(n.point, nan_left(n)), p.after(n.point, nan_left(n))};
                p = sides[right];
                to.add_if_any(n.child[!right], static_cast<std::uint64_t>(row) << 32 | static_cast<std::uint64_t>(j) << 48, sides[!right]);
            }
            const std::int32_t child = n.child[right];
            own_leaf_[row] = ~child;
            row_paths_[n_remaining] = {child, o.row};
            prefetch(nodes_.data() + (child >= 0 ? child : 0));
            n_remaining += child >= 0;
        }
        row_paths_.resize(n_remaining);
        n_next_ = static_cast<std::size_t>(to.next - next_paths_.data()), n_ended_ = static_cast<std::size_t>(to.ended - ended_paths_.data());
    }
}

void PathLists::extend_paths(const CurveBlock& b) {
    grow(next_paths_, 2 * n_paths_ + 2);
    grow(ended_paths_, n_ended_ + 2 * n_paths_ + 2);
    const std::size_t columns = plan_.columns();
    const std::int32_t *intervals = b.intervals.data(), *player = player_.data();
    const LargeNode* nodes = nodes_.data();
    PathWriter to = after(next_paths_.data(), ended_paths_.data() + n_ended_);
    for (const Path *path = paths_.data(), *end = path + n_paths_; path != end; ++path) {
        const LargeNode& n = nodes[path->node()];
        const std::uint64_t row_and_player = path->packed & ~std::uint64_t{0xffffffff};
        if (player[n.column] == static_cast<std::int32_t>(path->player())) {
            to.add_if_any(n.child[0], row_and_player, path->points.before(n.point, nan_left(n)));
            to.add_if_any(n.child[1], row_and_player, path->points.after(n.point, nan_left(n)));
        } else to.add(n.child[intervals[path->row() * columns + n.column] >= n.cut], row_and_player, path->points);
    }
    n_next_ = static_cast<std::size_t>(to.next - next_paths_.data()), n_ended_ = static_cast<std::size_t>(to.ended - ended_paths_.data());
}

void PathLists::add_own_leaves(std::size_t t, const CurveBlock& b) const {
    const Ensemble& e = plan_.grid.e;
    const auto width = static_cast<std::size_t>(e.leaf_width), first = static_cast<std::size_t>(e.first_output(t));
    for (std::size_t r = 0; r < b.x.rows; ++r)
        for (std::size_t c = 0; c < width; ++c)
            b.predictions_of(r)[(first + c) * kGroupRows] += e.tree_weight[t] * e.leaf_values[static_cast<std::size_t>(own_leaf_[r]) * width + c];
}

void PathLists::add_leaves(std::size_t t, const CurveBlock& b) const {
    const Ensemble& e = plan_.grid.e;
    const auto outputs = static_cast<std::size_t>(e.outputs()), width = static_cast<std::size_t>(e.leaf_width), first = static_cast<std::size_t>(e.first_output(t));
    const double weight = e.tree_weight[t];
    for (std::size_t i = 0; i < n_ended_; ++i) {
        const Path& path = ended_paths_[i];
        const std::size_t row = path.row(), player = path.player(), from = path.points.from(), end = path.points.to();
        const double *v = e.leaf_values.data() + static_cast<std::size_t>(~static_cast<std::int32_t>(path.node())) * width,
            *own = e.leaf_values.data() + static_cast<std::size_t>(own_leaf_[row]) * width;
        double* differences = b.differences_of(row) + (plan_.slot(player) * outputs + first) * kGroupRows;
        const std::size_t regular = all_points_[player].to();
        for (std::size_t c = 0; c < width; ++c, differences += kGroupRows) {
            const double difference = weight * (v[c] - own[c]);
            differences[from * outputs * kGroupRows] += difference;  // nothing, where the range is empty
            differences[end * outputs * kGroupRows] -= difference;
            if (!path.points.nan()) continue;
            differences[regular * outputs * kGroupRows] += difference;
            differences[(regular + 1) * outputs * kGroupRows] -= difference;
        }
    }
}

}  // namespace whybox

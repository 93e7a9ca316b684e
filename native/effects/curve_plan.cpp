// What individual curves need of a model, whatever the rows.
#include <algorithm>
#include <bit>
#include <limits>

#include "core/split.hpp"
#include "effects/curves.hpp"

namespace whybox {
namespace {

constexpr std::size_t kLeafBits = 64;

// Leaves from .. to - 1, the first the highest bit.
std::uint64_t leaf_bits(std::size_t from, std::size_t to) {
    const auto after = [](std::size_t k) { return k >= kLeafBits ? std::uint64_t{0} : ~std::uint64_t{0} >> k; };
    return after(from) & ~after(to);
}

bool goes_missing_left(const Ensemble& e, const Node& n) { return goes_left(e, n, std::numeric_limits<double>::quiet_NaN()); }

}  // namespace

CurvePlan::CurvePlan(const Grid& g, bool only_lists) : grid(g), trees_(g.e.trees()) {
    for (std::size_t j = 0; j < grid.players(); ++j)
        for (const auto k : grid.index(j)) given_points_.push_back(static_cast<std::uint32_t>(grid.first(j)) + k);
    for (std::size_t t = 0; t < trees_.size(); ++t) {
        if (grid.e.tree_weight[t] == 0) continue;
        const auto nodes = static_cast<std::size_t>(grid.e.tree_offsets[t + 1] - grid.e.tree_offsets[t]), leaves = (nodes + 1) / 2;
        if (leaves <= kLeafBits && !only_lists) compile_leaf_bits(t, leaves);
        else trees_[t].method = compile_large(t) ? TreeMethod::lists : TreeMethod::walk;
    }
}

bool CurvePlan::any(TreeMethod method) const {
    return std::any_of(trees_.begin(), trees_.end(), [&](const Tree& t) { return t.method == method; });
}

LeafBits CurvePlan::bits(std::size_t t) const {
    const Tree& tree = trees_[t];
    return {split_masks_.data() + tree.first_mask, ranges_.data() + tree.first_range, player_splits_.data() + tree.first_player, values_.data() + tree.first_value,
            static_cast<std::int32_t>(tree.n_players), static_cast<std::int32_t>(tree.bits), grid.e.leaf_width, grid.e.first_output(t)};
}

std::span<const std::int32_t> CurvePlan::other_splits(std::size_t t) const { return {other_splits_.data() + trees_[t].first_other, trees_[t].n_other}; }

std::uint16_t CurvePlan::column(const Node& n) const {
    return static_cast<std::uint16_t>(n.feature + (goes_missing_left(grid.e, n) ? grid.e.columns : 0));
}

std::int32_t CurvePlan::cut(const Node& n) const { return grid.intervals.cut_index(&n - grid.e.nodes.data()) + goes_missing_left(grid.e, n); }

void CurvePlan::compile_leaf_bits(std::size_t t, std::size_t leaves) {
    const Node* root = grid.e.root(t);
    Tree& tree = trees_[t];
    tree = {TreeMethod::bits, 0, 0, split_masks_.size(), ranges_.size(), player_splits_.size(), 0, values_.size(), other_splits_.size(), 0, 0};
    tree.bits = std::max<std::size_t>(3, static_cast<std::size_t>(std::bit_width(leaves - 1)));
    const auto width = static_cast<std::size_t>(grid.e.leaf_width);
    values_.resize(tree.first_value + (width << tree.bits));
    std::vector<NodeMask> masks;
    std::size_t n_leaves = 0;
    const auto visit = [&](const auto& self, std::int32_t id) -> void {
        const Node& n = root[id];
        if (n.left < 0) {
            for (std::size_t c = 0; c < width; ++c) values_[tree.first_value + (c << tree.bits) + n_leaves] = grid.e.tree_weight[t] * grid.e.values_of(n)[c];
            ++n_leaves;
            return;
        }
        const std::size_t first = n_leaves;
        self(self, n.left);
        masks.push_back({&n, grid.player(n), ~leaf_bits(first, n_leaves)});
        self(self, n.right);
    };
    visit(visit, 0);
    std::stable_sort(masks.begin(), masks.end(), [](const NodeMask& a, const NodeMask& b) { return a.player < b.player; });
    for (std::size_t from = 0, to; from < masks.size(); from = to) {
        to = from;
        while (to < masks.size() && masks[to].player == masks[from].player) ++to;
        compile_player(t, {masks.data() + from, to - from});
    }
}

// The splits of one player; equal ones (as in CatBoost's symmetric trees) become one.
void CurvePlan::compile_player(std::size_t t, std::span<const NodeMask> masks_of_player) {
    Tree& tree = trees_[t];
    const std::size_t first = split_masks_.size(), first_range = ranges_.size();
    for (const NodeMask& m : masks_of_player) {
        SplitMask mask{0, 1, m.leaves};
        const auto first_other = other_splits_.begin() + static_cast<std::ptrdiff_t>(tree.first_other);
        if (grid.intervals.cut_index(m.node - grid.e.nodes.data()) >= 0) mask.column = column(*m.node), mask.cut = cut(*m.node);
        else {
            const auto same = std::find_if(first_other, other_splits_.end(), [&](std::int32_t id) {
                const Node &a = grid.e.root(t)[id], &b = *m.node;
                return a.feature == b.feature && a.flags == b.flags && a.threshold == b.threshold && a.set_words == b.set_words && a.set_begin == b.set_begin;
            });
            mask.column = static_cast<std::int32_t>(columns() + static_cast<std::size_t>(same - first_other));
            if (same == other_splits_.end()) {
                other_splits_.push_back(static_cast<std::int32_t>(m.node - grid.e.root(t)));
                ++tree.n_other;
            }
        }
        const auto same = std::find_if(split_masks_.begin() + static_cast<std::ptrdiff_t>(first), split_masks_.end(),
                                       [&](const SplitMask& o) { return o.column == mask.column && o.cut == mask.cut; });
        if (same == split_masks_.end()) split_masks_.push_back(mask);
        else same->leaves &= mask.leaves;
    }
    if (masks_of_player[0].player >= 0) add_ranges(static_cast<std::size_t>(masks_of_player[0].player), grid.e.first_output(t), masks_of_player);
    player_splits_.push_back({static_cast<std::int32_t>(split_masks_.size() - first), static_cast<std::int32_t>(ranges_.size() - first_range)});
    ++tree.n_players;
}

void CurvePlan::add_ranges(std::size_t player, int first_output, std::span<const NodeMask> masks_of_player) {
    const auto points = static_cast<std::uint32_t>(grid.points(player));
    struct Change { std::uint32_t point, mask; };  // from this point on, the other side of the split
    std::vector<Change> changes;
    Ranges stack{{0, points}};
    for (std::size_t k = 0; k < masks_of_player.size(); ++k) {
        stack.resize(1);
        grid.append_side(*masks_of_player[k].node, true, 0, 1, stack);
        for (std::size_t r = 1; r < stack.size(); ++r)
            for (const auto point : {stack[r].from, stack[r].to}) changes.push_back({point, static_cast<std::uint32_t>(k)});
    }
    std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.point < b.point; });
    std::vector<char> left(masks_of_player.size());
    const std::size_t first = ranges_.size();
    for (std::size_t k = 0, point = 0; point < points;) {
        for (; k < changes.size() && changes[k].point <= point; ++k) left[changes[k].mask] ^= 1;
        std::uint64_t leaves = ~std::uint64_t{0};
        for (std::size_t m = 0; m < masks_of_player.size(); ++m)
            if (!left[m]) leaves &= masks_of_player[m].leaves;
        const auto outputs = static_cast<std::size_t>(grid.e.outputs());
        if (ranges_.size() == first || ranges_.back().leaves != leaves)
            ranges_.push_back({leaves, static_cast<std::int64_t>(((slot(player) + point) * outputs + static_cast<std::size_t>(first_output)) * kGroupRows)});
        point = k < changes.size() ? changes[k].point : points;
    }
}

// Returns whether path_lists.cpp can walk the tree.
bool CurvePlan::compile_large(std::size_t t) {
    constexpr std::size_t kMaxIndex = 0xffff;
    const Ensemble& e = grid.e;
    const Node* root = e.root(t);
    const auto nodes = static_cast<std::size_t>(e.tree_offsets[t + 1] - e.tree_offsets[t]);
    if (columns() > kMaxIndex || grid.players() > kMaxIndex) return false;
    std::vector<std::int32_t> number(nodes);
    std::int32_t n_inner = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        number[i] = n.left < 0 ? ~n.leaf : n_inner++;
        if (n.left < 0) continue;
        if (grid.intervals.cut_index(&n - e.nodes.data()) < 0) return false;
        if (const int j = grid.player(n); j >= 0 && (grid.cut(n) == Grid::kListed || grid.points(static_cast<std::size_t>(j)) > kMaxIndex)) return false;
    }
    trees_[t].first_node = large_nodes_.size();
    trees_[t].nodes = static_cast<std::size_t>(n_inner);
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        const auto child = [&](std::int32_t id) { return number[static_cast<std::size_t>(id)]; };
        large_nodes_.push_back({{child(n.left), child(n.right)}, cut(n), column(n), static_cast<std::uint16_t>(grid.player(n) < 0 ? 0 : grid.cut(n))});
    }
    return true;
}

}  // namespace whybox

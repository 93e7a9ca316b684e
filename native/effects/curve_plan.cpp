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

CurvePlan::CurvePlan(const Grid& g) : grid(g), trees_(g.e.trees()) {
    for (std::size_t j = 0; j < grid.players(); ++j)
        for (const auto k : grid.index(j)) given_.push_back(static_cast<std::uint32_t>(grid.first(j)) + k);
    for (std::size_t t = 0; t < trees_.size(); ++t) {
        if (grid.e.tree_weight[t] == 0) continue;
        const auto nodes = static_cast<std::size_t>(grid.e.tree_offsets[t + 1] - grid.e.tree_offsets[t]), leaves = (nodes + 1) / 2;
        if (leaves <= kLeafBits) few(t, leaves);
        else trees_[t].way = large(t) ? Way::lists : Way::walk;
    }
}

bool CurvePlan::any(Way way) const {
    return std::any_of(trees_.begin(), trees_.end(), [&](const Tree& t) { return t.way == way; });
}

LeafBits CurvePlan::bits(std::size_t t) const {
    const Tree& tree = trees_[t];
    return {questions_.data() + tree.question, stretches_.data() + tree.stretch, parties_.data() + tree.party, values_.data() + tree.value,
            static_cast<std::int32_t>(tree.parties), static_cast<std::int32_t>(tree.bits), grid.e.width, grid.e.first_output(t)};
}

std::span<const std::int32_t> CurvePlan::asked(std::size_t t) const { return {asked_.data() + trees_[t].ask, trees_[t].asks}; }

std::uint16_t CurvePlan::column(const Node& n) const {
    return static_cast<std::uint16_t>(n.feature + (goes_missing_left(grid.e, n) ? grid.e.columns : 0));
}

std::int32_t CurvePlan::cut(const Node& n) const { return grid.classes.cut(&n - grid.e.nodes.data()) + goes_missing_left(grid.e, n); }

void CurvePlan::few(std::size_t t, std::size_t leaves) {
    const Node* root = grid.e.root(t);
    Tree& tree = trees_[t];
    tree = {Way::bits, 0, 0, questions_.size(), stretches_.size(), parties_.size(), 0, values_.size(), asked_.size(), 0, 0};
    tree.bits = std::max<std::size_t>(3, static_cast<std::size_t>(std::bit_width(leaves - 1)));
    const auto width = static_cast<std::size_t>(grid.e.width);
    values_.resize(tree.value + (width << tree.bits));
    std::vector<Met> met;
    std::size_t seen = 0;
    const auto visit = [&](const auto& again, std::int32_t id) -> void {
        const Node& n = root[id];
        if (n.left < 0) {
            for (std::size_t c = 0; c < width; ++c) values_[tree.value + (c << tree.bits) + seen] = grid.e.tree_weight[t] * grid.e.values(n)[c];
            ++seen;
            return;
        }
        const std::size_t first = seen;
        again(again, n.left);
        met.push_back({&n, grid.player(n), ~leaf_bits(first, seen)});
        again(again, n.right);
    };
    visit(visit, 0);
    std::stable_sort(met.begin(), met.end(), [](const Met& a, const Met& b) { return a.player < b.player; });
    for (std::size_t from = 0, to; from < met.size(); from = to) {
        to = from;
        while (to < met.size() && met[to].player == met[from].player) ++to;
        party(t, {met.data() + from, to - from});
    }
}

// The questions to one player; those that are the same (as in CatBoost's symmetric trees) are asked once.
void CurvePlan::party(std::size_t t, std::span<const Met> those) {
    Tree& tree = trees_[t];
    const std::size_t first = questions_.size(), stretch = stretches_.size();
    for (const Met& m : those) {
        Question q{0, 1, m.keeps};
        const auto asked = asked_.begin() + static_cast<std::ptrdiff_t>(tree.ask);
        if (grid.classes.cut(m.node - grid.e.nodes.data()) >= 0) q.column = column(*m.node), q.cut = cut(*m.node);
        else {
            const auto same = std::find_if(asked, asked_.end(), [&](std::int32_t id) {
                const Node &a = grid.e.root(t)[id], &b = *m.node;
                return a.feature == b.feature && a.flags == b.flags && a.threshold == b.threshold && a.set_words == b.set_words && a.set_begin == b.set_begin;
            });
            q.column = static_cast<std::int32_t>(columns() + static_cast<std::size_t>(same - asked));
            if (same == asked_.end()) {
                asked_.push_back(static_cast<std::int32_t>(m.node - grid.e.root(t)));
                ++tree.asks;
            }
        }
        const auto same = std::find_if(questions_.begin() + static_cast<std::ptrdiff_t>(first), questions_.end(),
                                       [&](const Question& o) { return o.column == q.column && o.cut == q.cut; });
        if (same == questions_.end()) questions_.push_back(q);
        else same->keeps &= q.keeps;
    }
    if (those[0].player >= 0) stretches(static_cast<std::size_t>(those[0].player), grid.e.first_output(t), those);
    parties_.push_back({static_cast<std::int32_t>(questions_.size() - first), static_cast<std::int32_t>(stretches_.size() - stretch)});
    ++tree.parties;
}

void CurvePlan::stretches(std::size_t player, int first_output, std::span<const Met> those) {
    const auto points = static_cast<std::uint32_t>(grid.points(player));
    struct Change { std::uint32_t at, question; };  // where what a question says begins to differ
    std::vector<Change> changes;
    Ranges stack{{0, points}};
    for (std::size_t k = 0; k < those.size(); ++k) {
        stack.resize(1);
        grid.side(*those[k].node, true, 0, 1, stack);
        for (std::size_t r = 1; r < stack.size(); ++r)
            for (const auto at : {stack[r].from, stack[r].to}) changes.push_back({at, static_cast<std::uint32_t>(k)});
    }
    std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.at < b.at; });
    std::vector<char> left(those.size());
    const std::size_t first = stretches_.size();
    for (std::size_t k = 0, at = 0; at < points;) {
        for (; k < changes.size() && changes[k].at <= at; ++k) left[changes[k].question] ^= 1;
        std::uint64_t keeps = ~std::uint64_t{0};
        for (std::size_t m = 0; m < those.size(); ++m)
            if (!left[m]) keeps &= those[m].keeps;
        const auto outputs = static_cast<std::size_t>(grid.e.outputs());
        if (stretches_.size() == first || stretches_.back().keeps != keeps)
            stretches_.push_back({keeps, static_cast<std::int64_t>(((slot(player) + at) * outputs + static_cast<std::size_t>(first_output)) * kBeside)});
        at = k < changes.size() ? changes[k].at : points;
    }
}

// Whether lists can walk the tree.
bool CurvePlan::large(std::size_t t) {
    constexpr std::size_t kMost = 0xffff;
    const Ensemble& e = grid.e;
    const Node* root = e.root(t);
    const auto nodes = static_cast<std::size_t>(e.tree_offsets[t + 1] - e.tree_offsets[t]);
    if (columns() > kMost || grid.players() > kMost) return false;
    std::vector<std::int32_t> number(nodes);
    std::int32_t many = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        number[i] = n.left < 0 ? ~n.leaf : many++;
        if (n.left < 0) continue;
        if (grid.classes.cut(&n - e.nodes.data()) < 0) return false;
        if (const int j = grid.player(n); j >= 0 && (grid.cut(n) == Grid::kAsk || grid.points(static_cast<std::size_t>(j)) > kMost)) return false;
    }
    trees_[t].first_node = inner_.size();
    trees_[t].nodes = static_cast<std::size_t>(many);
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        const auto kid = [&](std::int32_t id) { return number[static_cast<std::size_t>(id)]; };
        inner_.push_back({{kid(n.left), kid(n.right)}, cut(n), column(n), static_cast<std::uint16_t>(grid.player(n) < 0 ? 0 : grid.cut(n))});
    }
    return true;
}

}  // namespace whybox

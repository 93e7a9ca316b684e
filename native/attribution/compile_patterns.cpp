#include "attribution/compile_patterns.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "attribution/questions.hpp"
#include "core/split.hpp"

namespace whybox {
namespace {

// Calls visit(node, players of its path, in order of appearance) for every node, parents first.
template <class Visit>
void paths(const Ensemble& e, std::size_t tree, Players players, std::int32_t id, std::vector<int>& path, const Visit& visit) {
    const Node& n = e.root(tree)[id];
    if (!visit(id, path) || n.left < 0) return;
    const int j = players.of_column[n.feature];
    const bool fresh = std::find(path.begin(), path.end(), j) == path.end();
    if (fresh) path.push_back(j);
    paths(e, tree, players, n.left, path, visit);
    paths(e, tree, players, n.right, path, visit);
    if (fresh) path.pop_back();
}

template <class T>
class PatternCompiler {
public:
    PatternCompiler(const Ensemble& e, std::size_t tree, Players players, const Cells& cells, const Absent& absent, const PatternShape& shape, PatternTree<T>& out)
        : e_(e), tree_(tree), players_(players), cells_(cells), absent_(absent), shape_(shape), out_(out), root_(e.root(tree)), questions_(e, tree), bit_(static_cast<std::size_t>(questions_.count())) {
        out.first_node = e.tree_offsets[tree];
        out.depth = e.depth[tree];
        if (interventional()) answer();
        out.root = compile(0);
    }

private:
    static constexpr unsigned kNever = 1U << 31;  // in no mask: a condition that no pattern meets
    struct OnPath { int player; double share; };
    struct Need { int player; unsigned mask, value; double share; };  // a leaf's condition on one player, in bits of the pattern

    const Ensemble& e_;
    std::size_t tree_;
    Players players_;
    const Cells& cells_;
    const Absent& absent_;
    PatternShape shape_;
    PatternTree<T>& out_;
    const Node* root_;
    Questions questions_;
    std::vector<int> bit_;  // of each question, in the bottom at hand
    std::vector<OnPath> path_;
    std::vector<std::vector<std::uint8_t>> left_;  // for each node and background row: it goes left
    std::vector<std::vector<unsigned>> met_;       // for each depth and background row: the pattern of the path so far
    std::vector<std::int32_t> splits_;
    std::vector<double> histogram_, leaf_histogram_, game_;
    std::vector<unsigned> alpha_;
    std::vector<std::int32_t> here_;  // cells of the bottom at hand

    bool interventional() const { return !absent_.weights.empty(); }
    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    void answer() {
        const std::size_t rows = absent_.weights.size();
        left_.resize(static_cast<std::size_t>(e_.tree_offsets[tree_ + 1] - e_.tree_offsets[tree_]));
        met_.assign(static_cast<std::size_t>(out_.depth) + 2, std::vector<unsigned>(rows, 0));
        for (std::size_t i = 0; i < left_.size(); ++i) {
            const Node& n = root_[i];
            if (n.left < 0) continue;
            left_[i].resize(rows);
            const bool single = n.flags & kSingle;
            const Split s = split_of(e_, tree_, static_cast<std::int32_t>(i), single, false);
            const double *x = (single ? absent_.singles : absent_.columns) + static_cast<std::size_t>(n.feature) * rows, t = s.threshold;
            std::uint8_t* to = left_[i].data();
            for (std::size_t r = 0; r < rows; ++r) switch (s.kind) {
                case kLess: to[r] = x[r] < t; break;
                case kLessOrNan: to[r] = !(x[r] >= t); break;
                case kNotAbove: to[r] = x[r] <= t; break;
                case kNotAboveOrNan: to[r] = !(x[r] > t); break;
                case kScalar: to[r] = goes_left(e_, n, absent_.columns[static_cast<std::size_t>(n.feature) * rows + r]); break;
            }
        }
    }

    // Background rows that go down one side: their patterns one level deeper.
    void follow(std::int32_t id, std::size_t depth, std::size_t place, bool fresh, bool left) {
        const unsigned bit = 1U << place;
        const std::vector<unsigned>& from = met_[depth];
        std::vector<unsigned>& to = met_[depth + 1];
        const std::vector<std::uint8_t>& go = left_[static_cast<std::size_t>(id)];
        for (std::size_t r = 0; r < to.size(); ++r) {
            const unsigned went = 0U - static_cast<unsigned>(go[r] == static_cast<std::uint8_t>(left));
            to[r] = (from[r] & ~bit) | ((fresh ? bit : from[r] & bit) & went);
        }
    }

    std::int32_t compile(std::int32_t id, std::size_t depth = 0) {
        if (root_[id].left < 0 || static_cast<int>(path_.size()) + questions_.different(id) <= shape_.bits) return bottom(id, depth);
        const auto at = static_cast<std::int32_t>(out_.tops.size());
        const Node& n = root_[id];
        const int j = player(id);
        const auto found = std::find_if(path_.begin(), path_.end(), [&](const OnPath& o) { return o.player == j; });
        const bool repeat = found != path_.end();
        const auto place = static_cast<std::size_t>(found - path_.begin());
        out_.tops.push_back({split_of(e_, tree_, id, shape_.single, shape_.as_float), j, {0, 0}, static_cast<std::int32_t>(place), 0, repeat});
        if (!repeat) path_.push_back({j, 1.0});
        const OnPath before = path_[place];
        for (int side = 0; side < 2; ++side) {
            const std::int32_t kid = side ? n.right : n.left;
            path_[place].share = before.share * Ensemble::ratio(n, root_[kid]);
            if (interventional()) follow(id, depth, place, !repeat, side == 0);
            const std::int32_t ref = compile(kid, depth + 1);
            out_.tops[at].kid[side] = ref;
        }
        if (repeat) path_[place] = before;
        else path_.pop_back();
        return at;
    }

    void number(std::int32_t id) {
        if (root_[id].left < 0) return;
        if (std::none_of(splits_.begin(), splits_.end(), [&](std::int32_t s) { return questions_[s] == questions_[id]; })) {
            bit_[static_cast<std::size_t>(questions_[id])] = static_cast<int>(path_.size() + splits_.size());
            splits_.push_back(id);
        }
        number(root_[id].left);
        number(root_[id].right);
    }

    std::int32_t bottom(std::int32_t id, std::size_t depth) {
        splits_.clear();
        number(id);
        Leaves b{};
        b.places = static_cast<std::int32_t>(path_.size());
        b.splits = static_cast<std::int32_t>(splits_.size());
        b.bits = b.places + b.splits;
        b.first_split = static_cast<std::int32_t>(out_.splits.size());
        for (const auto s : splits_) out_.splits.push_back(split_of(e_, tree_, s, shape_.single, shape_.as_float));
        if (interventional()) count(b, depth);
        std::vector<Need> needs;
        for (std::size_t k = 0; k < path_.size(); ++k) needs.push_back({path_[k].player, 1U << k, 1U << k, path_[k].share});
        choose(id, b, needs);
        leaves(id, b, needs);
        out_.bottoms.push_back(b);
        return ~static_cast<std::int32_t>(out_.bottoms.size() - 1);
    }

    // How much background weight meets the bottom as each pattern.
    void count(const Leaves& b, std::size_t depth) {
        histogram_.assign(std::size_t{1} << b.bits, 0.0);
        std::vector<unsigned>& pattern = met_[depth + 1];  // free: a bottom has nothing below it
        pattern = met_[depth];
        for (std::size_t s = 0; s < splits_.size(); ++s) {
            const std::uint8_t* left = left_[static_cast<std::size_t>(splits_[s])].data();
            const unsigned place = static_cast<unsigned>(path_.size() + s);
            for (std::size_t r = 0; r < pattern.size(); ++r) pattern[r] |= static_cast<unsigned>(left[r]) << place;
        }
        for (std::size_t r = 0; r < pattern.size(); ++r) histogram_[pattern[r]] += absent_.weights[r];
    }

    // The cells this bottom adds to, and room for their tables.
    void choose(std::int32_t id, Leaves& b, const std::vector<Need>& needs) {
        std::vector<int> path;
        for (const auto& n : needs) path.push_back(n.player);
        std::vector<std::int32_t> found;
        paths(e_, tree_, players_, id, path, [&](std::int32_t at, const std::vector<int>& on) {
            if (root_[at].left >= 0) return true;
            for (std::size_t i = 0; i < on.size(); ++i) {
                if (cells_.order() == 1) found.push_back(on[i]);
                else for (std::size_t j = 0; j < i; ++j) found.push_back(cells_.of(on[i], on[j]));
            }
            return true;
        });
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        here_ = found;
        const std::size_t size = std::size_t{1} << std::max(b.bits, 2), line = std::min<std::size_t>(size, 64 / sizeof(T));
        const std::size_t begin = (out_.tables.size() + line - 1) / line * line;
        b.table = static_cast<std::int64_t>(begin);
        b.first_cell = static_cast<std::int32_t>(out_.ints.size());
        b.cells = static_cast<std::int32_t>(found.size() * static_cast<std::size_t>(e_.width));
        for (const auto c : found)
            for (int o = 0; o < e_.width; ++o) out_.ints.push_back(c * e_.outputs() + e_.first_output(tree_) + o);
        out_.tables.resize(begin + size * static_cast<std::size_t>(b.cells));
    }

    void leaves(std::int32_t id, const Leaves& b, std::vector<Need>& needs) {
        const Node& n = root_[id];
        if (n.left < 0) return leaf(n, b, needs);
        const unsigned bit = 1U << bit_[static_cast<std::size_t>(questions_[id])];
        const int j = player(id);
        auto found = std::find_if(needs.begin(), needs.end(), [&](const Need& k) { return k.player == j; });
        const bool fresh = found == needs.end();
        const auto at = static_cast<std::size_t>(found - needs.begin());
        if (fresh) needs.push_back({j, 0, 0, 1.0});
        const Need before = needs[at];
        for (int side = 0; side < 2; ++side) {
            const std::int32_t kid = side ? n.right : n.left;
            needs[at] = {j, before.mask | bit, before.value | (side ? 0 : bit), before.share * Ensemble::ratio(n, root_[kid])};
            if (before.mask & bit && (before.value & bit) != (side ? 0 : bit)) needs[at].value |= kNever;  // the path already went the other way at this split
            leaves(kid, b, needs);
        }
        needs[at] = before;
        if (fresh) needs.pop_back();
    }

    // Adds one leaf to the tables: its game over its own players first, then spread over the bottom's patterns.
    void leaf(const Node& n, const Leaves& b, const std::vector<Need>& needs) {
        const std::size_t d = needs.size(), patterns = std::size_t{1} << b.bits, stride = std::size_t{1} << std::max(b.bits, 2);
        const std::size_t sums = cells_.order() == 1 ? d : d * (d - (d > 0)) / 2;
        alpha_.assign(patterns, 0);
        for (std::size_t k = 0; k < d; ++k)
            for (unsigned p = 0; p < patterns; ++p) alpha_[p] |= static_cast<unsigned>((p & needs[k].mask) == needs[k].value) << k;
        game_.assign(sums << d, 0.0);
        interventional() ? against_rows(d, patterns) : against_shares(needs);
        const double *v = e_.values(n), weight = e_.tree_weight[tree_];
        std::size_t sum = 0;
        auto spread = [&](std::int32_t cell) {
            const auto at = static_cast<std::size_t>(std::lower_bound(here_.begin(), here_.end(), cell) - here_.begin());
            for (int o = 0; o < e_.width; ++o) {
                T* to = out_.tables.data() + b.table + (at * static_cast<std::size_t>(e_.width) + static_cast<std::size_t>(o)) * stride;
                const double value = weight * v[o];
                for (std::size_t p = 0; p < patterns; ++p) to[p] += static_cast<T>(value * game_[alpha_[p] * sums + sum]);
            }
            ++sum;
        };
        for (std::size_t i = 0; i < d; ++i) {
            if (cells_.order() == 1) spread(needs[i].player);
            else for (std::size_t j = 0; j < i; ++j) spread(cells_.of(needs[i].player, needs[j].player));
        }
    }

    // E_p[prod (p a + (1-p) r) * K_j], or K_i K_j, for every pattern a of the leaf's players.
    void against_shares(const std::vector<Need>& needs) {
        const std::size_t d = needs.size(), sums = game_.size() >> d;
        std::vector<double> kays(d);
        for (unsigned a = 0; a < 1U << d; ++a) {
            double* to = game_.data() + a * sums;
            for (std::size_t q = 0; q < absent_.rule.nodes.size(); ++q) {
                const double p = absent_.rule.nodes[q];
                double product = absent_.rule.weights[q];
                for (std::size_t k = 0; k < d; ++k) {
                    const double met = a >> k & 1U;
                    product *= factor(p, met, needs[k].share);
                    kays[k] = kay(p, met, needs[k].share);
                }
                if (product == 0) continue;
                std::size_t s = 0;
                for (std::size_t i = 0; i < d; ++i) {
                    if (cells_.order() == 1) to[s++] += product * kays[i];
                    else for (std::size_t j = 0; j < i; ++j) to[s++] += product * kays[i] * kays[j];
                }
            }
        }
    }

    double moment(int x, int y) const { return x < 0 || y < 0 ? 0.0 : absent_.moments[static_cast<std::size_t>(x * absent_.side + y)]; }

    // A row of pattern a and a background row of pattern b reach the leaf together when a | b is everything. Players in a & ~b need the
    // row (A of them), players in b & ~a the background row (N of them); an index weighs that by E[p^A (1-p)^N] with one or two left out.
    void against_rows(std::size_t d, std::size_t patterns) {
        leaf_histogram_.assign(std::size_t{1} << d, 0.0);
        for (std::size_t p = 0; p < patterns; ++p) leaf_histogram_[alpha_[p]] += histogram_[p];
        const unsigned all = (1U << d) - 1;
        const std::size_t sums = game_.size() >> d;
        for (unsigned a = 0; a <= all; ++a) {
            const unsigned lacking = all & ~a;
            const int y = std::popcount(lacking);
            for (unsigned s = a;; s = (s - 1) & a) {  // what row and background row share
                const double h = leaf_histogram_[lacking | s];
                if (h != 0) pair(game_.data() + a * sums, d, a & ~s, lacking, std::popcount(a & ~s), y, h);
                if (s == 0) break;
            }
        }
    }

    void pair(double* to, std::size_t d, unsigned by_row, unsigned by_back, int x, int y, double h) const {
        if (cells_.order() == 1) {
            const double up = h * moment(x - 1, y), down = -h * moment(x, y - 1);
            for (std::size_t k = 0; k < d; ++k) to[k] += by_row >> k & 1U ? up : by_back >> k & 1U ? down : 0.0;
            return;
        }
        const double xx = h * moment(x - 2, y), xy = -h * moment(x - 1, y - 1), yy = h * moment(x, y - 2);
        const unsigned either = by_row | by_back;
        std::size_t s = 0;
        for (std::size_t i = 0; i < d; ++i)
            for (std::size_t j = 0; j < i; ++j, ++s) {
                if (!(either >> i & 1U) || !(either >> j & 1U)) continue;
                const bool mine = by_row >> i & 1U, its = by_row >> j & 1U;
                to[s] += mine != its ? xy : mine ? xx : yy;
            }
    }
};

}  // namespace

Cells::Cells(const Ensemble& e, Players players, int order) : order_(order), players_(players.count) {
    if (order == 1) return;
    std::vector<int> path;
    for (std::size_t t = 0; t < e.trees(); ++t)
        paths(e, t, players, 0, path, [&](std::int32_t, const std::vector<int>& on) {
            for (std::size_t i = 0; i + 1 < on.size(); ++i) number_.emplace(key(on[i], on.back()), 0);  // the last came at the node above
            return true;
        });
    for (const auto& [key, number] : number_) pairs_.emplace_back(static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key));
    std::sort(pairs_.begin(), pairs_.end());
    for (std::size_t i = 0; i < pairs_.size(); ++i) number_[key(pairs_[i].first, pairs_[i].second)] = static_cast<std::int32_t>(i);
}

template <class T>
PatternTree<T> compile_patterns(const Ensemble& e, std::size_t tree, Players players, const Cells& cells, const Absent& absent, const PatternShape& shape) {
    PatternTree<T> out;
    PatternCompiler<T>(e, tree, players, cells, absent, shape, out);
    return out;
}

template PatternTree<float> compile_patterns(const Ensemble&, std::size_t, Players, const Cells&, const Absent&, const PatternShape&);
template PatternTree<double> compile_patterns(const Ensemble&, std::size_t, Players, const Cells&, const Absent&, const PatternShape&);

}  // namespace whybox

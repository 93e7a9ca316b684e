#include "attribution/compile_patterns.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "attribution/distinct_splits.hpp"
#include "core/split.hpp"

namespace whybox {
namespace {

// Calls visit(node, players of its path, in order of appearance) for every node, parents first.
template <class Visit>
void for_each_path(const Ensemble& e, std::size_t tree, Players players, std::int32_t id, std::vector<int>& path, const Visit& visit) {
    const Node& n = e.root(tree)[id];
    if (!visit(id, path) || n.left < 0) return;
    const int j = players.of_column[n.feature];
    const bool is_new = std::find(path.begin(), path.end(), j) == path.end();
    if (is_new) path.push_back(j);
    for_each_path(e, tree, players, n.left, path, visit);
    for_each_path(e, tree, players, n.right, path, visit);
    if (is_new) path.pop_back();
}

template <class T>
class PatternCompiler {
public:
    PatternCompiler(const Ensemble& e, std::size_t tree, Players players, const ResultCells& cells, const Replacement& replacement, const PatternShape& shape,
        PatternTree<T>& out)
        : e_(e), tree_(tree), players_(players), cells_(cells), replacement_(replacement), shape_(shape), out_(out), root_(e.root(tree)),
            distinct_splits_(e, tree), bit_of_split_(static_cast<std::size_t>(distinct_splits_.count())) {
        out.first_node = e.tree_offsets[tree];
        out.depth = e.depth[tree];
        if (interventional()) evaluate_background();
        out.root = compile_node(0);
    }

private:
    static constexpr unsigned kImpossible = 1U << 31;  // in no mask: a condition that no pattern meets
    struct PathPlayer { int player; double share; };
    struct LeafCondition { int player; unsigned mask, value; double share; };  // a leaf's condition on one player, in bits of the pattern

    const Ensemble& e_;
    std::size_t tree_;
    Players players_;
    const ResultCells& cells_;
    const Replacement& replacement_;
    PatternShape shape_;
    PatternTree<T>& out_;
    const Node* root_;
    DistinctSplits distinct_splits_;
    std::vector<int> bit_of_split_;  // of each distinct split, in the current subtree
    std::vector<PathPlayer> path_;
    std::vector<std::vector<std::uint8_t>> background_left_;  // for each node and background row: it goes left
    std::vector<std::vector<unsigned>> background_pattern_;   // for each depth and background row: the pattern of the path so far
    std::vector<std::int32_t> splits_;
    std::vector<double> pattern_weights_, leaf_pattern_weights_, leaf_game_;
    std::vector<unsigned> leaf_pattern_;
    std::vector<std::int32_t> subtree_cells_;  // cells of the current subtree

    bool interventional() const { return !replacement_.weights.empty(); }
    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    void evaluate_background() {
        const std::size_t rows = replacement_.weights.size();
        background_left_.resize(static_cast<std::size_t>(e_.tree_offsets[tree_ + 1] - e_.tree_offsets[tree_]));
        background_pattern_.assign(static_cast<std::size_t>(out_.depth) + 2, std::vector<unsigned>(rows, 0));
        for (std::size_t i = 0; i < background_left_.size(); ++i) {
            const Node& n = root_[i];
            if (n.left < 0) continue;
            background_left_[i].resize(rows);
            const bool single = n.flags & kSingle;
            const Split s = compile_split(e_, tree_, static_cast<std::int32_t>(i), single, false);
            const double *x = (single ? replacement_.rounded : replacement_.columns) + static_cast<std::size_t>(n.feature) * rows, t = s.threshold;
            std::uint8_t* to = background_left_[i].data();
            for (std::size_t r = 0; r < rows; ++r) switch (s.kind) {
                case kLess: to[r] = x[r] < t; break;
                case kLessOrNan: to[r] = !(x[r] >= t); break;
                case kNotAbove: to[r] = x[r] <= t; break;
                case kNotAboveOrNan: to[r] = !(x[r] > t); break;
                case kScalar: to[r] = goes_left(e_, n, replacement_.columns[static_cast<std::size_t>(n.feature) * rows + r]); break;
            }
        }
    }

    // Background rows that go down one side: their patterns one level deeper.
    void follow_background(std::int32_t id, std::size_t depth, std::size_t position, bool is_new, bool left) {
        const unsigned bit = 1U << position;
        const std::vector<unsigned>& from = background_pattern_[depth];
        std::vector<unsigned>& to = background_pattern_[depth + 1];
        const std::vector<std::uint8_t>& goes_left_here = background_left_[static_cast<std::size_t>(id)];
        for (std::size_t r = 0; r < to.size(); ++r) {
            const unsigned goes_this_way = 0U - static_cast<unsigned>(goes_left_here[r] == static_cast<std::uint8_t>(left));
            to[r] = (from[r] & ~bit) | ((is_new ? bit : from[r] & bit) & goes_this_way);
        }
    }

    std::int32_t compile_node(std::int32_t id, std::size_t depth = 0) {
        if (root_[id].left < 0 || static_cast<int>(path_.size()) + distinct_splits_.distinct_below(id) <= shape_.max_bits) return add_subtree(id, depth);
        const auto at = static_cast<std::int32_t>(out_.upper_nodes.size());
        const Node& n = root_[id];
        const int j = player(id);
        const auto found = std::find_if(path_.begin(), path_.end(), [&](const PathPlayer& o) { return o.player == j; });
        const bool repeated = found != path_.end();
        const auto position = static_cast<std::size_t>(found - path_.begin());
        out_.upper_nodes.push_back({compile_split(e_, tree_, id, shape_.single, shape_.as_float), j, {0, 0}, static_cast<std::int32_t>(position), 0, repeated});
        if (!repeated) path_.push_back({j, 1.0});
        const PathPlayer before = path_[position];
        for (int side = 0; side < 2; ++side) {
            const std::int32_t child = side ? n.right : n.left;
            path_[position].share = before.share * Ensemble::cover_share(n, root_[child]);
            if (interventional()) follow_background(id, depth, position, !repeated, side == 0);
            const std::int32_t ref = compile_node(child, depth + 1);
            out_.upper_nodes[at].child[side] = ref;
        }
        if (repeated) path_[position] = before;
        else path_.pop_back();
        return at;
    }

    void number_splits(std::int32_t id) {
        if (root_[id].left < 0) return;
        if (std::none_of(splits_.begin(), splits_.end(), [&](std::int32_t s) { return distinct_splits_[s] == distinct_splits_[id]; })) {
            bit_of_split_[static_cast<std::size_t>(distinct_splits_[id])] = static_cast<int>(path_.size() + splits_.size());
            splits_.push_back(id);
        }
        number_splits(root_[id].left);
        number_splits(root_[id].right);
    }

    std::int32_t add_subtree(std::int32_t id, std::size_t depth) {
        splits_.clear();
        number_splits(id);
        PatternTables b{};
        b.path_players = static_cast<std::int32_t>(path_.size());
        b.splits = static_cast<std::int32_t>(splits_.size());
        b.bits = b.path_players + b.splits;
        b.first_split = static_cast<std::int32_t>(out_.splits.size());
        for (const auto s : splits_) out_.splits.push_back(compile_split(e_, tree_, s, shape_.single, shape_.as_float));
        if (interventional()) weigh_patterns(b, depth);
        std::vector<LeafCondition> conditions;
        for (std::size_t k = 0; k < path_.size(); ++k) conditions.push_back({path_[k].player, 1U << k, 1U << k, path_[k].share});
        allocate_tables(id, b, conditions);
        add_leaves(id, b, conditions);
        out_.subtrees.push_back(b);
        return ~static_cast<std::int32_t>(out_.subtrees.size() - 1);
    }

    // The background weight of each pattern at the subtree's root.
    void weigh_patterns(const PatternTables& b, std::size_t depth) {
        pattern_weights_.assign(std::size_t{1} << b.bits, 0.0);
        std::vector<unsigned>& pattern = background_pattern_[depth + 1];  // unused: a subtree in tables has no deeper level
        pattern = background_pattern_[depth];
        for (std::size_t s = 0; s < splits_.size(); ++s) {
            const std::uint8_t* left = background_left_[static_cast<std::size_t>(splits_[s])].data();
            const unsigned position = static_cast<unsigned>(path_.size() + s);
            for (std::size_t r = 0; r < pattern.size(); ++r) pattern[r] |= static_cast<unsigned>(left[r]) << position;
        }
        for (std::size_t r = 0; r < pattern.size(); ++r) pattern_weights_[pattern[r]] += replacement_.weights[r];
    }

    // The cells that this subtree adds to, and space for their tables.
    void allocate_tables(std::int32_t id, PatternTables& b, const std::vector<LeafCondition>& conditions) {
        std::vector<int> path;
        for (const auto& n : conditions) path.push_back(n.player);
        std::vector<std::int32_t> found;
        for_each_path(e_, tree_, players_, id, path, [&](std::int32_t at, const std::vector<int>& on) {
            if (root_[at].left >= 0) return true;
            for (std::size_t i = 0; i < on.size(); ++i) {
                if (cells_.order() == 1) found.push_back(on[i]);
                else for (std::size_t j = 0; j < i; ++j) found.push_back(cells_.pair_cell(on[i], on[j]));
            }
            return true;
        });
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        subtree_cells_ = found;
        const std::size_t size = std::size_t{1} << std::max(b.bits, 2), line = std::min<std::size_t>(size, 64 / sizeof(T));
        const std::size_t begin = (out_.tables.size() + line - 1) / line * line;
        b.table = static_cast<std::int64_t>(begin);
        b.first_cell = static_cast<std::int32_t>(out_.indices.size());
        b.cells = static_cast<std::int32_t>(found.size() * static_cast<std::size_t>(e_.leaf_width));
        for (const auto c : found)
            for (int o = 0; o < e_.leaf_width; ++o) out_.indices.push_back(c * e_.outputs() + e_.first_output(tree_) + o);
        out_.tables.resize(begin + size * static_cast<std::size_t>(b.cells));
    }

    void add_leaves(std::int32_t id, const PatternTables& b, std::vector<LeafCondition>& conditions) {
        const Node& n = root_[id];
        if (n.left < 0) return add_leaf(n, b, conditions);
        const unsigned bit = 1U << bit_of_split_[static_cast<std::size_t>(distinct_splits_[id])];
        const int j = player(id);
        auto found = std::find_if(conditions.begin(), conditions.end(), [&](const LeafCondition& k) { return k.player == j; });
        const bool is_new = found == conditions.end();
        const auto at = static_cast<std::size_t>(found - conditions.begin());
        if (is_new) conditions.push_back({j, 0, 0, 1.0});
        const LeafCondition before = conditions[at];
        for (int side = 0; side < 2; ++side) {
            const std::int32_t child = side ? n.right : n.left;
            conditions[at] = {j, before.mask | bit, before.value | (side ? 0 : bit), before.share * Ensemble::cover_share(n, root_[child])};
            if (before.mask & bit && (before.value & bit) != (side ? 0 : bit)) conditions[at].value |= kImpossible;  // the path already took the other side of this split
            add_leaves(child, b, conditions);
        }
        conditions[at] = before;
        if (is_new) conditions.pop_back();
    }

    // Adds one leaf to the tables: first its game over its own players, then its contribution to every pattern of the subtree.
    void add_leaf(const Node& n, const PatternTables& b, const std::vector<LeafCondition>& conditions) {
        const std::size_t d = conditions.size(), patterns = std::size_t{1} << b.bits, stride = std::size_t{1} << std::max(b.bits, 2);
        const std::size_t sums = cells_.order() == 1 ? d : d * (d - (d > 0)) / 2;
        leaf_pattern_.assign(patterns, 0);
        for (std::size_t k = 0; k < d; ++k)
            for (unsigned p = 0; p < patterns; ++p) leaf_pattern_[p] |= static_cast<unsigned>((p & conditions[k].mask) == conditions[k].value) << k;
        leaf_game_.assign(sums << d, 0.0);
        interventional() ? interventional_game(d, patterns) : path_dependent_game(conditions);
        const double *v = e_.values_of(n), weight = e_.tree_weight[tree_];
        std::size_t sum = 0;
        auto add_to_cell = [&](std::int32_t cell) {
            const auto at = static_cast<std::size_t>(std::lower_bound(subtree_cells_.begin(), subtree_cells_.end(), cell) - subtree_cells_.begin());
            for (int o = 0; o < e_.leaf_width; ++o) {
                T* to = out_.tables.data() + b.table + (at * static_cast<std::size_t>(e_.leaf_width) + static_cast<std::size_t>(o)) * stride;
                const double value = weight * v[o];
                for (std::size_t p = 0; p < patterns; ++p) to[p] += static_cast<T>(value * leaf_game_[leaf_pattern_[p] * sums + sum]);
            }
            ++sum;
        };
        for (std::size_t i = 0; i < d; ++i) {
            if (cells_.order() == 1) add_to_cell(conditions[i].player);
            else for (std::size_t j = 0; j < i; ++j) add_to_cell(cells_.pair_cell(conditions[i].player, conditions[j].player));
        }
    }

    // E_p[prod (p a + (1-p) r) * K_j], or K_i K_j, for every pattern a of the leaf's players.
    void path_dependent_game(const std::vector<LeafCondition>& conditions) {
        const std::size_t d = conditions.size(), sums = leaf_game_.size() >> d;
        std::vector<double> log_derivatives(d);
        for (unsigned a = 0; a < 1U << d; ++a) {
            double* to = leaf_game_.data() + a * sums;
            for (std::size_t q = 0; q < replacement_.rule.nodes.size(); ++q) {
                const double p = replacement_.rule.nodes[q];
                double product = replacement_.rule.weights[q];
                for (std::size_t k = 0; k < d; ++k) {
                    const double met = a >> k & 1U;
                    product *= path_factor(p, met, conditions[k].share);
                    log_derivatives[k] = log_derivative(p, met, conditions[k].share);
                }
                if (product == 0) continue;
                std::size_t s = 0;
                for (std::size_t i = 0; i < d; ++i) {
                    if (cells_.order() == 1) to[s++] += product * log_derivatives[i];
                    else for (std::size_t j = 0; j < i; ++j) to[s++] += product * log_derivatives[i] * log_derivatives[j];
                }
            }
        }
    }

    double moment(int x, int y) const { return x < 0 || y < 0 ? 0.0 : replacement_.moments[static_cast<std::size_t>(x * replacement_.side + y)]; }

    // A row of pattern a and a background row of pattern b reach the leaf together when a | b is everything. Players in a & ~b need the
    // row (A of them), players in b & ~a the background row (N of them); an index weighs that by E[p^A (1-p)^N] with one or two left out.
    void interventional_game(std::size_t d, std::size_t patterns) {
        leaf_pattern_weights_.assign(std::size_t{1} << d, 0.0);
        for (std::size_t p = 0; p < patterns; ++p) leaf_pattern_weights_[leaf_pattern_[p]] += pattern_weights_[p];
        const unsigned all = (1U << d) - 1;
        const std::size_t sums = leaf_game_.size() >> d;
        for (unsigned a = 0; a <= all; ++a) {
            const unsigned failed = all & ~a;
            const int y = std::popcount(failed);
            for (unsigned s = a;; s = (s - 1) & a) {  // players that both rows meet
                const double h = leaf_pattern_weights_[failed | s];
                if (h != 0) add_pair(leaf_game_.data() + a * sums, d, a & ~s, failed, std::popcount(a & ~s), y, h);
                if (s == 0) break;
            }
        }
    }

    void add_pair(double* to, std::size_t d, unsigned by_row, unsigned by_background, int x, int y, double h) const {
        if (cells_.order() == 1) {
            const double row_gain = h * moment(x - 1, y), background_gain = -h * moment(x, y - 1);
            for (std::size_t k = 0; k < d; ++k) to[k] += by_row >> k & 1U ? row_gain : by_background >> k & 1U ? background_gain : 0.0;
            return;
        }
        const double xx = h * moment(x - 2, y), xy = -h * moment(x - 1, y - 1), yy = h * moment(x, y - 2);
        const unsigned by_one = by_row | by_background;
        std::size_t s = 0;
        for (std::size_t i = 0; i < d; ++i)
            for (std::size_t j = 0; j < i; ++j, ++s) {
                if (!(by_one >> i & 1U) || !(by_one >> j & 1U)) continue;
                const bool i_by_row = by_row >> i & 1U, j_by_row = by_row >> j & 1U;
                to[s] += i_by_row != j_by_row ? xy : i_by_row ? xx : yy;
            }
    }
};

}  // namespace

ResultCells::ResultCells(const Ensemble& e, Players players, int order) : order_(order), players_(players.count) {
    if (order == 1) return;
    std::vector<int> path;
    for (std::size_t t = 0; t < e.trees(); ++t)
        for_each_path(e, t, players, 0, path, [&](std::int32_t, const std::vector<int>& on) {
            for (std::size_t i = 0; i + 1 < on.size(); ++i) cell_of_pair_.emplace(key(on[i], on.back()), 0);  // the last one is new at the node above
            return true;
        });
    for (const auto& [key, cell] : cell_of_pair_) pairs_.emplace_back(static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key));
    std::sort(pairs_.begin(), pairs_.end());
    for (std::size_t i = 0; i < pairs_.size(); ++i) cell_of_pair_[key(pairs_[i].first, pairs_[i].second)] = static_cast<std::int32_t>(i);
}

template <class T>
PatternTree<T> compile_patterns(const Ensemble& e, std::size_t tree, Players players, const ResultCells& cells, const Replacement& replacement, const PatternShape& shape) {
    PatternTree<T> out;
    PatternCompiler<T>(e, tree, players, cells, replacement, shape, out);
    return out;
}

template PatternTree<float> compile_patterns(const Ensemble&, std::size_t, Players, const ResultCells&, const Replacement&, const PatternShape&);
template PatternTree<double> compile_patterns(const Ensemble&, std::size_t, Players, const ResultCells&, const Replacement&, const PatternShape&);

}  // namespace whybox

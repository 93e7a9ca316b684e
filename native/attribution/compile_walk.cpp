#include "attribution/compile_walk.hpp"

#include <algorithm>
#include <cstddef>

#include "attribution/distinct_splits.hpp"

namespace whybox {
namespace {

template <class T>
class WalkCompiler {
public:
    WalkCompiler(const Ensemble& e, std::size_t tree, Players players, const QuadratureView& rule, const WalkShape& shape, WalkTree<T>& out)
        : e_(e), tree_(tree), players_(players), rule_(rule), shape_(shape), out_(out), root_(e.root(tree)), distinct_splits_(e, tree),
            q_(static_cast<int>(rule.nodes.size())) {
        cover_share_.assign(players.count, 1.0);
        occurrences_.assign(players.count, 0);
        subtree_index_.assign(players.count, -1);
        case_constants_.resize(48 * static_cast<std::size_t>(q_));
        bit_of_split_.assign(static_cast<std::size_t>(distinct_splits_.count()), -1);
        std::vector<std::int32_t> below;
        out.root = compile_node(0, 0, below);
        out.first_sum.assign(1, 0);
        for (const auto sums : sums_at_depth_) out.first_sum.push_back(out.first_sum.back() + sums * e.leaf_width);
    }

private:
    // A leaf of the current subtree: for each player, the subtree's conditions as bits of the pattern, and its share of training weight.
    struct LeafConditions {
        const Node* node;
        unsigned mask[8], value[8];
        double share[8];
    };

    const Ensemble& e_;
    std::size_t tree_;
    Players players_;
    const QuadratureView& rule_;
    WalkShape shape_;
    WalkTree<T>& out_;
    const Node* root_;
    DistinctSplits distinct_splits_;
    int q_;
    std::vector<double> cover_share_;  // of each player, over the path
    std::vector<int> occurrences_;     // how often each is on it
    std::vector<int> bit_of_split_;    // of each distinct split, in the current subtree
    std::vector<int> subtree_index_;   // a player's number in the current subtree
    std::vector<LeafConditions> leaves_;
    std::vector<std::pair<std::size_t, std::size_t>> pairs_;  // of the current subtree's players
    std::vector<double> case_constants_;  // of a leaf: players x cases x (factor, change of K) x nodes
    std::vector<std::int32_t> sums_at_depth_;  // walk of interactions: the most that a subtree there has, of one output

    // Attributions have the weights of the quadrature in the changes of K; interactions multiply two of these, and have them in the leaves' values.
    double weight_of_change(int k) const { return shape_.pairs ? 1 : rule_.weights[k]; }
    double weight_of_leaf(int k) const { return shape_.pairs ? rule_.weights[k] : 1; }

    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    // The subtree's different splits and players, in order.
    void collect_splits(std::int32_t id, std::vector<std::int32_t>& splits, std::vector<std::int32_t>& players) const {
        if (root_[id].left < 0) return;
        if (std::none_of(splits.begin(), splits.end(), [&](std::int32_t s) { return distinct_splits_[s] == distinct_splits_[id]; })) splits.push_back(id);
        if (std::find(players.begin(), players.end(), player(id)) == players.end()) players.push_back(player(id));
        collect_splits(root_[id].left, splits, players);
        collect_splits(root_[id].right, splits, players);
    }

    // Appends the different players of the subtree to `below`; the order is that of its sums.
    std::int32_t compile_node(std::int32_t id, std::size_t depth, std::vector<std::int32_t>& below) {
        const std::int32_t at = compile_part(id, depth, below);
        if (sums_at_depth_.size() <= depth) sums_at_depth_.resize(depth + 1);
        sums_at_depth_[depth] = std::max(sums_at_depth_[depth], 1 + static_cast<std::int32_t>(below.size()));
        return at;
    }

    std::int32_t compile_part(std::int32_t id, std::size_t depth, std::vector<std::int32_t>& below) {
        if (distinct_splits_.distinct_below(id) <= shape_.max_bits) {
            std::vector<std::int32_t> splits, players;
            collect_splits(id, splits, players);
            const auto n_repeated = std::count_if(players.begin(), players.end(), [&](int p) { return occurrences_[p] > 0; });
            if (static_cast<int>(splits.size() + n_repeated) <= shape_.max_bits) {
                below = players;
                return add_subtree(id, splits, players);
            }
        }
        return add_upper_node(id, depth, below);
    }

    std::int32_t add_upper_node(std::int32_t id, std::size_t depth, std::vector<std::int32_t>& below) {
        const auto at = static_cast<std::int32_t>(out_.upper_nodes.size());
        const Node& n = root_[id];
        const int j = player(id);
        const double previous = cover_share_[j];
        UpperNode t{compile_split(e_, tree_, id, shape_.single, shape_.as_float), j, {0, 0}, 0, static_cast<std::int64_t>(out_.constants.size()), occurrences_[j] > 0};
        out_.upper_nodes.push_back(t);
        out_.constants.resize(out_.constants.size() + 8 * q_ + 2);
        T* c = out_.constants.data() + t.constants;
        const std::int32_t children[2] = {n.left, n.right};
        for (int side = 0; side < 2; ++side) {
            const double ratio = Ensemble::cover_share(n, root_[children[side]]), share = previous * ratio;
            for (int k = 0; k < q_; ++k) {
                const double p = rule_.nodes[k], w = weight_of_change(k), f = path_factor(p, 1, share), per_previous = 1 / path_factor(p, 1, previous),
                    before = (1 - previous) * per_previous;
                c[8 * k + 2 * side] = static_cast<T>(f * per_previous);
                c[8 * k + 2 * side + 1] = static_cast<T>((1 - p) * share * per_previous);
                c[8 * k + 4 + side] = static_cast<T>(w * ((1 - share) / f - before));
                c[8 * k + 6] = static_cast<T>(w * (-1 / (1 - p) - before));  // K(0, r) is the same for every r > 0; H is zero for r = 0
            }
            c[8 * q_ + side] = static_cast<T>(ratio);
        }
        ++occurrences_[j];
        std::vector<std::int32_t> of_child[2];
        for (int side = 0; side < 2; ++side) {
            cover_share_[j] = previous * Ensemble::cover_share(n, root_[children[side]]);
            const std::int32_t child = compile_node(children[side], depth + 1, of_child[side]);
            out_.upper_nodes[at].child[side] = child;
        }
        cover_share_[j] = previous;
        --occurrences_[j];
        if (shape_.pairs) {
            out_.upper_nodes[at].position = static_cast<std::int32_t>(out_.indices.size());
            below.push_back(j);
            for (const auto& players : of_child) list_below(j, players, below);
        }
        return at;
    }

    // For each child, left then right: how many players it has, then for each: twice its position among the node's players, plus one if it has none yet; and the cell of its pair
    // with the node's player (-1: it is this player). Players that the node does not have yet are appended to `below`.
    void list_below(int own, const std::vector<std::int32_t>& of_child, std::vector<std::int32_t>& below) {
        out_.indices.push_back(static_cast<std::int32_t>(of_child.size()));
        for (const auto p : of_child) {
            const auto found = std::find(below.begin(), below.end(), p);
            const bool is_new = found == below.end();
            out_.indices.push_back(2 * static_cast<std::int32_t>(found - below.begin()) + is_new);
            out_.indices.push_back(p == own ? -1 : shape_.pairs->pair_cell(p, own));
            if (is_new) below.push_back(p);
        }
    }

    std::int32_t add_subtree(std::int32_t id, const std::vector<std::int32_t>& splits, const std::vector<std::int32_t>& players) {
        SubtreeTables b{};
        b.first_split = static_cast<std::int32_t>(out_.splits.size());
        b.first_player = static_cast<std::int32_t>(out_.indices.size());
        b.splits = static_cast<std::int16_t>(splits.size());
        b.players = static_cast<std::int16_t>(players.size());
        for (const auto s : splits) out_.splits.push_back(compile_split(e_, tree_, s, shape_.single, shape_.as_float));
        out_.indices.insert(out_.indices.end(), players.begin(), players.end());
        for (const auto p : players)
            if (occurrences_[p]) out_.indices.push_back(p), ++b.repeated;
        b.bits = static_cast<std::int16_t>(b.splits + b.repeated);
        fill_tables(id, b, splits, players);
        out_.subtrees.push_back(b);
        return ~static_cast<std::int32_t>(out_.subtrees.size() - 1);
    }

    static constexpr unsigned kImpossible = 1U << 31;  // in no mask: a condition that no pattern meets

    void fill_tables(std::int32_t id, SubtreeTables& b, const std::vector<std::int32_t>& splits, const std::vector<std::int32_t>& players) {
        const std::size_t table_size = std::size_t{1} << std::max<int>(b.bits, 2), per_line = std::min<std::size_t>(table_size, 64 / sizeof(T));
        const std::size_t table = (out_.tables.size() + per_line - 1) / per_line * per_line, count = players.size();
        b.table = static_cast<std::int64_t>(table);
        for (std::size_t j = 0; j < count; ++j) subtree_index_[players[j]] = static_cast<int>(j);
        for (std::size_t s = 0; s < splits.size(); ++s) bit_of_split_[static_cast<std::size_t>(distinct_splits_[splits[s]])] = static_cast<int>(s);
        LeafConditions leaf{};
        unsigned path_bit[8] = {};  // the bit that says whether the path's own condition on a player is met; 0: it has none
        int bit = b.splits;
        for (std::size_t j = 0; j < count; ++j) {
            if (occurrences_[players[j]]) path_bit[j] = 1U << bit++;
            leaf.share[j] = occurrences_[players[j]] ? cover_share_[players[j]] : 1;
        }
        leaves_.clear();
        collect_leaves(id, leaf);
        if (shape_.pairs) list_pairs(b, players);
        out_.tables.resize(table + table_size * q_ * (1 + count + b.pairs) * e_.leaf_width);
        for (const auto& l : leaves_) add_leaf(l, b, count, path_bit, leaf.share, table, table_size);
    }

    // The subtree's players that are on one path in it, two by two.
    void list_pairs(SubtreeTables& b, const std::vector<std::int32_t>& players) {
        pairs_.clear();
        for (std::size_t i = 1; i < players.size(); ++i)
            for (std::size_t j = 0; j < i; ++j)
                if (std::any_of(leaves_.begin(), leaves_.end(), [&](const LeafConditions& l) { return l.mask[i] && l.mask[j]; })) {
                    pairs_.emplace_back(i, j);
                    out_.indices.push_back(shape_.pairs->pair_cell(players[i], players[j]));
                }
        b.pairs = static_cast<std::int16_t>(pairs_.size());
    }

    void collect_leaves(std::int32_t id, const LeafConditions& conditions) {
        const Node& n = root_[id];
        if (n.left < 0) {
            leaves_.push_back(conditions);
            leaves_.back().node = &n;
            return;
        }
        const unsigned bit = 1U << bit_of_split_[static_cast<std::size_t>(distinct_splits_[id])];
        const int j = subtree_index_[player(id)];
        for (int side = 0; side < 2; ++side) {
            LeafConditions next = conditions;
            const unsigned wanted = side ? 0 : bit;
            if (next.mask[j] & bit && (next.value[j] & bit) != wanted) next.value[j] |= kImpossible;  // the path already took the other side of this split
            next.mask[j] |= bit;
            next.value[j] |= wanted;
            next.share[j] *= Ensemble::cover_share(n, root_[side ? n.right : n.left]);
            collect_leaves(side ? n.right : n.left, next);
        }
    }

    // For a player there are three cases: met before and now, failed here, failed before. Each is a factor of the product and a change of K.
    void add_leaf(const LeafConditions& l, const SubtreeTables& b, std::size_t count, const unsigned* path_bit, const double* path_share, std::size_t table,
        std::size_t table_size) {
        int tested[8], n_tested = 0, place[8] = {};  // place: a player's among those tested, plus one
        for (std::size_t j = 0; j < count; ++j) {
            if (!l.mask[j]) continue;
            double *both = case_constants_.data() + n_tested * 6 * q_, *lost = both + 2 * q_, *failed_before = both + 4 * q_;
            for (int k = 0; k < q_; ++k) {
                const double p = rule_.nodes[k], w = weight_of_change(k), previous = 1 / path_factor(p, 1, path_share[j]), now = path_factor(p, 1, l.share[j]);
                both[k] = now * previous;
                both[q_ + k] = w * ((1 - l.share[j]) / now - (1 - path_share[j]) * previous);
                lost[k] = (1 - p) * l.share[j] * previous;
                lost[q_ + k] = w * (-1 / (1 - p) - (1 - path_share[j]) * previous);
                failed_before[k] = path_share[j] > 0 ? l.share[j] / path_share[j] : 0;
                failed_before[q_ + k] = 0;
            }
            tested[n_tested++] = static_cast<int>(j);
            place[j] = n_tested;
        }
        const double *v = e_.values_of(*l.node), weight = e_.tree_weight[tree_];
        const std::size_t per_player = q_ * table_size, per_output = (1 + count + static_cast<std::size_t>(b.pairs)) * per_player;
        for (unsigned pattern = 0; pattern < 1U << b.bits; ++pattern) {
            const double* constants_of[8];
            for (int i = 0; i < n_tested; ++i) {
                const int j = tested[i];
                const bool met_before = !path_bit[j] || pattern & path_bit[j], met = met_before && (pattern & l.mask[j]) == l.value[j];
                constants_of[i] = case_constants_.data() + (6 * i + (met ? 0 : met_before ? 2 : 4)) * q_;
            }
            for (int k = 0; k < q_; ++k) {
                double product = weight * weight_of_leaf(k);
                for (int i = 0; i < n_tested; ++i) product *= constants_of[i][k];
                T* to = out_.tables.data() + table + static_cast<std::size_t>(k) * table_size + pattern;
                for (int o = 0; o < e_.leaf_width; ++o, to += per_output) {
                    const double value = v[o] * product;
                    to[0] += static_cast<T>(value);
                    for (int i = 0; i < n_tested; ++i) to[static_cast<std::size_t>(1 + tested[i]) * per_player] += static_cast<T>(value * constants_of[i][q_ + k]);
                    for (std::size_t c = 0; c < pairs_.size(); ++c) {
                        const auto [i, j] = pairs_[c];
                        if (!place[i] || !place[j]) continue;
                        const double both = constants_of[place[i] - 1][q_ + k] * constants_of[place[j] - 1][q_ + k];
                        to[(1 + count + c) * per_player] += static_cast<T>(value * both);
                    }
                }
            }
        }
    }
};

}  // namespace

template <class T>
WalkTree<T> compile_walk(const Ensemble& e, std::size_t tree, Players players, const QuadratureView& rule, const WalkShape& shape) {
    WalkTree<T> out;
    out.first_node = e.tree_offsets[tree];
    out.q = static_cast<int>(rule.nodes.size());
    out.leaf_width = e.leaf_width;
    out.first_output = e.first_output(tree);
    out.depth = e.depth[tree];
    WalkCompiler<T>(e, tree, players, rule, shape, out);
    return out;
}

template WalkTree<float> compile_walk(const Ensemble&, std::size_t, Players, const QuadratureView&, const WalkShape&);
template WalkTree<double> compile_walk(const Ensemble&, std::size_t, Players, const QuadratureView&, const WalkShape&);

}  // namespace whybox

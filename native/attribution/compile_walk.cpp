#include "attribution/compile_walk.hpp"

#include <algorithm>
#include <cstddef>

#include "attribution/questions.hpp"

namespace whybox {
namespace {

template <class T>
class WalkCompiler {
public:
    WalkCompiler(const Ensemble& e, std::size_t tree, Players players, const Quadrature& rule, const WalkShape& shape, WalkTree<T>& out)
        : e_(e), tree_(tree), players_(players), rule_(rule), shape_(shape), out_(out), root_(e.root(tree)), questions_(e, tree), q_(static_cast<int>(rule.nodes.size())) {
        share_.assign(players.count, 1.0);
        times_.assign(players.count, 0);
        local_.assign(players.count, -1);
        case_.resize(48 * static_cast<std::size_t>(q_));
        bit_.assign(static_cast<std::size_t>(questions_.count()), -1);
        out.root = compile(0);
    }

private:
    // A leaf of the bottom at hand: for each player, the subtree's conditions as bits of the pattern, and its share of training weight.
    struct LeafOf {
        const Node* node;
        unsigned mask[8], value[8];
        double share[8];
    };

    const Ensemble& e_;
    std::size_t tree_;
    Players players_;
    const Quadrature& rule_;
    WalkShape shape_;
    WalkTree<T>& out_;
    const Node* root_;
    Questions questions_;
    int q_;
    std::vector<double> share_;  // of each player, over the path
    std::vector<int> times_;     // how often each is on it
    std::vector<int> bit_;       // of each question, in the bottom at hand
    std::vector<int> local_;     // a player's number in the bottom at hand
    std::vector<LeafOf> leaves_;
    std::vector<double> case_;   // of a leaf: players x cases x (factor, gain) x nodes

    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    // The subtree's different splits and players, in order.
    void gather(std::int32_t id, std::vector<std::int32_t>& splits, std::vector<std::int32_t>& players) const {
        if (root_[id].left < 0) return;
        if (std::none_of(splits.begin(), splits.end(), [&](std::int32_t s) { return questions_[s] == questions_[id]; })) splits.push_back(id);
        if (std::find(players.begin(), players.end(), player(id)) == players.end()) players.push_back(player(id));
        gather(root_[id].left, splits, players);
        gather(root_[id].right, splits, players);
    }

    std::int32_t compile(std::int32_t id) {
        if (questions_.different(id) <= shape_.bits) {
            std::vector<std::int32_t> splits, players;
            gather(id, splits, players);
            const auto repeats = std::count_if(players.begin(), players.end(), [&](int p) { return times_[p] > 0; });
            if (static_cast<int>(splits.size() + repeats) <= shape_.bits) return bottom(id, splits, players);
        }
        return top(id);
    }

    std::int32_t top(std::int32_t id) {
        const auto at = static_cast<std::int32_t>(out_.tops.size());
        const Node& n = root_[id];
        const int j = player(id);
        const double old = share_[j];
        Top t{split_of(e_, tree_, id, shape_.single, shape_.as_float), j, {0, 0}, 0, static_cast<std::int64_t>(out_.constants.size()), times_[j] > 0};
        out_.tops.push_back(t);
        out_.constants.resize(out_.constants.size() + 8 * q_ + 2);
        T* c = out_.constants.data() + t.constants;
        const std::int32_t kids[2] = {n.left, n.right};
        for (int side = 0; side < 2; ++side) {
            const double ratio = Ensemble::ratio(n, root_[kids[side]]), share = old * ratio;
            for (int k = 0; k < q_; ++k) {
                const double p = rule_.nodes[k], w = rule_.weights[k], f = factor(p, 1, share), per_old = 1 / factor(p, 1, old), before = (1 - old) * per_old;
                c[8 * k + 2 * side] = static_cast<T>(f * per_old);
                c[8 * k + 2 * side + 1] = static_cast<T>((1 - p) * share * per_old);
                c[8 * k + 4 + side] = static_cast<T>(w * ((1 - share) / f - before));
                c[8 * k + 6] = static_cast<T>(w * (-1 / (1 - p) - before));  // K(0, r) is the same for every r > 0; H is zero for r = 0
            }
            c[8 * q_ + side] = static_cast<T>(ratio);
        }
        ++times_[j];
        for (int side = 0; side < 2; ++side) {
            share_[j] = old * Ensemble::ratio(n, root_[kids[side]]);
            const std::int32_t kid = compile(kids[side]);
            out_.tops[at].kid[side] = kid;
        }
        share_[j] = old;
        --times_[j];
        return at;
    }

    std::int32_t bottom(std::int32_t id, const std::vector<std::int32_t>& splits, const std::vector<std::int32_t>& players) {
        Bottom b{};
        b.first_split = static_cast<std::int32_t>(out_.splits.size());
        b.first_player = static_cast<std::int32_t>(out_.ints.size());
        b.splits = static_cast<std::int16_t>(splits.size());
        b.players = static_cast<std::int16_t>(players.size());
        for (const auto s : splits) out_.splits.push_back(split_of(e_, tree_, s, shape_.single, shape_.as_float));
        out_.ints.insert(out_.ints.end(), players.begin(), players.end());
        for (const auto p : players)
            if (times_[p]) out_.ints.push_back(p), ++b.repeats;
        b.bits = static_cast<std::int16_t>(b.splits + b.repeats);
        fill(id, b, splits, players);
        out_.bottoms.push_back(b);
        return ~static_cast<std::int32_t>(out_.bottoms.size() - 1);
    }

    static constexpr unsigned kNever = 1U << 31;  // in no mask: a condition that no pattern meets

    void fill(std::int32_t id, Bottom& b, const std::vector<std::int32_t>& splits, const std::vector<std::int32_t>& players) {
        const std::size_t size = std::size_t{1} << std::max<int>(b.bits, 2), line = std::min<std::size_t>(size, 64 / sizeof(T));
        const std::size_t begin = (out_.tables.size() + line - 1) / line * line, count = players.size();
        b.table = static_cast<std::int64_t>(begin);
        out_.tables.resize(begin + size * q_ * (1 + count) * e_.width);
        for (std::size_t j = 0; j < count; ++j) local_[players[j]] = static_cast<int>(j);
        for (std::size_t s = 0; s < splits.size(); ++s) bit_[static_cast<std::size_t>(questions_[splits[s]])] = static_cast<int>(s);
        LeafOf leaf{};
        unsigned before[8] = {};  // the bit that says whether the path's own condition on a player is met; 0: it has none
        int bit = b.splits;
        for (std::size_t j = 0; j < count; ++j) {
            if (times_[players[j]]) before[j] = 1U << bit++;
            leaf.share[j] = times_[players[j]] ? share_[players[j]] : 1;
        }
        leaves_.clear();
        leaves(id, leaf);
        for (const auto& l : leaves_) add(l, b, count, before, leaf.share, begin, size);
    }

    void leaves(std::int32_t id, const LeafOf& so_far) {
        const Node& n = root_[id];
        if (n.left < 0) {
            leaves_.push_back(so_far);
            leaves_.back().node = &n;
            return;
        }
        const unsigned bit = 1U << bit_[static_cast<std::size_t>(questions_[id])];
        const int j = local_[player(id)];
        for (int side = 0; side < 2; ++side) {
            LeafOf next = so_far;
            const unsigned wanted = side ? 0 : bit;
            if (next.mask[j] & bit && (next.value[j] & bit) != wanted) next.value[j] |= kNever;  // the path already went the other way at this split
            next.mask[j] |= bit;
            next.value[j] |= wanted;
            next.share[j] *= Ensemble::ratio(n, root_[side ? n.right : n.left]);
            leaves(side ? n.right : n.left, next);
        }
    }

    // For a player there are three cases: met before and now, lost below, lost before. Each is a factor of the product and a gain in K.
    void add(const LeafOf& l, const Bottom& b, std::size_t count, const unsigned* before, const double* share0, std::size_t begin, std::size_t size) {
        int asked[8], some = 0;
        for (std::size_t j = 0; j < count; ++j) {
            if (!l.mask[j]) continue;
            double *both = case_.data() + some * 6 * q_, *lost = both + 2 * q_, *never = both + 4 * q_;
            for (int k = 0; k < q_; ++k) {
                const double p = rule_.nodes[k], w = rule_.weights[k], old = 1 / factor(p, 1, share0[j]), now = factor(p, 1, l.share[j]);
                both[k] = now * old;
                both[q_ + k] = w * ((1 - l.share[j]) / now - (1 - share0[j]) * old);
                lost[k] = (1 - p) * l.share[j] * old;
                lost[q_ + k] = w * (-1 / (1 - p) - (1 - share0[j]) * old);
                never[k] = share0[j] > 0 ? l.share[j] / share0[j] : 0;
                never[q_ + k] = 0;
            }
            asked[some++] = static_cast<int>(j);
        }
        const double *v = e_.values(*l.node), weight = e_.tree_weight[tree_];
        const std::size_t per_player = q_ * size, per_output = (1 + count) * per_player;
        for (unsigned pattern = 0; pattern < 1U << b.bits; ++pattern) {
            const double* chosen[8];
            for (int i = 0; i < some; ++i) {
                const int j = asked[i];
                const bool had = !before[j] || pattern & before[j], met = had && (pattern & l.mask[j]) == l.value[j];
                chosen[i] = case_.data() + (6 * i + (met ? 0 : had ? 2 : 4)) * q_;
            }
            for (int k = 0; k < q_; ++k) {
                double product = weight;
                for (int i = 0; i < some; ++i) product *= chosen[i][k];
                T* to = out_.tables.data() + begin + static_cast<std::size_t>(k) * size + pattern;
                for (int o = 0; o < e_.width; ++o, to += per_output) {
                    const double value = v[o] * product;
                    to[0] += static_cast<T>(value);
                    for (int i = 0; i < some; ++i) to[static_cast<std::size_t>(1 + asked[i]) * per_player] += static_cast<T>(value * chosen[i][q_ + k]);
                }
            }
        }
    }
};

}  // namespace

template <class T>
WalkTree<T> compile_walk(const Ensemble& e, std::size_t tree, Players players, const Quadrature& rule, const WalkShape& shape) {
    WalkTree<T> out;
    out.first_node = e.tree_offsets[tree];
    out.q = static_cast<int>(rule.nodes.size());
    out.width = e.width;
    out.first_output = e.first_output(tree);
    out.depth = e.depth[tree];
    WalkCompiler<T>(e, tree, players, rule, shape, out);
    return out;
}

template WalkTree<float> compile_walk(const Ensemble&, std::size_t, Players, const Quadrature&, const WalkShape&);
template WalkTree<double> compile_walk(const Ensemble&, std::size_t, Players, const Quadrature&, const WalkShape&);

}  // namespace whybox

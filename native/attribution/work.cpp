#include "attribution/work.hpp"

#include "attribution/distinct_splits.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace whybox {
namespace {

class WorkCounter {
public:
    WorkCounter(const Ensemble& e, std::size_t tree, Players players) : e_(e), tree_(tree), root_(e.root(tree)), players_(players), distinct_splits_(e, tree),
        occurrences_(players.count) {
        leaves_.assign(static_cast<std::size_t>(e.tree_offsets[tree + 1] - e.tree_offsets[tree]), 1);
        for (std::size_t i = leaves_.size(); i-- > 0;)  // children come after their parents
            if (root_[i].left >= 0) leaves_[i] = leaves_[root_[i].left] + leaves_[root_[i].right];
    }

    WorkEstimate walk(int q, int order, int bits) {
        q_ = q, order_ = order, bits_ = bits;
        std::vector<int> below;
        walk(0, below);
        return work_;
    }

    WorkEstimate patterns(int q, int order, int bits, int registers, bool single, double background) {
        q_ = q, bits_ = bits, order_ = order, registers_ = registers, single_ = single, background_ = background;
        patterns(0);
        work_.multiplications += background * static_cast<double>(e_.tree_offsets[tree_ + 1] - e_.tree_offsets[tree_]);
        return work_;
    }

private:
    const Ensemble& e_;
    std::size_t tree_;
    const Node* root_;
    Players players_;
    DistinctSplits distinct_splits_;
    std::vector<int> occurrences_, leaves_;
    WorkEstimate work_;
    int q_ = 1, bits_ = 0, order_ = 1, registers_ = 0, path_players_ = 0;
    bool single_ = true;
    double background_ = 0;

    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    void players_below(std::int32_t id, std::vector<int>& below) const {
        if (root_[id].left < 0) return;
        if (std::find(below.begin(), below.end(), player(id)) == below.end()) below.push_back(player(id));
        players_below(root_[id].left, below);
        players_below(root_[id].right, below);
    }

    // Fills `below` with the subtree's players, which interactions carry upwards.
    void walk(std::int32_t id, std::vector<int>& below) {
        if (distinct_splits_.distinct_below(id) <= bits_) {
            players_below(id, below);
            const auto n_repeated = std::count_if(below.begin(), below.end(), [&](int p) { return occurrences_[p] > 0; });
            if (distinct_splits_.distinct_below(id) + n_repeated <= bits_) {
                const double n_players = static_cast<double>(below.size()), pairs = order_ == 2 ? n_players * (n_players - 1) / 2 : 0,
                    patterns = std::ldexp(1.0, std::max<int>(2, distinct_splits_.distinct_below(id) + static_cast<int>(n_repeated)));
                work_.vector_instructions += 8.0 * distinct_splits_.distinct_below(id) + 4.0 * static_cast<double>(n_repeated) +
                    4.0 * q_ * (3 + e_.leaf_width * (6 + 2 * (n_players + pairs))) + 8 * (n_players + pairs) * e_.leaf_width;
                work_.table_entries += patterns * q_ * e_.leaf_width * (1 + n_players + pairs);
                work_.multiplications += patterns * leaves_[id] * q_ * (2 + n_players + pairs);
                return;
            }
            below.clear();
        }
        const Node& n = root_[id];
        work_.vector_instructions += 12;
        work_.table_entries += 8.0 * q_ + 24;
        work_.multiplications += 30.0 * q_;
        ++occurrences_[player(id)];
        for (const auto child : {n.left, n.right}) {
            work_.vector_instructions += 4.0 * q_ * (4 + 5 * e_.leaf_width);
            std::vector<int> of_child;
            walk(child, of_child);
            if (order_ == 1) continue;
            work_.vector_instructions += (4.0 * q_ * 5 + 12) * e_.leaf_width * static_cast<double>(of_child.size());
            work_.table_entries += 1.0 + 2.0 * static_cast<double>(of_child.size());
            for (const int p : of_child)
                if (std::find(below.begin(), below.end(), p) == below.end()) below.push_back(p);
        }
        if (order_ == 2 && std::find(below.begin(), below.end(), player(id)) == below.end()) below.push_back(player(id));
        --occurrences_[player(id)];
    }

    double look_up_cost(int bits) const {
        if (bits <= registers_) return bits > (single_ ? 5 : 4) ? 4 : 1.3;
        return single_ ? 24 : 14;  // gathered from memory
    }

    void patterns(std::int32_t id) {
        const int splits = distinct_splits_.distinct_below(id), bits = path_players_ + splits;
        if (splits == 0 || bits <= bits_) {
            std::vector<int> below;
            players_below(id, below);
            const double new_players = static_cast<double>(std::count_if(below.begin(), below.end(), [&](int p) { return occurrences_[p] == 0; }));
            // in a small subtree few leaves have all of its new players on their path, so pairs among these are few
            const double d = path_players_, cells = (order_ == 1 ? d + new_players : d * (d - 1) / 2 + d * new_players) * e_.leaf_width;
            const double patterns = std::ldexp(1.0, std::max(bits, 2)), leaf = d + 1, per_leaf = order_ == 1 ? leaf : leaf * (leaf - 1) / 2;
            work_.vector_instructions += 8.0 * splits + 4 * cells * (look_up_cost(bits) + 2.5);
            work_.table_entries += patterns * cells;
            const double game = background_ > 0 ? std::pow(3.0, leaf) : std::pow(2.0, leaf) * q_;
            work_.multiplications += leaves_[id] * (game * (2 + per_leaf) + patterns * per_leaf * (1 + e_.leaf_width)) + background_ * bits;
            return;
        }
        const Node& n = root_[id];
        work_.vector_instructions += 30;
        const bool is_new = occurrences_[player(id)]++ == 0;
        path_players_ += is_new;
        patterns(n.left);
        patterns(n.right);
        path_players_ -= is_new;
        --occurrences_[player(id)];
    }
};

}  // namespace

WorkEstimate walk_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits) { return WorkCounter(e, tree, players).walk(q, order, bits); }

WorkEstimate pattern_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits, int registers, bool single, double background) {
    return WorkCounter(e, tree, players).patterns(q, order, bits, registers, single, background);
}

}  // namespace whybox

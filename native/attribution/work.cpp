#include "attribution/work.hpp"

#include "attribution/questions.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace whybox {
namespace {

class Counter {
public:
    Counter(const Ensemble& e, std::size_t tree, Players players) : e_(e), tree_(tree), root_(e.root(tree)), players_(players), questions_(e, tree), times_(players.count) {
        leaves_.assign(static_cast<std::size_t>(e.tree_offsets[tree + 1] - e.tree_offsets[tree]), 1);
        for (std::size_t i = leaves_.size(); i-- > 0;)  // children come after their parents
            if (root_[i].left >= 0) leaves_[i] = leaves_[root_[i].left] + leaves_[root_[i].right];
    }

    Work walk(int q, int bits) {
        q_ = q, bits_ = bits;
        walk(0);
        return work_;
    }

    Work patterns(int q, int order, int bits, int registers, bool single, double background) {
        q_ = q, bits_ = bits, order_ = order, registers_ = registers, single_ = single, background_ = background;
        patterns(0);
        work_.build += background * static_cast<double>(e_.tree_offsets[tree_ + 1] - e_.tree_offsets[tree_]);
        return work_;
    }

private:
    const Ensemble& e_;
    std::size_t tree_;
    const Node* root_;
    Players players_;
    Questions questions_;
    std::vector<int> times_, leaves_;
    Work work_;
    int q_ = 1, bits_ = 0, order_ = 1, registers_ = 0, distinct_ = 0;
    bool single_ = true;
    double background_ = 0;

    int player(std::int32_t id) const { return players_.of_column[root_[id].feature]; }

    void players_below(std::int32_t id, std::vector<int>& found) const {
        if (root_[id].left < 0) return;
        if (std::find(found.begin(), found.end(), player(id)) == found.end()) found.push_back(player(id));
        players_below(root_[id].left, found);
        players_below(root_[id].right, found);
    }

    void walk(std::int32_t id) {
        if (questions_.different(id) <= bits_) {
            std::vector<int> found;
            players_below(id, found);
            const auto repeats = std::count_if(found.begin(), found.end(), [&](int p) { return times_[p] > 0; });
            if (questions_.different(id) + repeats <= bits_) {
                const double own = static_cast<double>(found.size()), pattern = std::ldexp(1.0, std::max<int>(2, questions_.different(id) + static_cast<int>(repeats)));
                work_.vectors += 8.0 * questions_.different(id) + 4.0 * static_cast<double>(repeats) + 4.0 * q_ * (3 + e_.width * (6 + 2 * own)) + 8 * own * e_.width;
                work_.entries += pattern * q_ * e_.width * (1 + own);
                work_.build += pattern * leaves_[id] * q_ * (2 + own);
                return;
            }
        }
        const Node& n = root_[id];
        work_.vectors += 12;
        work_.entries += 8.0 * q_ + 24;
        work_.build += 30.0 * q_;
        ++times_[player(id)];
        for (const auto kid : {n.left, n.right}) {
            work_.vectors += 4.0 * q_ * (4 + 5 * e_.width);
            walk(kid);
        }
        --times_[player(id)];
    }

    double look_up(int bits) const {
        if (bits <= registers_) return bits > (single_ ? 5 : 4) ? 4 : 1.3;
        return single_ ? 24 : 14;  // gathered from memory
    }

    void patterns(std::int32_t id) {
        const int splits = questions_.different(id), bits = distinct_ + splits;
        if (splits == 0 || bits <= bits_) {
            std::vector<int> found;
            players_below(id, found);
            const double fresh = static_cast<double>(std::count_if(found.begin(), found.end(), [&](int p) { return times_[p] == 0; }));
            // in a small subtree few leaves meet all of its fresh players, so few pairs among those
            const double d = distinct_, cells = (order_ == 1 ? d + fresh : d * (d - 1) / 2 + d * fresh) * e_.width;
            const double patterns = std::ldexp(1.0, std::max(bits, 2)), leaf = d + 1, per_leaf = order_ == 1 ? leaf : leaf * (leaf - 1) / 2;
            work_.vectors += 8.0 * splits + 4 * cells * (look_up(bits) + 2.5);
            work_.entries += patterns * cells;
            const double game = background_ > 0 ? std::pow(3.0, leaf) : std::pow(2.0, leaf) * q_;
            work_.build += leaves_[id] * (game * (2 + per_leaf) + patterns * per_leaf * (1 + e_.width)) + background_ * bits;
            return;
        }
        const Node& n = root_[id];
        work_.vectors += 30;
        const bool fresh = times_[player(id)]++ == 0;
        distinct_ += fresh;
        patterns(n.left);
        patterns(n.right);
        distinct_ -= fresh;
        --times_[player(id)];
    }
};

}  // namespace

Work walk_work(const Ensemble& e, std::size_t tree, Players players, int q, int bits) { return Counter(e, tree, players).walk(q, bits); }

Work pattern_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits, int registers, bool single, double background) {
    return Counter(e, tree, players).patterns(q, order, bits, registers, single, background);
}

}  // namespace whybox

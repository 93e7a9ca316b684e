#include "bit_walk.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "compile.hpp"
#include "split.hpp"

namespace whybox {
namespace {

// A background row is alive at a node while every player on the path is satisfied by the row explained or by it. What pair_walk keeps for
// each pair, this keeps in bits: for each player of the path, which background rows meet it; for each background row, which players of the
// path (64 at most) only the row explained meets. Rows are looked at one by one only where they part from the row explained, and at leaves.
template <int words>
class BitWalk {
public:
    using Bits = std::array<std::uint64_t, words>;

    BitWalk(const Ensemble& e, Players players, const Background& b, std::size_t first, std::span<const double> table, int side, int order,
            const InstructionSet& set)
        : e_(e), players_(players), b_(b), first_(first), count_(std::min<std::size_t>(64 * words, b.rows.rows - first)), table_(table), side_(side), order_(order),
          set_(set), place_(players.count, -1) {
        const std::size_t lanes = 64 * words;
        columns_.resize(b.rows.columns * lanes);
        singles_.resize(b.rows.columns * lanes);
        for (std::size_t c = 0; c < b.rows.columns; ++c)
            for (std::size_t r = 0; r < lanes; ++r) {
                const double x = b.rows.row(first + std::min(r, count_ - 1))[c];
                columns_[c * lanes + r] = x;
                singles_[c * lanes + r] = static_cast<double>(static_cast<float>(x));
            }
        for (std::size_t r = 0; r < count_; ++r)
            if (b.weights[first + r] != 0) everyone_[r / 64] |= std::uint64_t{1} << (r % 64);
    }

    void tree(std::size_t t, Rows x, double* out, std::size_t per_row) {
        tree_ = t;
        root_ = e_.root(t);
        first_output_ = e_.first_output(t);
        weight_ = e_.tree_weight[t];
        answer();
        for (std::size_t i = 0; i < x.rows; ++i) {
            x_ = x.row(i);
            out_ = out + i * per_row;
            descend(0, everyone_, 0);
        }
    }

private:
    const Ensemble& e_;
    Players players_;
    const Background& b_;
    std::size_t first_, count_;
    std::span<const double> table_;
    int side_, order_;
    const InstructionSet& set_;
    Aligned<double> columns_, singles_;  // columns x background rows, as they are and rounded to float32
    Bits everyone_{};
    std::vector<int> place_;             // of a player on the path, or -1
    std::vector<int> path_;              // players
    struct OnlyX { std::uint64_t places; int count; };
    std::array<OnlyX, 64 * words> only_x_{};  // for each background row: players of the path, by place, that only the row explained meets
    int lacking_ = 0;                    // players of the path that it does not meet: their number, as counting bits is slow on old processors
    std::vector<Bits> theirs_;           // background rows that meet each player of the path
    std::vector<Bits> left_;             // of each node: background rows that go left
    std::array<double, 64> share_{};
    std::size_t tree_ = 0;
    const Node* root_ = nullptr;
    const double* x_ = nullptr;
    double* out_ = nullptr;
    int first_output_ = 0;
    double weight_ = 1;

    void answer() {
        const std::size_t nodes = static_cast<std::size_t>(e_.tree_offsets[tree_ + 1] - e_.tree_offsets[tree_]), lanes = 64 * words;
        left_.resize(nodes);
        for (std::size_t i = 0; i < nodes; ++i) {
            const Node& n = root_[i];
            if (n.left < 0) continue;
            const bool single = n.flags & kSingle;
            const Split s = split_of(e_, tree_, static_cast<std::int32_t>(i), single, false);
            const double* column = (single ? singles_ : columns_).data() + static_cast<std::size_t>(n.feature) * lanes;
            for (int w = 0; w < words; ++w) {
                left_[i][w] = 0;
                if (s.kind != kScalar) left_[i][w] = set_.left(column + 64 * w, s.threshold, s.kind);
                else for (int r = 0; r < 64; ++r) left_[i][w] |= static_cast<std::uint64_t>(goes_left(e_, n, columns_[static_cast<std::size_t>(n.feature) * lanes + 64 * w + r])) << r;
            }
        }
    }

    static bool none(const Bits& b) {
        std::uint64_t any = 0;
        for (const auto w : b) any |= w;
        return any == 0;
    }

    // `alone`: players of the path, by place, that the row explained does not meet.
    void descend(std::int32_t id, const Bits& alive, std::uint64_t alone) {
        const Node& n = root_[id];
        if (n.left < 0) return order_ == 1 ? leaf(n, alive, alone) : leaf_pairs(n, alive, alone);
        const int j = players_.of_column[n.feature];
        const bool x_left = goes_left(e_, n, x_[n.feature]), fresh = place_[j] < 0;
        if (fresh) {
            place_[j] = static_cast<int>(path_.size());
            path_.push_back(j);
            theirs_.push_back(everyone_);
        }
        const auto at = static_cast<std::size_t>(place_[j]);
        const std::uint64_t bit = std::uint64_t{1} << at;
        const Bits before = theirs_[at], left = left_[id];
        for (int side = 0; side < 2; ++side) {
            const bool met = !(alone & bit) && x_left == (side == 0);
            Bits next, lost;
            for (int w = 0; w < words; ++w) {
                theirs_[at][w] = before[w] & (side ? ~left[w] : left[w]);
                next[w] = met ? alive[w] : alive[w] & theirs_[at][w];
                lost[w] = met ? alive[w] & before[w] & ~theirs_[at][w] : 0;
            }
            if (none(next)) continue;
            each(lost, [&](int r) { only_x_[r].places |= bit, ++only_x_[r].count; });
            const bool gone = !met && !(alone & bit);
            lacking_ += gone;
            descend(side ? n.right : n.left, next, met ? alone : alone | bit);
            lacking_ -= gone;
            each(lost, [&](int r) { only_x_[r].places &= ~bit, --only_x_[r].count; });
        }
        theirs_[at] = before;
        if (fresh) {
            path_.pop_back();
            theirs_.pop_back();
            place_[j] = -1;
        }
    }

    double moment(int x, int y) const { return x < 0 || y < 0 ? 0.0 : table_[static_cast<std::size_t>(x * side_ + y)]; }

    template <class Use>
    static void each(const Bits& bits, const Use& use) {
        for (int w = 0; w < words; ++w)
            for (std::uint64_t rest = bits[w]; rest; rest &= rest - 1) use(64 * w + std::countr_zero(rest));
    }

    template <class Use>
    static void places(std::uint64_t set, const Use& use) {
        for (; set; set &= set - 1) use(std::countr_zero(set));
    }

    void leaf(const Node& n, const Bits& alive, std::uint64_t alone) {
        const int y = lacking_;
        if (only_one(alive)) return lonely_leaf(n, alive, alone);
        double down = 0;
        std::uint64_t some = alone;
        places(alone, [&](int k) { share_[k] = 0; });
        each(alive, [&](int r) {
            const std::uint64_t mine = only_x_[r].places;
            const int x = only_x_[r].count;
            const double weight = b_.weights[first_ + static_cast<std::size_t>(r)], up = weight * moment(x - 1, y);
            down -= weight * moment(x, y - 1);
            places(mine & ~some, [&](int k) { share_[k] = 0; });
            some |= mine;
            places(mine, [&](int k) { share_[k] += up; });
        });
        const double* v = e_.values(n);
        places(some, [&](int k) {
            double* to = out_ + static_cast<std::size_t>(path_[static_cast<std::size_t>(k)]) * e_.outputs() + first_output_;
            const double by = weight_ * (alone >> k & 1U ? down : share_[k]);
            for (int c = 0; c < e_.width; ++c) to[c] += by * v[c];
        });
    }

    static bool only_one(const Bits& b) {
        int with = 0;
        bool single = true;
        for (const auto w : b) with += w != 0, single &= (w & (w - 1)) == 0;
        return with == 1 && single;
    }

    // Most leaves of deep trees are reached with one background row alone.
    void lonely_leaf(const Node& n, const Bits& alive, std::uint64_t alone) {
        each(alive, [&](int r) {
            const std::uint64_t mine = only_x_[r].places;
            const int x = only_x_[r].count, y = lacking_;
            const double weight = weight_ * b_.weights[first_ + static_cast<std::size_t>(r)], up = weight * moment(x - 1, y), down = -weight * moment(x, y - 1);
            const double* v = e_.values(n);
            places(mine | alone, [&](int k) {
                double* to = out_ + static_cast<std::size_t>(path_[static_cast<std::size_t>(k)]) * e_.outputs() + first_output_;
                const double by = alone >> k & 1U ? down : up;
                for (int c = 0; c < e_.width; ++c) to[c] += by * v[c];
            });
        });
    }

    void leaf_pairs(const Node& n, const Bits& alive, std::uint64_t alone) {
        const double* v = e_.values(n);
        const auto players = static_cast<std::size_t>(players_.count);
        const int y = lacking_;
        each(alive, [&](int r) {
            const std::uint64_t mine = only_x_[r].places;
            const int x = only_x_[r].count;
            const double weight = weight_ * b_.weights[first_ + static_cast<std::size_t>(r)];
            const double xx = weight * moment(x - 2, y), xy = -weight * moment(x - 1, y - 1), yy = weight * moment(x, y - 2);
            places(mine | alone, [&](int k) {
                const auto p = static_cast<std::size_t>(path_[static_cast<std::size_t>(k)]);
                const bool p_mine = mine >> k & 1U;
                places((mine | alone) & ((std::uint64_t{1} << k) - 1), [&](int l) {
                    const auto o = static_cast<std::size_t>(path_[static_cast<std::size_t>(l)]);
                    const bool o_mine = mine >> l & 1U;
                    const double by = p_mine != o_mine ? xy : p_mine ? xx : yy;
                    double* one = out_ + (p * players + o) * e_.outputs() + first_output_;
                    double* two = out_ + (o * players + p) * e_.outputs() + first_output_;
                    for (int c = 0; c < e_.width; ++c) one[c] += by * v[c], two[c] += by * v[c];
                });
            });
        });
    }
};

template <int words>
void walk(const Ensemble& e, Players players, const Background& b, std::size_t first, std::span<const double> table, int side, int order, Rows x, double* out,
          const InstructionSet& set) {
    BitWalk<words> walk(e, players, b, first, table, side, order, set);
    const std::size_t n = static_cast<std::size_t>(players.count), per_row = (order == 1 ? n : n * n) * e.outputs();
    for (std::size_t t = 0; t < e.trees(); ++t) walk.tree(t, x, out, per_row);
}

}  // namespace

void bit_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, Rows x, double* out,
              const InstructionSet& set) {
    for (std::size_t first = 0; first < b.rows.rows; first += 256) {
        const std::size_t left = b.rows.rows - first;
        if (left <= 64) walk<1>(e, players, b, first, table, side, order, x, out, set);
        else if (left <= 128) walk<2>(e, players, b, first, table, side, order, x, out, set);
        else walk<4>(e, players, b, first, table, side, order, x, out, set);
    }
}

}  // namespace whybox

#include "attribution/bit_walk.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "attribution/questions.hpp"
#include "core/aligned.hpp"
#include "core/split.hpp"

namespace whybox {
namespace {

constexpr std::size_t kBlock = 64;  // rows explained together: one bit each
constexpr std::size_t kMany = 2048; // rows that go through a tree before the next tree

using Mask = std::uint64_t;

template <class Use>
void each_bit(Mask set, const Use& use) {
    for (; set; set &= set - 1) use(std::countr_zero(set));
}

// A matrix by columns, its rows in a given order, as it is and rounded to float32; columns are padded to a multiple of 64 by their last row.
class Columns {
public:
    void fill(Rows rows, std::span<const std::uint32_t> order) {
        lanes_ = (order.size() + kBlock - 1) / kBlock * kBlock;
        if (plain_.size() < rows.columns * lanes_) plain_.resize(rows.columns * lanes_), singles_.resize(rows.columns * lanes_);
        for (std::size_t r = 0; r < lanes_; ++r) {
            const double* row = rows.row(order[std::min(r, order.size() - 1)]);
            for (std::size_t c = 0; c < rows.columns; ++c) {
                plain_[c * lanes_ + r] = row[c];
                singles_[c * lanes_ + r] = static_cast<double>(static_cast<float>(row[c]));
            }
        }
    }
    // Which of 64 rows go left.
    Mask left(const Ensemble& e, const Node& n, const Split& s, std::size_t first, const InstructionSet& set) const {
        const std::size_t at = static_cast<std::size_t>(n.feature) * lanes_ + first;
        if (s.kind != kScalar) return set.left((n.flags & kSingle ? singles_ : plain_).data() + at, s.threshold, s.kind);
        Mask left = 0;
        for (std::size_t r = 0; r < kBlock; ++r) left |= Mask{goes_left(e, n, plain_.data()[at + r])} << r;
        return left;
    }

private:
    std::size_t lanes_ = 0;
    Aligned<double> plain_, singles_;
};

// A pair of a row explained and a background row is alive at a node while each player on the path is met by one of them. Which players a row
// meets depends on that row alone, so the living pairs are kept as bits: for each background row, which of 64 rows explained it is alive with.
// Then everything is done once for many pairs, but for what their leaves add up to:
//   how many players only one side meets is counted for each row of either side, not for each pair;
//   what a leaf takes from players that only the background row meets is added up by rows, and given to a player where its subtree ends.
template <int words>
class BitWalk {
public:
    using Bits = std::array<Mask, words>;

    BitWalk(const Ensemble& e, Players players, const Background& b, std::size_t first, std::span<const double> table, int side, int order,
            const InstructionSet& set)
        : e_(e), players_(players), count_(std::min<std::size_t>(64 * words, b.rows.rows - first)), weights_(b.weights + first), table_(table),
          side_(side), order_(order), set_(set), place_(players.count, -1), down_(e.width * kBlock),
          asked_(players.count) {
        if (order == 1) phi_.resize(static_cast<std::size_t>(players.count) * e.width * kBlock);
        std::vector<std::uint32_t> order_of_background(64 * words, static_cast<std::uint32_t>(count_ - 1));
        for (std::size_t r = 0; r < count_; ++r) order_of_background[r] = static_cast<std::uint32_t>(r);
        background_.fill({b.rows.row(first), count_, b.rows.columns}, order_of_background);
        nobody_.resize(4 * e.width * kBlock);
        phi_of_place_.back() = nobody_.data();
        for (int s = 0; s < side; ++s)
            for (int t = 0; t < side; ++t) moments_.push_back({moment(s - 1, t), moment(s, t - 1)});
        for (std::size_t r = 0; r < count_; ++r)
            if (weights_[r] != 0) everyone_[r / 64] |= Mask{1} << (r % 64);
    }

    // Rows: kMany at most.
    void tree(std::size_t t, Rows x, double* out, std::size_t per_row) {
        root_ = e_.root(t);
        first_output_ = e_.first_output(t);
        weight_ = e_.tree_weight[t];
        out_ = out, per_row_ = per_row;
        enter_tree(t);
        sort_rows(x);
        columns_.fill(x, rows_);
        for (start_ = 0; start_ < x.rows; start_ += kBlock) {
            const std::size_t rows = std::min(kBlock, x.rows - start_);
            const Mask all = rows == kBlock ? ~Mask{0} : (Mask{1} << rows) - 1;
            std::size_t many = 0;
            for (std::size_t r = 0; r < count_; ++r)
                if (weights_[r] != 0) alive_[0][0][many++] = {all, Mask{r} << kBitPlaces};
            descend(0, 1, {alive_[0][0].data(), many});
            if (order_ == 1) write(rows);
        }
    }

private:
    const Ensemble& e_;
    Players players_;
    std::size_t count_;
    const double* weights_;
    std::span<const double> table_;
    int side_, order_;
    const InstructionSet& set_;
    Columns background_;
    Bits everyone_{};

    // Of the path: players, by place; for each, which rows meet all of its conditions so far.
    std::vector<int> place_;   // of a player, or -1
    std::vector<int> path_;
    std::vector<Bits> theirs_; // background rows
    std::vector<Mask> mine_;   // rows explained

    // A background row that is alive with some rows: which rows (`partners`), and of the players that they meet and it does not, the places
    // (kBitPlaces bits), their number, and itself, in one word.
    struct Alive {
        Mask partners, about;
        Mask lacks() const { return about & ((Mask{1} << kBitPlaces) - 1); }
        std::size_t row() const { return about >> kBitPlaces & 255U; }
        int lacking() const { return static_cast<int>(about >> (kBitPlaces + 8)); }
    };
    std::vector<std::array<std::vector<Alive>, 2>> alive_;  // by depth: to the left, to the right
    struct Places { Mask set; int count; };
    std::array<Places, kBlock> lacks_{};     // of each row explained: the places of players that it does not meet

    // Sums of a block: down_ is (width, rows), what the leaves below take from each player that a row lacks; phi_ is (players, width, rows).
    std::vector<double> down_, kept_, phi_;
    std::vector<double> nobody_;
    std::array<double*, 65> phi_of_place_{};  // the last is nobody's
    struct Moments { double up, down; };      // of the players that one side alone meets, for numbers of them on either side
    std::vector<Moments> moments_;

    // Of the tree.
    struct Inner { Bits left; Split split; bool met; };  // background rows that go left
    std::vector<Inner> nodes_;
    std::size_t tree_ = 0;
    std::vector<char> asked_;
    std::vector<int> asks_;     // players
    const Node* root_ = nullptr;
    int first_output_ = 0;
    double weight_ = 1;

    // Of the block.
    Columns columns_;
    std::vector<std::uint32_t> rows_;  // in the order of the leaves they reach: neighbours share most of their path
    std::vector<std::pair<Mask, std::uint32_t>> ways_;
    std::size_t start_ = 0, per_row_ = 0;
    double* out_ = nullptr;

    void enter_tree(std::size_t t) {
        tree_ = t;
        nodes_.resize(static_cast<std::size_t>(e_.tree_offsets[t + 1] - e_.tree_offsets[t]));
        for (auto& node : nodes_) node.met = false;
        for (const int j : asks_) asked_[static_cast<std::size_t>(j)] = 0;
        asks_.clear();
        while (alive_.size() < static_cast<std::size_t>(e_.depth[t]) + 2) alive_.push_back({std::vector<Alive>(count_ + 1), std::vector<Alive>(count_ + 1)});
    }

    // A node that some row comes to for the first time.
    void meet(const Node& n, std::int32_t id) {
        Inner& inner = nodes_[static_cast<std::size_t>(id)];
        inner.met = true;
        inner.split = split_of(e_, tree_, id, n.flags & kSingle, false);
        for (std::size_t w = 0; w < words; ++w) inner.left[w] = background_.left(e_, n, inner.split, 64 * w, set_);
        const int j = players_.of_column[n.feature];
        if (!asked_[static_cast<std::size_t>(j)]) asked_[static_cast<std::size_t>(j)] = 1, asks_.push_back(j);
    }

    // By the first 64 splits of their paths.
    void sort_rows(Rows x) {
        ways_.clear();
        for (std::size_t i = 0; i < x.rows; ++i) {
            Mask way = 0;
            const Node* n = root_;
            for (Mask turn = Mask{1} << 63; turn && n->left >= 0; turn >>= 1) {
                const bool left = goes_left(e_, *n, x.row(i)[n->feature]);
                if (!left) way |= turn;
                n = root_ + (left ? n->left : n->right);
            }
            ways_.emplace_back(way, static_cast<std::uint32_t>(i));
        }
        std::sort(ways_.begin(), ways_.end());
        rows_.clear();
        for (const auto& [way, row] : ways_) rows_.push_back(row);
    }

    // `live`: background rows alive here.
    void descend(std::int32_t id, std::size_t depth, std::span<const Alive> live) {
        const Node& n = root_[id];
        if (n.left < 0) return order_ == 1 ? leaf(n, live) : leaf_pairs(n, live);
        const int j = players_.of_column[n.feature];
        const bool fresh = place_[j] < 0;
        if (fresh) {
            place_[j] = static_cast<int>(path_.size());
            path_.push_back(j);
            phi_of_place_[path_.size() - 1] = phi_.data() + static_cast<std::size_t>(j) * e_.width * kBlock;
            theirs_.push_back(everyone_);
            mine_.push_back(~Mask{0});
        }
        if (!nodes_[static_cast<std::size_t>(id)].met) meet(n, id);
        part(n, id, static_cast<std::size_t>(place_[j]), depth, live);
        if (fresh) {
            path_.pop_back();
            theirs_.pop_back();
            mine_.pop_back();
            place_[j] = -1;
        }
    }

    void part(const Node& n, std::int32_t id, std::size_t at, std::size_t depth, std::span<const Alive> live) {
        const Inner& inner = nodes_[static_cast<std::size_t>(id)];
        const Bits before = theirs_[at], theirs = inner.left;
        const Mask my_before = mine_[at], my_left = columns_.left(e_, n, inner.split, start_, set_);
        const Mask my_now[2] = {my_before & my_left, my_before & ~my_left}, parted = Mask{1} << at | Mask{1} << (kBitPlaces + 8);
        Alive* to[2] = {alive_[depth][0].data(), alive_[depth][1].data()};
        std::size_t many[2] = {0, 0};
        Mask some[2] = {0, 0};
        for (const Alive& pair : live) {  // without branches: what happens to each is close to random
            const std::size_t r = pair.row();
            const Mask met = before[r / 64] >> (r % 64) & 1, left = theirs[r / 64] >> (r % 64) & 1;
            for (int side = 0; side < 2; ++side) {
                const Mask meets = met & (side ? left ^ 1 : left);
                const Mask partners = pair.partners & (my_now[side] | -meets);
                to[side][many[side]] = {partners, pair.about + (-(met ^ meets) & parted)};
                some[side] |= partners;
                many[side] += partners != 0;
            }
        }
        for (int side = 0; side < 2; ++side) {
            if (!some[side]) continue;
            for (int w = 0; w < words; ++w) theirs_[at][w] = before[w] & (side ? ~theirs[w] : theirs[w]);
            mine_[at] = my_now[side];
            const std::int32_t child = side ? n.right : n.left;
            const std::span<const Alive> next{to[side], many[side]};
            const Mask lacking = some[side] & my_before & ~my_now[side];
            if (lacking) lack(child, depth + 1, next, at, lacking);
            else descend(child, depth + 1, next);
        }
        theirs_[at] = before, mine_[at] = my_before;
    }

    // Descend where some rows part from the player at this place; what they lose below is the player's.
    void lack(std::int32_t child, std::size_t depth, std::span<const Alive> live, std::size_t at, Mask lacking) {
        const Mask bit = Mask{1} << at;
        const auto width = static_cast<std::size_t>(e_.width), begin = kept_.size();
        each_bit(lacking, [&](int r) {
            auto& places = lacks_[static_cast<std::size_t>(r)];
            places.set |= bit, ++places.count;
            for (std::size_t c = 0; c < width; ++c) kept_.push_back(std::exchange(down_[c * kBlock + static_cast<std::size_t>(r)], 0.0));
        });
        descend(child, depth, live);
        double* phi = order_ == 1 ? phi_of_place_[at] : nullptr;
        std::size_t k = begin;
        each_bit(lacking, [&](int r) {
            auto& places = lacks_[static_cast<std::size_t>(r)];
            places.set &= ~bit, --places.count;
            for (std::size_t c = 0; c < width; ++c) {
                double& down = down_[c * kBlock + static_cast<std::size_t>(r)];
                if (phi) phi[c * kBlock + static_cast<std::size_t>(r)] -= down;
                down += kept_[k++];
            }
        });
        kept_.resize(begin);
    }

    void leaf(const Node& n, std::span<const Alive> live) {
        const double* v = e_.values(n);
        for (const Alive& pair : live) {
            const double weight = weight_ * weights_[pair.row()];
            const Moments* moments = moments_.data() + static_cast<std::size_t>(pair.lacking()) * side_;
            std::array<double*, 64> to;
            std::size_t many = 0;
            for (Mask rest = pair.lacks(); rest;)
                for (std::size_t l = 0; l < 4; ++l, rest &= rest - 1) {
                    const auto k = static_cast<std::size_t>(std::countr_zero(rest));
                    to[many++] = phi_of_place_[k] + (k / 64) * l * nobody_.size() / 4;
                }
            for (int c = 0; c < e_.width; ++c) {
                const double by = weight * v[c];
                const std::size_t first = static_cast<std::size_t>(c) * kBlock;
                each_bit(pair.partners, [&](int i) {
                    const std::size_t at = first + static_cast<std::size_t>(i);
                    const Moments moment = moments[lacks_[static_cast<std::size_t>(i)].count];
                    const double up = by * moment.up;
                    down_[at] += by * moment.down;
                    for (std::size_t k = 0; k < many; k += 4)
                        for (std::size_t l = 0; l < 4; ++l) to[k + l][at] += up;
                });
            }
        }
    }

    void write(std::size_t rows) {
        for (const int j : asks_) {
            double* phi = phi_.data() + static_cast<std::size_t>(j) * e_.width * kBlock;
            for (std::size_t i = 0; i < rows; ++i)
                for (int c = 0; c < e_.width; ++c)
                    out_[rows_[start_ + i] * per_row_ + static_cast<std::size_t>(j) * e_.outputs() + first_output_ + c] += phi[static_cast<std::size_t>(c) * kBlock + i];
            std::fill_n(phi, static_cast<std::size_t>(e_.width) * kBlock, 0.0);
        }
        std::fill(down_.begin(), down_.end(), 0.0);
    }

    double moment(int x, int y) const { return x < 0 || y < 0 ? 0.0 : table_[static_cast<std::size_t>(x * side_ + y)]; }

    void leaf_pairs(const Node& n, std::span<const Alive> live) {
        const double* v = e_.values(n);
        const auto players = static_cast<std::size_t>(players_.count);
        for (const Alive& pair : live) {
            const Mask mine = pair.lacks();
            const int x = pair.lacking();
            const double weight = weight_ * weights_[pair.row()];
            each_bit(pair.partners, [&](int i) {
                const Mask theirs = lacks_[static_cast<std::size_t>(i)].set;
                const int y = lacks_[static_cast<std::size_t>(i)].count;
                double* out = out_ + rows_[start_ + static_cast<std::size_t>(i)] * per_row_ + first_output_;
                const double xx = weight * moment(x - 2, y), xy = -weight * moment(x - 1, y - 1), yy = weight * moment(x, y - 2);
                each_bit(mine | theirs, [&](int k) {
                    const auto p = static_cast<std::size_t>(path_[static_cast<std::size_t>(k)]);
                    const bool p_mine = mine >> k & 1U;
                    each_bit((mine | theirs) & ((Mask{1} << k) - 1), [&](int l) {
                        const auto o = static_cast<std::size_t>(path_[static_cast<std::size_t>(l)]);
                        const bool o_mine = mine >> l & 1U;
                        const double by = p_mine != o_mine ? xy : p_mine ? xx : yy;
                        double* one = out + (p * players + o) * e_.outputs();
                        double* two = out + (o * players + p) * e_.outputs();
                        for (int c = 0; c < e_.width; ++c) one[c] += by * v[c], two[c] += by * v[c];
                    });
                });
            });
        }
    }
};

template <int words>
void walk(const Ensemble& e, Players players, const Background& b, std::size_t first, std::span<const double> table, int side, int order, TreeRange trees, Rows x,
          double* out, const InstructionSet& set) {
    BitWalk<words> walk(e, players, b, first, table, side, order, set);
    const std::size_t n = static_cast<std::size_t>(players.count), per_row = (order == 1 ? n : n * n) * e.outputs();
    for (std::size_t start = 0; start < x.rows; start += kMany) {
        const Rows some{x.row(start), std::min(kMany, x.rows - start), x.columns};
        for (std::size_t t = trees.from; t < trees.to; ++t) walk.tree(t, some, out + start * per_row, per_row);
    }
}

}  // namespace

void bit_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, TreeRange trees, Rows x,
              double* out, const InstructionSet& set) {
    for (std::size_t first = 0; first < b.rows.rows; first += 256) {
        const std::size_t left = b.rows.rows - first;
        if (left <= 64) walk<1>(e, players, b, first, table, side, order, trees, x, out, set);
        else if (left <= 128) walk<2>(e, players, b, first, table, side, order, trees, x, out, set);
        else walk<4>(e, players, b, first, table, side, order, trees, x, out, set);
    }
}

}  // namespace whybox

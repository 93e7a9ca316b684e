#include "attribution/bit_walk.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "attribution/distinct_splits.hpp"
#include "attribution/padded_columns.hpp"
#include "core/aligned.hpp"
#include "core/split.hpp"

namespace whybox {
namespace {

constexpr std::size_t kRowsPerPass = 2048;  // rows that go through a tree before the next tree

// A pair of a row explained and a background row is active at a node while one of the two meets the splits of each player on the path. Which players a
// row meets depends on that row alone, so active pairs are kept as bits: for each background row, with which of 64 rows explained it is active.
// Then everything is done once for many pairs, except the sums of their leaves:
//   the number of players that only one side meets is counted for each row of either side, not for each pair;
//   what leaves subtract from players that only the background row meets is summed by rows, and added to a player at the end of its subtree.
template <int words>
class BitWalk {
public:
    using Bits = std::array<Mask, words>;

    BitWalk(const Ensemble& e, Players players, const Background& b, std::size_t first, std::span<const double> table, int side, int order,
            const InstructionSet& set)
        : e_(e), players_(players), count_(std::min<std::size_t>(64 * words, b.rows.rows - first)), weights_(b.weights + first), table_(table),
          side_(side), order_(order), set_(set), position_(players.count, -1), below_sums_(e.leaf_width * kBlockRows),
          is_tested_(players.count) {
        if (order == 1) player_sums_.resize(static_cast<std::size_t>(players.count) * e.leaf_width * kBlockRows);
        std::vector<std::uint32_t> order_of_background(64 * words, static_cast<std::uint32_t>(count_ - 1));
        for (std::size_t r = 0; r < count_; ++r) order_of_background[r] = static_cast<std::uint32_t>(r);
        background_.fill({b.rows.row(first), count_, b.rows.columns}, order_of_background);
        discarded_.resize(4 * e.leaf_width * kBlockRows);
        sums_of_position_.back() = discarded_.data();
        for (int s = 0; s < side; ++s)
            for (int t = 0; t < side; ++t) moments_.push_back({moment(s - 1, t), moment(s, t - 1)});
        for (std::size_t r = 0; r < count_; ++r)
            if (weights_[r] != 0) weighted_rows_[r / 64] |= Mask{1} << (r % 64);
    }

    // Rows: kRowsPerPass at most.
    void run_tree(std::size_t t, Rows x, double* out, std::size_t per_row) {
        root_ = e_.root(t);
        first_output_ = e_.first_output(t);
        weight_ = e_.tree_weight[t];
        out_ = out, per_row_ = per_row;
        enter_tree(t);
        sort_rows(x);
        columns_.fill(x, rows_);
        for (start_ = 0; start_ < x.rows; start_ += kBlockRows) {
            const std::size_t rows = std::min(kBlockRows, x.rows - start_);
            const Mask all = rows == kBlockRows ? ~Mask{0} : (Mask{1} << rows) - 1;
            std::size_t count = 0;
            for (std::size_t r = 0; r < count_; ++r)
                if (weights_[r] != 0) active_[0][0][count++] = {all, Mask{r} << kMaxBitPlayers};
            descend(0, 1, {active_[0][0].data(), count});
            if (order_ == 1) write_sums(rows);
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
    PaddedColumns background_;
    Bits weighted_rows_{};

    // Of the path: players, by position; for each, which rows meet all of its splits so far.
    std::vector<int> position_;  // of a player, or -1
    std::vector<int> path_;
    std::vector<Bits> background_meets_;  // background rows
    std::vector<Mask> rows_meet_;         // rows explained

    // A background row that is active with some rows: these rows, and in one word the positions of the players that they meet and it does not
    // (kMaxBitPlayers bits), its own number, and the number of these players.
    struct ActivePair {
        Mask rows, packed;
        Mask failed_positions() const { return packed & ((Mask{1} << kMaxBitPlayers) - 1); }
        std::size_t row() const { return packed >> kMaxBitPlayers & 255U; }
        int failed_count() const { return static_cast<int>(packed >> (kMaxBitPlayers + 8)); }
    };
    std::vector<std::array<std::vector<ActivePair>, 2>> active_;  // by depth: to the left, to the right
    struct PositionSet { Mask set; int count; };
    std::array<PositionSet, kBlockRows> failed_{};  // of each row explained: the positions of players that it does not meet

    // Sums of a block: below_sums_ is (width, rows), what the leaves below subtract from each player that a row does not meet; player_sums_ is
    // (players, width, rows).
    std::vector<double> below_sums_, saved_sums_, player_sums_;
    std::vector<double> discarded_;
    std::array<double*, 65> sums_of_position_{};  // the last: of no player, discarded
    struct Moments { double row, background; };   // of players that only this side meets, for the numbers of such players on either side
    std::vector<Moments> moments_;

    // Of the tree.
    struct NodeState { Bits left; Split split; bool visited; };  // background rows that go left
    std::vector<NodeState> nodes_;
    std::size_t tree_ = 0;
    std::vector<char> is_tested_;
    std::vector<int> tested_players_;
    const Node* root_ = nullptr;
    int first_output_ = 0;
    double weight_ = 1;

    // Of the block.
    PaddedColumns columns_;
    std::vector<std::uint32_t> rows_;  // in the order of the leaves they reach: neighbours share most of their path
    std::vector<std::pair<Mask, std::uint32_t>> path_codes_;
    std::size_t start_ = 0, per_row_ = 0;
    double* out_ = nullptr;

    void enter_tree(std::size_t t) {
        tree_ = t;
        nodes_.resize(static_cast<std::size_t>(e_.tree_offsets[t + 1] - e_.tree_offsets[t]));
        for (auto& node : nodes_) node.visited = false;
        for (const int j : tested_players_) is_tested_[static_cast<std::size_t>(j)] = 0;
        tested_players_.clear();
        while (active_.size() < static_cast<std::size_t>(e_.depth[t]) + 2) active_.push_back({std::vector<ActivePair>(count_ + 1), std::vector<ActivePair>(count_ + 1)});
    }

    // A node that a row reaches for the first time.
    void visit_first_time(const Node& n, std::int32_t id) {
        NodeState& state = nodes_[static_cast<std::size_t>(id)];
        state.visited = true;
        state.split = compile_split(e_, tree_, id, n.flags & kSingle, false);
        for (std::size_t w = 0; w < words; ++w) state.left[w] = background_.left(e_, n, state.split, 64 * w, set_);
        const int j = players_.of_column[n.feature];
        if (!is_tested_[static_cast<std::size_t>(j)]) is_tested_[static_cast<std::size_t>(j)] = 1, tested_players_.push_back(j);
    }

    // By the first 64 splits of their paths.
    void sort_rows(Rows x) {
        path_codes_.clear();
        for (std::size_t i = 0; i < x.rows; ++i) {
            Mask path_code = 0;
            const Node* n = root_;
            for (Mask bit = Mask{1} << 63; bit && n->left >= 0; bit >>= 1) {
                const bool left = goes_left(e_, *n, x.row(i)[n->feature]);
                if (!left) path_code |= bit;
                n = root_ + (left ? n->left : n->right);
            }
            path_codes_.emplace_back(path_code, static_cast<std::uint32_t>(i));
        }
        std::sort(path_codes_.begin(), path_codes_.end());
        rows_.clear();
        for (const auto& [path_code, row] : path_codes_) rows_.push_back(row);
    }

    // `active`: background rows with active pairs.
    void descend(std::int32_t id, std::size_t depth, std::span<const ActivePair> active) {
        const Node& n = root_[id];
        if (n.left < 0) return order_ == 1 ? add_leaf(n, active) : add_leaf_pairs(n, active);
        const int j = players_.of_column[n.feature];
        const bool is_new = position_[j] < 0;
        if (is_new) {
            position_[j] = static_cast<int>(path_.size());
            path_.push_back(j);
            sums_of_position_[path_.size() - 1] = player_sums_.data() + static_cast<std::size_t>(j) * e_.leaf_width * kBlockRows;
            background_meets_.push_back(weighted_rows_);
            rows_meet_.push_back(~Mask{0});
        }
        if (!nodes_[static_cast<std::size_t>(id)].visited) visit_first_time(n, id);
        split_pairs(n, id, static_cast<std::size_t>(position_[j]), depth, active);
        if (is_new) {
            path_.pop_back();
            background_meets_.pop_back();
            rows_meet_.pop_back();
            position_[j] = -1;
        }
    }

    void split_pairs(const Node& n, std::int32_t id, std::size_t position, std::size_t depth, std::span<const ActivePair> active) {
        const NodeState& state = nodes_[static_cast<std::size_t>(id)];
        const Bits before = background_meets_[position], background_now = state.left;
        const Mask rows_before = rows_meet_[position], rows_left = columns_.left(e_, n, state.split, start_, set_);
        const Mask rows_now[2] = {rows_before & rows_left, rows_before & ~rows_left}, failed_bits = Mask{1} << position | Mask{1} << (kMaxBitPlayers + 8);
        ActivePair* to[2] = {active_[depth][0].data(), active_[depth][1].data()};
        std::size_t count[2] = {0, 0};
        Mask any_rows[2] = {0, 0};
        for (const ActivePair& pair : active) {  // without branches: what happens to each is close to random
            const std::size_t r = pair.row();
            const Mask met = before[r / 64] >> (r % 64) & 1, left = background_now[r / 64] >> (r % 64) & 1;
            for (int side = 0; side < 2; ++side) {
                const Mask meets = met & (side ? left ^ 1 : left);
                const Mask rows = pair.rows & (rows_now[side] | -meets);
                to[side][count[side]] = {rows, pair.packed + (-(met ^ meets) & failed_bits)};
                any_rows[side] |= rows;
                count[side] += rows != 0;
            }
        }
        for (int side = 0; side < 2; ++side) {
            if (!any_rows[side]) continue;
            for (int w = 0; w < words; ++w) background_meets_[position][w] = before[w] & (side ? ~background_now[w] : background_now[w]);
            rows_meet_[position] = rows_now[side];
            const std::int32_t child = side ? n.right : n.left;
            const std::span<const ActivePair> next{to[side], count[side]};
            const Mask failed_rows = any_rows[side] & rows_before & ~rows_now[side];
            if (failed_rows) descend_failed(child, depth + 1, next, position, failed_rows);
            else descend(child, depth + 1, next);
        }
        background_meets_[position] = before, rows_meet_[position] = rows_before;
    }

    // Descend where some rows stop meeting the player at this position; what the leaves below subtract from these rows belongs to the player.
    void descend_failed(std::int32_t child, std::size_t depth, std::span<const ActivePair> active, std::size_t position, Mask failed_rows) {
        const Mask bit = Mask{1} << position;
        const auto width = static_cast<std::size_t>(e_.leaf_width), begin = saved_sums_.size();
        for_each_bit(failed_rows, [&](int r) {
            auto& failed = failed_[static_cast<std::size_t>(r)];
            failed.set |= bit, ++failed.count;
            for (std::size_t c = 0; c < width; ++c) saved_sums_.push_back(std::exchange(below_sums_[c * kBlockRows + static_cast<std::size_t>(r)], 0.0));
        });
        descend(child, depth, active);
        double* player_sums = order_ == 1 ? sums_of_position_[position] : nullptr;
        std::size_t k = begin;
        for_each_bit(failed_rows, [&](int r) {
            auto& failed = failed_[static_cast<std::size_t>(r)];
            failed.set &= ~bit, --failed.count;
            for (std::size_t c = 0; c < width; ++c) {
                double& below_sum = below_sums_[c * kBlockRows + static_cast<std::size_t>(r)];
                if (player_sums) player_sums[c * kBlockRows + static_cast<std::size_t>(r)] -= below_sum;
                below_sum += saved_sums_[k++];
            }
        });
        saved_sums_.resize(begin);
    }

    void add_leaf(const Node& n, std::span<const ActivePair> active) {
        const double* v = e_.values_of(n);
        for (const ActivePair& pair : active) {
            const double weight = weight_ * weights_[pair.row()];
            const Moments* moments = moments_.data() + static_cast<std::size_t>(pair.failed_count()) * side_;
            std::array<double*, 64> to;
            std::size_t count = 0;
            for (Mask rest = pair.failed_positions(); rest;)
                for (std::size_t l = 0; l < 4; ++l, rest &= rest - 1) {
                    const auto k = static_cast<std::size_t>(std::countr_zero(rest));
                    to[count++] = sums_of_position_[k] + (k / 64) * l * discarded_.size() / 4;
                }
            for (int c = 0; c < e_.leaf_width; ++c) {
                const double contribution = weight * v[c];
                const std::size_t first = static_cast<std::size_t>(c) * kBlockRows;
                for_each_bit(pair.rows, [&](int i) {
                    const std::size_t position = first + static_cast<std::size_t>(i);
                    const Moments moment = moments[failed_[static_cast<std::size_t>(i)].count];
                    const double row_gain = contribution * moment.row;
                    below_sums_[position] += contribution * moment.background;
                    for (std::size_t k = 0; k < count; k += 4)
                        for (std::size_t l = 0; l < 4; ++l) to[k + l][position] += row_gain;
                });
            }
        }
    }

    void write_sums(std::size_t rows) {
        for (const int j : tested_players_) {
            double* player_sums = player_sums_.data() + static_cast<std::size_t>(j) * e_.leaf_width * kBlockRows;
            for (std::size_t i = 0; i < rows; ++i)
                for (int c = 0; c < e_.leaf_width; ++c)
                    out_[rows_[start_ + i] * per_row_ + static_cast<std::size_t>(j) * e_.outputs() + first_output_ + c] +=
                        player_sums[static_cast<std::size_t>(c) * kBlockRows + i];
            std::fill_n(player_sums, static_cast<std::size_t>(e_.leaf_width) * kBlockRows, 0.0);
        }
        std::fill(below_sums_.begin(), below_sums_.end(), 0.0);
    }

    double moment(int x, int y) const { return x < 0 || y < 0 ? 0.0 : table_[static_cast<std::size_t>(x * side_ + y)]; }

    void add_leaf_pairs(const Node& n, std::span<const ActivePair> active) {
        const double* v = e_.values_of(n);
        const auto players = static_cast<std::size_t>(players_.count);
        for (const ActivePair& pair : active) {
            const Mask row_only = pair.failed_positions();
            const int x = pair.failed_count();
            const double weight = weight_ * weights_[pair.row()];
            for_each_bit(pair.rows, [&](int i) {
                const Mask background_only = failed_[static_cast<std::size_t>(i)].set;
                const int y = failed_[static_cast<std::size_t>(i)].count;
                double* out = out_ + rows_[start_ + static_cast<std::size_t>(i)] * per_row_ + first_output_;
                const double xx = weight * moment(x - 2, y), xy = -weight * moment(x - 1, y - 1), yy = weight * moment(x, y - 2);
                for_each_bit(row_only | background_only, [&](int k) {
                    const auto p = static_cast<std::size_t>(path_[static_cast<std::size_t>(k)]);
                    const bool p_row_only = row_only >> k & 1U;
                    for_each_bit((row_only | background_only) & ((Mask{1} << k) - 1), [&](int l) {
                        const auto o = static_cast<std::size_t>(path_[static_cast<std::size_t>(l)]);
                        const bool o_row_only = row_only >> l & 1U;
                        const double contribution = p_row_only != o_row_only ? xy : p_row_only ? xx : yy;
                        double* one = out + (p * players + o) * e_.outputs();
                        double* two = out + (o * players + p) * e_.outputs();
                        for (int c = 0; c < e_.leaf_width; ++c) one[c] += contribution * v[c], two[c] += contribution * v[c];
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
    for (std::size_t start = 0; start < x.rows; start += kRowsPerPass) {
        const Rows block{x.row(start), std::min(kRowsPerPass, x.rows - start), x.columns};
        for (std::size_t t = trees.first; t < trees.last; ++t) walk.run_tree(t, block, out + start * per_row, per_row);
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

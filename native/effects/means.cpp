// Means over rows with a player, or two, set to each of their points.
#include <algorithm>
#include <bit>

#include "effects/effects.hpp"

namespace whybox {
namespace {

std::uint64_t row_number(std::uint64_t r) { return r & 0xffff; }
std::uint64_t first_player(std::uint64_t r) { return r >> 16 & 0xffff; }
std::uint64_t second_player(std::uint64_t r) { return r >> 32; }

// values, count x stride: differences become cumulative sums, in place.
void accumulate(double* values, std::size_t count, std::size_t stride) {
    for (std::size_t i = 1; i < count; ++i)
        for (std::size_t c = 0; c < stride; ++c) values[i * stride + c] += values[(i - 1) * stride + c];
}

}  // namespace

EffectSums::EffectSums(const Grid& g, std::vector<Pair> p, const InstructionSet& set)
    : grid(g), pairs(std::move(p)), set_(set), block_(g.intervals, g.e, set), outputs_(static_cast<std::size_t>(g.e.outputs())), with_pairs_(!pairs.empty()),
      total_(outputs_), player_offsets_(g.players() * outputs_), differences_((g.total() + g.players()) * outputs_), position_of_(g.players(), -1) {
    std::size_t size = 0;
    for (const auto& [j, k] : pairs) {
        const std::size_t a = grid.points(static_cast<std::size_t>(j)) + 1, b = grid.points(static_cast<std::size_t>(k)) + 1;
        surface_of_.push_back({size, size + a * b * outputs_, size + (a * b + a) * outputs_, size + (a * b + a + b) * outputs_});
        size += (a * b + a + b + 1) * outputs_;
    }
    surfaces_.resize(size);
    if (!with_pairs_) return;
    pair_index_.assign(grid.players() * grid.players(), -1);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto j = static_cast<std::size_t>(pairs[i].first), k = static_cast<std::size_t>(pairs[i].second);
        pair_index_[j * grid.players() + k] = pair_index_[k * grid.players() + j] = static_cast<std::int32_t>(i);
    }
}

void EffectSums::load_rows(Rows x, const double* weights) {
    block_.fill(x);
    weighted_ = weights != nullptr;
    all_rows_.resize(block_.words());
    scratch_.resize(block_.words());
    std::fill_n(all_rows_.data(), all_rows_.size(), std::uint64_t{0});
    for (std::size_t r = 0; r < x.rows; ++r)
        if (!weighted_ || weights[r] != 0) all_rows_[r / 64] |= std::uint64_t{1} << (r % 64);
    if (!weighted_) return;
    weights_.resize(block_.words() * 64);
    std::copy_n(weights, x.rows, weights_.data());
    std::fill(weights_.data() + x.rows, weights_.data() + weights_.size(), 0.0);
}

void EffectSums::add_trees(TreeRange trees) {
    const Ensemble& e = grid.e;
    for (std::size_t t = trees.first; t < trees.last; ++t) {
        root_ = e.root(t);
        weight_ = e.tree_weight[t];
        first_output_ = static_cast<std::size_t>(e.first_output(t));
        if (weight_ == 0) continue;
        const auto nodes = static_cast<std::size_t>(e.tree_offsets[t + 1] - e.tree_offsets[t]);
        leaves_below_.assign(nodes, 1);
        for (std::size_t i = nodes; i-- > 0;)  // children come after their parents
            if (root_[i].left >= 0) leaves_below_[i] = leaves_below_[static_cast<std::size_t>(root_[i].left)] + leaves_below_[static_cast<std::size_t>(root_[i].right)];
        if (levels_.size() < static_cast<std::size_t>(e.depth[t]) + 2) levels_.resize(static_cast<std::size_t>(e.depth[t]) + 2);
        levels_[0].sets.assign(1, {all_rows_.data(), -1, -1});
        descend(0, 0);
    }
}

// Appends the node's player to the path, if it is not on it.
EffectSums::PathStep EffectSums::push_player(const Node& n) {
    PathStep step{-1, false, {}, {}, ranges_.size()};
    const int j = grid.player(n);
    if (j < 0) return step;
    step.is_new = position_of_[static_cast<std::size_t>(j)] < 0;
    if (step.is_new) {
        position_of_[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(path_.size());
        const auto begin = static_cast<std::uint32_t>(ranges_.size());
        const auto points = static_cast<std::uint32_t>(grid.points(static_cast<std::size_t>(j)));
        ranges_.push_back({0, points});
        path_.push_back({j, begin, begin + 1});
    }
    step.position = position_of_[static_cast<std::size_t>(j)];
    step.before = path_[static_cast<std::size_t>(step.position)];
    for (const bool left : {false, true}) step.sides[left] = restrict_points(n, step.before, left);
    return step;
}

EffectSums::PathPlayer EffectSums::restrict_points(const Node& n, const PathPlayer& before, bool left) {
    const auto begin = static_cast<std::uint32_t>(ranges_.size());
    return {before.player, begin, begin + grid.append_side(n, left, before.begin, before.end - before.begin, ranges_)};
}

void EffectSums::pop_player(const PathStep& step) {
    if (step.position < 0) return;
    path_[static_cast<std::size_t>(step.position)] = step.before;
    if (step.is_new) {
        position_of_[static_cast<std::size_t>(step.before.player)] = -1;
        path_.pop_back();
    }
    ranges_.resize(step.n_ranges);
}

std::int32_t EffectSums::surface_index(std::int32_t p, std::int32_t q) const {
    const auto j = static_cast<std::size_t>(path_[static_cast<std::size_t>(p)].player), k = static_cast<std::size_t>(path_[static_cast<std::size_t>(q)].player);
    return pair_index_[j * grid.players() + k];
}

void EffectSums::descend(std::int32_t id, std::size_t depth) {
    const Node& n = root_[id];
    DepthBuffers& here = levels_[depth];
    if (n.left < 0) return count_at_leaf(n, {-1, false, {}, {}, 0}, false, here);
    if (few_rows_left(id, depth)) {
        list_rows(here.sets);
        return descend_rows(id, depth, listed_rows_);
    }
    const PathStep step = push_player(n);
    here.left.resize(block_.words());
    block_.left(n, here.left.data());
    for (const bool left : {true, false}) {
        if (step.position >= 0) path_[static_cast<std::size_t>(step.position)] = step.sides[left];
        enter_child(left ? n.left : n.right, step, left, depth);
    }
    pop_player(step);
}

// To a child. Sets without the node's player lose the rows that go to the other side; sets with it stay as they are. For a new player, each set is also
// continued as one with the player. A set whose player has no point left contributes nothing.
void EffectSums::enter_child(std::int32_t child, const PathStep& step, bool left, std::size_t depth) {
    const Node& n = root_[child];
    const DepthBuffers& here = levels_[depth];
    if (n.left < 0) return count_at_leaf(n, step, left, here);
    DepthBuffers& next = levels_[depth + 1];
    next.sets.clear();
    next.bits.resize(here.sets.size() * block_.words());
    const bool keeps_points = has_points(step, left);
    for (std::size_t i = 0; i < here.sets.size(); ++i) {
        const RowSet& s = here.sets[i];
        if (step.position >= 0 && (s.p == step.position || s.q == step.position)) {
            if (keeps_points) next.sets.push_back(s);
            continue;
        }
        if (step.is_new && keeps_points && can_add(s.p, s.q, step.position)) next.sets.push_back({s.bits, s.p < 0 ? step.position : s.p, s.p < 0 ? -1 : step.position});
        std::uint64_t* to = next.bits.data() + i * block_.words();
        if (set_.intersect(s.bits, here.left.data(), left ? 0 : ~std::uint64_t{0}, to, block_.words())) next.sets.push_back({to, s.p, s.q});
    }
    if (!next.sets.empty()) descend(child, depth + 1);
}

// As enter_child(), only to count. position -1 and no `left`: the tree is a leaf.
void EffectSums::count_at_leaf(const Node& n, const PathStep& step, bool left, const DepthBuffers& here) {
    start_counts();
    const bool keeps_points = has_points(step, left), whole = here.left.size() == 0 || &n == root_;
    for (const RowSet& s : here.sets) {
        if (step.position >= 0 && (s.p == step.position || s.q == step.position)) {
            if (keeps_points) record(s.p, s.q, total_weight(s.bits, s.bits, 0));
            continue;
        }
        if (step.is_new && keeps_points && can_add(s.p, s.q, step.position)) record(s.p < 0 ? step.position : s.p, s.p < 0 ? -1 : step.position,
            total_weight(s.bits, s.bits, 0));
        record(s.p, s.q, whole ? total_weight(s.bits, s.bits, 0) : total_weight(s.bits, here.left.data(), left ? 0 : ~std::uint64_t{0}));
    }
    add_leaf(n);
}

double EffectSums::total_weight(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip) {
    if (!weighted_) return static_cast<double>(set_.count_intersection(a, b, flip, block_.words()));
    if (a != b) a = set_.intersect(a, b, flip, scratch_.data(), block_.words()) ? scratch_.data() : nullptr;
    return a ? set_.sum_weights(a, weights_.data(), block_.words()) : 0.0;
}

// Whether so few rows are left that following each of them is less work than following sets.
bool EffectSums::few_rows_left(std::int32_t id, std::size_t depth) {
    const auto& sets = levels_[depth].sets;
    if (depth < 3 || leaves_below_[static_cast<std::size_t>(id)] < 6) return false;
    std::copy_n(sets.front().bits, block_.words(), scratch_.data());
    for (std::size_t i = 1; i < sets.size(); ++i)
        for (std::size_t w = 0; w < block_.words(); ++w) scratch_[w] |= sets[i].bits[w];
    const std::size_t rows = set_.count_intersection(scratch_.data(), scratch_.data(), 0, block_.words());
    return rows * (with_pairs_ ? 4 : 1) < block_.words() * (4 + sets.size());
}

// Sets as rows: each row with the players that it does not meet.
void EffectSums::list_rows(const std::vector<RowSet>& sets) {
    listed_rows_.clear();
    std::vector<const std::uint64_t*> subsets;  // the sets of fewer of the same players, that this one includes
    for (const RowSet& s : sets) {
        subsets.clear();
        for (const RowSet& o : sets)
            if (s.q >= 0 ? o.q < 0 && (o.p < 0 || o.p == s.p || o.p == s.q) : s.p >= 0 && o.p < 0) subsets.push_back(o.bits);
        for (std::size_t w = 0; w < block_.words(); ++w) {
            std::uint64_t rest = s.bits[w];
            for (const auto* bits : subsets) rest &= ~bits[w];
            for (; rest; rest &= rest - 1)
                listed_rows_.push_back(pack_row(64 * w + static_cast<std::size_t>(std::countr_zero(rest)), static_cast<std::uint64_t>(s.p) & kNoPlayer,
                    static_cast<std::uint64_t>(s.q) & kNoPlayer));
        }
    }
}

void EffectSums::descend_rows(std::int32_t id, std::size_t depth, RowList rows) {
    const Node& n = root_[id];
    if (n.left < 0) {
        start_counts();
        count_rows(rows);
        return add_leaf(n);
    }
    const PathStep step = push_player(n);
    auto& partitions = levels_[depth].partitions;
    for (auto& p : partitions)
        if (p.size() < rows.size() + 8) p.resize(2 * rows.size() + 8);  // eight more: the last writes may be of rows that are not kept
    PackedRow* to[2] = {partitions[0].data(), partitions[1].data()};
    const RowBlock::SplitTest test = block_.test(n);
    if (with_pairs_) partition_for_pairs(n, step, rows, to);
    else if (test.by_interval) partition_by_interval(n, step, rows, to);
    else set_.partition({test.of_row, test.cut, test.missing_left ? test.missing : 0x10000U, position_or_none(step),
        {has_points(step, false), has_points(step, true)}}, rows.data(), rows.size(), to);
    const std::size_t count[2] = {static_cast<std::size_t>(to[0] - partitions[0].data()), static_cast<std::size_t>(to[1] - partitions[1].data())};
    for (const bool left : {true, false}) {
        if (!count[left]) continue;
        if (step.position >= 0) path_[static_cast<std::size_t>(step.position)] = step.sides[left];
        descend_rows(left ? n.left : n.right, depth + 1, {partitions[left].data(), count[left]});
    }
    pop_player(step);
}

// Rows that do not meet one player at most, at a split without a cut.
void EffectSums::partition_by_interval(const Node& n, const PathStep& step, RowList rows, PackedRow* (&to)[2]) {
    const RowBlock::SplitTest test = block_.test(n);
    const std::uint64_t position = position_or_none(step);
    const unsigned keeps_points[2] = {has_points(step, false), has_points(step, true)};
    for (const PackedRow r : rows) {
        const unsigned left = block_.left(test, n, static_cast<std::uint16_t>(row_number(r))), has_player = first_player(r) == position, can_add_player =
            first_player(r) == kNoPlayer;
        for (const unsigned side : {0U, 1U}) {
            const unsigned meets = left == side;
            *to[side] = meets | has_player ? r : pack_row(row_number(r), position, kNoPlayer);
            to[side] += (meets & ~has_player) | ((has_player | (can_add_player & ~meets)) & keeps_points[side]);
        }
    }
}

void EffectSums::partition_for_pairs(const Node& n, const PathStep& step, RowList rows, PackedRow* (&to)[2]) {
    const RowBlock::SplitTest test = block_.test(n);
    const std::uint64_t position = position_or_none(step);
    const unsigned keeps_points[2] = {has_points(step, false), has_points(step, true)};
    forms_pair_.assign(path_.size() + 1, 0);
    for (std::size_t p = 0; step.position >= 0 && p < path_.size(); ++p)
        forms_pair_[p] = static_cast<std::int32_t>(p) != step.position && surface_index(static_cast<std::int32_t>(p), step.position) >= 0;
    for (const PackedRow r : rows) {
        const std::uint64_t p = first_player(r), q = second_player(r);
        const unsigned left = block_.left(test, n, static_cast<std::uint16_t>(row_number(r))), has_player = p == position || q == position;
        const unsigned no_player = p == kNoPlayer, can_add_player = q == kNoPlayer && (no_player || forms_pair_[p]);
        const PackedRow with_player = no_player ? pack_row(row_number(r), position, kNoPlayer) : pack_row(row_number(r), p, position);
        for (const unsigned side : {0U, 1U}) {
            const unsigned meets = left == side;
            *to[side] = meets | has_player ? r : with_player;
            to[side] += (meets & ~has_player) | ((has_player | (can_add_player & ~meets)) & keeps_points[side]);
        }
    }
}

void EffectSums::start_counts() {
    meeting_all_ = 0;
    meeting_all_but_.assign(path_.size() + 1, 0.0);
    if (with_pairs_) meeting_all_but_two_.assign(path_.size() * path_.size(), 0.0);
}

void EffectSums::record(std::int32_t p, std::int32_t q, double rows) {
    if (p < 0) meeting_all_ = rows;
    else if (q < 0) meeting_all_but_[static_cast<std::size_t>(p)] = rows;
    else meeting_all_but_two_[static_cast<std::size_t>(std::max(p, q)) * path_.size() + static_cast<std::size_t>(std::min(p, q))] = rows;
}

// From rows that fail to meet exactly these players to rows that fail to meet no other.
void EffectSums::count_rows(RowList rows) {
    const std::size_t places = path_.size();
    for (const PackedRow r : rows) {
        const double weight = weighted_ ? weights_[row_number(r)] : 1.0;
        const std::uint64_t p = first_player(r), q = second_player(r);
        if (with_pairs_ && q != kNoPlayer) meeting_all_but_two_[std::max(p, q) * places + std::min(p, q)] += weight;
        else meeting_all_but_[std::min<std::uint64_t>(p, places)] += weight;
    }
    meeting_all_ = meeting_all_but_[places];
    if (with_pairs_)
        for (std::size_t p = 0; p < places; ++p)
            for (std::size_t q = 0; q < p; ++q) meeting_all_but_two_[p * places + q] += meeting_all_ + meeting_all_but_[p] + meeting_all_but_[q];
    for (std::size_t p = 0; p < places; ++p) meeting_all_but_[p] += meeting_all_;
}

// v, if all splits of the path but those of player j are met, and j is set to a point that meets its own; v for all points if j is not on the path.
void EffectSums::add_leaf(const Node& n) {
    const auto width = static_cast<std::size_t>(grid.e.leaf_width);
    const double* v = grid.e.values_of(n);
    for (std::size_t c = 0; c < width; ++c) {
        const double all = weight_ * v[c] * meeting_all_;
        total_[first_output_ + c] += all;
        for (std::size_t p = 0; p < path_.size(); ++p) {
            const PathPlayer& at = path_[p];
            const auto j = static_cast<std::size_t>(at.player);
            player_offsets_[j * outputs_ + first_output_ + c] -= all;
            const double contribution = weight_ * v[c] * meeting_all_but_[p];
            double* differences = differences_.data() + (grid.first(j) + j) * outputs_ + first_output_ + c;
            for (std::uint32_t r = at.begin; r < at.end; ++r) {
                differences[ranges_[r].from * outputs_] += contribution;
                differences[ranges_[r].to * outputs_] -= contribution;
            }
        }
    }
    if (with_pairs_) add_leaf_pairs(v, width);
}

// What setting both adds to setting each: v [ N_pq 1_p 1_q - N_p 1_p - N_q 1_q + N ].
void EffectSums::add_leaf_pairs(const double* v, std::size_t width) {
    for (std::size_t p = 1; p < path_.size(); ++p)
        for (std::size_t q = 0; q < p; ++q) {
            const auto pair = surface_index(static_cast<std::int32_t>(p), static_cast<std::int32_t>(q));
            if (pair < 0) continue;
            const double rows = meeting_all_but_two_[p * path_.size() + q];
            const SurfaceOffsets& s = surface_of_[static_cast<std::size_t>(pair)];
            const bool turned = path_[p].player > path_[q].player;
            const PathPlayer &a = path_[turned ? q : p], &b = path_[turned ? p : q];
            const double n_a = meeting_all_but_[turned ? q : p], n_b = meeting_all_but_[turned ? p : q];
            if (rows == 0 && n_a == 0 && n_b == 0 && meeting_all_ == 0) continue;
            const std::size_t row_stride = (grid.points(static_cast<std::size_t>(b.player)) + 1) * outputs_;
            for (std::size_t c = 0; c < width; ++c) {
                const double contribution = weight_ * v[c];
                double* body = surfaces_.data() + s.surface + first_output_ + c;
                double *one = surfaces_.data() + s.first_curve + first_output_ + c, *two = surfaces_.data() + s.second_curve + first_output_ + c;
                surfaces_[s.constant + first_output_ + c] += contribution * meeting_all_;
                for (std::uint32_t i = a.begin; i < a.end; ++i) {
                    const Range x = ranges_[i];
                    one[x.from * outputs_] -= contribution * n_a, one[x.to * outputs_] += contribution * n_a;
                    for (std::uint32_t k = b.begin; k < b.end; ++k) {
                        const Range y = ranges_[k];
                        body[x.from * row_stride + y.from * outputs_] += contribution * rows, body[x.from * row_stride + y.to * outputs_] -= contribution * rows;
                        body[x.to * row_stride + y.from * outputs_] -= contribution * rows, body[x.to * row_stride + y.to * outputs_] += contribution * rows;
                    }
                }
                for (std::uint32_t k = b.begin; k < b.end; ++k) {
                    two[ranges_[k].from * outputs_] -= contribution * n_b;
                    two[ranges_[k].to * outputs_] += contribution * n_b;
                }
            }
        }
}

void EffectSums::merge(const EffectSums& other) {
    const auto take = [](std::vector<double>& to, const std::vector<double>& from) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    take(total_, other.total_), take(player_offsets_, other.player_offsets_), take(differences_, other.differences_), take(surfaces_, other.surfaces_);
}

void EffectSums::curve(std::size_t j, double* out) const {
    const std::size_t points = grid.points(j);
    std::copy_n(differences_.data() + (grid.first(j) + j) * outputs_, points * outputs_, out);
    accumulate(out, points, outputs_);
    for (std::size_t p = 0; p < points; ++p)
        for (std::size_t c = 0; c < outputs_; ++c) out[p * outputs_ + c] += total_[c] + player_offsets_[j * outputs_ + c];
}

void EffectSums::surface(std::size_t pair, double* out) const {
    const auto j = static_cast<std::size_t>(pairs[pair].first), k = static_cast<std::size_t>(pairs[pair].second);
    const std::size_t a = grid.points(j), b = grid.points(k), row_stride = b * outputs_;
    const SurfaceOffsets& s = surface_of_[pair];
    std::vector<double> curve_j(a * outputs_), curve_k(row_stride), first_curve(a * outputs_), other(row_stride);
    curve(j, curve_j.data()), curve(k, curve_k.data());
    std::copy_n(surfaces_.data() + s.first_curve, first_curve.size(), first_curve.data());
    std::copy_n(surfaces_.data() + s.second_curve, other.size(), other.data());
    accumulate(first_curve.data(), a, outputs_), accumulate(other.data(), b, outputs_);
    for (std::size_t i = 0; i < a; ++i) std::copy_n(surfaces_.data() + s.surface + i * (row_stride + outputs_), row_stride, out + i * row_stride);
    accumulate(out, a, row_stride);
    for (std::size_t i = 0; i < a; ++i) {
        accumulate(out + i * row_stride, b, outputs_);
        for (std::size_t m = 0; m < b; ++m)
            for (std::size_t c = 0; c < outputs_; ++c)
                out[i * row_stride + m * outputs_ + c] += curve_j[i * outputs_ + c] + first_curve[i * outputs_ + c] + curve_k[m * outputs_ + c] + other[m * outputs_ + c] -
                                                    total_[c] + surfaces_[s.constant + c];
    }
}

}  // namespace whybox

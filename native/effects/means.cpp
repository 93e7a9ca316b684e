// Means over rows with a player, or two, set to each of their points.
#include <algorithm>
#include <bit>

#include "effects/effects.hpp"

namespace whybox {
namespace {

std::uint64_t row_of(std::uint64_t r) { return r & 0xffff; }
std::uint64_t p_of(std::uint64_t r) { return r >> 16 & 0xffff; }
std::uint64_t q_of(std::uint64_t r) { return r >> 32; }

// values, (many) x width of `outputs`: differences become sums, in place.
void add_up(double* values, std::size_t many, std::size_t stride) {
    for (std::size_t i = 1; i < many; ++i)
        for (std::size_t c = 0; c < stride; ++c) values[i * stride + c] += values[(i - 1) * stride + c];
}

}  // namespace

Means::Means(const Grid& g, std::vector<Pair> p, const InstructionSet& set)
    : grid(g), pairs(std::move(p)), set_(set), block_(g.classes, g.e, set), outputs_(static_cast<std::size_t>(g.e.outputs())), two_(!pairs.empty()),
      total_(outputs_), less_(g.players() * outputs_), steps_((g.total() + g.players()) * outputs_), place_of_(g.players(), -1) {
    std::size_t room = 0;
    for (const auto& [j, k] : pairs) {
        const std::size_t a = grid.points(static_cast<std::size_t>(j)) + 1, b = grid.points(static_cast<std::size_t>(k)) + 1;
        surface_of_.push_back({room, room + a * b * outputs_, room + (a * b + a) * outputs_, room + (a * b + a + b) * outputs_});
        room += (a * b + a + b + 1) * outputs_;
    }
    surfaces_.resize(room);
    if (!two_) return;
    of_pair_.assign(grid.players() * grid.players(), -1);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto j = static_cast<std::size_t>(pairs[i].first), k = static_cast<std::size_t>(pairs[i].second);
        of_pair_[j * grid.players() + k] = of_pair_[k * grid.players() + j] = static_cast<std::int32_t>(i);
    }
}

void Means::fill(Rows x, const double* weights) {
    block_.fill(x);
    weighted_ = weights != nullptr;
    everyone_.resize(block_.words());
    scratch_.resize(block_.words());
    std::fill_n(everyone_.data(), everyone_.size(), std::uint64_t{0});
    for (std::size_t r = 0; r < x.rows; ++r)
        if (!weighted_ || weights[r] != 0) everyone_[r / 64] |= std::uint64_t{1} << (r % 64);
    if (!weighted_) return;
    weights_.resize(block_.words() * 64);
    std::copy_n(weights, x.rows, weights_.data());
    std::fill(weights_.data() + x.rows, weights_.data() + weights_.size(), 0.0);
}

void Means::add(TreeRange trees) {
    const Ensemble& e = grid.e;
    for (std::size_t t = trees.from; t < trees.to; ++t) {
        root_ = e.root(t);
        weight_ = e.tree_weight[t];
        first_output_ = static_cast<std::size_t>(e.first_output(t));
        if (weight_ == 0) continue;
        const auto nodes = static_cast<std::size_t>(e.tree_offsets[t + 1] - e.tree_offsets[t]);
        below_.assign(nodes, 1);
        for (std::size_t i = nodes; i-- > 0;)  // children come after their parents
            if (root_[i].left >= 0) below_[i] = below_[static_cast<std::size_t>(root_[i].left)] + below_[static_cast<std::size_t>(root_[i].right)];
        if (levels_.size() < static_cast<std::size_t>(e.depth[t]) + 2) levels_.resize(static_cast<std::size_t>(e.depth[t]) + 2);
        levels_[0].sets.assign(1, {everyone_.data(), -1, -1});
        descend(0, 0);
    }
}

// The node's player takes its place on the path, if it is not there yet.
Means::Step Means::enter(const Node& n) {
    Step step{-1, false, {}, {}, ranges_.size()};
    const int j = grid.player(n);
    if (j < 0) return step;
    step.fresh = place_of_[static_cast<std::size_t>(j)] < 0;
    if (step.fresh) {
        place_of_[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(places_.size());
        const auto begin = static_cast<std::uint32_t>(ranges_.size());
        const auto points = static_cast<std::uint32_t>(grid.points(static_cast<std::size_t>(j)));
        ranges_.push_back({0, points});
        places_.push_back({j, begin, begin + 1});
    }
    step.place = place_of_[static_cast<std::size_t>(j)];
    step.before = places_[static_cast<std::size_t>(step.place)];
    for (const bool left : {false, true}) step.sides[left] = narrow(n, step.before, left);
    return step;
}

Means::Place Means::narrow(const Node& n, const Place& before, bool left) {
    const auto begin = static_cast<std::uint32_t>(ranges_.size());
    return {before.player, begin, begin + grid.side(n, left, before.begin, before.end - before.begin, ranges_)};
}

void Means::leave(const Step& step) {
    if (step.place < 0) return;
    places_[static_cast<std::size_t>(step.place)] = step.before;
    if (step.fresh) {
        place_of_[static_cast<std::size_t>(step.before.player)] = -1;
        places_.pop_back();
    }
    ranges_.resize(step.kept);
}

std::int32_t Means::surface(std::int32_t p, std::int32_t q) const {
    const auto j = static_cast<std::size_t>(places_[static_cast<std::size_t>(p)].player), k = static_cast<std::size_t>(places_[static_cast<std::size_t>(q)].player);
    return of_pair_[j * grid.players() + k];
}

void Means::descend(std::int32_t id, std::size_t depth) {
    const Node& n = root_[id];
    Level& here = levels_[depth];
    if (n.left < 0) return side_leaf(n, {-1, false, {}, {}, 0}, false, here);
    if (few(id, depth)) {
        list(here.sets);
        return descend_rows(id, depth, few_);
    }
    const Step step = enter(n);
    here.left.resize(block_.words());
    block_.left(n, here.left.data());
    for (const bool left : {true, false}) {
        if (step.place >= 0) places_[static_cast<std::size_t>(step.place)] = step.sides[left];
        side(left ? n.left : n.right, step, left, depth);
    }
    leave(step);
}

// To a child. Sets without the node's player lose the rows that go to the other side; those with it stay as they are, and where the player is new,
// each set begets one with it. A set whose player has no point left adds to nothing.
void Means::side(std::int32_t child, const Step& step, bool left, std::size_t depth) {
    const Node& n = root_[child];
    const Level& here = levels_[depth];
    if (n.left < 0) return side_leaf(n, step, left, here);
    Level& next = levels_[depth + 1];
    next.sets.clear();
    next.room.resize(here.sets.size() * block_.words());
    const bool stays = open(step, left);
    for (std::size_t i = 0; i < here.sets.size(); ++i) {
        const Set& s = here.sets[i];
        if (step.place >= 0 && (s.p == step.place || s.q == step.place)) {
            if (stays) next.sets.push_back(s);
            continue;
        }
        if (step.fresh && stays && room(s.p, s.q, step.place)) next.sets.push_back({s.bits, s.p < 0 ? step.place : s.p, s.p < 0 ? -1 : step.place});
        std::uint64_t* to = next.room.data() + i * block_.words();
        if (set_.both(s.bits, here.left.data(), left ? 0 : ~std::uint64_t{0}, to, block_.words())) next.sets.push_back({to, s.p, s.q});
    }
    if (!next.sets.empty()) descend(child, depth + 1);
}

// As side(), only to count. place -1 and no `left`: the tree is a leaf.
void Means::side_leaf(const Node& n, const Step& step, bool left, const Level& here) {
    start_counts();
    const bool stays = open(step, left), whole = here.left.size() == 0 || &n == root_;
    for (const Set& s : here.sets) {
        if (step.place >= 0 && (s.p == step.place || s.q == step.place)) {
            if (stays) record(s.p, s.q, measure(s.bits, s.bits, 0));
            continue;
        }
        if (step.fresh && stays && room(s.p, s.q, step.place)) record(s.p < 0 ? step.place : s.p, s.p < 0 ? -1 : step.place, measure(s.bits, s.bits, 0));
        record(s.p, s.q, whole ? measure(s.bits, s.bits, 0) : measure(s.bits, here.left.data(), left ? 0 : ~std::uint64_t{0}));
    }
    leaf(n);
}

double Means::measure(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip) {
    if (!weighted_) return static_cast<double>(set_.count(a, b, flip, block_.words()));
    if (a != b) a = set_.both(a, b, flip, scratch_.data(), block_.words()) ? scratch_.data() : nullptr;
    return a ? set_.weigh(a, weights_.data(), block_.words()) : 0.0;
}

// Whether so few rows are left that following each of them is less work than following sets.
bool Means::few(std::int32_t id, std::size_t depth) {
    const auto& sets = levels_[depth].sets;
    if (depth < 3 || below_[static_cast<std::size_t>(id)] < 6) return false;
    std::copy_n(sets.front().bits, block_.words(), scratch_.data());
    for (std::size_t i = 1; i < sets.size(); ++i)
        for (std::size_t w = 0; w < block_.words(); ++w) scratch_[w] |= sets[i].bits[w];
    const std::size_t rows = set_.count(scratch_.data(), scratch_.data(), 0, block_.words());
    return rows * (two_ ? 4 : 1) < block_.words() * (4 + sets.size());
}

// Sets as rows: each row with the players that it misses.
void Means::list(const std::vector<Set>& sets) {
    few_.clear();
    std::vector<const std::uint64_t*> fewer;  // the sets of fewer of the same players, that this one includes
    for (const Set& s : sets) {
        fewer.clear();
        for (const Set& o : sets)
            if (s.q >= 0 ? o.q < 0 && (o.p < 0 || o.p == s.p || o.p == s.q) : s.p >= 0 && o.p < 0) fewer.push_back(o.bits);
        for (std::size_t w = 0; w < block_.words(); ++w) {
            std::uint64_t rest = s.bits[w];
            for (const auto* bits : fewer) rest &= ~bits[w];
            for (; rest; rest &= rest - 1)
                few_.push_back(as_row(64 * w + static_cast<std::size_t>(std::countr_zero(rest)), static_cast<std::uint64_t>(s.p) & kNobody, static_cast<std::uint64_t>(s.q) & kNobody));
        }
    }
}

void Means::descend_rows(std::int32_t id, std::size_t depth, List those) {
    const Node& n = root_[id];
    if (n.left < 0) {
        start_counts();
        count(those);
        return leaf(n);
    }
    const Step step = enter(n);
    auto& parts = levels_[depth].those;
    for (auto& p : parts)
        if (p.size() < those.size() + 8) p.resize(2 * those.size() + 8);  // more: the last writes may be of nothing
    Row* to[2] = {parts[0].data(), parts[1].data()};
    const Block::Test test = block_.test(n);
    if (two_) part_pairs(n, step, those, to);
    else if (test.ask) part_asked(n, step, those, to);
    else set_.part({test.of_row, test.cut, test.missing_left ? test.missing : 0x10000U, place_or_none(step), {open(step, false), open(step, true)}}, those.data(), those.size(), to);
    const std::size_t many[2] = {static_cast<std::size_t>(to[0] - parts[0].data()), static_cast<std::size_t>(to[1] - parts[1].data())};
    for (const bool left : {true, false}) {
        if (!many[left]) continue;
        if (step.place >= 0) places_[static_cast<std::size_t>(step.place)] = step.sides[left];
        descend_rows(left ? n.left : n.right, depth + 1, {parts[left].data(), many[left]});
    }
    leave(step);
}

// Rows that miss one player at most, at a node that has to be asked for each.
void Means::part_asked(const Node& n, const Step& step, List those, Row* (&to)[2]) {
    const Block::Test test = block_.test(n);
    const std::uint64_t place = place_or_none(step);
    const unsigned stays[2] = {open(step, false), open(step, true)};
    for (const Row r : those) {
        const unsigned left = block_.left(test, n, static_cast<std::uint16_t>(row_of(r))), mine = p_of(r) == place, free = p_of(r) == kNobody;
        for (const unsigned way : {0U, 1U}) {
            const unsigned meets = left == way;
            *to[way] = meets | mine ? r : as_row(row_of(r), place, kNobody);
            to[way] += (meets & ~mine) | ((mine | (free & ~meets)) & stays[way]);
        }
    }
}

void Means::part_pairs(const Node& n, const Step& step, List those, Row* (&to)[2]) {
    const Block::Test test = block_.test(n);
    const std::uint64_t place = place_or_none(step);
    const unsigned stays[2] = {open(step, false), open(step, true)};
    pairs_with_.assign(places_.size() + 1, 0);
    for (std::size_t p = 0; step.place >= 0 && p < places_.size(); ++p)
        pairs_with_[p] = static_cast<std::int32_t>(p) != step.place && surface(static_cast<std::int32_t>(p), step.place) >= 0;
    for (const Row r : those) {
        const std::uint64_t p = p_of(r), q = q_of(r);
        const unsigned left = block_.left(test, n, static_cast<std::uint16_t>(row_of(r))), mine = p == place || q == place;
        const unsigned none = p == kNobody, free = q == kNobody && (none || pairs_with_[p]);
        const Row more = none ? as_row(row_of(r), place, kNobody) : as_row(row_of(r), p, place);
        for (const unsigned way : {0U, 1U}) {
            const unsigned meets = left == way;
            *to[way] = meets | mine ? r : more;
            to[way] += (meets & ~mine) | ((mine | (free & ~meets)) & stays[way]);
        }
    }
}

void Means::start_counts() {
    all_ = 0;
    but_.assign(places_.size() + 1, 0.0);
    if (two_) but_two_.assign(places_.size() * places_.size(), 0.0);
}

void Means::record(std::int32_t p, std::int32_t q, double rows) {
    if (p < 0) all_ = rows;
    else if (q < 0) but_[static_cast<std::size_t>(p)] = rows;
    else but_two_[static_cast<std::size_t>(std::max(p, q)) * places_.size() + static_cast<std::size_t>(std::min(p, q))] = rows;
}

// Rows that miss exactly these players become rows that miss no other.
void Means::count(List those) {
    const std::size_t places = places_.size();
    for (const Row r : those) {
        const double weight = weighted_ ? weights_[row_of(r)] : 1.0;
        const std::uint64_t p = p_of(r), q = q_of(r);
        if (two_ && q != kNobody) but_two_[std::max(p, q) * places + std::min(p, q)] += weight;
        else but_[std::min<std::uint64_t>(p, places)] += weight;
    }
    all_ = but_[places];
    if (two_)
        for (std::size_t p = 0; p < places; ++p)
            for (std::size_t q = 0; q < p; ++q) but_two_[p * places + q] += all_ + but_[p] + but_[q];
    for (std::size_t p = 0; p < places; ++p) but_[p] += all_;
}

// v, if every condition of the leaf but those of player j is met, and j is set to a point that meets its own; v for all points if j is not asked.
void Means::leaf(const Node& n) {
    const auto width = static_cast<std::size_t>(grid.e.width);
    const double* v = grid.e.values(n);
    for (std::size_t c = 0; c < width; ++c) {
        const double all = weight_ * v[c] * all_;
        total_[first_output_ + c] += all;
        for (std::size_t p = 0; p < places_.size(); ++p) {
            const Place& at = places_[p];
            const auto j = static_cast<std::size_t>(at.player);
            less_[j * outputs_ + first_output_ + c] -= all;
            const double by = weight_ * v[c] * but_[p];
            double* steps = steps_.data() + (grid.first(j) + j) * outputs_ + first_output_ + c;
            for (std::uint32_t r = at.begin; r < at.end; ++r) {
                steps[ranges_[r].from * outputs_] += by;
                steps[ranges_[r].to * outputs_] -= by;
            }
        }
    }
    if (two_) leaf_pairs(v, width);
}

// What setting both adds to setting each: v [ N_pq 1_p 1_q - N_p 1_p - N_q 1_q + N ].
void Means::leaf_pairs(const double* v, std::size_t width) {
    for (std::size_t p = 1; p < places_.size(); ++p)
        for (std::size_t q = 0; q < p; ++q) {
            const auto which = surface(static_cast<std::int32_t>(p), static_cast<std::int32_t>(q));
            if (which < 0) continue;
            const double rows = but_two_[p * places_.size() + q];
            const Surface& s = surface_of_[static_cast<std::size_t>(which)];
            const bool turned = places_[p].player > places_[q].player;
            const Place &a = places_[turned ? q : p], &b = places_[turned ? p : q];
            const double n_a = but_[turned ? q : p], n_b = but_[turned ? p : q];
            if (rows == 0 && n_a == 0 && n_b == 0 && all_ == 0) continue;
            const std::size_t line = (grid.points(static_cast<std::size_t>(b.player)) + 1) * outputs_;
            for (std::size_t c = 0; c < width; ++c) {
                const double by = weight_ * v[c];
                double* body = surfaces_.data() + s.body + first_output_ + c;
                double *one = surfaces_.data() + s.one + first_output_ + c, *two = surfaces_.data() + s.two + first_output_ + c;
                surfaces_[s.rest + first_output_ + c] += by * all_;
                for (std::uint32_t i = a.begin; i < a.end; ++i) {
                    const Range x = ranges_[i];
                    one[x.from * outputs_] -= by * n_a, one[x.to * outputs_] += by * n_a;
                    for (std::uint32_t k = b.begin; k < b.end; ++k) {
                        const Range y = ranges_[k];
                        body[x.from * line + y.from * outputs_] += by * rows, body[x.from * line + y.to * outputs_] -= by * rows;
                        body[x.to * line + y.from * outputs_] -= by * rows, body[x.to * line + y.to * outputs_] += by * rows;
                    }
                }
                for (std::uint32_t k = b.begin; k < b.end; ++k) {
                    two[ranges_[k].from * outputs_] -= by * n_b;
                    two[ranges_[k].to * outputs_] += by * n_b;
                }
            }
        }
}

void Means::merge(const Means& other) {
    const auto take = [](std::vector<double>& to, const std::vector<double>& from) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    take(total_, other.total_), take(less_, other.less_), take(steps_, other.steps_), take(surfaces_, other.surfaces_);
}

void Means::one(std::size_t j, double* out) const {
    const std::size_t points = grid.points(j);
    std::copy_n(steps_.data() + (grid.first(j) + j) * outputs_, points * outputs_, out);
    add_up(out, points, outputs_);
    for (std::size_t p = 0; p < points; ++p)
        for (std::size_t c = 0; c < outputs_; ++c) out[p * outputs_ + c] += total_[c] + less_[j * outputs_ + c];
}

void Means::pair(std::size_t which, double* out) const {
    const auto j = static_cast<std::size_t>(pairs[which].first), k = static_cast<std::size_t>(pairs[which].second);
    const std::size_t a = grid.points(j), b = grid.points(k), line = b * outputs_;
    const Surface& s = surface_of_[which];
    std::vector<double> one_j(a * outputs_), one_k(line), edge(a * outputs_), other(line);
    one(j, one_j.data()), one(k, one_k.data());
    std::copy_n(surfaces_.data() + s.one, edge.size(), edge.data());
    std::copy_n(surfaces_.data() + s.two, other.size(), other.data());
    add_up(edge.data(), a, outputs_), add_up(other.data(), b, outputs_);
    for (std::size_t i = 0; i < a; ++i) std::copy_n(surfaces_.data() + s.body + i * (line + outputs_), line, out + i * line);
    add_up(out, a, line);
    for (std::size_t i = 0; i < a; ++i) {
        add_up(out + i * line, b, outputs_);
        for (std::size_t m = 0; m < b; ++m)
            for (std::size_t c = 0; c < outputs_; ++c)
                out[i * line + m * outputs_ + c] += one_j[i * outputs_ + c] + edge[i * outputs_ + c] + one_k[m * outputs_ + c] + other[m * outputs_ + c] -
                                                    total_[c] + surfaces_[s.rest + c];
    }
}

}  // namespace whybox

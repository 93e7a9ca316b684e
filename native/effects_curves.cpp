// Row by row: what a row's prediction becomes when one player is set to each of its points.
#include <algorithm>
#include <cmath>

#include "effects.hpp"
#include "split.hpp"

namespace whybox {
namespace {

// A link of all outputs of a row, in place.
void apply(Link link, double* f, std::size_t outputs) {
    if (link == Link::logistic)
        for (std::size_t c = 0; c < outputs; ++c) {
            const double small = std::exp(-std::fabs(f[c]));
            f[c] = f[c] >= 0 ? 1 / (1 + small) : small / (1 + small);
        }
    if (link == Link::exponential)
        for (std::size_t c = 0; c < outputs; ++c) f[c] = std::exp(f[c]);
    if (link == Link::softmax) {
        const double most = *std::max_element(f, f + outputs);
        double sum = 0;
        for (std::size_t c = 0; c < outputs; ++c) sum += f[c] = std::exp(f[c] - most);
        for (std::size_t c = 0; c < outputs; ++c) f[c] /= sum;
    }
}

constexpr std::size_t kWork = std::size_t{1} << 16;  // numbers worked on side by side
std::size_t beside(std::size_t each) { return std::clamp<std::size_t>(kWork / std::max<std::size_t>(each, 1), 8, 1024); }

}  // namespace

Curves::Curves(const Grid& g) : grid(g), stride_((g.total() + g.players()) * static_cast<std::size_t>(g.e.outputs())), now_(g.players()) {
    for (std::size_t j = 0; j < grid.players(); ++j) {  // the stack begins with every player's whole grid
        stack_.push_back({0, static_cast<std::uint32_t>(grid.points(j))});
        now_[j] = {static_cast<std::uint32_t>(j), 1};
    }
    const std::size_t most = beside(stride_);
    deltas_.resize(most * stride_);
    predictions_.resize(most * static_cast<std::size_t>(grid.e.outputs()));
}

std::size_t Curves::some(Rows x, std::size_t first) {
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    const std::size_t many = std::min(deltas_.size() / stride_, x.rows - first);
    for (std::size_t i = 0; i < many; ++i) std::copy(grid.e.base.begin(), grid.e.base.end(), predictions_.data() + i * outputs);
    std::fill_n(deltas_.data(), many * stride_, 0.0);
    for (std::size_t t = 0; t < grid.e.trees(); ++t)
        for (std::size_t i = 0; i < many && grid.e.tree_weight[t] != 0; ++i) tree(t, x.row(first + i), predictions_.data() + i * outputs, deltas_.data() + i * stride_);
    for (std::size_t i = 0; i < many; ++i)
        for (std::size_t j = 0; j < grid.players(); ++j) {
            const double* from = deltas_.data() + i * stride_ + (grid.first(j) + j) * outputs;
            double* to = deltas_.data() + i * stride_ + grid.first(j) * outputs;
            for (std::size_t k = 0; k < grid.points(j) * outputs; ++k) to[k] = from[k] + (k >= outputs ? to[k - outputs] : 0.0);
        }
    return many;
}

void Curves::tree(std::size_t t, const double* x, double* prediction, double* delta) {
    root_ = grid.e.root(t);
    weight_ = grid.e.tree_weight[t];
    first_output_ = grid.e.first_output(t);
    turns_.clear();
    asked_.clear();
    std::int32_t id = 0;
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        const bool left = goes_left(grid.e, n, x[n.feature]);
        if (const int j = grid.player(n); j >= 0) {
            const auto [begin, count] = now_[static_cast<std::size_t>(j)];
            auto at = static_cast<std::uint32_t>(stack_.size());
            if (const auto many = grid.side(n, !left, begin, count, stack_)) {
                turns_.push_back({left ? n.right : n.left, j, at, many});
                at = static_cast<std::uint32_t>(stack_.size());
                now_[static_cast<std::size_t>(j)] = {at, grid.side(n, left, begin, count, stack_)};
                asked_.push_back(j);
            }
        }
        id = left ? n.left : n.right;
    }
    own_ = grid.e.values(root_[id]);
    for (int c = 0; c < grid.e.width; ++c) prediction[first_output_ + c] += weight_ * own_[c];
    for (const Turn& turn : turns_) astray(turn.child, static_cast<std::size_t>(turn.player), turn.begin, turn.count, x, delta);
    for (const auto j : asked_) now_[static_cast<std::size_t>(j)] = {static_cast<std::uint32_t>(j), 1};
    stack_.resize(grid.players());
}

// Where only this player, set to these points, can have led: the other players follow the row.
void Curves::astray(std::int32_t id, std::size_t player, std::uint32_t begin, std::uint32_t count, const double* x, double* delta) {
    while (root_[id].left >= 0) {
        const Node& n = root_[id];
        if (grid.player(n) != static_cast<int>(player)) {
            id = goes_left(grid.e, n, x[n.feature]) ? n.left : n.right;
            continue;
        }
        const auto at = static_cast<std::uint32_t>(stack_.size());
        if (const auto many = grid.side(n, true, begin, count, stack_)) astray(n.left, player, at, many, x, delta);
        stack_.resize(at);
        const auto rest = grid.side(n, false, begin, count, stack_);
        if (!rest) return;
        begin = at, count = rest, id = n.right;
    }
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    const double* v = grid.e.values(root_[id]);
    for (int c = 0; c < grid.e.width; ++c) {
        const double by = weight_ * (v[c] - own_[c]);
        double* to = delta + (grid.first(player) + player) * outputs + static_cast<std::size_t>(first_output_ + c);
        for (std::uint32_t r = begin; r < begin + count; ++r) {
            to[stack_[r].from * outputs] += by;
            to[stack_[r].to * outputs] -= by;
        }
    }
}

void individual(const Grid& grid, Rows x, double* out) {
    Curves curves(grid);
    const auto outputs = static_cast<std::size_t>(grid.e.outputs()), cells = grid.total() * outputs;
    for (std::size_t first = 0, many; first < x.rows; first += many) {
        many = curves.some(x, first);
        for (std::size_t i = 0; i < many; ++i)
            for (std::size_t k = 0; k < cells; ++k) out[(first + i) * cells + k] = curves.prediction(i)[k % outputs] + curves.delta(i)[k];
    }
}

void moments(const Grid& grid, Rows x, const double* weights, Link link, const double* centre, double* sum, double* squares) {
    Curves curves(grid);
    const auto outputs = static_cast<std::size_t>(grid.e.outputs()), cells = grid.total() * outputs;
    std::vector<double> at(cells), from(outputs), add(outputs);
    for (std::size_t first = 0, many; first < x.rows; first += many) {
        many = curves.some(x, first);
        for (std::size_t i = 0; i < many; ++i) {
            const double *own = curves.prediction(i), *delta = curves.delta(i), weight = weights[first + i];
            std::copy_n(own, outputs, from.data());
            apply(link, from.data(), outputs);
            if (centre) std::copy_n(centre, outputs, from.data());
            // without a link, what is added only to be taken away is left out
            for (std::size_t c = 0; c < outputs; ++c) add[c] = link == Link::identity ? (centre ? own[c] - centre[c] : 0.0) : own[c];
            if (outputs == 1)
                for (std::size_t k = 0; k < cells; ++k) at[k] = add[0] + delta[k];
            else
                for (std::size_t k = 0; k < cells; ++k) at[k] = add[k % outputs] + delta[k];
            if (link != Link::identity)
                for (std::size_t k = 0; k < cells; k += outputs) {
                    apply(link, at.data() + k, outputs);
                    for (std::size_t c = 0; c < outputs; ++c) at[k + c] -= from[c];
                }
            for (std::size_t k = 0; k < cells; ++k) {
                sum[k] += weight * at[k];
                squares[k] += weight * at[k] * at[k];
            }
        }
    }
}

void averages(const Grid& grid, Rows x, const double* masses, double* out) {
    Curves curves(grid);
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    for (std::size_t first = 0, many; first < x.rows; first += many) {
        many = curves.some(x, first);
        for (std::size_t i = 0; i < many; ++i)
            for (std::size_t j = 0; j < grid.players(); ++j) {
                double* to = out + ((first + i) * grid.players() + j) * outputs;
                std::copy_n(curves.prediction(i), outputs, to);
                for (std::size_t p = grid.first(j); p < grid.first(j) + grid.points(j); ++p)
                    for (std::size_t c = 0; c < outputs; ++c) to[c] += masses[p] * curves.delta(i)[p * outputs + c];
            }
    }
}

namespace {

// A row with one player's values replaced goes its own way from the first node where it turns off; before, it ends where the row does.
class Shifts {
public:
    Shifts(const Ensemble& e, std::span<const Levels> levels) : e_(e), player_(static_cast<std::size_t>(e.columns), -1), slot_(player_.size()), gone_(2 * levels.size()) {
        for (std::size_t j = 0; j < levels.size(); ++j)
            for (std::size_t k = 0; k < levels[j].columns.size(); ++k) {
                player_[static_cast<std::size_t>(levels[j].columns[k])] = static_cast<std::int32_t>(j);
                slot_[static_cast<std::size_t>(levels[j].columns[k])] = k;
            }
    }

    struct Points { const double* at[2]; };  // low, high

    void tree(std::size_t t, const double* x, const Points* points, double* out) {
        root_ = e_.root(t);
        std::int32_t id = 0;
        off_.clear();
        while (root_[id].left >= 0) {
            const Node& n = root_[id];
            const bool left = goes_left(e_, n, x[n.feature]);
            if (const auto j = player_[static_cast<std::size_t>(n.feature)]; j >= 0) {
                const std::size_t k = slot_[static_cast<std::size_t>(n.feature)];
                for (const std::size_t high : {0U, 1U}) {
                    char& gone = gone_[2 * static_cast<std::size_t>(j) + high];
                    if (gone || goes_left(e_, n, points[static_cast<std::size_t>(j)].at[high][k]) == left) continue;
                    gone = 1;
                    off_.push_back({left ? n.right : n.left, j, high});
                }
            }
            id = left ? n.left : n.right;
        }
        const double* own = e_.values(root_[id]);
        for (const Off& off : off_) {
            gone_[2 * static_cast<std::size_t>(off.player) + off.high] = 0;
            const double* v = e_.values(root_[follow(off, x, points[static_cast<std::size_t>(off.player)].at[off.high])]);
            const double weight = off.high ? e_.tree_weight[t] : -e_.tree_weight[t];
            double* to = out + off.player * e_.outputs() + e_.first_output(t);
            for (int c = 0; c < e_.width; ++c) to[c] += weight * (v[c] - own[c]);
        }
    }

private:
    struct Off { std::int32_t child, player; std::size_t high; };

    std::int32_t follow(const Off& off, const double* x, const double* values) const {
        std::int32_t id = off.child;
        while (root_[id].left >= 0) {
            const Node& n = root_[id];
            const bool own = player_[static_cast<std::size_t>(n.feature)] == off.player;
            id = goes_left(e_, n, own ? values[slot_[static_cast<std::size_t>(n.feature)]] : x[n.feature]) ? n.left : n.right;
        }
        return id;
    }

    const Ensemble& e_;
    std::vector<std::int32_t> player_;
    std::vector<std::size_t> slot_;
    std::vector<char> gone_;
    std::vector<Off> off_;
    const Node* root_ = nullptr;
};

}  // namespace

void shifted(const Ensemble& e, std::span<const Levels> levels, Rows x, const std::int32_t* low, const std::int32_t* high, double* out) {
    const std::size_t players = levels.size(), cells = players * static_cast<std::size_t>(e.outputs()), block = beside(cells + x.columns + 2 * players);
    Shifts shifts(e, levels);
    std::vector<Shifts::Points> points(block * players);
    std::fill_n(out, x.rows * cells, 0.0);
    for (std::size_t first = 0; first < x.rows; first += block) {
        const std::size_t many = std::min(block, x.rows - first);
        for (std::size_t k = 0; k < many * players; ++k) {
            const Levels& of = levels[k % players];
            const auto value = [&](const std::int32_t* point) { return of.values + static_cast<std::size_t>(point[first * players + k]) * of.columns.size(); };
            points[k] = {{value(low), value(high)}};
        }
        for (std::size_t t = 0; t < e.trees(); ++t)
            for (std::size_t i = 0; i < many && e.tree_weight[t] != 0; ++i) shifts.tree(t, x.row(first + i), points.data() + i * players, out + (first + i) * cells);
    }
}

}  // namespace whybox

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

}  // namespace

Curves::Curves(const Grid& g) : grid(g), now_(g.players()), asked_(), turns_(), stack_(), side_() {
    for (std::size_t j = 0; j < grid.players(); ++j) {  // the stack begins with every player's whole grid
        stack_.push_back({0, static_cast<std::uint32_t>(grid.points(j))});
        now_[j] = {static_cast<std::uint32_t>(j), 1};
    }
}

void Curves::row(const double* x, double* prediction, double* delta) {
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    std::copy(grid.e.base.begin(), grid.e.base.end(), prediction);
    std::fill_n(delta, (grid.total() + grid.players()) * outputs, 0.0);  // differences: a player's points and one more
    for (std::size_t t = 0; t < grid.e.trees(); ++t)
        if (grid.e.tree_weight[t] != 0) tree(t, x, prediction, delta);
    for (std::size_t j = 0; j < grid.players(); ++j) {
        const double* from = delta + (grid.first(j) + j) * outputs;
        double* to = delta + grid.first(j) * outputs;
        for (std::size_t i = 0; i < grid.points(j) * outputs; ++i) to[i] = from[i] + (i >= outputs ? to[i - outputs] : 0.0);
    }
}

// The points that lie in stack_[begin, begin + count) and go to this side, at the end of the stack; returns how many ranges they are.
std::uint32_t Curves::push(std::uint32_t begin, std::uint32_t count, const Node& n, bool left) {
    side_.clear();
    grid.side(n, left, side_);
    const std::size_t size = stack_.size();
    if (stack_.capacity() < size + count + side_.size()) stack_.reserve(2 * (size + count + side_.size()));
    intersect({stack_.data() + begin, count}, side_, stack_);
    return static_cast<std::uint32_t>(stack_.size() - size);
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
            if (const auto many = push(begin, count, n, !left)) {
                turns_.push_back({left ? n.right : n.left, j, at, many});
                at = static_cast<std::uint32_t>(stack_.size());
                now_[static_cast<std::size_t>(j)] = {at, push(begin, count, n, left)};
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
        if (const auto many = push(begin, count, n, true)) astray(n.left, player, at, many, x, delta);
        stack_.resize(at);
        const auto rest = push(begin, count, n, false);
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
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    std::vector<double> prediction(outputs), delta((grid.total() + grid.players()) * outputs);
    for (std::size_t i = 0; i < x.rows; ++i) {
        curves.row(x.row(i), prediction.data(), delta.data());
        double* to = out + i * grid.total() * outputs;
        for (std::size_t p = 0; p < grid.total(); ++p)
            for (std::size_t c = 0; c < outputs; ++c) to[p * outputs + c] = prediction[c] + delta[p * outputs + c];
    }
}

void moments(const Grid& grid, Rows x, const double* weights, Link link, const double* centre, double* sum, double* squares) {
    Curves curves(grid);
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    std::vector<double> prediction(outputs), delta((grid.total() + grid.players()) * outputs), at(outputs), from(outputs);
    for (std::size_t i = 0; i < x.rows; ++i) {
        if (weights[i] == 0) continue;
        curves.row(x.row(i), prediction.data(), delta.data());
        from = prediction;
        apply(link, from.data(), outputs);
        if (centre) std::copy_n(centre, outputs, from.data());
        const bool plain = link == Link::identity && !centre;  // then nothing is added only to be taken away
        for (std::size_t p = 0; p < grid.total(); ++p) {
            for (std::size_t c = 0; c < outputs; ++c) at[c] = plain ? delta[p * outputs + c] : prediction[c] + delta[p * outputs + c];
            if (!plain) apply(link, at.data(), outputs);
            for (std::size_t c = 0; c < outputs; ++c) {
                const double d = plain ? at[c] : at[c] - from[c];
                sum[p * outputs + c] += weights[i] * d;
                squares[p * outputs + c] += weights[i] * d * d;
            }
        }
    }
}

void averages(const Grid& grid, Rows x, const double* masses, double* out) {
    Curves curves(grid);
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    std::vector<double> prediction(outputs), delta((grid.total() + grid.players()) * outputs);
    for (std::size_t i = 0; i < x.rows; ++i) {
        curves.row(x.row(i), prediction.data(), delta.data());
        for (std::size_t j = 0; j < grid.players(); ++j) {
            double* to = out + (i * grid.players() + j) * outputs;
            std::copy(prediction.begin(), prediction.end(), to);
            for (std::size_t p = grid.first(j); p < grid.first(j) + grid.points(j); ++p)
                for (std::size_t c = 0; c < outputs; ++c) to[c] += masses[p] * delta[p * outputs + c];
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

    void tree(std::size_t t, const double* x, const std::vector<Points>& points, double* out) {
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
    Shifts shifts(e, levels);
    const std::size_t players = levels.size();
    std::vector<Shifts::Points> points(players);
    std::fill_n(out, x.rows * players * static_cast<std::size_t>(e.outputs()), 0.0);
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < players; ++j)
            for (const std::size_t k : {0U, 1U})
                points[j].at[k] = levels[j].values + static_cast<std::size_t>((k ? high : low)[i * players + j]) * levels[j].columns.size();
        for (std::size_t t = 0; t < e.trees(); ++t)
            if (e.tree_weight[t] != 0)
                shifts.tree(t, x.row(i), points, out + i * players * static_cast<std::size_t>(e.outputs()));
    }
}

}  // namespace whybox

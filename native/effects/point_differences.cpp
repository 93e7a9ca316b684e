// Row by row: the difference between two points of one player.
#include <algorithm>

#include "core/split.hpp"
#include "effects/effects.hpp"

namespace whybox {
namespace {

constexpr std::size_t kWork = std::size_t{1} << 16;  // numbers worked on side by side

// A row with one player's values replaced takes another path from the first node where it goes to the other side; if there is none, it reaches the row's own leaf.
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
    const std::size_t players = levels.size(), cells = players * static_cast<std::size_t>(e.outputs()), block = std::clamp<std::size_t>(kWork / (cells + x.columns + 2 * players), 8, 1024);
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

// Row by row: the difference between two points of one player.
#include <algorithm>

#include "core/split.hpp"
#include "effects/effects.hpp"

namespace whybox {
namespace {

constexpr std::size_t kNumbersPerBlock = std::size_t{1} << 16;  // numbers in a block of rows

// A row with one player's values replaced takes another path from the first node where it goes to the other side; if there is none, it reaches the row's own leaf.
class PointDifferences {
public:
    PointDifferences(const Ensemble& e, std::span<const PlayerPoints> points_of_players) : e_(e), player_(static_cast<std::size_t>(e.columns), -1),
        slot_(player_.size()), has_left_path_(2 * points_of_players.size()) {
        for (std::size_t j = 0; j < points_of_players.size(); ++j)
            for (std::size_t k = 0; k < points_of_players[j].columns.size(); ++k) {
                player_[static_cast<std::size_t>(points_of_players[j].columns[k])] = static_cast<std::int32_t>(j);
                slot_[static_cast<std::size_t>(points_of_players[j].columns[k])] = k;
            }
    }

    struct Points { const double* at[2]; };  // low, high

    void tree(std::size_t t, const double* x, const Points* points, double* out) {
        root_ = e_.root(t);
        std::int32_t id = 0;
        deviations_.clear();
        while (root_[id].left >= 0) {
            const Node& n = root_[id];
            const bool left = goes_left(e_, n, x[n.feature]);
            if (const auto j = player_[static_cast<std::size_t>(n.feature)]; j >= 0) {
                const std::size_t k = slot_[static_cast<std::size_t>(n.feature)];
                for (const std::size_t high : {0U, 1U}) {
                    char& has_left_path = has_left_path_[2 * static_cast<std::size_t>(j) + high];
                    if (has_left_path || goes_left(e_, n, points[static_cast<std::size_t>(j)].at[high][k]) == left) continue;
                    has_left_path = 1;
                    deviations_.push_back({left ? n.right : n.left, j, high});
                }
            }
            id = left ? n.left : n.right;
        }
        const double* own_leaf = e_.values_of(root_[id]);
        for (const Deviation& deviation : deviations_) {
            has_left_path_[2 * static_cast<std::size_t>(deviation.player) + deviation.high] = 0;
            const double* v = e_.values_of(root_[follow_path(deviation, x, points[static_cast<std::size_t>(deviation.player)].at[deviation.high])]);
            const double weight = deviation.high ? e_.tree_weight[t] : -e_.tree_weight[t];
            double* to = out + deviation.player * e_.outputs() + e_.first_output(t);
            for (int c = 0; c < e_.leaf_width; ++c) to[c] += weight * (v[c] - own_leaf[c]);
        }
    }

private:
    struct Deviation { std::int32_t child, player; std::size_t high; };

    std::int32_t follow_path(const Deviation& deviation, const double* x, const double* values) const {
        std::int32_t id = deviation.child;
        while (root_[id].left >= 0) {
            const Node& n = root_[id];
            const bool own_leaf = player_[static_cast<std::size_t>(n.feature)] == deviation.player;
            id = goes_left(e_, n, own_leaf ? values[slot_[static_cast<std::size_t>(n.feature)]] : x[n.feature]) ? n.left : n.right;
        }
        return id;
    }

    const Ensemble& e_;
    std::vector<std::int32_t> player_;
    std::vector<std::size_t> slot_;
    std::vector<char> has_left_path_;
    std::vector<Deviation> deviations_;
    const Node* root_ = nullptr;
};

}  // namespace

void point_differences(const Ensemble& e, std::span<const PlayerPoints> points_of_players, Rows x, const std::int32_t* low, const std::int32_t* high, double* out) {
    const std::size_t players = points_of_players.size(), cells = players * static_cast<std::size_t>(e.outputs()),
        block = std::clamp<std::size_t>(kNumbersPerBlock / (cells + x.columns + 2 * players), 8, 1024);
    PointDifferences shifts(e, points_of_players);
    std::vector<PointDifferences::Points> points(block * players);
    std::fill_n(out, x.rows * cells, 0.0);
    for (std::size_t first = 0; first < x.rows; first += block) {
        const std::size_t count = std::min(block, x.rows - first);
        for (std::size_t k = 0; k < count * players; ++k) {
            const PlayerPoints& player_points = points_of_players[k % players];
            const auto value = [&](const std::int32_t* point) {
                return player_points.values + static_cast<std::size_t>(point[first * players + k]) * player_points.columns.size(); };
            points[k] = {{value(low), value(high)}};
        }
        for (std::size_t t = 0; t < e.trees(); ++t)
            for (std::size_t i = 0; i < count && e.tree_weight[t] != 0; ++i) shifts.tree(t, x.row(first + i), points.data() + i * players, out + (first + i) * cells);
    }
}

}  // namespace whybox

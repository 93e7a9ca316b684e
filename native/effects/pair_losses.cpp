// Row by row: the losses with one player set to each of its points, added up by row and by point while rows still stand side by side.
#include <algorithm>

#include "effects/curves.hpp"

namespace whybox {
namespace {

// What a group of eight rows brings to the losses, and their buffers.
class LossGroup {
public:
    LossGroup(const CurvePlan& plan, const PairLosses& losses) : plan_(plan), losses_(losses), players_(plan.grid.players()) {
        std::size_t most = 0;
        for (std::size_t j = 0; j < players_; ++j) most = std::max(most, plan.grid.points(j));
        values_.resize(most * losses.outputs * kRows);
        at_points_.resize(plan.grid.total() * kRows);
        std::fill_n(at_points_.data(), plan.grid.total() * kRows, 0.0);
        lanes_.resize(3 * kRows);
    }

    // Lanes beyond the rows repeat the last and weigh nothing.
    void load_rows(std::size_t first, std::size_t count) {
        first_ = first, count_ = count;
        for (std::size_t l = 0; l < kRows; ++l) {
            lanes_[l] = losses_.truth[first + std::min(l, count - 1)];
            lanes_[kRows + l] = l < count ? losses_.row_weights[first + l] : 0.0;
        }
    }

    LossCurve curve(const CurveBlocks& curves, std::size_t player) {
        for (std::size_t l = 0; l < kRows; ++l) own_point_[l] = losses_.own_points[(first_ + std::min(l, count_ - 1)) * players_ + player];
        const auto outputs = static_cast<std::size_t>(plan_.grid.e.outputs());
        const std::size_t first = plan_.grid.first(player);
        return {losses_.loss, static_cast<std::int64_t>(plan_.grid.points(player)), static_cast<std::int64_t>(losses_.outputs),
            static_cast<std::int64_t>(outputs * kRows), curves.group_predictions() + losses_.first_output * kRows,
            curves.group_differences() + (plan_.slot(player) * outputs + losses_.first_output) * kRows, lanes_.data(), own_point_, lanes_.data() + kRows,
            losses_.point_weights + first, values_.data(), lanes_.data() + 2 * kRows, at_points_.data() + first * kRows};
    }

    void store_rows(std::size_t player, double* of_row) {
        for (std::size_t l = 0; l < count_; ++l) of_row[(first_ + l) * players_ + player] = lanes_[2 * kRows + l];
    }

    void add_points(double* at_points) {
        for (std::size_t k = 0; k < plan_.grid.total(); ++k)
            for (std::size_t l = 0; l < kRows; ++l) at_points[k] += at_points_[k * kRows + l];
    }

private:
    static constexpr std::size_t kRows = kGroupRows;

    const CurvePlan& plan_;
    const PairLosses& losses_;
    std::size_t players_, first_ = 0, count_ = 0;
    std::int32_t own_point_[kRows] = {};
    AlignedArray<double> values_, at_points_, lanes_;  // lanes: truth, weights, sums of rows
};

}  // namespace

void pair_losses(const CurvePlan& plan, Rows x, const InstructionSet& set, const PairLosses& losses, std::span<const WatchedPoint> watched, double* own_outputs,
    double* of_row, double* at_points, double* watched_outputs, double* watched_differences) {
    CurveBlocks curves(plan, set);
    LossGroup group(plan, losses);
    std::size_t next_watched = 0;
    for (std::size_t first = 0, count; first < x.rows; first += count) {
        count = curves.next_group(x, first);
        group.load_rows(first, count);
        for (std::size_t l = 0; l < count; ++l)
            for (std::size_t c = 0; c < losses.outputs; ++c)
                own_outputs[(first + l) * losses.outputs + c] = curves.group_predictions()[(losses.first_output + c) * kGroupRows + l];
        std::size_t end_watched = next_watched;
        while (end_watched < watched.size() && watched[end_watched].row < first + count) ++end_watched;
        for (std::size_t j = 0; j < plan.grid.players(); ++j) {
            const LossCurve curve = group.curve(curves, j);
            const auto value = [&](const WatchedPoint& w, std::size_t outputs, std::size_t c) { return curve.values[(w.point * outputs + c) * kGroupRows + w.row - first]; };
            set.curve_values(curve);
            for (std::size_t w = next_watched; w < end_watched; ++w)
                for (std::size_t c = 0; c < losses.outputs && watched[w].player == j; ++c)
                    watched_outputs[w * losses.outputs + c] = value(watched[w], losses.outputs, c);
            set.curve_losses(curve);
            for (std::size_t w = next_watched; w < end_watched; ++w)
                if (watched[w].player == j) watched_differences[w] = value(watched[w], 1, 0);
            group.store_rows(j, of_row);
        }
        next_watched = end_watched;
    }
    group.add_points(at_points);
}

}  // namespace whybox

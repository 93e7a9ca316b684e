// Row by row, where curves have far more points than a row's own curve has changes (forests that are grown to purity): losses are taken only where the row's
// curve changes, and the weight of the points between two changes is a difference of two running sums.
#include <algorithm>
#include <bit>

#include "effects/curves.hpp"

namespace whybox {

void CurveChanges::sort() {
    constexpr unsigned kDigit = 11;
    sorted_.resize(keys_.size());
    for (unsigned shift = 32; shift < 32 + slot_bits_; shift += kDigit) {
        std::size_t start[1U << kDigit] = {};
        for (const auto key : keys_) ++start[key >> shift & ((1U << kDigit) - 1)];
        std::size_t at = 0;
        for (auto& s : start) at += std::exchange(s, at);
        for (const auto key : keys_) sorted_[start[key >> shift & ((1U << kDigit) - 1)]++] = key;
        std::swap(keys_, sorted_);
    }
}

namespace {

constexpr std::size_t kRowsAtATime = 64;  // that go through a tree before the next tree is read

// The losses of one row with one player set to each of its points.
class ChangedLosses {
public:
    ChangedLosses(const CurvePlan& plan, const InstructionSet& set, const PairLosses& losses) : plan_(plan), set_(set), losses_(losses),
        weight_before_(plan.grid.total() + 1), at_changes_(plan.grid.total()), output_(losses.outputs) {
        for (std::size_t k = 0; k < plan.grid.total(); ++k) weight_before_[k + 1] = weight_before_[k] + losses.point_weights[k];
        truth_.resize(kGroupRows);
    }

    // The raw outputs at the pieces of a player's curve.
    void load(const CurveChanges& changes, std::size_t player, std::span<const std::uint64_t> keys, const double* prediction) {
        const std::size_t slot = plan_.slot(player), points = plan_.grid.points(player), outputs = losses_.outputs;
        starts_.clear();
        values_.resize((keys.size() / kGroupRows + 2) * kGroupRows * outputs);
        std::fill(output_.begin(), output_.end(), 0.0);
        if (keys.empty() || CurveChanges::slot(keys[0]) > slot) push(0, prediction);
        for (std::size_t k = 0; k < keys.size();) {
            const std::size_t point = CurveChanges::slot(keys[k]) - slot;
            if (point >= points) break;
            for (; k < keys.size() && CurveChanges::slot(keys[k]) - slot == point; ++k)
                for (std::size_t c = 0; c < outputs; ++c) output_[c] += changes.difference(keys[k], losses_.first_output + c);
            push(point, prediction);
        }
        for (std::size_t lane = starts_.size(); lane % kGroupRows; ++lane)  // lanes beyond repeat the last piece
            for (std::size_t c = 0; c < outputs; ++c) values_[cell(lane, outputs, c)] = values_[cell(starts_.size() - 1, outputs, c)];
    }

    double output_at(std::size_t point, std::size_t c) { return values_[cell(piece(point), losses_.outputs, c)]; }

    // Losses less that at the row's own point; returns their sum over points.
    double add(std::size_t row, std::size_t player, std::size_t own_point) {
        LossCurve curve{};
        std::fill_n(truth_.data(), kGroupRows, losses_.truth[row]);
        curve.loss = losses_.loss, curve.outputs = static_cast<std::int64_t>(losses_.outputs);
        curve.points = static_cast<std::int64_t>((starts_.size() + kGroupRows - 1) / kGroupRows);
        curve.truth = truth_.data(), curve.values = values_.data();
        set_.losses(curve);
        const double own = values_[piece(own_point)], weight = losses_.row_weights[row];
        const std::size_t first = plan_.grid.first(player);
        double sum = 0, before = 0;
        for (std::size_t k = 0; k < starts_.size(); ++k) {
            const std::size_t from = first + starts_[k], to = first + (k + 1 < starts_.size() ? starts_[k + 1] : plan_.grid.points(player));
            const double difference = values_[k] -= own;
            sum += difference * (weight_before_[to] - weight_before_[from]);
            at_changes_[from] += weight * (difference - before);
            before = difference;
        }
        return sum;
    }

    double difference_at(std::size_t point) { return values_[piece(point)]; }

    void add_points(double* at_points) const {
        for (std::size_t j = 0; j < plan_.grid.players(); ++j) {
            double sum = 0;
            for (std::size_t k = plan_.grid.first(j); k < plan_.grid.first(j) + plan_.grid.points(j); ++k) at_points[k] += sum += at_changes_[k];
        }
    }

private:
    static std::size_t cell(std::size_t piece, std::size_t outputs, std::size_t c) { return (piece / kGroupRows * outputs + c) * kGroupRows + piece % kGroupRows; }
    std::size_t piece(std::size_t point) const { return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), point) - starts_.begin()) - 1; }
    void push(std::size_t point, const double* prediction) {
        for (std::size_t c = 0; c < losses_.outputs; ++c)
            values_[cell(starts_.size(), losses_.outputs, c)] = prediction[(losses_.first_output + c) * kGroupRows] + output_[c];
        starts_.push_back(point);
    }

    const CurvePlan& plan_;
    const InstructionSet& set_;
    const PairLosses& losses_;
    std::vector<double> weight_before_, at_changes_;  // of points before each; what each point adds to the one before
    std::vector<double> output_;
    std::vector<std::size_t> starts_;                 // of the pieces of the curve
    AlignedArray<double> values_, truth_;
};

}  // namespace

void pair_losses_at_changes(const CurvePlan& plan, Rows x, const InstructionSet& set, const PairLosses& losses, std::span<const WatchedPoint> watched,
    double* own_outputs, double* of_row, double* at_points, double* watched_outputs, double* watched_differences) {
    const Ensemble& e = plan.grid.e;
    const auto outputs = static_cast<std::size_t>(e.outputs());
    const std::size_t players = plan.grid.players();
    PathLists lists(plan);
    ChangedLosses changed(plan, set, losses);
    std::vector<CurveChanges> changes(kRowsAtATime, CurveChanges(plan.n_slots(), outputs));
    std::vector<double> predictions(kRowsAtATime * outputs);
    CurveBlock block;
    block.predictions = predictions.data(), block.differences = nullptr;
    block.predictions_stride = outputs * kGroupRows, block.differences_stride = 0;
    std::size_t next_watched = 0;
    for (std::size_t first = 0; first < x.rows; first += kRowsAtATime) {
        const std::size_t count = std::min(kRowsAtATime, x.rows - first);
        block.x = {x.row(first), count, x.columns};
        find_intervals(plan, block);
        for (std::size_t k = 0; k < predictions.size(); ++k) predictions[k] = e.base[k / kGroupRows % outputs];
        for (auto& c : changes) c.clear();
        for (std::size_t t = 0; t < e.trees(); ++t)
            if (plan.method(t) == CurvePlan::TreeMethod::lists) lists.tree(t, block, changes.data());
        for (std::size_t r = 0; r < count; ++r) {
            const std::size_t row = first + r;
            const double* prediction = block.predictions_of(r);
            for (std::size_t c = 0; c < losses.outputs; ++c) own_outputs[row * losses.outputs + c] = prediction[(losses.first_output + c) * kGroupRows];
            changes[r].sort();
            std::span<const std::uint64_t> keys = changes[r].keys();
            std::size_t end_watched = next_watched;
            while (end_watched < watched.size() && watched[end_watched].row == row) ++end_watched;
            for (std::size_t j = 0; j < players; ++j) {
                std::size_t n = 0;
                while (n < keys.size() && CurveChanges::slot(keys[n]) <= plan.slot(j) + plan.grid.points(j)) ++n;
                changed.load(changes[r], j, keys.first(n), prediction);
                keys = keys.subspan(n);
                for (std::size_t w = next_watched; w < end_watched; ++w)
                    for (std::size_t c = 0; c < losses.outputs && watched[w].player == j; ++c)
                        watched_outputs[w * losses.outputs + c] = changed.output_at(watched[w].point, c);
                of_row[row * players + j] = changed.add(row, j, static_cast<std::size_t>(losses.own_points[row * players + j]));
                for (std::size_t w = next_watched; w < end_watched; ++w)
                    if (watched[w].player == j) watched_differences[w] = changed.difference_at(watched[w].point);
            }
            next_watched = end_watched;
        }
    }
    changed.add_points(at_points);
}

}  // namespace whybox

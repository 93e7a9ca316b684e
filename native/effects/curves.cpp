// Row by row: what a row's prediction becomes when one player is set to each of its points.
#include <algorithm>
#include <cmath>

#include "core/split.hpp"
#include "effects/curves.hpp"

namespace whybox {
namespace {

// The link function of all outputs of a row, in place.
void apply(Link link, double* f, std::size_t outputs) {
    if (link == Link::logistic)
        for (std::size_t c = 0; c < outputs; ++c) {
            const double decay = std::exp(-std::fabs(f[c]));
            f[c] = f[c] >= 0 ? 1 / (1 + decay) : decay / (1 + decay);
        }
    if (link == Link::exponential)
        for (std::size_t c = 0; c < outputs; ++c) f[c] = std::exp(f[c]);
    if (link == Link::softmax) {
        const double largest = *std::max_element(f, f + outputs);
        double accumulate = 0;
        for (std::size_t c = 0; c < outputs; ++c) accumulate += f[c] = std::exp(f[c] - largest);
        for (std::size_t c = 0; c < outputs; ++c) f[c] /= accumulate;
    }
}

constexpr std::size_t kBlockNumbers = std::size_t{1} << 15;      // numbers in a block of rows: with the trees, they stay in a core's cache
constexpr std::size_t kLargeTreeNumbers = std::size_t{1} << 16;  // the same, where large trees are read again for each block of rows
constexpr std::size_t kGroupSize = kGroupRows;

std::size_t n_groups(std::size_t numbers, std::size_t per_row) { return std::clamp<std::size_t>(numbers / (kGroupSize * std::max<std::size_t>(per_row, 1)), 1, 16); }

}  // namespace

void find_intervals(const CurvePlan& plan, CurveBlock& b) {
    const std::size_t columns = plan.columns(), model_columns = columns / 2;
    b.intervals.resize(b.x.rows * columns);
    std::vector<std::uint32_t> interval(b.x.rows);
    for (std::size_t c = 0; c < model_columns; ++c) {
        const std::uint32_t missing = plan.grid.intervals.missing_index(c);
        plan.grid.intervals.find(c, b.x.data + c, b.x.columns, b.x.rows, interval.data());
        for (std::size_t r = 0; r < b.x.rows; ++r) {
            std::int32_t* of_row = b.intervals.data() + r * columns + c;
            of_row[0] = static_cast<std::int32_t>(interval[r]);
            of_row[model_columns] = interval[r] == missing ? 0 : static_cast<std::int32_t>(interval[r]) + 1;
        }
    }
}

CurveBlocks::CurveBlocks(const CurvePlan& p, const InstructionSet& set) : plan(p), set_(set), outputs_(static_cast<std::size_t>(p.grid.e.outputs())),
    cells_(p.grid.total() * outputs_) {
    if (plan.any(CurvePlan::TreeMethod::lists)) path_lists_.emplace(plan);
    if (plan.any(CurvePlan::TreeMethod::walk)) path_walk_.emplace(plan);
    block_buffers_.predictions_stride = outputs_ * kGroupSize;
    block_buffers_.differences_stride = plan.n_slots() * outputs_ * kGroupSize;
    const std::size_t count = n_groups(path_lists_ || path_walk_ ? kLargeTreeNumbers : kBlockNumbers, std::max(plan.n_slots() * outputs_, plan.columns()));
    rows_per_block_ = count * kGroupSize;
    row_predictions_.resize(count * block_buffers_.predictions_stride);
    differences_.resize(count * block_buffers_.differences_stride);
    intervals_.resize(count * kGroupSize * (plan.columns() + kOtherSplits));
}

std::size_t CurveBlocks::next_group(Rows x, std::size_t first) {
    if (first >= end_) fill(x, first);
    group_ = (first - begin_) / kGroupSize;
    return std::min(kGroupSize, end_ - first);
}

std::size_t CurveBlocks::next_rows(Rows x, std::size_t first) {
    const std::size_t count = next_group(x, first);
    if (predictions_.empty()) predictions_.resize(kGroupSize * outputs_), deltas_.resize(kGroupSize * cells_);
    accumulate();
    return count;
}

// The next block, through all trees.
void CurveBlocks::fill(Rows x, std::size_t first) {
    const Ensemble& e = plan.grid.e;
    const std::size_t columns = plan.columns(), rows = std::min(rows_per_block_, x.rows - first),
        lanes = (rows + kGroupSize - 1) / kGroupSize * kGroupSize;
    begin_ = first, end_ = first + rows;
    block_buffers_.x = {x.row(first), rows, x.columns};
    block_buffers_.predictions = row_predictions_.data(), block_buffers_.differences = differences_.data();
    find_intervals(plan, block_buffers_);
    for (std::size_t r = 0; r < lanes; ++r) {  // lanes beyond repeat the last row
        const std::int32_t* of_row = block_buffers_.intervals.data() + std::min(r, rows - 1) * columns;
        std::int32_t* to = intervals_.data() + r / kGroupSize * (columns + kOtherSplits) * kGroupSize + r % kGroupSize;
        for (std::size_t c = 0; c < columns; ++c) to[c * kGroupSize] = of_row[c];
    }
    for (std::size_t k = 0; k < lanes * outputs_; ++k) row_predictions_[k] = e.base[k / kGroupSize % outputs_];
    std::fill_n(differences_.data(), lanes / kGroupSize * block_buffers_.differences_stride, 0.0);
    for (std::size_t t = 0; t < e.trees(); ++t) {
        if (plan.method(t) == CurvePlan::TreeMethod::lists) path_lists_->tree(t, block_buffers_);
        if (plan.method(t) != CurvePlan::TreeMethod::walk) continue;
        for (std::size_t r = 0; r < rows; ++r) path_walk_->tree(t, block_buffers_.x.row(r), block_buffers_.predictions_of(r), block_buffers_.differences_of(r));
    }
    const std::size_t groups_at_a_time = n_groups(kBlockNumbers, plan.n_slots() * outputs_);
    for (std::size_t from = 0; from < lanes / kGroupSize; from += groups_at_a_time) add_leaf_bits(from, std::min(from + groups_at_a_time, lanes / kGroupSize));
}

// Trees of few leaves, over some groups of rows.
void CurveBlocks::add_leaf_bits(std::size_t from, std::size_t to) {
    const Ensemble& e = plan.grid.e;
    for (std::size_t t = 0; t < e.trees(); ++t) {
        if (plan.method(t) != CurvePlan::TreeMethod::bits) continue;
        const LeafBits tree = plan.bits(t);
        const auto other_splits = plan.other_splits(t);
        for (std::size_t group = from; group < to; ++group) {
            std::int32_t* intervals = intervals_.data() + group * (plan.columns() + kOtherSplits) * kGroupSize;
            for (std::size_t k = 0; k < other_splits.size(); ++k) {
                const Node& n = e.root(t)[other_splits[k]];
                for (std::size_t l = 0; l < kGroupSize; ++l)
                    intervals[(plan.columns() + k) * kGroupSize + l] = !goes_left(e, n,
                        block_buffers_.x.row(std::min(group * kGroupSize + l, block_buffers_.x.rows - 1))[n.feature]);
            }
            set_.add_curves(tree, intervals, row_predictions_.data() + group * block_buffers_.predictions_stride,
                differences_.data() + group * block_buffers_.differences_stride);
        }
    }
}

// Differences become cumulative sums; from rows side by side to one row after the other.
void CurveBlocks::accumulate() {
    for (std::size_t c = 0; c < outputs_; ++c)
        for (std::size_t l = 0; l < kGroupSize; ++l) predictions_[l * outputs_ + c] = group_predictions()[c * kGroupSize + l];
    for (std::size_t j = 0; j < plan.grid.players(); ++j)
        for (std::size_t c = 0; c < outputs_; ++c) {
            const double* from = group_differences() + (plan.slot(j) * outputs_ + c) * kGroupSize;
            double* to = deltas_.data() + plan.grid.first(j) * outputs_ + c;
            double at[kGroupSize] = {};
            for (std::size_t k = 0; k < plan.grid.points(j); ++k, from += outputs_ * kGroupSize, to += outputs_)
                for (std::size_t l = 0; l < kGroupSize; ++l) to[l * cells_] = at[l] += from[l];
        }
}

void individual(const CurvePlan& plan, Rows x, const InstructionSet& set, double* out) {
    CurveBlocks curves(plan, set);
    const auto outputs = static_cast<std::size_t>(plan.grid.e.outputs());
    for (std::size_t first = 0, count; first < x.rows; first += count) {
        count = curves.next_rows(x, first);
        for (std::size_t i = 0; i < count; ++i) {
            const double *model_columns = curves.prediction(i), *differences = curves.differences(i);
            if (outputs == 1)
                for (const auto k : plan.given_points()) *out++ = model_columns[0] + differences[k];
            else
                for (const auto k : plan.given_points())
                    for (std::size_t c = 0; c < outputs; ++c) *out++ = model_columns[c] + differences[k * outputs + c];
        }
    }
}

void moments(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* weights, Link link, bool less_own, const double* centre,
    double* accumulate, double* squares) {
    CurveBlocks curves(plan, set);
    const auto outputs = static_cast<std::size_t>(plan.grid.e.outputs()), cells = plan.grid.total() * outputs;
    std::vector<double> at(cells), from(outputs), add(outputs);
    for (std::size_t first = 0, count; first < x.rows; first += count) {
        count = curves.next_rows(x, first);
        for (std::size_t i = 0; i < count; ++i) {
            const double *model_columns = curves.prediction(i), *differences = curves.differences(i), weight = weights[first + i];
            std::fill_n(from.data(), outputs, 0.0);
            std::copy_n(model_columns, outputs, add.data());
            // without a link the row's own prediction cancels, so it is never added
            if (less_own && link == Link::identity) std::fill_n(add.data(), outputs, 0.0);
            else if (less_own) {
                std::copy_n(model_columns, outputs, from.data());
                apply(link, from.data(), outputs);
            }
            if (outputs == 1)
                for (std::size_t k = 0; k < cells; ++k) at[k] = add[0] + differences[k];
            else
                for (std::size_t k = 0; k < cells; ++k) at[k] = add[k % outputs] + differences[k];
            if (link != Link::identity)
                for (std::size_t k = 0; k < cells; k += outputs) {
                    apply(link, at.data() + k, outputs);
                    for (std::size_t c = 0; c < outputs; ++c) at[k + c] -= from[c];
                }
            for (std::size_t k = 0; k < cells; ++k) {
                const double deviation = at[k] - centre[k];
                accumulate[k] += weight * deviation;
                squares[k] += weight * deviation * deviation;
            }
        }
    }
}

void averages(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* masses, double* out) {
    CurveBlocks curves(plan, set);
    const Grid& grid = plan.grid;
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    for (std::size_t first = 0, count; first < x.rows; first += count) {
        count = curves.next_rows(x, first);
        for (std::size_t i = 0; i < count; ++i)
            for (std::size_t j = 0; j < grid.players(); ++j) {
                double* to = out + ((first + i) * grid.players() + j) * outputs;
                std::copy_n(curves.prediction(i), outputs, to);
                for (std::size_t p = grid.first(j); p < grid.first(j) + grid.points(j); ++p)
                    for (std::size_t c = 0; c < outputs; ++c) to[c] += masses[p] * curves.differences(i)[p * outputs + c];
            }
    }
}

}  // namespace whybox

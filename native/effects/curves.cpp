// Row by row: what a row's prediction becomes when one player is set to each of its points.
#include <algorithm>
#include <cmath>

#include "core/split.hpp"
#include "effects/curves.hpp"

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

constexpr std::size_t kWork = std::size_t{1} << 15;   // numbers worked on side by side: with the trees, they stay in a core's cache
constexpr std::size_t kLarge = std::size_t{1} << 16;  // the same, where large trees are read again for each block of rows
constexpr std::size_t kEight = kBeside;

std::size_t eights(std::size_t work, std::size_t each) { return std::clamp<std::size_t>(work / (kEight * std::max<std::size_t>(each, 1)), 1, 16); }

}  // namespace

Curves::Curves(const CurvePlan& p, const InstructionSet& set) : plan(p), set_(set), outputs_(static_cast<std::size_t>(p.grid.e.outputs())), cells_(p.grid.total() * outputs_) {
    if (plan.any(CurvePlan::Way::lists)) lists_.emplace(plan);
    if (plan.any(CurvePlan::Way::walk)) ways_.emplace(plan);
    bench_.own_stride = outputs_ * kEight;
    bench_.steps_stride = plan.slots() * outputs_ * kEight;
    const std::size_t many = eights(lists_ || ways_ ? kLarge : kWork, std::max(plan.slots() * outputs_, plan.columns()));
    block_ = many * kEight;
    own_.resize(many * bench_.own_stride);
    steps_.resize(many * bench_.steps_stride);
    classes_.resize(many * kEight * (plan.columns() + kAsked));
    predictions_.resize(kEight * outputs_);
    deltas_.resize(kEight * cells_);
}

std::size_t Curves::some(Rows x, std::size_t first) {
    if (first >= end_) fill(x, first);
    sum((first - begin_) / kEight);
    return std::min(kEight, end_ - first);
}

// The next block, through all trees.
void Curves::fill(Rows x, std::size_t first) {
    const Ensemble& e = plan.grid.e;
    const std::size_t columns = plan.columns(), own = columns / 2, rows = std::min(block_, x.rows - first), lanes = (rows + kEight - 1) / kEight * kEight;
    begin_ = first, end_ = first + rows;
    bench_.x = {x.row(first), rows, x.columns};
    bench_.places.resize(lanes * columns);
    bench_.own = own_.data(), bench_.steps = steps_.data();
    std::vector<std::uint32_t> those(rows);
    for (std::size_t c = 0; c < own; ++c) {
        const std::uint32_t missing = plan.grid.classes.missing(c);
        plan.grid.classes.of(c, bench_.x.data + c, x.columns, rows, those.data());
        for (std::size_t r = 0; r < lanes; ++r) {  // lanes beyond repeat the last row
            const std::uint32_t k = those[std::min(r, rows - 1)];
            std::int32_t* place = bench_.places.data() + r * columns + c;
            place[0] = static_cast<std::int32_t>(k);
            place[own] = k == missing ? 0 : static_cast<std::int32_t>(k) + 1;
            for (const std::size_t twin : {std::size_t{0}, own})
                classes_[(r / kEight * (columns + kAsked) + c + twin) * kEight + r % kEight] = place[twin];
        }
    }
    for (std::size_t k = 0; k < lanes * outputs_; ++k) own_[k] = e.base[k / kEight % outputs_];
    std::fill_n(steps_.data(), lanes / kEight * bench_.steps_stride, 0.0);
    for (std::size_t t = 0; t < e.trees(); ++t) {
        if (plan.way(t) == CurvePlan::Way::lists) lists_->tree(t, bench_);
        if (plan.way(t) != CurvePlan::Way::walk) continue;
        for (std::size_t r = 0; r < rows; ++r) ways_->tree(t, bench_.x.row(r), bench_.own_of(r), bench_.steps_of(r));
    }
    const std::size_t beside = eights(kWork, plan.slots() * outputs_);
    for (std::size_t from = 0; from < lanes / kEight; from += beside) few_leaves(from, std::min(from + beside, lanes / kEight));
}

// Trees of few leaves, over some eights of rows.
void Curves::few_leaves(std::size_t from, std::size_t to) {
    const Ensemble& e = plan.grid.e;
    for (std::size_t t = 0; t < e.trees(); ++t) {
        if (plan.way(t) != CurvePlan::Way::bits) continue;
        const LeafBits tree = plan.bits(t);
        const auto asked = plan.asked(t);
        for (std::size_t eight = from; eight < to; ++eight) {
            std::int32_t* classes = classes_.data() + eight * (plan.columns() + kAsked) * kEight;
            for (std::size_t k = 0; k < asked.size(); ++k) {
                const Node& n = e.root(t)[asked[k]];
                for (std::size_t l = 0; l < kEight; ++l)
                    classes[(plan.columns() + k) * kEight + l] = !goes_left(e, n, bench_.x.row(std::min(eight * kEight + l, bench_.x.rows - 1))[n.feature]);
            }
            set_.turn(tree, classes, own_.data() + eight * bench_.own_stride, steps_.data() + eight * bench_.steps_stride);
        }
    }
}

// Differences become sums; rows beside each other, one after the other.
void Curves::sum(std::size_t eight) {
    for (std::size_t c = 0; c < outputs_; ++c)
        for (std::size_t l = 0; l < kEight; ++l) predictions_[l * outputs_ + c] = own_[eight * bench_.own_stride + c * kEight + l];
    for (std::size_t j = 0; j < plan.grid.players(); ++j)
        for (std::size_t c = 0; c < outputs_; ++c) {
            const double* from = steps_.data() + eight * bench_.steps_stride + (plan.slot(j) * outputs_ + c) * kEight;
            double* to = deltas_.data() + plan.grid.first(j) * outputs_ + c;
            double at[kEight] = {};
            for (std::size_t k = 0; k < plan.grid.points(j); ++k, from += outputs_ * kEight, to += outputs_)
                for (std::size_t l = 0; l < kEight; ++l) to[l * cells_] = at[l] += from[l];
        }
}

void individual(const CurvePlan& plan, Rows x, const InstructionSet& set, double* out) {
    Curves curves(plan, set);
    const auto outputs = static_cast<std::size_t>(plan.grid.e.outputs());
    for (std::size_t first = 0, many; first < x.rows; first += many) {
        many = curves.some(x, first);
        for (std::size_t i = 0; i < many; ++i) {
            const double *own = curves.prediction(i), *delta = curves.delta(i);
            if (outputs == 1)
                for (const auto k : plan.given()) *out++ = own[0] + delta[k];
            else
                for (const auto k : plan.given())
                    for (std::size_t c = 0; c < outputs; ++c) *out++ = own[c] + delta[k * outputs + c];
        }
    }
}

void moments(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* weights, Link link, bool less_own, const double* centre, double* sum, double* squares) {
    Curves curves(plan, set);
    const auto outputs = static_cast<std::size_t>(plan.grid.e.outputs()), cells = plan.grid.total() * outputs;
    std::vector<double> at(cells), from(outputs), add(outputs);
    for (std::size_t first = 0, many; first < x.rows; first += many) {
        many = curves.some(x, first);
        for (std::size_t i = 0; i < many; ++i) {
            const double *own = curves.prediction(i), *delta = curves.delta(i), weight = weights[first + i];
            std::fill_n(from.data(), outputs, 0.0);
            std::copy_n(own, outputs, add.data());
            // without a link the row's own prediction cancels, so it is never added
            if (less_own && link == Link::identity) std::fill_n(add.data(), outputs, 0.0);
            else if (less_own) {
                std::copy_n(own, outputs, from.data());
                apply(link, from.data(), outputs);
            }
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
                const double off = at[k] - centre[k];
                sum[k] += weight * off;
                squares[k] += weight * off * off;
            }
        }
    }
}

void averages(const CurvePlan& plan, Rows x, const InstructionSet& set, const double* masses, double* out) {
    Curves curves(plan, set);
    const Grid& grid = plan.grid;
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

}  // namespace whybox

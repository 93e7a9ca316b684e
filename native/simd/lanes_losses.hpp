// The losses of eight rows side by side with one player set to each of its points (program.hpp, LossCurve).
#pragma once

#include "simd/lanes_math.hpp"

namespace whybox::WHYBOX_ISA {

class LossCurves {
    using V = Lanes<double>;
    using F = typename V::F;
    static constexpr int kGroupVectors = kGroupRows / V::width;
    static constexpr double kMinProbability = 0x1p-52, kMaxLogLoss = 36.04365338911715;  // -log of it
    static constexpr double kRounding = 1e-12;  // means of leaves below that are 0 but for rounding
    static constexpr double kTied = 1e-10;  // probabilities that differ by a smaller share are equal but for rounding (whybox.models.losses)

public:
    static void values(const LossCurve& c) {
        const std::int64_t points = c.points, stride = c.stride, step = c.outputs * kGroupRows;
        for (std::int64_t output = 0; output < c.outputs; ++output) {
            F prediction[kGroupVectors], sum[kGroupVectors];
            for (int v = 0; v < kGroupVectors; ++v) prediction[v] = V::load(c.predictions + output * kGroupRows + v * V::width), sum[v] = V::broadcast(0.0);
            const double* from = c.differences + output * kGroupRows;
            double* to = c.values + output * kGroupRows;
            for (std::int64_t k = 0; k < points; ++k, from += stride, to += step)
                for (int v = 0; v < kGroupVectors; ++v) {
                    sum[v] = V::add(sum[v], V::load(from + v * V::width));
                    V::store(to + v * V::width, V::add(prediction[v], sum[v]));
                }
        }
    }

    static void losses(const LossCurve& c) {
        if (c.loss.link == Link::softmax || c.outputs > 1) of_classes(c);
        else if (c.loss.kind == LossKind::log && c.loss.link == Link::logistic) log_loss_of_logistic(c);
        else if (c.loss.kind == LossKind::poisson) poisson_of_exponential(c);
        else {
            apply_link(c);
            of_numbers(c);
        }
    }

    static void sums(const LossCurve& c) {
        losses(c);
        add(c);
    }

private:
    // values, one a point: each becomes function(value, truth)
    template <class Function>
    static void each(const LossCurve& c, const Function& function) {
        for (int v = 0; v < kGroupVectors; ++v) {
            const F truth = V::load(c.truth + v * V::width);
            double* value = c.values + v * V::width;
            const double* const end = value + c.points * kGroupRows;
            for (; value != end; value += kGroupRows) V::store(value, function(V::load(value), truth));
        }
    }

    static F negative(const F& x) { return V::sub(V::broadcast(0.0), x); }
    static F absolute(const F& x) { return V::max(x, negative(x)); }

    static void apply_link(const LossCurve& c) {
        const F scale = V::broadcast(c.loss.scale), one = V::broadcast(1.0), zero = V::broadcast(0.0);
        if (c.loss.link == Link::exponential) each(c, [&](const F& x, const F&) { return LaneMath::exp(V::mul(scale, x)); });
        if (c.loss.link == Link::logistic)
            each(c, [&](const F& x, const F&) {
                const F scaled = V::mul(scale, x), decay = LaneMath::exp(negative(absolute(scaled)));
                return V::div(V::blend(V::below(scaled, zero), decay, one), V::add(one, decay));
            });
    }

    static void of_numbers(const LossCurve& c) {
        const F one = V::broadcast(1.0), level = V::broadcast(c.loss.level), level_below = V::broadcast(c.loss.level - 1);
        switch (c.loss.kind) {
            case LossKind::absolute: return each(c, [](const F& p, const F& y) { return absolute(V::sub(y, p)); });
            case LossKind::pinball:
                return each(c, [&](const F& p, const F& y) {
                    const F residual = V::sub(y, p);
                    return V::max(V::mul(level, residual), V::mul(level_below, residual));
                });
            case LossKind::log:  // the second class is true: 1, else 0
                return each(c, [&](const F& p, const F& y) { return log_loss(V::blend(V::below(y, one), V::sub(one, p), p)); });
            case LossKind::zero_one:
                return each(c, [&](const F& p, const F& y) {
                    const F second = V::blend(V::below(V::sub(one, p), V::mul(V::broadcast(1.0 - kTied), p)), one, V::broadcast(0.0));
                    return absolute(V::sub(second, y));
                });
            default:  // squared; of the second class's probability: brier
                return each(c, [](const F& p, const F& y) {
                    const F residual = V::sub(y, p);
                    return V::mul(residual, residual);
                });
        }
    }

    // Of probabilities that are means of leaves: sums of many leaves leave rounding where the probability is 0.
    static F log_loss(const F& mean) {
        const F probability = V::blend(V::below(mean, V::broadcast(kRounding)), V::broadcast(0.0), mean);
        return negative(LaneMath::log(V::min(V::broadcast(1.0), V::max(V::broadcast(kMinProbability), probability))));
    }

    // log(1 + exp(x)), x the raw output of the class that is not true
    static void log_loss_of_logistic(const LossCurve& c) {
        const F scale = V::broadcast(c.loss.scale), one = V::broadcast(1.0), zero = V::broadcast(0.0), largest = V::broadcast(kMaxLogLoss);
        each(c, [&](const F& raw, const F& y) {
            const F scaled = V::mul(scale, raw), x = V::blend(V::below(y, one), scaled, negative(scaled));
            return V::min(largest, V::add(V::max(zero, x), LaneMath::log(V::add(one, LaneMath::exp(negative(absolute(x)))))));
        });
    }

    // Less what depends on the truth alone, which differences do not contain.
    static void poisson_of_exponential(const LossCurve& c) {
        const F scale = V::broadcast(c.loss.scale), two = V::broadcast(2.0);
        each(c, [&](const F& raw, const F& y) {
            const F scaled = V::mul(scale, raw);
            return V::mul(two, V::sub(LaneMath::exp(scaled), V::mul(y, scaled)));
        });
    }

    // values, an output a class, become one loss a point
    static void of_classes(const LossCurve& c) {
        for (std::int64_t k = 0; k < c.points; ++k)
            for (int v = 0; v < kGroupVectors; ++v) {
                double* const outputs = c.values + k * c.outputs * kGroupRows + v * V::width;
                const F loss = of_probabilities(c, outputs, V::load(c.truth + v * V::width));
                V::store(c.values + k * kGroupRows + v * V::width, loss);  // what lies here was read before
            }
    }

    static F of_probabilities(const LossCurve& c, double* p, const F& truth) {
        const F one = V::broadcast(1.0), zero = V::broadcast(0.0), scale = V::broadcast(c.loss.scale);
        const bool softmax = c.loss.link == Link::softmax;
        F best = V::load(p), of_truth = best;
        for (std::int64_t i = 1; i < c.outputs; ++i) {
            const F value = V::load(p + i * kGroupRows), number = V::broadcast(static_cast<double>(i));
            best = V::max(best, value);
            of_truth = V::blend(V::below(truth, number), of_truth, value);
        }
        if (c.loss.kind == LossKind::zero_one) {
            const F least = softmax ? V::sub(best, V::broadcast(kTied / c.loss.scale)) : V::sub(best, V::mul(V::broadcast(kTied), absolute(best)));
            F likeliest = zero;  // the first of those that are the largest, but for rounding
            for (std::int64_t i = c.outputs - 1; i >= 0; --i)
                likeliest = V::blend(V::below(V::load(p + i * kGroupRows), least), likeliest, V::broadcast(static_cast<double>(i)));
            return V::min(one, absolute(V::sub(likeliest, truth)));
        }
        if (!softmax && c.loss.kind == LossKind::log) return log_loss(of_truth);
        F sum = zero;
        for (std::int64_t i = 0; softmax && i < c.outputs; ++i) {
            const F exponential = LaneMath::exp(V::mul(scale, V::sub(V::load(p + i * kGroupRows), best)));
            V::store(p + i * kGroupRows, exponential);
            sum = V::add(sum, exponential);
        }
        if (c.loss.kind == LossKind::log) return V::min(V::broadcast(kMaxLogLoss), V::add(LaneMath::log(sum), V::mul(scale, V::sub(best, of_truth))));
        F squares = zero;  // brier
        for (std::int64_t i = 0; i < c.outputs; ++i) {
            const F value = V::load(p + i * kGroupRows), number = V::broadcast(static_cast<double>(i));
            const F miss = V::sub(softmax ? V::div(value, sum) : value, V::blend(V::below(absolute(V::sub(truth, number)), V::broadcast(0.5)), one, zero));
            squares = V::fma(miss, miss, squares);
        }
        return V::mul(V::broadcast(c.outputs == 2 ? 0.5 : 1.0), squares);
    }

    // Losses become differences from the row's own, which are exactly zero at its own point.
    static void add(const LossCurve& c) {
        alignas(64) double own[kGroupRows];
        for (int l = 0; l < kGroupRows; ++l) own[l] = c.values[static_cast<std::int64_t>(c.own_point[l]) * kGroupRows + l];
        F own_loss[kGroupVectors], row_weight[kGroupVectors], sum[kGroupVectors];
        for (int v = 0; v < kGroupVectors; ++v)
            own_loss[v] = V::load(own + v * V::width), row_weight[v] = V::load(c.row_weights + v * V::width), sum[v] = V::broadcast(0.0);
        double *value = c.values, *at_point = c.at_points;
        const double* const end = value + c.points * kGroupRows;
        for (const double* weight = c.point_weights; value != end; ++weight, value += kGroupRows, at_point += kGroupRows) {
            const F point_weight = V::broadcast(*weight);
            for (int v = 0; v < kGroupVectors; ++v) {
                const F difference = V::sub(V::load(value + v * V::width), own_loss[v]);
                V::store(value + v * V::width, difference);
                sum[v] = V::fma(point_weight, difference, sum[v]);
                V::store(at_point + v * V::width, V::fma(row_weight[v], difference, V::load(at_point + v * V::width)));
            }
        }
        for (int v = 0; v < kGroupVectors; ++v) V::store(c.of_row + v * V::width, sum[v]);
    }
};

}  // namespace whybox::WHYBOX_ISA

// Games of a row's players, without tables: path-dependent (absent players split by training weight) and interventional (absent players come from a
// background row). Arrays in, arrays out; the caller has checked every extent. Faster kernels for many rows: attributor.hpp, bit_walk.hpp.
#pragma once

#include <span>

#include "core/ensemble.hpp"
#include "core/players.hpp"
#include "core/predict.hpp"

namespace whybox {

// A player's factor in a leaf's product at quadrature node p, and the derivative of its logarithm, K = (a - r) / factor (docs/mathematics.md).
inline double path_factor(double p, double a, double r) { return p * a + (1 - p) * r; }
inline double log_derivative(double p, double a, double r) {
    const double f = path_factor(p, a, r);
    return f > 0 ? (a - r) / f : 0.0;
}

struct QuadratureView {  // nodes in (0, 1) and weights
    std::span<const double> nodes, weights;
};

// What absent players are replaced by. weights: background rows, or rows x background rows when per_row.
struct Background {
    Rows rows;
    const double* weights;
    bool per_row;
};

// Interventional. table[s * side + t] = E[p^s (1-p)^t] for s + t < side. Adds to out:
//   order 1: rows x players x outputs.    order 2: rows x players x players x outputs, as path_pairs.
void pair_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, TreeRange trees, Rows x, double* out);

// Raw output of all 2^players hybrids of one row x with each background row, without base.
// out: background rows x 2^players x outputs, overwritten; bit j of the coalition index says that player j comes from x.
void hybrids(const Ensemble& e, Players players, const Background& b, const double* x, double* out);

}  // namespace whybox

// The kernels: arrays in, arrays out. Matrices are row-major float64; the caller has checked every extent.
#pragma once

#include <cstdint>
#include <span>

#include "ensemble.hpp"

namespace whybox {

struct Rows {  // a matrix of model columns
    const double* data;
    std::size_t rows, columns;
    const double* row(std::size_t i) const { return data + i * columns; }
};

// out: rows x outputs, overwritten with base + the sum over trees in order (bit for bit the numpy specification).
void predict(const Ensemble& e, Rows x, std::size_t from, std::size_t to, double* out);

// out: rows x trees, the leaf (relative node id) each row ends in.
void leaves(const Ensemble& e, Rows x, std::int32_t* out);

// out: outputs; the cover-weighted mean of every tree, plus base: the value of the empty coalition, path-dependent.
void expectation(const Ensemble& e, double* out);

struct Players {
    std::span<const std::int32_t> of_column;  // player of each model column
    std::int32_t count;
    // Most different players on one path of a tree.
    int on_path(const Ensemble& e, std::size_t tree) const;
};

// A player's factor in a leaf's product at quadrature node p, and K = (a - r) / factor (docs/mathematics.md).
inline double factor(double p, double a, double r) { return p * a + (1 - p) * r; }
inline double kay(double p, double a, double r) {
    const double f = factor(p, a, r);
    return f > 0 ? (a - r) / f : 0.0;
}

struct Quadrature {  // nodes in (0, 1) and weights; for each number of players on a path, the rule to use
    std::span<const double> nodes, weights;
};

// Path-dependent. rule(tree) gives the quadrature for that tree. out is added to:
//   order 1: rows x players x outputs.    order 2: rows x players x players x outputs, both triangles, diagonal untouched.
void path_walk(const Ensemble& e, Players players, std::span<const Quadrature> rule_of_tree, int order, Rows x, double* out);

// Interventional. weights: background rows, or rows x background rows when per_row. table[s * side + t] = E[p^s (1-p)^t]
// for s + t < side. out as in path_walk. Some trees only, as the rest may be asked for in a later call.
struct Background {
    Rows rows;
    const double* weights;
    bool per_row;
};
struct Span { std::size_t from, to; };  // of trees
void pair_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, Span trees, Rows x, double* out);

// Raw output of all 2^players hybrids of one row x with each background row, without base.
// out: background rows x 2^players x outputs, overwritten; bit j of the coalition index says that player j comes from x.
void hybrids(const Ensemble& e, Players players, const Background& b, const double* x, double* out);

}  // namespace whybox

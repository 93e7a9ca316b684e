// Predictions of an ensemble. As everywhere in native code: arrays in, arrays out; matrices are row-major float64, and the caller has checked every extent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ensemble.hpp"

namespace whybox {

struct Rows {  // a matrix of model columns
    const double* data;
    std::size_t rows, columns;
    const double* row(std::size_t i) const { return data + i * columns; }
};

struct TreeRange { std::size_t first, last; };  // trees first .. last - 1

// out: rows x outputs, overwritten with base + the sum over trees in order (bit for bit the numpy specification).
void predict(const Ensemble& e, Rows x, TreeRange trees, double* out);

// The same without base, added to out.
void add_trees(const Ensemble& e, Rows x, TreeRange trees, double* out);

// out: rows x trees, the leaf (relative node id) that each row reaches.
void reached_leaves(const Ensemble& e, Rows x, std::int32_t* out);

// out: outputs; the cover-weighted mean of every tree, plus base: the value of the empty coalition, path-dependent.
void expectation(const Ensemble& e, double* out);

}  // namespace whybox

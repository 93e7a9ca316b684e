// Arrays as they come from Python, and the checks of their extents that all bindings share.
//
// Only the files of this folder know Python: they check dtypes and extents, release the GIL, call a kernel, and return.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <span>
#include <stdexcept>
#include <string>

#include "core/ensemble.hpp"
#include "core/players.hpp"
#include "core/predict.hpp"

namespace whybox::bindings {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<const T> span(const Vector<T>& v) { return {v.data(), v.size()}; }
inline Rows rows(const Matrix& m) { return {m.data(), m.shape(0), m.shape(1)}; }

inline void require(bool ok, const char* what) {
    if (!ok) throw std::invalid_argument(what);
}

inline void require_columns(const Ensemble& e, const Matrix& x) {
    if (x.shape(1) != static_cast<std::size_t>(e.columns))
        throw std::invalid_argument("the matrix has " + std::to_string(x.shape(1)) + " columns, the ensemble " + std::to_string(e.columns));
}

inline Players players(const Ensemble& e, const Vector<std::int32_t>& of_column, int count) {
    require(of_column.size() == static_cast<std::size_t>(e.columns) && count > 0, "one player per model column");
    for (const auto p : span(of_column)) require(p >= 0 && p < count, "player out of range");
    return {span(of_column), count};
}

void bind_attribution(nb::module_& m, nb::class_<Ensemble>& ensemble);
void bind_effects(nb::module_& m);
void bind_product_games(nb::module_& m);
void bind_product_law(nb::module_& m);

}  // namespace whybox::bindings

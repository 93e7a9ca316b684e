// The only native file that knows Python: it checks dtypes and extents, releases the GIL, calls a kernel, returns.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using whybox::Arrays, whybox::Background, whybox::Ensemble, whybox::Players, whybox::Quadrature, whybox::Rows;

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<const T> span(const Vector<T>& v) { return {v.data(), v.size()}; }
Rows rows(const Matrix& m) { return {m.data(), m.shape(0), m.shape(1)}; }

void expect(bool ok, const char* what) {
    if (!ok) throw std::invalid_argument(what);
}

void check(const Ensemble& e, const Matrix& x) {
    if (x.shape(1) != static_cast<std::size_t>(e.columns))
        throw std::invalid_argument("the matrix has " + std::to_string(x.shape(1)) + " columns, the ensemble " + std::to_string(e.columns));
}

Players players(const Ensemble& e, const Vector<std::int32_t>& of_column, int count) {
    expect(of_column.size() == static_cast<std::size_t>(e.columns) && count > 0, "one player per model column");
    for (const auto p : span(of_column)) expect(p >= 0 && p < count, "player out of range");
    return {span(of_column), count};
}

std::size_t attributions(const Ensemble& e, int count, int order) {
    expect(order == 1 || order == 2, "order must be 1 or 2");
    return static_cast<std::size_t>(count) * (order == 2 ? count : 1) * e.outputs();
}

Background background(const Ensemble& e, const Matrix& b, const Matrix& weights, std::size_t n) {
    check(e, b);
    const bool per_row = weights.shape(0) != 1;
    expect(weights.shape(1) == b.shape(0) && (!per_row || weights.shape(0) == n), "one weight per background row, or one per row and background row");
    return {rows(b), weights.data(), per_row};
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of whybox. Not public: use whybox.kernels.";
    nb::class_<Ensemble>(m, "Ensemble")
        .def(
            "__init__",
            [](Ensemble* self, Vector<std::int64_t> tree_offsets, Vector<std::int32_t> left, Vector<std::int32_t> right, Vector<std::int32_t> feature,
               Vector<std::int32_t> leaf, Vector<double> threshold, Vector<double> cover, Vector<std::uint8_t> flags, Vector<std::int64_t> set_begin,
               Vector<std::int32_t> set_words, Vector<std::uint32_t> sets, Vector<double> leaf_values, Vector<std::int32_t> tree_output,
               Vector<double> tree_weight, Vector<double> base, Vector<std::int64_t> linear_offset, Vector<std::int32_t> linear_feature,
               Vector<double> linear_coef, Vector<double> linear_const, std::int32_t columns) {
                new (self) Ensemble(Arrays{span(tree_offsets), span(left), span(right), span(feature), span(leaf), span(threshold), span(cover),
                                           span(flags), span(set_begin), span(set_words), span(sets), span(leaf_values), span(tree_output),
                                           span(tree_weight), span(base), span(linear_offset), span(linear_feature), span(linear_coef),
                                           span(linear_const), columns});
            },
            nb::kw_only(), "tree_offsets"_a.noconvert(), "left"_a.noconvert(), "right"_a.noconvert(), "feature"_a.noconvert(), "leaf"_a.noconvert(),
            "threshold"_a.noconvert(), "cover"_a.noconvert(), "flags"_a.noconvert(), "set_begin"_a.noconvert(), "set_words"_a.noconvert(),
            "sets"_a.noconvert(), "leaf_values"_a.noconvert(), "tree_output"_a.noconvert(), "tree_weight"_a.noconvert(), "base"_a.noconvert(),
            "linear_offset"_a.noconvert(), "linear_feature"_a.noconvert(), "linear_coef"_a.noconvert(), "linear_const"_a.noconvert(), "columns"_a)
        .def_prop_ro("depth", [](const Ensemble& e) -> int { return e.depth.empty() ? 0 : *std::max_element(e.depth.begin(), e.depth.end()); })
        .def("predict",
             [](const Ensemble& e, Matrix x, Out<double> out) {
                 check(e, x);
                 expect(out.size() == x.shape(0) * e.outputs(), "out must be rows x outputs");
                 nb::gil_scoped_release free;
                 whybox::predict(e, rows(x), out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert())
        .def("leaves",
             [](const Ensemble& e, Matrix x, Out<std::int32_t> out) {
                 check(e, x);
                 expect(out.size() == x.shape(0) * e.trees(), "out must be rows x trees");
                 nb::gil_scoped_release free;
                 whybox::leaves(e, rows(x), out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert())
        .def("expectation",
             [](const Ensemble& e, Out<double> out) {
                 expect(out.size() == e.base.size(), "out must hold one value per output");
                 nb::gil_scoped_release free;
                 whybox::expectation(e, out.data());
             }, "out"_a.noconvert())
        .def("players_on_path",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Out<std::int32_t> out) {
                 const Players p = players(e, of_column, count);
                 expect(out.size() == e.trees(), "out must hold one value per tree");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); ++t) out.data()[t] = p.on_path(e, t);
             }, "of_column"_a.noconvert(), "count"_a, "out"_a.noconvert())
        // nodes and weights: all quadrature rules end to end; rule r spans rule_offsets[r] .. rule_offsets[r + 1]
        .def("path_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Vector<double> nodes, Vector<double> weights,
                Vector<std::int64_t> rule_offsets, Vector<std::int32_t> rule_of_tree, int order, Out<double> out) {
                 check(e, x);
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "path-dependent attributions of linear leaves are not defined");
                 expect(rule_of_tree.size() == e.trees() && nodes.size() == weights.size(), "one rule per tree");
                 expect(out.size() == x.shape(0) * attributions(e, count, order), "out has the wrong size");
                 std::vector<Quadrature> rules;
                 for (const auto r : span(rule_of_tree)) {
                     expect(r >= 0 && static_cast<std::size_t>(r) + 1 < rule_offsets.size(), "rule out of range");
                     const auto from = rule_offsets(r), to = rule_offsets(r + 1);
                     expect(from >= 0 && from <= to && static_cast<std::size_t>(to) <= nodes.size(), "rule out of range");
                     rules.push_back({span(nodes).subspan(from, to - from), span(weights).subspan(from, to - from)});
                 }
                 nb::gil_scoped_release free;
                 whybox::path_walk(e, p, rules, order, rows(x), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "order"_a, "out"_a.noconvert())
        // table[s, t] = E[p^s (1-p)^t]; weights: 1 x background, or rows x background
        .def("pair_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Matrix b, Matrix weights, Matrix table, int order, Out<double> out) {
                 check(e, x);
                 const Players p = players(e, of_column, count);
                 const Background back = background(e, b, weights, x.shape(0));
                 expect(table.shape(0) == table.shape(1), "the table must be square");
                 int most = e.linear() ? count : 0;
                 for (std::size_t t = 0; t < e.trees(); ++t) most = std::max(most, p.on_path(e, t));
                 expect(table.shape(0) >= static_cast<std::size_t>(most), "the table is smaller than the longest path");
                 expect(out.size() == x.shape(0) * attributions(e, count, order), "out has the wrong size");
                 nb::gil_scoped_release free;
                 whybox::pair_walk(e, p, back, {table.data(), table.size()}, static_cast<int>(table.shape(0)), order, rows(x), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "weights"_a.noconvert(), "table"_a.noconvert(),
             "order"_a, "out"_a.noconvert())
        .def("hybrids",
             [](const Ensemble& e, Vector<double> x, Vector<std::int32_t> of_column, int count, Matrix b, Out<double> out) {
                 expect(count <= 24, "at most 24 players");
                 const Players p = players(e, of_column, count);
                 check(e, b);
                 expect(x.size() == static_cast<std::size_t>(e.columns), "the row has the wrong length");
                 expect(out.size() == b.shape(0) * (std::size_t{1} << count) * e.outputs(), "out has the wrong size");
                 nb::gil_scoped_release free;
                 whybox::hybrids(e, p, Background{rows(b), nullptr, false}, x.data(), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "out"_a.noconvert());
}

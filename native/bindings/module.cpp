// The Python module: ensembles, and what the other files of this folder add.
#include <algorithm>

#include "attribution/predict_blocks.hpp"
#include "bindings/arrays.hpp"
#include "core/predict.hpp"
#include "simd/instruction_sets.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace whybox::bindings;
using whybox::EnsembleArrays, whybox::Ensemble;

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of whybox. Not public: use whybox.kernels.";
    nb::set_leak_warnings(false);  // of objects that a user still holds when Python ends
    m.def("instruction_sets", [] {
        nb::list names;
        for (const auto* s : whybox::instruction_sets()) names.append(nb::make_tuple(s->name, s->single.table_bits, s->exact.table_bits, s->single.rows, s->exact.rows));
        return names;
    });
    nb::class_<Ensemble> ensemble(m, "Ensemble");
    ensemble
        .def(
            "__init__",
            [](Ensemble* self, Vector<std::int64_t> tree_offsets, Vector<std::int32_t> left, Vector<std::int32_t> right, Vector<std::int32_t> feature,
               Vector<std::int32_t> leaf, Vector<double> threshold, Vector<double> cover, Vector<std::uint8_t> flags, Vector<std::int64_t> set_begin,
               Vector<std::int32_t> set_words, Vector<std::uint32_t> sets, Vector<double> leaf_values, Vector<std::int32_t> tree_output,
               Vector<double> tree_weight, Vector<double> base, Vector<std::int64_t> linear_offset, Vector<std::int32_t> linear_feature,
               Vector<double> linear_coef, Vector<double> linear_const, std::int32_t columns) {
                new (self) Ensemble(EnsembleArrays{span(tree_offsets), span(left), span(right), span(feature), span(leaf), span(threshold), span(cover),
                                           span(flags), span(set_begin), span(set_words), span(sets), span(leaf_values), span(tree_output),
                                           span(tree_weight), span(base), span(linear_offset), span(linear_feature), span(linear_coef),
                                           span(linear_const), columns});
            },
            nb::kw_only(), "tree_offsets"_a.noconvert(), "left"_a.noconvert(), "right"_a.noconvert(), "feature"_a.noconvert(), "leaf"_a.noconvert(),
            "threshold"_a.noconvert(), "cover"_a.noconvert(), "flags"_a.noconvert(), "set_begin"_a.noconvert(), "set_words"_a.noconvert(),
            "sets"_a.noconvert(), "leaf_values"_a.noconvert(), "tree_output"_a.noconvert(), "tree_weight"_a.noconvert(), "base"_a.noconvert(),
            "linear_offset"_a.noconvert(), "linear_feature"_a.noconvert(), "linear_coef"_a.noconvert(), "linear_const"_a.noconvert(), "columns"_a)
        .def_prop_ro("depth", [](const Ensemble& e) { return e.depth.empty() ? 0 : *std::max_element(e.depth.begin(), e.depth.end()); })
        .def("predict",
             [](const Ensemble& e, Matrix x, Out<double> out, std::size_t first, std::size_t last, const char* instructions) {
                 require_columns(e, x);
                 require(out.size() == x.shape(0) * e.outputs(), "out must be rows x outputs");
                 require(first <= last && last <= e.trees(), "there are no such trees");
                 const auto& set = whybox::instruction_set(instructions);
                 nb::gil_scoped_release release;
                 whybox::predict_blocks(e, rows(x), {first, last}, set, out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert(), "first_tree"_a, "last_tree"_a, "instructions"_a)
        .def("leaf_indices",
             [](const Ensemble& e, Matrix x, Out<std::int32_t> out) {
                 require_columns(e, x);
                 require(out.size() == x.shape(0) * e.trees(), "out must be rows x trees");
                 nb::gil_scoped_release release;
                 whybox::reached_leaves(e, rows(x), out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert())
        .def("expectation",
             [](const Ensemble& e, Out<double> out) {
                 require(out.size() == e.base.size(), "out must hold one value per output");
                 nb::gil_scoped_release release;
                 whybox::expectation(e, out.data());
             }, "out"_a.noconvert());
    bind_attribution(m, ensemble);
    bind_effects(m);
    bind_product_games(m);
    bind_product_law(m);
}

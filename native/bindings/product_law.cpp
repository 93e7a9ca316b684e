// Bindings of trees under a product law.
#include "attribution/product_law.hpp"

#include <algorithm>
#include <memory>

#include "bindings/arrays.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::bindings {
namespace {

// Tables, and the caller's laws, which rows with too many laws for a table read again.
struct LawTables {
    Vector<double> mass, derivative;
    Vector<std::int64_t> laws;
    std::unique_ptr<whybox::ProductTables> tables;
    std::size_t players, outputs;

    LawTables(const whybox::ProductPaths& paths, Vector<double> masses, Vector<double> derivatives, Vector<std::int64_t> laws_of_players, std::size_t first_tree,
            std::size_t max_bytes, int threads)
        : mass(std::move(masses)), derivative(std::move(derivatives)), laws(std::move(laws_of_players)), players(paths.grid.players()),
            outputs(static_cast<std::size_t>(paths.grid.e.outputs())) {
        require(laws.size() == players && first_tree < paths.trees() && threads > 0, "laws of each player, and a tree to begin with");
        std::size_t size = 0;
        for (std::size_t j = 0; j < players; ++j) {
            require(laws(j) > 0, "a player without a law");
            size += static_cast<std::size_t>(laws(j)) * paths.grid.points(j);
        }
        require(mass.size() == size && derivative.size() == size, "masses and derivatives must be laws x points of each player");
        nb::gil_scoped_release release;
        tables = std::make_unique<whybox::ProductTables>(paths, whybox::PlayerLaws{span(mass), span(derivative), span(laws)}, first_tree, max_bytes, threads);
    }

    // law_of: rows x players
    void run(Vector<std::int64_t> law_of, std::size_t rows, const char* instructions, int threads, Out<double> expected, Out<double> slopes) const {
        require(law_of.size() == rows * players && threads > 0, "law_of must be rows x players");
        require(expected.size() == rows * outputs && slopes.size() == rows * players * outputs, "out must be rows x outputs, and rows x players x outputs");
        for (std::size_t k = 0; k < law_of.size(); ++k) require(law_of(k) >= 0 && law_of(k) < laws(k % players), "there is no such law");
        const auto& set = whybox::instruction_set(instructions);
        nb::gil_scoped_release release;
        tables->run(law_of.data(), rows, set, threads, expected.data(), slopes.data());
    }
};

}  // namespace

void bind_product_law(nb::module_& m) {
    nb::class_<whybox::ProductPaths>(m, "ProductPaths")
        .def("tables", [](const whybox::ProductPaths& paths, Vector<double> mass, Vector<double> derivative, Vector<std::int64_t> laws, std::size_t first_tree,
            std::size_t max_bytes, int threads) {
            return new LawTables(paths, std::move(mass), std::move(derivative), std::move(laws), first_tree, max_bytes, threads);
        }, nb::keep_alive<0, 1>(), "mass"_a.noconvert(), "derivative"_a.noconvert(), "laws"_a.noconvert(), "first_tree"_a, "max_bytes"_a, "threads"_a);
    nb::class_<LawTables>(m, "LawTables")
        .def_prop_ro("last_tree", [](const LawTables& t) { return t.tables->trees().last; })
        .def_prop_ro("bytes", [](const LawTables& t) { return t.tables->bytes(); })
        .def("run", &LawTables::run, "law_of"_a.noconvert(), "rows"_a, "instructions"_a, "threads"_a, "expected"_a.noconvert(), "derivative"_a.noconvert());
}

}  // namespace whybox::bindings

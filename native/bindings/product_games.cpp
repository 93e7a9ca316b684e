// Bindings of games that are products.
#include "attribution/product_games.hpp"

#include <cstdint>

#include "bindings/arrays.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::bindings {

void bind_product_games(nb::module_& m) {
    m.attr("products_at_once") = whybox::kProductsAtOnce;
    m.def("product_games", [](Vector<double> row_factors, Vector<double> donor_factors, std::size_t n_rows, std::size_t groups, std::size_t players, Vector<double> weights,
        Vector<double> nodes, Vector<double> node_weights, const char* instructions, int threads, Out<double> out) {
        const std::size_t products = groups * players * whybox::kProductsAtOnce;
        require(players > 0 && threads > 0, "a player and a thread at least");
        require(row_factors.size() == n_rows * products && out.size() == row_factors.size(), "factors of rows and out must be rows x groups x players x products");
        require(donor_factors.size() == weights.size() * products, "factors of donors must be groups x background rows x players x products");
        require(nodes.size() % 2 == 0 && node_weights.size() == nodes.size(), "an even number of nodes, and a weight each");
        for (const void* p : {static_cast<const void*>(row_factors.data()), static_cast<const void*>(donor_factors.data()), static_cast<const void*>(out.data())})
            require(reinterpret_cast<std::uintptr_t>(p) % 64 == 0, "arrays must start on a cache line");
        const auto& set = whybox::instruction_set(instructions);
        nb::gil_scoped_release release;
        whybox::product_games({row_factors.data(), donor_factors.data(), n_rows, groups, players, weights.size()}, span(weights), span(nodes), span(node_weights), set, threads,
            out.data());
    }, "rows"_a.noconvert(), "donors"_a.noconvert(), "n_rows"_a, "groups"_a, "players"_a, "weights"_a.noconvert(), "nodes"_a.noconvert(), "node_weights"_a.noconvert(),
        "instructions"_a, "threads"_a, "out"_a.noconvert());
}

}  // namespace whybox::bindings

// Trees whose columns are independent, for rows in lanes: masses on the way down, sums over leaves on the way up, two numbers looked up at an edge.
#pragma once

#include "simd/lanes_split.hpp"

namespace whybox::WHYBOX_ISA {

// `bits`: tables have 2^bits laws. Blocks have kProductVectors vectors of rows.
template <int bits, int vectors>
class ProductWalk {
    using V = Lanes<double>;
    using F = typename V::F;
    using Laws = typename V::template Laws<bits>;
    static constexpr int kRows = vectors * V::width, kLaws = 1 << bits;

public:
    static void trees(const ProductTrees& trees, const ProductBlock& block) {
        for (int g = 0; g < vectors; ++g) V::store(block.products + g * V::width, V::broadcast(1.0));
        const std::int64_t count = trees.count;
        for (std::int64_t t = 0; t < count; ++t) {
            const ProductTree tree = trees.trees[t];
            ProductWalk walk{trees, block, tree.first_output};
            walk.visit_root(tree.root);
        }
    }

private:
    const ProductTrees& t_;
    const ProductBlock& block_;
    const int first_output_;

    ProductWalk(const ProductTrees& t, const ProductBlock& block, int first_output) : t_(t), block_(block), first_output_(first_output) {}

    double* results(int player) const { return block_.results + (static_cast<std::int64_t>(player) * t_.outputs + first_output_) * kRows; }
    double* products(int depth) const { return block_.products + static_cast<std::int64_t>(depth) * kRows; }
    double* sums(int depth) const { return block_.sums + static_cast<std::int64_t>(depth) * t_.leaf_width * kRows; }
    const double* leaf(std::int32_t child) const { return t_.leaf_values + static_cast<std::int64_t>(~child) * t_.leaf_width; }

    void visit_root(std::int32_t root) const {
        double* const expected = results(t_.players);
        const int width = t_.leaf_width;
        if (root >= 0) visit(root, 0);
        for (int o = 0; o < width; ++o)
            for (int g = 0; g < vectors; ++g) {
                double* const to = expected + o * kRows + g * V::width;
                V::store(to, V::add(V::load(to), root >= 0 ? V::load(sums(0) + o * kRows + g * V::width) : V::broadcast(leaf(root)[o])));
            }
    }

    // Leaves in sums(depth) the sum over the leaves below of value times masses.
    void visit(std::int32_t id, int depth) const {
        const ProductNode n = t_.nodes[id];
        const double* const table = t_.tables + (id - t_.first_node) * (4 * kLaws);
        side<false>(n, table, depth);
        side<true>(n, table + 2 * kLaws, depth);
    }

    template <bool right>
    void side(const ProductNode& n, const double* table, int depth) const {
        const std::int32_t child = n.child[right];
        const int width = t_.leaf_width;
        const std::int64_t* const index = block_.law_index + static_cast<std::int64_t>(n.player) * kRows;
        const double* const above = products(depth);
        const Laws ratios(table);
        F product[vectors];
        for (int g = 0; g < vectors; ++g) product[g] = V::mul(V::load(above + g * V::width), ratios.at(index + g * V::width));
        if (child >= 0) {
            double* const below = products(depth + 1);
            for (int g = 0; g < vectors; ++g) V::store(below + g * V::width, product[g]);
            visit(child, depth + 1);
        }
        const Laws changes(table + kLaws);
        F change[vectors];
        for (int g = 0; g < vectors; ++g) change[g] = changes.at(index + g * V::width);
        const double *const value = leaf(child), *const below = sums(depth + 1);
        double *const here = sums(depth), *const result = results(n.player);
        for (int o = 0; o < width; ++o) {
            F sum[vectors], slope[vectors];
            if (child >= 0) for (int g = 0; g < vectors; ++g) sum[g] = V::load(below + o * kRows + g * V::width);
            else for (int g = 0; g < vectors; ++g) sum[g] = V::mul(product[g], V::broadcast(value[o]));
            for (int g = 0; g < vectors; ++g) slope[g] = V::fma(sum[g], change[g], V::load(result + o * kRows + g * V::width));
            if constexpr (right) for (int g = 0; g < vectors; ++g) sum[g] = V::add(V::load(here + o * kRows + g * V::width), sum[g]);
            for (int g = 0; g < vectors; ++g) {
                V::store(here + o * kRows + g * V::width, sum[g]);
                V::store(result + o * kRows + g * V::width, slope[g]);
            }
        }
    }
};

constexpr ProductKernels product_kernels() {
    return {kVectors * Lanes<double>::width, &Lanes<double>::law_index,
            {&ProductWalk<2, kVectors>::trees, &ProductWalk<3, kVectors>::trees, &ProductWalk<4, kVectors>::trees},
            &ProductWalk<3, kGroupRows / Lanes<double>::width>::trees};
}

}  // namespace whybox::WHYBOX_ISA

// Games whose worth is a product of one factor a player, for several products side by side (program.hpp, ProductGames).
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

// Two quadrature nodes at a time: two chains of products that do not wait for each other.
inline void product_games(const ProductGames& q) {
    using V = Lanes<double>;
    using F = typename V::F;
    constexpr int kVectors = kProductsAtOnce / V::width;
    const std::int64_t players = q.players, size = players * kProductsAtOnce;
    double *const rises = q.scratch, *const sums = rises + size, *const factors = sums + size, *const before = factors + 2 * size;
    for (std::int64_t b = 0; b < q.background; ++b) {
        const double* const low = q.donors + b * size;
        for (std::int64_t k = 0; k < size; k += V::width) {
            V::store(rises + k, V::sub(V::load(q.row + k), V::load(low + k)));
            V::store(sums + k, V::broadcast(0.0));
        }
        for (std::int64_t p = 0; p < q.nodes; p += 2) {
            const F at[2] = {V::broadcast(q.node[p]), V::broadcast(q.node[p + 1])};
            F product[kVectors][2];
            for (auto& of_vector : product) for (auto& of_node : of_vector) of_node = V::broadcast(1.0);
            for (std::int64_t j = 0; j < players; ++j)
                for (int v = 0; v < kVectors; ++v) {
                    const std::int64_t k = j * kProductsAtOnce + v * V::width;
                    const F rise = V::load(rises + k), from = V::load(low + k);
                    for (int n = 0; n < 2; ++n) {
                        const F factor = V::fma(rise, at[n], from);
                        V::store(factors + 2 * k + n * V::width, factor);
                        V::store(before + 2 * k + n * V::width, product[v][n]);
                        product[v][n] = V::mul(product[v][n], factor);
                    }
                }
            for (auto& of_vector : product) for (int n = 0; n < 2; ++n) of_vector[n] = V::broadcast(q.node_weight[p + n]);
            for (std::int64_t j = players; j-- > 0;)
                for (int v = 0; v < kVectors; ++v) {
                    const std::int64_t k = j * kProductsAtOnce + v * V::width;
                    F sum = V::load(sums + k);
                    for (int n = 0; n < 2; ++n) {
                        sum = V::fma(V::load(before + 2 * k + n * V::width), product[v][n], sum);
                        product[v][n] = V::mul(product[v][n], V::load(factors + 2 * k + n * V::width));
                    }
                    V::store(sums + k, sum);
                }
        }
        const F weight = V::broadcast(q.weights[b]);
        for (std::int64_t k = 0; k < size; k += V::width)
            V::store(q.out + k, V::fma(V::mul(V::load(rises + k), weight), V::load(sums + k), V::load(q.out + k)));
    }
}

}  // namespace whybox::WHYBOX_ISA

// Squared distances to the nearest of some points, for many rows side by side (program.hpp, NearestRows).
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

// No fused multiply-add: every instruction set gives the same numbers.
inline void nearest_squares(const NearestRows& q) {
    using V = Lanes<double>;
    constexpr int kVectors = kNearestGroup / V::width;
    constexpr double infinity = __builtin_huge_val();
    const std::int64_t group = q.first_row / kNearestGroup;
    typename V::F nearest[kVectors];
    for (auto& n : nearest) n = V::broadcast(infinity);
    for (std::int64_t k = q.first_point; k < q.last_point; ++k) {
        const double* point = q.points + k * q.dimensions;
        typename V::F squares[kVectors];
        for (auto& s : squares) s = V::broadcast(0.0);
        for (std::int64_t d = 0; d < q.dimensions; ++d) {
            const typename V::F y = V::broadcast(point[d]);
            const double* x = q.rows + d * q.stride + q.first_row;
            for (int v = 0; v < kVectors; ++v) {
                const typename V::F difference = V::sub(V::load(x + v * V::width), y);
                squares[v] = V::add(squares[v], V::mul(difference, difference));
            }
        }
        if (q.itself[k] >= 0 && q.itself[k] / kNearestGroup == group) {
            alignas(64) double all[kNearestGroup];
            for (int v = 0; v < kVectors; ++v) V::store(all + v * V::width, squares[v]);
            all[q.itself[k] % kNearestGroup] = infinity;
            for (int v = 0; v < kVectors; ++v) squares[v] = V::load(all + v * V::width);
        }
        for (int v = 0; v < kVectors; ++v) nearest[v] = V::min(squares[v], nearest[v]);
    }
    for (int v = 0; v < kVectors; ++v) V::store(q.out + v * V::width, nearest[v]);
}

}  // namespace whybox::WHYBOX_ISA

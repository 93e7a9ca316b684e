// The table of kernels of one instruction set: the end of plain.cpp, neon.cpp, avx2.cpp, avx512.cpp, made with the operations defined above it there.
#pragma once

#include "simd/lanes_bits.hpp"
#include "simd/lanes_interactions.hpp"
#include "simd/lanes_leaves.hpp"
#include "simd/lanes_look_up.hpp"
#include "simd/lanes_losses.hpp"
#include "simd/lanes_nearest.hpp"
#include "simd/lanes_product_games.hpp"
#include "simd/lanes_product_law.hpp"
#include "simd/lanes_walk.hpp"

namespace whybox::WHYBOX_ISA {

template <int kind>
std::uint64_t left_bits(const double* x, double t) {
    using V = Lanes<double>;
    std::uint64_t bits = 0;
    for (int l = 0; l < 64; l += V::width) bits |= static_cast<std::uint64_t>(V::to_bits(V::template less<kind>(x + l, t))) << l;
    return bits;
}

inline std::uint64_t compare_left(const double* x, double t, Compare kind) {
    switch (kind) {
        case kLess: return left_bits<kLess>(x, t);
        case kLessOrNan: return left_bits<kLessOrNan>(x, t);
        case kNotAbove: return left_bits<kNotAbove>(x, t);
        default: return left_bits<kNotAboveOrNan>(x, t);
    }
}

template <class T, class C>
constexpr LaneKernels<T, C> lane_kernels() {
    using V = Lanes<T>;
    using PlayerMask = typename SplitTester<T, C>::PlayerMask;
    using Path = typename LookUp<T, C>::Path;
    return {SplitTester<T, C>::kRows, sizeof(PlayerMask), sizeof(Path), V::table_bits, V::table_bits == 2 || V::table_bits > 5 ? 5 : V::table_bits,
            [](void* masks, void* path, int players) {
                for (int p = 0; p < players; ++p)
                    for (auto& m : static_cast<PlayerMask*>(masks)[p].m) m = V::all_true();
                for (auto& i : static_cast<Path*>(path)->i) i = V::zero_index();
            },
            &Walk<T, C>::tree, &InteractionWalk<T, C>::tree, &LookUp<T, C>::tree};
}

extern const InstructionSet kSet;

constexpr InstructionSet kernels(const char* name, bool (*available)()) {
    return {name, available, &compare_left, &intervals_below, &intersect, &count_intersection, &sum_weights, &partition_rows, &add_curves, &LossCurves::values,
        &LossCurves::losses, &LossCurves::sums, &exponentials, &logarithms, &nearest_squares, &product_games, product_kernels(), lane_kernels<float, float>(), lane_kernels<float, double>(), lane_kernels<double, double>()};
}

}  // namespace whybox::WHYBOX_ISA

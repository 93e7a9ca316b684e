// exp and log in lanes, within 5e-16 of the result (tests/native/simd.cpp compares them with the C library's).
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

struct LaneMath {
    using V = Lanes<double>;
    using F = typename V::F;
    using S = typename V::S;

    // 0 below -745.2, infinite above 709.8, NaN of NaN.
    static F exp(F x) {
        x = V::min(V::broadcast(711.0), V::max(V::broadcast(-746.0), x));
        const F k = round(V::mul(x, V::broadcast(1.4426950408889634)));
        const F r = V::fma(k, V::broadcast(-kLog2Low), V::fma(k, V::broadcast(-kLog2High), x));
        // the Taylor series: |r| is at most log(2) / 2
        constexpr double kInverseFactorials[] = {1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0, 1 / 40320.0, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5};
        F series = V::fma(r, V::broadcast(1 / 6227020800.0), V::broadcast(1 / 479001600.0));
        for (const double c : kInverseFactorials) series = V::fma(r, series, V::broadcast(c));
        const F power = V::add(V::broadcast(1.0), V::fma(V::mul(r, r), series, r));
        const F half = round(V::mul(k, V::broadcast(0.5)));  // in two steps: 2^k may lie outside the range of numbers
        return V::mul(V::mul(power, power_of_two(half)), power_of_two(V::sub(k, half)));
    }

    // Of positive numbers that are neither infinite nor denormal.
    static F log(const F& x) {
        const S bits = V::bits_of(x);
        F exponent = V::sub(V::number_of(V::or_bits(V::template shift_right<52>(bits), kTwoTo52)), V::broadcast(0x1p52 + 1023));
        F m = V::number_of(V::or_bits(V::and_bits(bits, (std::uint64_t{1} << 52) - 1), kOne));
        const auto large = V::below(V::broadcast(1.4142135623730951), m);
        m = V::blend(large, V::mul(m, V::broadcast(0.5)), m);
        exponent = V::blend(large, V::add(exponent, V::broadcast(1.0)), exponent);
        // 2 artanh(z), |z| at most 0.172
        const F z = V::div(V::sub(m, V::broadcast(1.0)), V::add(m, V::broadcast(1.0))), square = V::mul(z, z), twice = V::add(z, z);
        constexpr double kInverseOddNumbers[] = {1 / 21.0, 1 / 19.0, 1 / 17.0, 1 / 15.0, 1 / 13.0, 1 / 11.0, 1 / 9.0, 1 / 7.0, 1 / 5.0, 1 / 3.0};
        F series = V::broadcast(1 / 23.0);
        for (const double c : kInverseOddNumbers) series = V::fma(square, series, V::broadcast(c));
        const F low = V::fma(V::mul(twice, square), series, V::mul(exponent, V::broadcast(kLog2Low)));
        return V::fma(exponent, V::broadcast(kLog2High), V::add(twice, low));
    }

private:
    static constexpr double kLog2High = 6.93147180369123816490e-01, kLog2Low = 1.90821492927058770002e-10;  // the first times 2^11 is exact
    static constexpr std::uint64_t kTwoTo52 = 0x4330000000000000, kOne = 0x3ff0000000000000;

    static F round(const F& x) { return V::sub(V::add(x, V::broadcast(0x1.8p52)), V::broadcast(0x1.8p52)); }
    // 2^k of a whole number between -1022 and 1023: its bits become the exponent.
    static F power_of_two(const F& k) { return V::number_of(V::template shift_left<52>(V::bits_of(V::add(k, V::broadcast(0x1.8p52 + 1023))))); }
};

inline void exponentials(double* values, std::size_t count) {
    using V = Lanes<double>;
    for (std::size_t k = 0; k < count; k += V::width) V::store(values + k, LaneMath::exp(V::load(values + k)));
}
inline void logarithms(double* values, std::size_t count) {
    using V = Lanes<double>;
    for (std::size_t k = 0; k < count; k += V::width) V::store(values + k, LaneMath::log(V::load(values + k)));
}

}  // namespace whybox::WHYBOX_ISA

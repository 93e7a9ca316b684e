// Sets of rows as bits (program.hpp, InstructionSet).
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

inline void below(const std::uint16_t* classes, std::uint16_t cut, std::uint64_t* out, std::size_t words) {
    for (std::size_t w = 0; w < words; ++w) out[w] = below64(classes + 64 * w, cut);
}

inline bool both(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::uint64_t* out, std::size_t words) {
    std::uint64_t any[8] = {};
    for (std::size_t w = 0; w < words; w += 8) {
        std::uint64_t t[8];
        for (std::size_t k = 0; k < 8; ++k) t[k] = a[w + k] & (b[w + k] ^ flip);
        for (std::size_t k = 0; k < 8; ++k) any[k] |= t[k];
        for (std::size_t k = 0; k < 8; ++k) out[w + k] = t[k];
    }
    return any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7];
}

inline std::size_t ones(std::uint64_t x) {
#if defined(__GNUC__)
    return static_cast<std::size_t>(__builtin_popcountll(x));
#else
    x -= x >> 1 & 0x5555555555555555U;
    x = (x & 0x3333333333333333U) + (x >> 2 & 0x3333333333333333U);
    return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fU) * 0x0101010101010101U >> 56;
#endif
}

inline std::size_t count(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::size_t words) {
    std::size_t n[4] = {0, 0, 0, 0};
    for (std::size_t w = 0; w < words; w += 4)
        for (std::size_t k = 0; k < 4; ++k) n[k] += ones(a[w + k] & (b[w + k] ^ flip));
    return n[0] + n[1] + n[2] + n[3];
}

inline double weigh(const std::uint64_t* a, const double* weights, std::size_t words) {
    using V = Lanes<double>;
    typename V::F sum = V::all(0.0);
    for (std::size_t w = 0; w < words; ++w) {
        if (!a[w]) continue;
        for (int l = 0; l < 64; l += V::width)
            sum = V::add(sum, V::pick(V::from_bits(static_cast<std::uint32_t>(a[w] >> l & ((1U << V::width) - 1))), V::load(weights + 64 * w + l), V::all(0.0)));
    }
    alignas(64) double parts[V::width];
    V::store(parts, sum);
    double total = 0;
    for (const double part : parts) total += part;
    return total;
}

// Without branches: what happens to each row is close to random.
inline void part(const Parting& how, const std::uint64_t* rows, std::size_t many, std::uint64_t* (&to)[2]) {
    std::size_t i = part_eights(how, rows, many, to);
    const std::uint64_t astray = as_row(0, how.place, kNobody);
    const unsigned stays_right = how.open[0], stays_left = how.open[1];
    std::uint64_t *right_to = to[0], *left_to = to[1];
    for (; i < many; ++i) {
        const std::uint64_t r = rows[i], row = r & 0xffff, p = r >> 16 & 0xffff;
        const std::uint32_t c = how.of_row[row];
        const unsigned left = (c < how.cut) | (c == how.also), mine = p == how.place, free = p == kNobody;
        const std::uint64_t other = mine ? r : row | astray;  // the row on the side that it does not take itself
        *left_to = left ? r : other;
        *right_to = left ? other : r;
        left_to += (left & ~mine & 1U) | ((mine | (free & ~left)) & stays_left);
        right_to += (~left & ~mine & 1U) | ((mine | (free & left)) & stays_right);
    }
    to[0] = right_to, to[1] = left_to;
}

}  // namespace whybox::WHYBOX_ISA

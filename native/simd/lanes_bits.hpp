// Sets of rows as bits (program.hpp, InstructionSet).
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

inline void intervals_below(const std::uint16_t* intervals, std::uint16_t cut, std::uint64_t* out, std::size_t words) {
    for (std::size_t w = 0; w < words; ++w) out[w] = below64(intervals + 64 * w, cut);
}

inline bool intersect(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::uint64_t* out, std::size_t words) {
    std::uint64_t any[8] = {};
    for (std::size_t w = 0; w < words; w += 8) {
        std::uint64_t block[8];
        for (std::size_t k = 0; k < 8; ++k) block[k] = a[w + k] & (b[w + k] ^ flip);
        for (std::size_t k = 0; k < 8; ++k) any[k] |= block[k];
        for (std::size_t k = 0; k < 8; ++k) out[w + k] = block[k];
    }
    return any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7];
}

inline std::size_t count_ones(std::uint64_t x) {
#if defined(__GNUC__)
    return static_cast<std::size_t>(__builtin_popcountll(x));
#else
    x -= x >> 1 & 0x5555555555555555U;
    x = (x & 0x3333333333333333U) + (x >> 2 & 0x3333333333333333U);
    return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fU) * 0x0101010101010101U >> 56;
#endif
}

inline std::size_t count_intersection(const std::uint64_t* a, const std::uint64_t* b, std::uint64_t flip, std::size_t words) {
    std::size_t counts[4] = {0, 0, 0, 0};
    for (std::size_t w = 0; w < words; w += 4)
        for (std::size_t k = 0; k < 4; ++k) counts[k] += count_ones(a[w + k] & (b[w + k] ^ flip));
    return counts[0] + counts[1] + counts[2] + counts[3];
}

inline double sum_weights(const std::uint64_t* a, const double* weights, std::size_t words) {
    using V = Lanes<double>;
    typename V::F sum = V::broadcast(0.0);
    for (std::size_t w = 0; w < words; ++w) {
        if (!a[w]) continue;
        for (int l = 0; l < 64; l += V::width)
            sum = V::add(sum, V::blend(V::from_bits(static_cast<std::uint32_t>(a[w] >> l & ((1U << V::width) - 1))), V::load(weights + 64 * w + l), V::broadcast(0.0)));
    }
    alignas(64) double lane_sums[V::width];
    V::store(lane_sums, sum);
    double total = 0;
    for (const double value : lane_sums) total += value;
    return total;
}

// Without branches: what happens to each row is close to random.
inline void partition_rows(const RowPartition& partition, const std::uint64_t* rows, std::size_t count, std::uint64_t* (&to)[2]) {
    std::size_t i = partition_eights(partition, rows, count, to);
    const std::uint64_t with_player = pack_row(0, partition.position, kNoPlayer);
    const unsigned keeps_right = partition.has_points[0], keeps_left = partition.has_points[1];
    std::uint64_t *right_to = to[0], *left_to = to[1];
    for (; i < count; ++i) {
        const std::uint64_t r = rows[i], row = r & 0xffff, p = r >> 16 & 0xffff;
        const std::uint32_t c = partition.of_row[row];
        const unsigned left = (c < partition.cut) | (c == partition.extra), at_player = p == partition.position, no_player = p == kNoPlayer;
        const std::uint64_t other_side = at_player ? r : row | with_player;  // the row on the side where its own value does not lead
        *left_to = left ? r : other_side;
        *right_to = left ? other_side : r;
        left_to += (left & ~at_player & 1U) | ((at_player | (no_player & ~left)) & keeps_left);
        right_to += (~left & ~at_player & 1U) | ((at_player | (no_player & left)) & keeps_right);
    }
    to[0] = right_to, to[1] = left_to;
}

}  // namespace whybox::WHYBOX_ISA

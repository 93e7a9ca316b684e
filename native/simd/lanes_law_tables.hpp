// Tables of trees whose columns are independent, laws in lanes: masses and derivatives of the points that meet a player's splits, at every edge.
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

// The position of the highest bit of a number that is not zero.
inline int highest_bit(std::uint64_t x) {
#if defined(__GNUC__)
    return 63 - __builtin_clzll(x);
#else
    int n = 0;
    while (x >>= 1) ++n;
    return n;
#endif
}

// Sums of a player's masses and derivatives over ranges of points. No sum is a difference of others, so that small ones keep all their digits. Points stand in
// blocks, with the sums from each point to both ends of its block. Pairs of blocks, fours, eights, ... hold the sums from each block to the middle of
// them: any range of several blocks lies on both sides of one such middle.
template <int laws>
class PointSums {
    using V = Lanes<double>;
    using F = typename V::F;

public:
    static constexpr int kEntry = 2 * laws, kEntryVectors = kEntry / V::width;  // masses, then derivatives

    explicit PointSums(const LawEdges& p)
        : blocks_((p.points + kPointBlock - 1) / kPointBlock), alone_(p.sums), to_end_(alone_ + p.points * kEntry), from_begin_(to_end_ + p.points * kEntry),
          of_blocks_(from_begin_ + p.points * kEntry) {
        const std::int64_t points = p.points, blocks = blocks_;
        const double *masses[laws], *derivatives[laws];
        for (int l = 0; l < laws; ++l) masses[l] = p.mass + p.law_of_lane[l] * points, derivatives[l] = p.derivative + p.law_of_lane[l] * points;
        for (std::int64_t i = 0; i < points; ++i)
            for (int l = 0; l < laws; ++l) alone_[i * kEntry + l] = masses[l][i], alone_[i * kEntry + laws + l] = derivatives[l][i];
        for (std::int64_t block = 0; block < blocks; ++block) {
            const std::int64_t first = block * kPointBlock, end = least(first + kPointBlock, points);
            accumulate(alone_, to_end_, first, end, end);
            accumulate(alone_, from_begin_, first, first, end);
            copy(to_end_ + first * kEntry, of_blocks_ + block * kEntry);
        }
        for (std::int64_t half = 2, level = 1; half < blocks; half *= 2, ++level)
            for (std::int64_t first = 0; first < blocks; first += 2 * half)
                accumulate(of_blocks_, of_blocks_ + level * blocks * kEntry, first, least(first + half, blocks), least(first + 2 * half, blocks));
    }

    void add(const Range& r, F* sum) const {
        const std::int64_t first = r.from, last = std::int64_t{r.to} - 1, first_block = first / kPointBlock, last_block = last / kPointBlock;
        if (first_block == last_block) {
            if (first % kPointBlock == 0) return add(from_begin_ + last * kEntry, sum);
            for (std::int64_t i = first; i <= last; ++i) add(alone_ + i * kEntry, sum);
            return;
        }
        add(to_end_ + first * kEntry, sum);
        if (first_block + 1 < last_block) add_blocks(first_block + 1, last_block - 1, sum);
        add(from_begin_ + last * kEntry, sum);
    }

private:
    std::int64_t blocks_;
    double *alone_, *to_end_, *from_begin_, *of_blocks_;  // of points, three times; levels x blocks, level 0: of each block alone

    static std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

    static void add(const double* entry, F* sum) {
        for (int v = 0; v < kEntryVectors; ++v) sum[v] = V::add(sum[v], V::load(entry + v * V::width));
    }

    void add_blocks(std::int64_t first, std::int64_t last, F* sum) const {
        if (first == last) return add(of_blocks_ + first * kEntry, sum);
        const double* const sums = of_blocks_ + highest_bit(static_cast<std::uint64_t>(first ^ last)) * blocks_ * kEntry;
        add(sums + first * kEntry, sum);
        add(sums + last * kEntry, sum);
    }

    static void copy(const double* from, double* to) {
        for (int v = 0; v < kEntryVectors; ++v) V::store(to + v * V::width, V::load(from + v * V::width));
    }

    // Of first .. end - 1, the sums from each entry to the middle: before it up to the middle, from it on from the middle.
    static void accumulate(const double* alone, double* to, std::int64_t first, std::int64_t middle, std::int64_t end) {
        F sum[kEntryVectors];
        for (auto& s : sum) s = V::broadcast(0.0);
        for (std::int64_t i = middle - 1; i >= first; --i) add_to(alone + i * kEntry, sum, to + i * kEntry);
        for (auto& s : sum) s = V::broadcast(0.0);
        for (std::int64_t i = middle; i < end; ++i) add_to(alone + i * kEntry, sum, to + i * kEntry);
    }

    static void add_to(const double* alone, F* sum, double* to) {
        for (int v = 0; v < kEntryVectors; ++v) {
            sum[v] = V::add(sum[v], V::load(alone + v * V::width));
            V::store(to + v * V::width, sum[v]);
        }
    }
};

// Where a mass is zero so is its derivative: its ratio is that of zero to one.
template <int laws>
void fill_law_tables(const LawEdges& p) {
    using V = Lanes<double>;
    using F = typename V::F;
    using Sums = PointSums<laws>;
    constexpr int kBoth = 2 * laws;  // of both sides
    const Sums sums(p);
    const F one = V::broadcast(1.0), zero = V::broadcast(0.0);
    alignas(64) double whole[2 * kBoth], of_sides[2][kBoth], mass[kBoth], derivative[kBoth], share[kBoth];
    for (int l = 0; l < kBoth; ++l) whole[l] = 1.0, whole[kBoth + l] = 0.0;
    for (std::int64_t k = 0; k < p.count; ++k) {
        const std::int32_t node = p.nodes[k];
        const EdgePoints& edges = p.edges[node];
        for (int side = 0; side < 2; ++side) {
            F sum[Sums::kEntryVectors];
            for (auto& s : sum) s = zero;
            const Range *range = p.ranges + edges.sides[side].begin, *const end = range + edges.sides[side].count;
            for (; range != end; ++range) sums.add(*range, sum);
            for (int v = 0; v < Sums::kEntryVectors; ++v) V::store(of_sides[side] + v * V::width, sum[v]);
            for (int l = 0; l < laws; ++l) mass[side * laws + l] = of_sides[side][l], derivative[side * laws + l] = of_sides[side][laws + l];
        }
        const double* const above = edges.previous < 0 ? whole : p.states + (edges.previous - 2 * p.first) * (2 * kBoth);
        double *const table = p.tables + (node - p.first_node) * (2 * kBoth), *const state = p.states + 2 * k * (2 * kBoth);
        for (int v = 0; v < kBoth; v += V::width) {
            const F m = V::load(mass + v), d = V::load(derivative + v), m_above = V::load(above + v), share_above = V::load(above + kBoth + v);
            const F share_here = V::div(d, V::blend(V::below(zero, m), m, one));
            V::store(table + v, V::div(m, V::blend(V::below(zero, m_above), m_above, one)));
            V::store(table + kBoth + v, V::sub(share_here, share_above));
            V::store(share + v, share_here);
        }
        for (int side = 0; side < 2; ++side)
            for (int l = 0; l < laws; ++l) {
                double* const to = state + side * (2 * kBoth) + l;
                to[0] = to[laws] = mass[side * laws + l];
                to[kBoth] = to[kBoth + laws] = share[side * laws + l];
            }
    }
}

}  // namespace whybox::WHYBOX_ISA

// Rows in lanes against tables of whole patterns: compute each subtree's bits, add one table entry per cell.
#pragma once

#include "simd/lanes_split.hpp"

namespace whybox::WHYBOX_ISA {

template <class T, class C>
class LookUp {
    using V = Lanes<T>;
    using F = typename V::F;
    using I = typename V::I;
    using M = typename V::M;
    using PlayerMask = typename SplitTester<T, C>::PlayerMask;
    static constexpr int kRows = SplitTester<T, C>::kRows;

public:
    struct Path { I i[kVectors]; };  // a bit per player of the path: the row meets its splits so far

    static void tree(const PatternView<T>& t, LaneBlock<T, C>& block) {
        LookUp look_up{t, block};
        look_up.visit(t.root, 0);
    }

private:
    const PatternView<T>& t_;
    LaneBlock<T, C>& block_;
    SplitTester<T, C> tester_;

    LookUp(const PatternView<T>& t, LaneBlock<T, C>& block) : t_(t), block_(block), tester_{block, t.first_node} {}

    void visit(std::int32_t ref, int depth) {
        if (ref < 0) return visit_subtree(t_.subtrees[~ref], depth);
        const UpperNode& n = t_.upper_nodes[ref];
        Path *here = static_cast<Path*>(block_.path) + depth, *below = here + 1;
        PlayerMask current[2], &mask = static_cast<PlayerMask*>(block_.masks)[n.player];
        const PlayerMask previous = mask;
        tester_.test(n.split, [&](int g, M left) {
            current[0].m[g] = V::mask_and(previous.m[g], left);
            current[1].m[g] = V::mask_and_not(previous.m[g], left);
        });
        for (int side = 0; side < 2; ++side) {
            mask = current[side];
            for (int g = 0; g < kVectors; ++g)  // a repeated player's bit is set already in the lanes that met it before
                below->i[g] = n.repeated ? V::clear_bit(here->i[g], V::mask_and_not(previous.m[g], current[side].m[g]), n.position) : V::set_bit(here->i[g],
                    current[side].m[g], n.position);
            visit(n.child[side], depth + 1);
        }
        mask = previous;
    }

    void visit_subtree(const PatternTables& b, int depth) {
        I index[kVectors];
        const Path& path = static_cast<const Path*>(block_.path)[depth];
        for (int g = 0; g < kVectors; ++g) index[g] = path.i[g];
        const int splits = b.splits;
        for (int s = 0; s < splits; ++s)
            tester_.test(t_.splits[b.first_split + s], [&](int g, M left) { index[g] = V::set_bit(index[g], left, b.path_players + s); });
        if constexpr (V::table_bits > 2) {
            if (b.bits <= 2) return add<2>(b, index);
            if (b.bits == 3) return add<3>(b, index);
            if constexpr (V::table_bits > 3)
                if (b.bits == 4) return add<4>(b, index);
            if constexpr (V::table_bits > 4)
                if (b.bits == 5) return add<5>(b, index);
            if constexpr (V::table_bits > 5)
                if (b.bits == 6) return add<6>(b, index);
            if constexpr (V::table_bits > 6)
                if (b.bits == 7) return add<7>(b, index);
        }
        add<0>(b, index);
    }

    template <int bits>
    void add(const PatternTables& b, const I* indices) const {
        I index[kVectors];
        for (int g = 0; g < kVectors; ++g) index[g] = indices[g];
        const std::int64_t size = std::int64_t{1} << (bits ? bits : b.bits < 2 ? 2 : b.bits);
        const T* table = t_.tables + b.table;
        const std::int32_t *cell = t_.indices + b.first_cell, *end = cell + b.cells;
        T* const cells = block_.results;
        for (; cell != end; ++cell, table += size) {
            T* to = cells + static_cast<std::int64_t>(*cell) * kRows;
            if constexpr (bits) {
                const typename V::template Table<bits> values(table);
                for (int g = 0; g < kVectors; ++g) V::store(to + g * V::width, V::add(V::load(to + g * V::width), values.at(index[g])));
            } else {
                for (int g = 0; g < kVectors; ++g) V::store(to + g * V::width, V::add(V::load(to + g * V::width), V::gather(table, index[g])));
            }
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

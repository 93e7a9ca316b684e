// Rows in lanes against tables of whole patterns: compute each bottom's bits, add one table entry per cell.
#pragma once

#include "simd/lanes_ask.hpp"

namespace whybox::WHYBOX_ISA {

template <class T, class C>
class LookUp {
    using V = Lanes<T>;
    using F = typename V::F;
    using I = typename V::I;
    using M = typename V::M;
    using Met = typename Asker<T, C>::Met;
    static constexpr int kRows = Asker<T, C>::kRows;

public:
    struct Path { I i[kGroups]; };  // bits of the players met so far

    static void tree(const PatternView<T>& t, Desk<T, C>& d) {
        LookUp look{t, d};
        look.visit(t.root, 0);
    }

private:
    const PatternView<T>& t_;
    Desk<T, C>& d_;
    Asker<T, C> asker_;

    LookUp(const PatternView<T>& t, Desk<T, C>& d) : t_(t), d_(d), asker_{d, t.first_node} {}

    void visit(std::int32_t ref, int depth) {
        if (ref < 0) return bottom(t_.bottoms[~ref], depth);
        const Top& n = t_.tops[ref];
        Path *here = static_cast<Path*>(d_.path) + depth, *below = here + 1;
        Met now[2], &mine = static_cast<Met*>(d_.met)[n.player];
        const Met old = mine;
        asker_.ask(n.split, [&](int g, M left) {
            now[0].m[g] = V::both(old.m[g], left);
            now[1].m[g] = V::first_only(old.m[g], left);
        });
        for (int side = 0; side < 2; ++side) {
            mine = now[side];
            for (int g = 0; g < kGroups; ++g)  // a repeated player's bit is set already in the lanes that met it before
                below->i[g] = n.repeat ? V::clear_bit(here->i[g], V::first_only(old.m[g], now[side].m[g]), n.place) : V::set_bit(here->i[g], now[side].m[g], n.place);
            visit(n.kid[side], depth + 1);
        }
        mine = old;
    }

    void bottom(const Leaves& b, int depth) {
        I index[kGroups];
        const Path& path = static_cast<const Path*>(d_.path)[depth];
        for (int g = 0; g < kGroups; ++g) index[g] = path.i[g];
        const int splits = b.splits;
        for (int s = 0; s < splits; ++s)
            asker_.ask(t_.splits[b.first_split + s], [&](int g, M left) { index[g] = V::set_bit(index[g], left, b.places + s); });
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
    void add(const Leaves& b, const I* indices) const {
        I index[kGroups];
        for (int g = 0; g < kGroups; ++g) index[g] = indices[g];
        const std::int64_t size = std::int64_t{1} << (bits ? bits : b.bits < 2 ? 2 : b.bits);
        const T* table = t_.tables + b.table;
        const std::int32_t *cell = t_.ints + b.first_cell, *end = cell + b.cells;
        T* const cells = d_.phi;
        for (; cell != end; ++cell, table += size) {
            T* to = cells + static_cast<std::int64_t>(*cell) * kRows;
            if constexpr (bits) {
                const typename V::template Table<bits> values(table);
                for (int g = 0; g < kGroups; ++g) V::store(to + g * V::width, V::add(V::load(to + g * V::width), values.at(index[g])));
            } else {
                for (int g = 0; g < kGroups; ++g) V::store(to + g * V::width, V::add(V::load(to + g * V::width), V::gather(table, index[g])));
            }
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

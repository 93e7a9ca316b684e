// Path-dependent attributions by quadrature (Quadrature-TreeSHAP, arXiv 2605.04497; docs/mathematics.md), rows in lanes, the bottom of every tree in tables.
//
// A leaf of value v whose path has the players F contributes, with a_j = 1 if the row meets player j's condition and r_j the share of training
// weight that does,
//     phi_j = v * E_p[ (a_j - r_j) * prod_{k in F, k != j} (p a_k + (1-p) r_k) ] = v * E_p[ P * K(a_j, r_j) ]
// with P the full product and K(a, r) = (a - r) / (p a + (1-p) r). K summed over the edges that change (a_j, r_j) telescopes, so one walk is enough.
//
// Going down, `product` holds for each quadrature node the product of p a + (1-p) r over the players met so far; each edge multiplies
// it by one of three constants per lane (met before and now; met before, lost now; lost before). Coming up, `sums` holds the subtree's
// sum H of value times product, and an edge adds H (K(new) - K(old)) to its player. A bottom with b bits has, for every pattern, what its
// leaves contribute to H and to each of its own players, relative to the product at its root: two look-ups replace its nodes.
#pragma once

#include "simd/lanes_ask.hpp"

namespace whybox::WHYBOX_ISA {

template <class T, class C>
class Walk {
    using V = Lanes<T>;
    using F = typename V::F;
    using I = typename V::I;
    using M = typename V::M;
    using Met = typename Asker<T, C>::Met;
    static constexpr int kRows = Asker<T, C>::kRows;

public:
    static void tree(const TreeView<T>& t, Desk<T, C>& d) {
        Walk walk{t, d};
        for (int i = 0; i < t.q * kRows; ++i) d.product[i] = 1;
        if (t.root >= 0) walk.top(t.root, 0);
        else walk.bottom(t.bottoms[~t.root], Edge{}, 0);
    }

private:
    const TreeView<T>& t_;
    Desk<T, C>& d_;
    Asker<T, C> asker_;

    struct Edge {  // from a top to one of its kids
        const Top* top = nullptr;
        int side = 0;
        const Met *now = nullptr, *old = nullptr;
    };

    Walk(const TreeView<T>& t, Desk<T, C>& d) : t_(t), d_(d), asker_{d, t.first_node} {}

    Met& met(int player) const { return static_cast<Met*>(d_.met)[player]; }
    T* product(int depth) const { return d_.product + static_cast<std::int64_t>(depth) * t_.q * kRows; }
    T* sums(int depth) const { return d_.sums + static_cast<std::int64_t>(depth) * t_.q * t_.width * kRows; }
    T* phi(int player) const { return d_.phi + (static_cast<std::int64_t>(player) * d_.outputs + t_.first_output) * kRows; }
    // For each quadrature node eight numbers: both and lost of the left edge, of the right; K of left, of right, of lost; then two ratios.
    const T* constants(const Edge& e) const { return t_.constants + e.top->constants; }

    // An edge with its masks in registers. `repeat`: the player has another split above, so some lanes may have failed its condition already.
    template <bool repeat>
    struct Choice {
        M now[kGroups], old[kGroups];
        explicit Choice(const Edge& e) {
            for (int g = 0; g < kGroups; ++g) {
                now[g] = e.now->m[g];
                if (repeat) old[g] = e.old->m[g];
            }
        }
        // what the product is multiplied with: one of three constants per lane
        F factor(int g, F both, F lost, F never) const { return V::pick(now[g], both, repeat ? V::pick(old[g], lost, never) : lost); }
        F collect(int g, F h, F both, F lost, F sum) const {
            const F k = V::pick(now[g], both, lost);
            return repeat ? V::fma_where(old[g], h, k, sum) : V::fma(h, k, sum);
        }
    };

    void top(int id, int depth) {
        const Top& n = t_.tops[id];
        Met now[2], &mine = met(n.player);
        const Met old = mine;
        asker_.ask(n.split, [&](int g, M left) {
            now[0].m[g] = V::both(old.m[g], left);
            now[1].m[g] = V::first_only(old.m[g], left);
        });
        for (int side = 0; side < 2; ++side) {
            const Edge e{&n, side, &now[side], &old};
            mine = now[side];
            if (n.kid[side] < 0) bottom(t_.bottoms[~n.kid[side]], e, depth);
            else {
                n.repeat ? descend<true>(e, depth) : descend<false>(e, depth);
                top(n.kid[side], depth + 1);
                if (side) n.repeat ? ascend<true, true>(e, depth) : ascend<false, true>(e, depth);
                else n.repeat ? ascend<true, false>(e, depth) : ascend<false, false>(e, depth);
            }
        }
        mine = old;
    }

    template <bool repeat>
    void descend(const Edge& e, int depth) const {
        const Choice<repeat> choice(e);
        const int q = t_.q;
        const T* c = constants(e) + 2 * e.side;
        const F never = V::all(c[8 * q - e.side]);
        const T* from = product(depth);
        T* to = product(depth + 1);
        for (int k = 0; k < q; ++k, c += 8, from += kRows, to += kRows) {
            const F both = V::all(c[0]), lost = V::all(c[1]);
            for (int g = 0; g < kGroups; ++g) V::store(to + g * V::width, V::mul(V::load(from + g * V::width), choice.factor(g, both, lost, never)));
        }
    }

    template <bool repeat, bool right>
    void ascend(const Edge& e, int depth) const {
        const Choice<repeat> choice(e);
        const int q = t_.q, width = t_.width;
        const T *c = constants(e) + 4, *below = sums(depth + 1);
        T *here = sums(depth), *mine = phi(e.top->player);
        for (int o = 0; o < width; ++o, mine += kRows) {
            F sum[kGroups];
            for (int g = 0; g < kGroups; ++g) sum[g] = V::load(mine + g * V::width);
            for (int k = 0; k < q; ++k, below += kRows, here += kRows) {
                const F both = V::all(c[8 * k + right]), lost = V::all(c[8 * k + 2]);
                for (int g = 0; g < kGroups; ++g) {
                    const F h = V::load(below + g * V::width);
                    sum[g] = choice.collect(g, h, both, lost, sum[g]);
                    V::store(here + g * V::width, right ? V::add(V::load(here + g * V::width), h) : h);
                }
            }
            for (int g = 0; g < kGroups; ++g) V::store(mine + g * V::width, sum[g]);
        }
    }

    void bottom(const Bottom& b, const Edge& e, int depth) {
        I index[kGroups];
        for (auto& i : index) i = V::none();
        const int splits = b.splits, repeats = b.repeats, q = t_.q;
        for (int s = 0; s < splits; ++s) {
            asker_.ask(t_.splits[b.first_split + s], [&](int g, M left) { index[g] = V::set_bit(index[g], left, s); });
        }
        for (int r = 0; r < repeats; ++r) {
            const Met& m = met(t_.ints[b.first_player + b.players + r]);
            for (int g = 0; g < kGroups; ++g) index[g] = V::set_bit(index[g], m.m[g], splits + r);
        }
        for (int k = 0; k < q; k += 4) {
            switch (q - k) {
                case 1: table_bits<1>(b, e, depth, k, index); break;
                case 2: table_bits<2>(b, e, depth, k, index); break;
                case 3: table_bits<3>(b, e, depth, k, index); break;
                default: table_bits<4>(b, e, depth, k, index);
            }
        }
    }

    template <int nodes>
    void table_bits(const Bottom& b, const Edge& e, int depth, int from, const I* index) const {
        if constexpr (V::table_bits > 2) {
            if (b.bits == 3) return with_edge<nodes, 3>(b, e, depth, from, index);
            if constexpr (V::table_bits > 3)
                if (b.bits == 4) return with_edge<nodes, 4>(b, e, depth, from, index);
            if constexpr (V::table_bits > 4)
                if (b.bits == 5) return with_edge<nodes, 5>(b, e, depth, from, index);
        }
        with_edge<nodes, 2>(b, e, depth, from, index);
    }

    template <int nodes, int bits>
    void with_edge(const Bottom& b, const Edge& e, int depth, int from, const I* index) const {
        if (!e.top) return look_up<nodes, bits, false, false, false>(b, e, depth, from, index);
        if (e.side) e.top->repeat ? look_up<nodes, bits, true, true, true>(b, e, depth, from, index) : look_up<nodes, bits, true, false, true>(b, e, depth, from, index);
        else e.top->repeat ? look_up<nodes, bits, true, true, false>(b, e, depth, from, index) : look_up<nodes, bits, true, false, false>(b, e, depth, from, index);
    }

    // Quadrature nodes from .. from + nodes of one bottom: its own players, its sums, and the edge that leads to it (none at the root).
    // Everything read through a pointer is read first: the compiler must assume that a vector store changes it.
    template <int nodes, int bits, bool edge, bool repeat, bool right>
    void look_up(const Bottom& b, const Edge& e, int depth, int from, const I* indices) const {
        I index[kGroups];
        for (int g = 0; g < kGroups; ++g) index[g] = indices[g];
        const int q = t_.q, width = t_.width, players = b.players;
        const std::int32_t* player = t_.ints + b.first_player;
        const std::int64_t size = std::int64_t{1} << (V::table_bits > 2 ? bits : b.bits < 2 ? 2 : b.bits), per_output = (1 + players) * q * size;
        const T* table = t_.tables + b.table + from * size;
        T* const cells = phi(0);
        const std::int64_t per_player = static_cast<std::int64_t>(d_.outputs) * kRows;
        F product_here[nodes][kGroups];
        const T* above = product(depth) + from * kRows;
        for (int k = 0; k < nodes; ++k)
            for (int g = 0; g < kGroups; ++g) product_here[k][g] = V::load(above + k * kRows + g * V::width);
        if constexpr (edge) {
            const Choice<repeat> choice(e);
            const T* c = constants(e) + 8 * from;
            const F never = V::all(constants(e)[8 * q + right]);
            for (int k = 0; k < nodes; ++k) {
                const F both = V::all(c[8 * k + 2 * right]), lost = V::all(c[8 * k + 2 * right + 1]);
                for (int g = 0; g < kGroups; ++g) product_here[k][g] = V::mul(product_here[k][g], choice.factor(g, both, lost, never));
            }
            T *here = sums(depth) + from * kRows, *mine = cells + e.top->player * per_player;
            for (int o = 0; o < width; ++o, mine += kRows, here += q * kRows) {
                F sum[kGroups];
                for (int g = 0; g < kGroups; ++g) sum[g] = V::load(mine + g * V::width);
                for (int k = 0; k < nodes; ++k) {
                    const F both = V::all(c[8 * k + 4 + right]), lost = V::all(c[8 * k + 6]);
                    const typename V::template Table<bits> values(table + o * per_output + k * size);
                    for (int g = 0; g < kGroups; ++g) {
                        const F h = V::mul(product_here[k][g], values.at(index[g]));
                        sum[g] = choice.collect(g, h, both, lost, sum[g]);
                        T* to = here + k * kRows + g * V::width;
                        V::store(to, right ? V::add(V::load(to), h) : h);
                    }
                }
                for (int g = 0; g < kGroups; ++g) V::store(mine + g * V::width, sum[g]);
            }
        }
        for (int o = 0; o < width; ++o) {
            const T* values_of = table + o * per_output;
            for (int j = 0; j < players; ++j) {
                values_of += q * size;
                T* cell = cells + player[j] * per_player + o * kRows;
                F sum[kGroups];
                for (int g = 0; g < kGroups; ++g) sum[g] = V::load(cell + g * V::width);
                for (int k = 0; k < nodes; ++k) {
                    const typename V::template Table<bits> values(values_of + k * size);
                    for (int g = 0; g < kGroups; ++g) sum[g] = V::fma(product_here[k][g], values.at(index[g]), sum[g]);
                }
                for (int g = 0; g < kGroups; ++g) V::store(cell + g * V::width, sum[g]);
            }
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

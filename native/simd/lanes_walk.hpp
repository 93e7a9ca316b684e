// Path-dependent attributions by quadrature (Quadrature-TreeSHAP, arXiv 2605.04497; docs/mathematics.md), rows in lanes, small subtrees in tables.
//
// A leaf of value v whose path has the players F contributes, with a_j = 1 if the row meets player j's condition and r_j the share of training
// weight that does,
//     phi_j = v * E_p[ (a_j - r_j) * prod_{k in F, k != j} (p a_k + (1-p) r_k) ] = v * E_p[ P * K(a_j, r_j) ]
// with P the full product and K(a, r) = (a - r) / (p a + (1-p) r). K summed over the edges that change (a_j, r_j) telescopes, so one walk is enough.
//
// Going down, `product` holds for each quadrature node the product of p a + (1-p) r over the players met so far; each edge multiplies
// it by one of three constants per lane (met before and now; met before, failed now; failed before). Coming up, `sums` holds the subtree's
// sum H of value times product, and an edge adds H (K(new) - K(old)) to its player. A subtree with b bits has, for every pattern, what its
// leaves contribute to H and to each of its own players, relative to the product at its root: two look-ups replace its nodes.
#pragma once

#include "simd/lanes_split.hpp"

namespace whybox::WHYBOX_ISA {

template <class T, class C>
class Walk {
    using V = Lanes<T>;
    using F = typename V::F;
    using I = typename V::I;
    using M = typename V::M;
    using PlayerMask = typename SplitTester<T, C>::PlayerMask;
    static constexpr int kRows = SplitTester<T, C>::kRows;

public:
    static void tree(const TreeView<T>& t, LaneBlock<T, C>& block) {
        Walk walk{t, block};
        for (int i = 0; i < t.q * kRows; ++i) block.product[i] = 1;
        if (t.root >= 0) walk.visit_upper_node(t.root, 0);
        else walk.visit_subtree(t.subtrees[~t.root], Edge{}, 0);
    }

private:
    const TreeView<T>& t_;
    LaneBlock<T, C>& block_;
    SplitTester<T, C> tester_;

    struct Edge {  // from an upper node to one of its children
        const UpperNode* upper_node = nullptr;
        int side = 0;
        const PlayerMask *current = nullptr, *previous = nullptr;
    };

    Walk(const TreeView<T>& t, LaneBlock<T, C>& block) : t_(t), block_(block), tester_{block, t.first_node} {}

    PlayerMask& mask_of(int player) const { return static_cast<PlayerMask*>(block_.masks)[player]; }
    T* product(int depth) const { return block_.product + static_cast<std::int64_t>(depth) * t_.q * kRows; }
    T* sums(int depth) const { return block_.subtree_sums + static_cast<std::int64_t>(depth) * t_.q * t_.leaf_width * kRows; }
    T* results(int player) const { return block_.results + (static_cast<std::int64_t>(player) * block_.outputs + t_.first_output) * kRows; }
    // For each quadrature node eight numbers: both and lost of the left edge, of the right; K of left, of right, of lost; then two cover shares.
    const T* constants(const Edge& e) const { return t_.constants + e.upper_node->constants; }

    // An edge with its masks in registers. `repeated`: the player has another split above, so some lanes may have failed its condition already.
    template <bool repeated>
    struct EdgeFactors {
        M current[kVectors], previous[kVectors];
        explicit EdgeFactors(const Edge& e) {
            for (int g = 0; g < kVectors; ++g) {
                current[g] = e.current->m[g];
                if (repeated) previous[g] = e.previous->m[g];
            }
        }
        // what the product is multiplied with: one of three constants per lane
        F factor(int g, F both, F lost, F failed_before) const { return V::blend(current[g], both, repeated ? V::blend(previous[g], lost, failed_before) : lost); }
        F add_difference(int g, F h, F both, F lost, F sum) const {
            const F k = V::blend(current[g], both, lost);
            return repeated ? V::fma_where(previous[g], h, k, sum) : V::fma(h, k, sum);
        }
    };

    void visit_upper_node(int id, int depth) {
        const UpperNode& n = t_.upper_nodes[id];
        PlayerMask current[2], &mask = mask_of(n.player);
        const PlayerMask previous = mask;
        tester_.test(n.split, [&](int g, M left) {
            current[0].m[g] = V::mask_and(previous.m[g], left);
            current[1].m[g] = V::mask_and_not(previous.m[g], left);
        });
        for (int side = 0; side < 2; ++side) {
            const Edge e{&n, side, &current[side], &previous};
            mask = current[side];
            if (n.child[side] < 0) visit_subtree(t_.subtrees[~n.child[side]], e, depth);
            else {
                n.repeated ? descend<true>(e, depth) : descend<false>(e, depth);
                visit_upper_node(n.child[side], depth + 1);
                if (side) n.repeated ? ascend<true, true>(e, depth) : ascend<false, true>(e, depth);
                else n.repeated ? ascend<true, false>(e, depth) : ascend<false, false>(e, depth);
            }
        }
        mask = previous;
    }

    template <bool repeated>
    void descend(const Edge& e, int depth) const {
        const EdgeFactors<repeated> factors(e);
        const int q = t_.q;
        const T* c = constants(e) + 2 * e.side;
        const F failed_before = V::broadcast(c[8 * q - e.side]);
        const T* from = product(depth);
        T* to = product(depth + 1);
        for (int k = 0; k < q; ++k, c += 8, from += kRows, to += kRows) {
            const F both = V::broadcast(c[0]), lost = V::broadcast(c[1]);
            for (int g = 0; g < kVectors; ++g) V::store(to + g * V::width, V::mul(V::load(from + g * V::width), factors.factor(g, both, lost, failed_before)));
        }
    }

    template <bool repeated, bool right>
    void ascend(const Edge& e, int depth) const {
        const EdgeFactors<repeated> factors(e);
        const int q = t_.q, width = t_.leaf_width;
        const T *c = constants(e) + 4, *below = sums(depth + 1);
        T *here = sums(depth), *result = results(e.upper_node->player);
        for (int o = 0; o < width; ++o, result += kRows) {
            F sum[kVectors];
            for (int g = 0; g < kVectors; ++g) sum[g] = V::load(result + g * V::width);
            for (int k = 0; k < q; ++k, below += kRows, here += kRows) {
                const F both = V::broadcast(c[8 * k + right]), lost = V::broadcast(c[8 * k + 2]);
                for (int g = 0; g < kVectors; ++g) {
                    const F h = V::load(below + g * V::width);
                    sum[g] = factors.add_difference(g, h, both, lost, sum[g]);
                    V::store(here + g * V::width, right ? V::add(V::load(here + g * V::width), h) : h);
                }
            }
            for (int g = 0; g < kVectors; ++g) V::store(result + g * V::width, sum[g]);
        }
    }

    void visit_subtree(const SubtreeTables& b, const Edge& e, int depth) {
        I index[kVectors];
        for (auto& i : index) i = V::zero_index();
        const int splits = b.splits, n_repeated = b.repeated, q = t_.q;
        for (int s = 0; s < splits; ++s) {
            tester_.test(t_.splits[b.first_split + s], [&](int g, M left) { index[g] = V::set_bit(index[g], left, s); });
        }
        for (int r = 0; r < n_repeated; ++r) {
            const PlayerMask& m = mask_of(t_.indices[b.first_player + b.players + r]);
            for (int g = 0; g < kVectors; ++g) index[g] = V::set_bit(index[g], m.m[g], splits + r);
        }
        for (int k = 0; k < q; k += 4) {
            switch (q - k) {
                case 1: choose_table<1>(b, e, depth, k, index); break;
                case 2: choose_table<2>(b, e, depth, k, index); break;
                case 3: choose_table<3>(b, e, depth, k, index); break;
                default: choose_table<4>(b, e, depth, k, index);
            }
        }
    }

    template <int nodes>
    void choose_table(const SubtreeTables& b, const Edge& e, int depth, int from, const I* index) const {
        if constexpr (V::table_bits > 2) {
            if (b.bits == 3) return choose_edge<nodes, 3>(b, e, depth, from, index);
            if constexpr (V::table_bits > 3)
                if (b.bits == 4) return choose_edge<nodes, 4>(b, e, depth, from, index);
            if constexpr (V::table_bits > 4)
                if (b.bits == 5) return choose_edge<nodes, 5>(b, e, depth, from, index);
        }
        choose_edge<nodes, 2>(b, e, depth, from, index);
    }

    template <int nodes, int bits>
    void choose_edge(const SubtreeTables& b, const Edge& e, int depth, int from, const I* index) const {
        if (!e.upper_node) return look_up<nodes, bits, false, false, false>(b, e, depth, from, index);
        if (e.side) e.upper_node->repeated ? look_up<nodes, bits, true, true, true>(b, e, depth, from, index) : look_up<nodes, bits, true, false,
            true>(b, e, depth, from, index);
        else e.upper_node->repeated ? look_up<nodes, bits, true, true, false>(b, e, depth, from, index) : look_up<nodes, bits, true, false,
            false>(b, e, depth, from, index);
    }

    // Quadrature nodes from .. from + nodes of one subtree: its own players, its sums, and the edge that leads to it (none at the root).
    // Everything read through a pointer is read first: the compiler must assume that a vector store changes it.
    template <int nodes, int bits, bool edge, bool repeated, bool right>
    void look_up(const SubtreeTables& b, const Edge& e, int depth, int from, const I* indices) const {
        I index[kVectors];
        for (int g = 0; g < kVectors; ++g) index[g] = indices[g];
        const int q = t_.q, width = t_.leaf_width, players = b.players;
        const std::int32_t* player = t_.indices + b.first_player;
        const std::int64_t size = std::int64_t{1} << (V::table_bits > 2 ? bits : b.bits < 2 ? 2 : b.bits), per_output = (1 + players) * q * size;
        const T* table = t_.tables + b.table + from * size;
        T* const cells = results(0);
        const std::int64_t per_player = static_cast<std::int64_t>(block_.outputs) * kRows;
        F product_here[nodes][kVectors];
        const T* above = product(depth) + from * kRows;
        for (int k = 0; k < nodes; ++k)
            for (int g = 0; g < kVectors; ++g) product_here[k][g] = V::load(above + k * kRows + g * V::width);
        if constexpr (edge) {
            const EdgeFactors<repeated> factors(e);
            const T* c = constants(e) + 8 * from;
            const F failed_before = V::broadcast(constants(e)[8 * q + right]);
            for (int k = 0; k < nodes; ++k) {
                const F both = V::broadcast(c[8 * k + 2 * right]), lost = V::broadcast(c[8 * k + 2 * right + 1]);
                for (int g = 0; g < kVectors; ++g) product_here[k][g] = V::mul(product_here[k][g], factors.factor(g, both, lost, failed_before));
            }
            T *here = sums(depth) + from * kRows, *result = cells + e.upper_node->player * per_player;
            for (int o = 0; o < width; ++o, result += kRows, here += q * kRows) {
                F sum[kVectors];
                for (int g = 0; g < kVectors; ++g) sum[g] = V::load(result + g * V::width);
                for (int k = 0; k < nodes; ++k) {
                    const F both = V::broadcast(c[8 * k + 4 + right]), lost = V::broadcast(c[8 * k + 6]);
                    const typename V::template Table<bits> values(table + o * per_output + k * size);
                    for (int g = 0; g < kVectors; ++g) {
                        const F h = V::mul(product_here[k][g], values.at(index[g]));
                        sum[g] = factors.add_difference(g, h, both, lost, sum[g]);
                        T* to = here + k * kRows + g * V::width;
                        V::store(to, right ? V::add(V::load(to), h) : h);
                    }
                }
                for (int g = 0; g < kVectors; ++g) V::store(result + g * V::width, sum[g]);
            }
        }
        for (int o = 0; o < width; ++o) {
            const T* values_of = table + o * per_output;
            for (int j = 0; j < players; ++j) {
                values_of += q * size;
                T* cell = cells + player[j] * per_player + o * kRows;
                F sum[kVectors];
                for (int g = 0; g < kVectors; ++g) sum[g] = V::load(cell + g * V::width);
                for (int k = 0; k < nodes; ++k) {
                    const typename V::template Table<bits> values(values_of + k * size);
                    for (int g = 0; g < kVectors; ++g) sum[g] = V::fma(product_here[k][g], values.at(index[g]), sum[g]);
                }
                for (int g = 0; g < kVectors; ++g) V::store(cell + g * V::width, sum[g]);
            }
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

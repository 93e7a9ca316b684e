// Path-dependent interactions by quadrature, rows in lanes: the walk of lanes_walk.hpp, which also carries what each player below has added.
//
// A leaf of value v contributes to players i and j of its path v * E_p[P * K(a_i, r_i) * K(a_j, r_j)]; P and K are those of lanes_walk.hpp. Either K is the
// sum of its changes over the player's edges, so a pair of edges, one above the other, contributes the product of their changes, times the value of the
// leaves below the lower one. Coming up, a subtree therefore has, for each quadrature node, its sum H of value times product, and for each player j that
// splits below it G_j, the sum of H (K(new) - K(old)) over j's edges there. An edge of player i adds (K(new) - K(old)) G_j to the pair of i and j, and
// (K(new) - K(old)) H to G_i. Work grows with the players below an edge, not with the pairs on each path.
//
// The weights of the quadrature are in the leaves' values. A subtree of a few splits has tables of H, of each G, and of its own pairs.
#pragma once

#include "simd/lanes_split.hpp"

namespace whybox::WHYBOX_ISA {

template <class T, class C>
class InteractionWalk {
    using V = Lanes<T>;
    using F = typename V::F;
    using I = typename V::I;
    using M = typename V::M;
    using PlayerMask = typename SplitTester<T, C>::PlayerMask;
    static constexpr int kRows = SplitTester<T, C>::kRows;

public:
    static void tree(const TreeView<T>& t, LaneBlock<T, C>& block) {
        InteractionWalk walk{t, block};
        for (int i = 0; i < t.q * kRows; ++i) block.product[i] = 1;
        walk.visit(t.root, 0);
    }

private:
    const TreeView<T>& t_;
    LaneBlock<T, C>& block_;
    SplitTester<T, C> tester_;

    InteractionWalk(const TreeView<T>& t, LaneBlock<T, C>& block) : t_(t), block_(block), tester_{block, t.first_node} {}

    PlayerMask& mask_of(int player) const { return static_cast<PlayerMask*>(block_.masks)[player]; }
    T* product(int depth) const { return block_.product + static_cast<std::int64_t>(depth) * t_.q * kRows; }
    // Of a subtree at this depth, for each output: H, then G of each of its players; quadrature nodes x rows each.
    T* sums(int depth, int output) const {
        const std::int64_t first = t_.first_sum[depth], per_output = (t_.first_sum[depth + 1] - first) / t_.leaf_width;
        return block_.subtree_sums + (first + output * per_output) * t_.q * kRows;
    }
    T* results(int cell, int output) const {
        return block_.results + (static_cast<std::int64_t>(cell) * block_.outputs + t_.first_output + output) * kRows;
    }

    void visit(int id, int depth) { id < 0 ? visit_subtree(t_.subtrees[~id], depth) : visit_upper_node(t_.upper_nodes[id], depth); }

    void visit_upper_node(const UpperNode& n, int depth) {
        PlayerMask current[2], &mask = mask_of(n.player);
        const PlayerMask previous = mask;
        tester_.test(n.split, [&](int g, M left) {
            current[0].m[g] = V::mask_and(previous.m[g], left);
            current[1].m[g] = V::mask_and_not(previous.m[g], left);
        });
        for (int side = 0; side < 2; ++side) {
            mask = current[side];
            descend(n, side, current[side], previous, depth);
            visit(n.child[side], depth + 1);
            side ? ascend<true>(n, current[side], previous, depth) : ascend<false>(n, current[side], previous, depth);
        }
        mask = previous;
    }

    void descend(const UpperNode& n, int side, const PlayerMask& current, const PlayerMask& previous, int depth) const {
        const int q = t_.q;
        const T *c = t_.constants + n.constants + 2 * side, *from = product(depth);
        T* to = product(depth + 1);
        const F failed_before = V::broadcast(c[8 * q - side]);
        for (int k = 0; k < q; ++k, c += 8, from += kRows, to += kRows) {
            const F both = V::broadcast(c[0]), lost = V::broadcast(c[1]);
            for (int g = 0; g < kVectors; ++g) {
                const F failed = n.repeated ? V::blend(previous.m[g], lost, failed_before) : lost;
                V::store(to + g * V::width, V::mul(V::load(from + g * V::width), V::blend(current.m[g], both, failed)));
            }
        }
    }

    // What an edge does with the sums below it.
    template <bool right>
    void ascend(const UpperNode& n, const PlayerMask& current, const PlayerMask& previous, int depth) const {
        const int q = t_.q, block = q * kRows;
        T* const change = product(depth + 1);  // of K; the product there is no longer needed
        changes_of_k(t_.constants + n.constants + 4, right, n.repeated, current, previous, change);
        const std::int32_t* below = t_.indices + n.position;
        if (right) below += 1 + 2 * *below;
        const int players = *below++;
        for (int o = 0; o < t_.leaf_width; ++o) {
            const T *h = sums(depth + 1, o), *from = h;
            T *to = sums(depth, o), *own = to + block;
            bool own_first = !right;
            accumulate(to, h, block, !right);
            for (int j = 0; j < players; ++j) {
                const int position = below[2 * j] >> 1, cell = below[2 * j + 1];
                const bool first = below[2 * j] & 1;
                from += block;
                if (cell < 0) {  // the node's own player
                    accumulate(own, from, block, own_first);
                    own_first = false;
                } else {
                    first ? add_pair<true>(from, change, own + position * block, results(cell, o)) : add_pair<false>(from, change, own + position * block,
                        results(cell, o));
                }
            }
            for (int i = 0; i < block; i += V::width) {
                const F added = V::mul(V::load(h + i), V::load(change + i));
                V::store(own + i, own_first ? added : V::add(V::load(own + i), added));
            }
        }
    }

    // K(new) - K(old) of an edge, zero where the player's condition was not met before.
    void changes_of_k(const T* c, int side, bool repeated, const PlayerMask& current, const PlayerMask& previous, T* to) const {
        const F zero = V::broadcast(0);
        for (int k = 0; k < t_.q; ++k, c += 8, to += kRows) {
            const F both = V::broadcast(c[side]), lost = V::broadcast(c[2]);
            for (int g = 0; g < kVectors; ++g) {
                const F change = V::blend(current.m[g], both, lost);
                V::store(to + g * V::width, repeated ? V::blend(previous.m[g], change, zero) : change);
            }
        }
    }

    // Player j below an edge of player i: adds to their pair, and hands j's sums on.
    template <bool first>
    void add_pair(const T* from, const T* change, T* to, T* result) const {
        F sum[kVectors];
        for (int g = 0; g < kVectors; ++g) sum[g] = V::load(result + g * V::width);
        for (int k = 0; k < t_.q; ++k, from += kRows, change += kRows, to += kRows)
            for (int g = 0; g < kVectors; ++g) {
                const F below = V::load(from + g * V::width);
                sum[g] = V::fma(below, V::load(change + g * V::width), sum[g]);
                V::store(to + g * V::width, first ? below : V::add(V::load(to + g * V::width), below));
            }
        for (int g = 0; g < kVectors; ++g) V::store(result + g * V::width, sum[g]);
    }

    static constexpr int at(int node, int vector) { return node * kRows + vector * V::width; }
    static void accumulate(T* to, const T* from, int count, bool first) {
        for (int i = 0; i < count; i += V::width) V::store(to + i, first ? V::load(from + i) : V::add(V::load(to + i), V::load(from + i)));
    }

    void visit_subtree(const SubtreeTables& b, int depth) const {
        I index[kVectors];
        for (auto& i : index) i = V::zero_index();
        for (int s = 0; s < b.splits; ++s) {
            tester_.test(t_.splits[b.first_split + s], [&](int g, M left) { index[g] = V::set_bit(index[g], left, s); });
        }
        for (int r = 0; r < b.repeated; ++r) {
            const PlayerMask& m = mask_of(t_.indices[b.first_player + b.players + r]);
            for (int g = 0; g < kVectors; ++g) index[g] = V::set_bit(index[g], m.m[g], b.splits + r);
        }
        if constexpr (V::table_bits > 2) {
            if (b.bits == 3) return look_up<3>(b, index, depth);
            if constexpr (V::table_bits > 3)
                if (b.bits == 4) return look_up<4>(b, index, depth);
            if constexpr (V::table_bits > 4)
                if (b.bits == 5) return look_up<5>(b, index, depth);
        }
        look_up<2>(b, index, depth);
    }

    template <int bits>
    void look_up(const SubtreeTables& b, const I* index, int depth) const {
        const int q = t_.q, kept = 1 + b.players;
        const std::int64_t size = std::int64_t{1} << (V::table_bits > 2 ? bits : b.bits < 2 ? 2 : b.bits);
        const T *table = t_.tables + b.table, *above = product(depth);
        const std::int32_t* cells = t_.indices + b.first_player + b.players + b.repeated;
        for (int o = 0; o < t_.leaf_width; ++o) {
            T* to = sums(depth, o);
            for (int i = 0; i < kept; ++i)
                for (int k = 0; k < q; ++k, table += size, to += kRows) {
                    const typename V::template Table<bits> values(table);
                    for (int g = 0; g < kVectors; ++g)
                        V::store(to + g * V::width, V::mul(V::load(above + at(k, g)), values.at(index[g])));
                }
            for (int i = 0; i < b.pairs; ++i) {
                T* result = results(cells[i], o);
                F sum[kVectors];
                for (int g = 0; g < kVectors; ++g) sum[g] = V::load(result + g * V::width);
                for (int k = 0; k < q; ++k, table += size) {
                    const typename V::template Table<bits> values(table);
                    for (int g = 0; g < kVectors; ++g) sum[g] = V::fma(V::load(above + at(k, g)), values.at(index[g]), sum[g]);
                }
                for (int g = 0; g < kVectors; ++g) V::store(result + g * V::width, sum[g]);
            }
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

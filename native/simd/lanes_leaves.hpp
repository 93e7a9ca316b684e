// The leaves that eight rows reach with one player set to each of its points, in a tree of few leaves (program.hpp, LeafBits).
//
// A player's splits exclude some leaves. With the player set to some points, the row reaches the first leaf that neither these points nor the row's other
// players exclude.
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

class LeafCurves {
    using V = Lanes<double>;
    using F = typename V::F;
    using S = typename V::S;
    static constexpr int kGroupVectors = kGroupRows / V::width;
    static constexpr int kMaxPlayers = 64;  // of 63 splits; the last: splits of no player

public:
    template <int bits>
    static void tree(const LeafBits& t, const std::int32_t* intervals, double* predictions, double* differences) {
        LeafCurves curves(t, intervals);
        for (int c = 0; c < t.leaf_width; ++c) {
            const typename V::template Table<bits> values(t.values + (static_cast<std::int64_t>(c) << (V::table_bits > 2 ? bits : t.bits)));
            double* const sums = predictions + (t.first_output + c) * kGroupRows;
            curves.add(values, sums, differences + c * kGroupRows);
        }
    }

private:
    const LeafBits& t_;
    S left_by_player_[kMaxPlayers][kGroupVectors], left_by_following_[kMaxPlayers][kGroupVectors], left_by_all_[kGroupVectors];

    LeafCurves(const LeafBits& t, const std::int32_t* intervals) : t_(t) {
        const SplitMask* split = t.splits;
        for (int k = 0; k < t.players; ++k) {
            S remaining[kGroupVectors];
            for (auto& s : remaining) s = V::all_bits();
            for (const SplitMask* end = split + t.player_splits[k].splits; split != end; ++split)
                for (int vector = 0; vector < kGroupVectors; ++vector)
                    remaining[vector] = V::and_unless_below(remaining[vector], intervals + split->column * kGroupRows + vector * V::width, split->cut, split->leaves);
            for (int vector = 0; vector < kGroupVectors; ++vector) left_by_player_[k][vector] = remaining[vector];
        }
        for (auto& s : left_by_all_) s = V::all_bits();
        for (int k = t.players; k-- > 0;)
            for (int vector = 0; vector < kGroupVectors; ++vector) {
                left_by_following_[k][vector] = left_by_all_[vector];
                left_by_all_[vector] = V::and_bits(left_by_all_[vector], left_by_player_[k][vector]);
            }
    }

    template <class Table>
    void add(const Table& values, double* predictions, double* differences) const {
        F reached[kGroupVectors];
        S before[kGroupVectors];
        for (int v = 0; v < kGroupVectors; ++v) {
            reached[v] = values.at(V::leading_zeros(left_by_all_[v]));
            V::store(predictions + v * V::width, V::add(V::load(predictions + v * V::width), reached[v]));
            before[v] = V::all_bits();
        }
        const PointRange* s = t_.ranges;
        for (int k = 0; k < t_.players; ++k) {
            S others[kGroupVectors];
            F previous[kGroupVectors];
            for (int v = 0; v < kGroupVectors; ++v) {
                others[v] = V::and_bits(before[v], left_by_following_[k][v]);
                before[v] = V::and_bits(before[v], left_by_player_[k][v]);
                previous[v] = reached[v];
            }
            for (const PointRange* end = s + t_.player_splits[k].ranges; s != end; ++s) {
                double* const to = differences + s->cell;
                const std::uint64_t leaves = s->leaves;
                for (int v = 0; v < kGroupVectors; ++v) {
                    const F value = values.at(V::leading_zeros(V::and_bits(others[v], leaves)));
                    V::store(to + v * V::width, V::add(V::load(to + v * V::width), V::sub(value, previous[v])));
                    previous[v] = value;
                }
            }
        }
    }
};

inline void add_curves(const LeafBits& t, const std::int32_t* intervals, double* predictions, double* differences) {
    if constexpr (Lanes<double>::table_bits > 2) {
        if (t.bits == 3) return LeafCurves::tree<3>(t, intervals, predictions, differences);
        if (t.bits == 4) return LeafCurves::tree<4>(t, intervals, predictions, differences);
        if (t.bits == 5) return LeafCurves::tree<5>(t, intervals, predictions, differences);
        return LeafCurves::tree<6>(t, intervals, predictions, differences);
    }
    LeafCurves::tree<2>(t, intervals, predictions, differences);
}

}  // namespace whybox::WHYBOX_ISA

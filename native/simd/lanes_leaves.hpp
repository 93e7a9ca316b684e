// The leaves that eight rows reach with one player set to each of its points, in a tree of few leaves (program.hpp, LeafBits).
//
// A player leaves a row those leaves that its questions do not take. With the player set to some points, the row ends in the first leaf that those points
// leave, and the row's other players.
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

class Turns {
    using V = Lanes<double>;
    using F = typename V::F;
    using S = typename V::S;
    static constexpr int kParts = kBeside / V::width;
    static constexpr int kMost = 64;  // players of 63 questions, and nobody

public:
    template <int bits>
    static void tree(const LeafBits& t, const std::int32_t* classes, double* own, double* steps) {
        Turns turns(t, classes);
        for (int c = 0; c < t.width; ++c) {
            double* const mine = own + (t.first_output + c) * kBeside;
            for (int part = 0; part < kParts; ++part) turns.add<bits>(c, part, mine + part * V::width, steps + c * kBeside + part * V::width);
        }
    }

private:
    const LeafBits& t_;
    S left_by_[kMost][kParts], left_by_later_[kMost][kParts], left_[kParts];

    Turns(const LeafBits& t, const std::int32_t* classes) : t_(t) {
        const Question* q = t.questions;
        for (int k = 0; k < t.many; ++k) {
            S mine[kParts];
            for (auto& s : mine) s = V::all_bits();
            for (const Question* end = q + t.parties[k].questions; q != end; ++q)
                for (int part = 0; part < kParts; ++part)
                    mine[part] = V::and_unless_below(mine[part], classes + q->column * kBeside + part * V::width, q->cut, q->keeps);
            for (int part = 0; part < kParts; ++part) left_by_[k][part] = mine[part];
        }
        for (auto& s : left_) s = V::all_bits();
        for (int k = t.many; k-- > 0;)
            for (int part = 0; part < kParts; ++part) {
                left_by_later_[k][part] = left_[part];
                left_[part] = V::and_bits(left_[part], left_by_[k][part]);
            }
    }

    template <int bits>
    void add(int output, int part, double* own, double* steps) const {
        const typename V::template Table<bits> values(t_.values + (static_cast<std::int64_t>(output) << (V::table_bits > 2 ? bits : t_.bits)));
        const F here = values.at(V::zeros_before(left_[part]));
        V::store(own, V::add(V::load(own), here));
        S before = V::all_bits();
        const Stretch* s = t_.stretches;
        for (int k = 0; k < t_.many; ++k) {
            const S others = V::and_bits(before, left_by_later_[k][part]);
            before = V::and_bits(before, left_by_[k][part]);
            F last = here;
            for (const Stretch* end = s + t_.parties[k].stretches; s != end; ++s) {
                const F now = values.at(V::zeros_before(V::and_bits(others, s->keeps)));
                double* to = steps + s->cell;
                V::store(to, V::add(V::load(to), V::sub(now, last)));
                last = now;
            }
        }
    }
};

inline void turn(const LeafBits& t, const std::int32_t* classes, double* own, double* steps) {
    if constexpr (Lanes<double>::table_bits > 2) {
        if (t.bits == 3) return Turns::tree<3>(t, classes, own, steps);
        if (t.bits == 4) return Turns::tree<4>(t, classes, own, steps);
        if (t.bits == 5) return Turns::tree<5>(t, classes, own, steps);
        return Turns::tree<6>(t, classes, own, steps);
    }
    Turns::tree<2>(t, classes, own, steps);
}

}  // namespace whybox::WHYBOX_ISA

// What every lane kernel begins with: comparing a block of rows at a tree's splits.
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

constexpr int kGroups = 4;  // vectors side by side: enough independent work to hide the latency of one

template <class T, class C>
struct Asker {
    using V = Lanes<T>;
    using M = typename V::M;
    static constexpr int kRows = kGroups * V::width;
    struct Met { M m[kGroups]; };

    Desk<T, C>& d;
    std::int64_t first_node;

    template <int kind, class Use>
    void compare(const Split& s, const Use& use) const {
        const C* x = d.columns + static_cast<std::int64_t>(s.feature) * kRows;
        const C t = static_cast<C>(s.threshold);
        for (int g = 0; g < kGroups; ++g) use(g, V::template less<kind>(x + g * V::width, t));
    }

    // Calls use(group, lanes that go left).
    template <class Use>
    void ask(const Split& s, const Use& use) const {
        switch (s.kind) {
            case kLess: return compare<kLess>(s, use);
            case kLessOrNan: return compare<kLessOrNan>(s, use);
            case kNotAbove: return compare<kNotAbove>(s, use);
            case kNotAboveOrNan: return compare<kNotAboveOrNan>(s, use);
            default: break;
        }
        for (int g = 0; g < kGroups; ++g) {
            std::uint32_t bits = 0;
            for (int l = 0; l < V::width; ++l) {
                const int row = g * V::width + l;
                const double x = d.rows[(row < d.last ? row : d.last) * d.stride + s.feature];
                bits |= static_cast<std::uint32_t>(d.goes_left(d.ensemble, first_node + s.node, x)) << l;
            }
            use(g, V::from_bits(bits));
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

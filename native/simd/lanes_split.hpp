// Comparing a block of rows at a tree's splits: the first step of every lane kernel.
#pragma once

#include "simd/operations.hpp"

namespace whybox::WHYBOX_ISA {

// Vectors side by side: enough independent work to hide the latency of one, and enough rows to share what is done once for all of them.
constexpr int kVectors = Lanes<float>::width > 4 ? 4 : 8;

template <class T, class C>
struct SplitTester {
    using V = Lanes<T>;
    using M = typename V::M;
    static constexpr int kRows = kVectors * V::width;
    struct PlayerMask { M m[kVectors]; };

    LaneBlock<T, C>& block;
    std::int64_t first_node;

    template <int kind, class Visit>
    void compare(const Split& s, const Visit& visit) const {
        const C* x = block.columns + static_cast<std::int64_t>(s.feature) * kRows;
        const C t = static_cast<C>(s.threshold);
        for (int g = 0; g < kVectors; ++g) visit(g, V::template less<kind>(x + g * V::width, t));
    }

    // Calls visit(vector, lanes that go left).
    template <class Visit>
    void test(const Split& s, const Visit& visit) const {
        switch (s.kind) {
            case kLess: return compare<kLess>(s, visit);
            case kLessOrNan: return compare<kLessOrNan>(s, visit);
            case kNotAbove: return compare<kNotAbove>(s, visit);
            case kNotAboveOrNan: return compare<kNotAboveOrNan>(s, visit);
            default: break;
        }
        for (int g = 0; g < kVectors; ++g) {
            std::uint32_t bits = 0;
            for (int l = 0; l < V::width; ++l) {
                const int row = g * V::width + l;
                const double x = block.rows[(row < block.last ? row : block.last) * block.stride + s.feature];
                bits |= static_cast<std::uint32_t>(block.goes_left(block.ensemble, first_node + s.node, x)) << l;
            }
            visit(g, V::from_bits(bits));
        }
    }
};

}  // namespace whybox::WHYBOX_ISA

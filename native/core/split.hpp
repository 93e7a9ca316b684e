// The only place in native code that decides where a value goes. The numpy twin is kernels/reference.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/ensemble.hpp"

namespace whybox {

inline constexpr double kZeroThreshold = static_cast<double>(1e-35F);  // LightGBM's own

inline bool in_category_set(const Ensemble& e, const Node& n, double x) {
    if (n.flags & kTinyAsZero) x = std::trunc(x);  // LightGBM makes a whole number of it first: -0.5 is category 0
    if (!(x >= 0.0) || x >= 4294967296.0) return false;
    if (n.set_words < 0) {
        const auto first = e.sets.begin() + n.set_begin;
        return std::binary_search(first, first - n.set_words, static_cast<std::uint32_t>(x));
    }
    if (x >= 32.0 * n.set_words) return false;
    const auto category = static_cast<std::uint32_t>(x);
    return (e.sets[n.set_begin + (category >> 5)] >> (category & 31U)) & 1U;
}

inline bool goes_left(const Ensemble& e, const Node& n, double x) {
    if (n.flags & kSingle) x = static_cast<double>(static_cast<float>(x));
    if (std::isnan(x)) {
        if (!(n.flags & kNanAsZero)) return n.flags & kMissingLeft;
        x = 0.0;
    }
    if ((n.flags & kTinyAsZero) && std::fabs(x) <= kZeroThreshold) x = 0.0;
    if ((n.flags & kZeroMissing) && std::fabs(x) <= kZeroThreshold) return n.flags & kMissingLeft;
    if (n.flags & kCategorical) return in_category_set(e, n, x) != static_cast<bool>(n.flags & kSetRight);
    return n.flags & kLessEqual ? x <= n.threshold : x < n.threshold;
}

}  // namespace whybox

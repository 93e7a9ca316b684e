#include "attribution/questions.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <tuple>

#include "core/split.hpp"

namespace whybox {

bool reads_single(const Ensemble& e) {
    return std::all_of(e.nodes.begin(), e.nodes.end(), [](const Node& n) { return n.left < 0 || (n.flags & (kSingle | kCategorical)); });
}

Split split_of(const Ensemble& e, std::size_t tree, std::int32_t id, bool single, bool as_float) {
    const Node& n = e.root(tree)[id];
    Split s{n.threshold, n.feature, id, kScalar};
    if (n.flags & (kCategorical | kZeroMissing) || single != static_cast<bool>(n.flags & kSingle)) return s;
    bool at_or_below = n.flags & kLessEqual;
    if ((n.flags & kTinyAsZero) && std::fabs(s.threshold) <= kZeroThreshold) {
        // all of [-tiny, tiny] goes where zero goes
        const bool zero_left = at_or_below ? 0 <= s.threshold : 0 < s.threshold;
        s.threshold = zero_left ? kZeroThreshold : -kZeroThreshold;
        at_or_below = zero_left;
    }
    const bool nan_left = n.flags & kNanAsZero ? goes_left(e, n, std::numeric_limits<double>::quiet_NaN()) : n.flags & kMissingLeft;
    if (as_float) {  // the same comparison between floats: the largest float at or below t, the smallest at or above it
        const float t = static_cast<float>(s.threshold), up = std::numeric_limits<float>::infinity();
        const double back = t;
        s.threshold = at_or_below ? (back > s.threshold ? std::nextafter(t, -up) : t) : (back < s.threshold ? std::nextafter(t, up) : t);
    }
    s.kind = at_or_below ? (nan_left ? kNotAboveOrNan : kNotAbove) : nan_left ? kLessOrNan : kLess;
    return s;
}

Questions::Questions(const Ensemble& e, std::size_t tree) {
    constexpr int kMany = 1 << 20, kFew = 16;
    const Node* root = e.root(tree);
    const auto nodes = static_cast<std::size_t>(e.tree_offsets[tree + 1] - e.tree_offsets[tree]);
    number_.resize(nodes);
    different_.assign(nodes, 0);
    using Asked = std::tuple<std::int32_t, double, std::uint8_t, std::vector<std::uint32_t>>;
    auto asked_by = [&](const Node& n) {
        const auto* set = e.sets.data() + n.set_begin;
        if (n.flags & kCategorical) return Asked{n.feature, n.set_words < 0 ? 1.0 : 0.0, n.flags, {set, set + std::abs(n.set_words)}};
        return Asked{n.feature, n.threshold, n.flags, {}};
    };
    std::map<Asked, int> seen;
    int inner = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        number_[i] = inner++;
        if (static_cast<int>(seen.size()) > 2 * kFew) continue;  // not such a tree
        seen.try_emplace(asked_by(n), static_cast<int>(seen.size()));
    }
    count_ = inner;
    if (static_cast<int>(seen.size()) > kFew || 2 * static_cast<int>(seen.size()) > inner) {
        for (std::size_t i = nodes; i-- > 0;)  // children come after their parents
            if (root[i].left >= 0) different_[i] = std::min(1 + different_[root[i].left] + different_[root[i].right], kMany);
        return;
    }
    count_ = static_cast<int>(seen.size());
    std::vector<std::uint32_t> asked(nodes);  // a bit for each question of the subtree
    for (std::size_t i = nodes; i-- > 0;) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        number_[i] = seen.at(asked_by(n));
        asked[i] = asked[n.left] | asked[n.right] | 1U << number_[i];
        different_[i] = std::popcount(asked[i]);
    }
}

}  // namespace whybox

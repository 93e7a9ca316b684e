#include "attribution/distinct_splits.hpp"

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

Split compile_split(const Ensemble& e, std::size_t tree, std::int32_t id, bool single, bool as_float) {
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
        const float t = static_cast<float>(s.threshold), infinity = std::numeric_limits<float>::infinity();
        const double rounded = t;
        s.threshold = at_or_below ? (rounded > s.threshold ? std::nextafter(t, -infinity) : t) : (rounded < s.threshold ? std::nextafter(t, infinity) : t);
    }
    s.kind = at_or_below ? (nan_left ? kNotAboveOrNan : kNotAbove) : nan_left ? kLessOrNan : kLess;
    return s;
}

DistinctSplits::DistinctSplits(const Ensemble& e, std::size_t tree) {
    constexpr int kTooMany = 1 << 20, kMaxShared = 16;
    const Node* root = e.root(tree);
    const auto nodes = static_cast<std::size_t>(e.tree_offsets[tree + 1] - e.tree_offsets[tree]);
    index_.resize(nodes);
    distinct_below_.assign(nodes, 0);
    using SplitKey = std::tuple<std::int32_t, double, std::uint8_t, std::vector<std::uint32_t>>;
    auto key_of = [&](const Node& n) {
        const auto* set = e.sets.data() + n.set_begin;
        if (n.flags & kCategorical) return SplitKey{n.feature, n.set_words < 0 ? 1.0 : 0.0, n.flags, {set, set + std::abs(n.set_words)}};
        return SplitKey{n.feature, n.threshold, n.flags, {}};
    };
    std::map<SplitKey, int> distinct;
    int inner = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        index_[i] = inner++;
        if (static_cast<int>(distinct.size()) > 2 * kMaxShared) continue;  // too many: every node counts as a split of its own
        distinct.try_emplace(key_of(n), static_cast<int>(distinct.size()));
    }
    count_ = inner;
    if (static_cast<int>(distinct.size()) > kMaxShared || 2 * static_cast<int>(distinct.size()) > inner) {
        for (std::size_t i = nodes; i-- > 0;)  // children come after their parents
            if (root[i].left >= 0) distinct_below_[i] = std::min(1 + distinct_below_[root[i].left] + distinct_below_[root[i].right], kTooMany);
        return;
    }
    count_ = static_cast<int>(distinct.size());
    std::vector<std::uint32_t> splits_below(nodes);  // a bit for each distinct split of the subtree
    for (std::size_t i = nodes; i-- > 0;) {
        const Node& n = root[i];
        if (n.left < 0) continue;
        index_[i] = distinct.at(key_of(n));
        splits_below[i] = splits_below[n.left] | splits_below[n.right] | 1U << index_[i];
        distinct_below_[i] = std::popcount(splits_below[i]);
    }
}

}  // namespace whybox

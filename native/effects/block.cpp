// Rows as intervals of their values, and which of them go left.
#include <algorithm>

#include "core/split.hpp"
#include "effects/effects.hpp"

namespace whybox {

RowBlock::RowBlock(const ValueIntervals& intervals, const Ensemble& e, const InstructionSet& set)
    : intervals_(intervals), e_(e), set_(set), has_split_(static_cast<std::size_t>(e.columns)), any_missing_(has_split_.size()), present_(has_split_.size()) {
    for (const Node& n : e.nodes)
        if (n.left >= 0) has_split_[static_cast<std::size_t>(n.feature)] = 1;
}

void RowBlock::fill(Rows x) {
    rows_ = x.rows;
    lanes_ = (x.rows + 511) / 512 * 512;
    interval_of_row_.resize(has_split_.size() * lanes_ + 32);  // kernels may read a little more than they use
    missing_.resize(has_split_.size() * words());
    std::fill_n(missing_.data(), missing_.size(), std::uint64_t{0});
    std::vector<std::uint32_t> intervals(rows_);
    for (std::size_t c = 0; c < has_split_.size(); ++c) {
        any_missing_[c] = 0;
        if (!has_split_[c]) continue;
        const std::uint32_t missing = intervals_.missing_index(c);
        intervals_.find(c, x.data + c, x.columns, rows_, intervals.data());
        for (std::size_t r = 0; r < rows_; ++r) {
            if (intervals[r] != missing) continue;
            any_missing_[c] = 1;
            missing_[c * words() + r / 64] |= std::uint64_t{1} << (r % 64);
        }
        present_[c].clear();
        if (missing > 65000) number_present(c, intervals);
        for (std::size_t r = 0; r < rows_; ++r) interval_of_row_[c * lanes_ + r] = static_cast<std::uint16_t>(intervals[r]);
    }
}

void RowBlock::number_present(std::size_t column, std::vector<std::uint32_t>& intervals) {
    auto& present = present_[column];
    present = intervals;
    std::sort(present.begin(), present.end());
    present.erase(std::unique(present.begin(), present.end()), present.end());
    for (auto& c : intervals) c = static_cast<std::uint32_t>(std::lower_bound(present.begin(), present.end(), c) - present.begin());
}

RowBlock::SplitTest RowBlock::test(const Node& n) const {
    const auto c = static_cast<std::size_t>(n.feature);
    SplitTest t{interval_of_row_.data() + c * lanes_, 0, static_cast<std::uint16_t>(intervals_.missing_index(c)), false, false};
    const std::int32_t cut = intervals_.cut_index(&n - e_.nodes.data());
    t.by_interval = cut < 0;
    if (t.by_interval) return t;
    t.missing_left = any_missing_[c] && goes_left(e_, n, intervals_.representative(c, intervals_.missing_index(c)));
    const auto& present = present_[c];
    if (present.empty()) t.cut = static_cast<std::uint16_t>(cut);
    else {
        t.cut = static_cast<std::uint16_t>(std::lower_bound(present.begin(), present.end(), static_cast<std::uint32_t>(cut)) - present.begin());
        t.missing = static_cast<std::uint16_t>(any_missing_[c] ? present.size() - 1 : present.size());
    }
    return t;
}

bool RowBlock::interval_goes_left(const Node& n, std::uint32_t interval_index) const {
    const auto c = static_cast<std::size_t>(n.feature);
    return goes_left(e_, n, intervals_.representative(c, present_[c].empty() ? interval_index : present_[c][interval_index]));
}

void RowBlock::left(const Node& n, std::uint64_t* out) {
    const SplitTest t = test(n);
    const auto c = static_cast<std::size_t>(n.feature);
    if (t.by_interval) {  // once for each interval, then a table
        const std::size_t n_intervals = present_[c].empty() ? intervals_.missing_index(c) + std::size_t{1} : present_[c].size();
        goes_left_.resize(n_intervals);
        for (std::size_t k = 0; k < n_intervals; ++k) goes_left_[k] = interval_goes_left(n, static_cast<std::uint32_t>(k));
        for (std::size_t w = 0; w < words(); ++w) {
            std::uint64_t bits = 0;
            for (std::size_t r = 64 * w; r < std::min(rows_, 64 * w + 64); ++r) bits |= static_cast<std::uint64_t>(goes_left_[t.of_row[r]]) << (r % 64);
            out[w] = bits;
        }
        return;
    }
    set_.intervals_below(t.of_row, t.cut, out, words());
    if (!t.missing_left) return;
    for (std::size_t w = 0; w < words(); ++w) out[w] |= missing_[c * words() + w];
}

}  // namespace whybox

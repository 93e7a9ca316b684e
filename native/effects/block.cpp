// Rows as classes, and which of them go left.
#include <algorithm>

#include "core/split.hpp"
#include "effects/effects.hpp"

namespace whybox {

Block::Block(const Classes& classes, const Ensemble& e, const InstructionSet& set)
    : classes_(classes), e_(e), set_(set), wanted_(static_cast<std::size_t>(e.columns)), any_missing_(wanted_.size()), numbers_(wanted_.size()) {
    for (const Node& n : e.nodes)
        if (n.left >= 0) wanted_[static_cast<std::size_t>(n.feature)] = 1;
}

void Block::fill(Rows x) {
    rows_ = x.rows;
    lanes_ = (x.rows + 511) / 512 * 512;
    of_row_.resize(wanted_.size() * lanes_ + 32);  // kernels may read a little more than they use
    missing_.resize(wanted_.size() * words());
    std::fill_n(missing_.data(), missing_.size(), std::uint64_t{0});
    std::vector<std::uint32_t> those(rows_);
    for (std::size_t c = 0; c < wanted_.size(); ++c) {
        any_missing_[c] = 0;
        if (!wanted_[c]) continue;
        const std::uint32_t missing = classes_.missing(c);
        classes_.of(c, x.data + c, x.columns, rows_, those.data());
        for (std::size_t r = 0; r < rows_; ++r) {
            if (those[r] != missing) continue;
            any_missing_[c] = 1;
            missing_[c * words() + r / 64] |= std::uint64_t{1} << (r % 64);
        }
        numbers_[c].clear();
        if (missing > 65000) renumber(c, those);
        for (std::size_t r = 0; r < rows_; ++r) of_row_[c * lanes_ + r] = static_cast<std::uint16_t>(those[r]);
    }
}

void Block::renumber(std::size_t column, std::vector<std::uint32_t>& those) {
    auto& here = numbers_[column];
    here = those;
    std::sort(here.begin(), here.end());
    here.erase(std::unique(here.begin(), here.end()), here.end());
    for (auto& c : those) c = static_cast<std::uint32_t>(std::lower_bound(here.begin(), here.end(), c) - here.begin());
}

Block::Test Block::test(const Node& n) const {
    const auto c = static_cast<std::size_t>(n.feature);
    Test t{of_row_.data() + c * lanes_, 0, static_cast<std::uint16_t>(classes_.missing(c)), false, false};
    const std::int32_t cut = classes_.cut(&n - e_.nodes.data());
    t.ask = cut < 0;
    if (t.ask) return t;
    t.missing_left = any_missing_[c] && goes_left(e_, n, classes_.example(c, classes_.missing(c)));
    const auto& here = numbers_[c];
    if (here.empty()) t.cut = static_cast<std::uint16_t>(cut);
    else {
        t.cut = static_cast<std::uint16_t>(std::lower_bound(here.begin(), here.end(), static_cast<std::uint32_t>(cut)) - here.begin());
        t.missing = static_cast<std::uint16_t>(any_missing_[c] ? here.size() - 1 : here.size());
    }
    return t;
}

bool Block::asked(const Node& n, std::uint32_t which) const {
    const auto c = static_cast<std::size_t>(n.feature);
    return goes_left(e_, n, classes_.example(c, numbers_[c].empty() ? which : numbers_[c][which]));
}

void Block::left(const Node& n, std::uint64_t* out) {
    const Test t = test(n);
    const auto c = static_cast<std::size_t>(n.feature);
    if (t.ask) {  // once for each class, then a table
        const std::size_t many = numbers_[c].empty() ? classes_.missing(c) + std::size_t{1} : numbers_[c].size();
        table_.resize(many);
        for (std::size_t k = 0; k < many; ++k) table_[k] = asked(n, static_cast<std::uint32_t>(k));
        for (std::size_t w = 0; w < words(); ++w) {
            std::uint64_t bits = 0;
            for (std::size_t r = 64 * w; r < std::min(rows_, 64 * w + 64); ++r) bits |= static_cast<std::uint64_t>(table_[t.of_row[r]]) << (r % 64);
            out[w] = bits;
        }
        return;
    }
    set_.below(t.of_row, t.cut, out, words());
    if (!t.missing_left) return;
    for (std::size_t w = 0; w < words(); ++w) out[w] |= missing_[c * words() + w];
}

}  // namespace whybox

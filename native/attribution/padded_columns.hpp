// Rows by columns, 64 at a time as bits: which of them go left at a node.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

#include "core/aligned.hpp"
#include "core/predict.hpp"
#include "core/split.hpp"
#include "simd/program.hpp"

namespace whybox {

using Mask = std::uint64_t;                 // a bit for each row of a block
constexpr std::size_t kBlockRows = 64;

template <class Visit>
void for_each_bit(Mask set, const Visit& visit) {
    for (; set; set &= set - 1) visit(std::countr_zero(set));
}

// A matrix by columns, its rows in a given order, as it is and rounded to float32; columns are padded to a multiple of 64 by their last row.
class PaddedColumns {
public:
    void fill(Rows rows, std::span<const std::uint32_t> order) {
        lanes_ = (order.size() + kBlockRows - 1) / kBlockRows * kBlockRows;
        if (values_.size() < rows.columns * lanes_) values_.resize(rows.columns * lanes_), rounded_.resize(rows.columns * lanes_);
        for (std::size_t r = 0; r < lanes_; ++r) {
            const double* row = rows.row(order[std::min(r, order.size() - 1)]);
            for (std::size_t c = 0; c < rows.columns; ++c) {
                values_[c * lanes_ + r] = row[c];
                rounded_[c * lanes_ + r] = static_cast<double>(static_cast<float>(row[c]));
            }
        }
    }
    // Which of 64 rows go left.
    Mask left(const Ensemble& e, const Node& n, const Split& s, std::size_t first, const InstructionSet& set) const {
        const std::size_t position = static_cast<std::size_t>(n.feature) * lanes_ + first;
        if (s.kind != kScalar) return set.goes_left((n.flags & kSingle ? rounded_ : values_).data() + position, s.threshold, s.kind);
        Mask left = 0;
        for (std::size_t r = 0; r < kBlockRows; ++r) left |= Mask{goes_left(e, n, values_.data()[position + r])} << r;
        return left;
    }

private:
    std::size_t lanes_ = 0;
    AlignedArray<double> values_, rounded_;
};

}  // namespace whybox

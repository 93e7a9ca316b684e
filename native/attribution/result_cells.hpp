// Which sums a kernel keeps for a row, and where each stands among them.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/ensemble.hpp"
#include "core/players.hpp"

namespace whybox {

// Which sums are kept: one per player (order 1), or one per pair of players that are on one path together (order 2), sorted.
class ResultCells {
public:
    ResultCells(const Ensemble& e, Players players, int order);
    int order() const { return order_; }
    std::size_t count() const { return order_ == 1 ? static_cast<std::size_t>(players_) : pairs_.size(); }
    std::int32_t pair_cell(int i, int j) const { return cell_of_pair_.at(key(i, j)); }
    const std::vector<std::pair<std::int32_t, std::int32_t>>& pairs() const { return pairs_; }

private:
    static std::uint64_t key(int i, int j) { return static_cast<std::uint64_t>(i < j ? i : j) << 32 | static_cast<std::uint32_t>(i < j ? j : i); }
    int order_, players_;
    std::unordered_map<std::uint64_t, std::int32_t> cell_of_pair_;
    std::vector<std::pair<std::int32_t, std::int32_t>> pairs_;
};

}  // namespace whybox

// Players: the model's columns, alone or in groups.
#pragma once

#include <cstdint>
#include <span>

#include "core/ensemble.hpp"

namespace whybox {

struct Players {
    std::span<const std::int32_t> of_column;  // player of each model column
    std::int32_t count;
    // Most different players on one path of a tree.
    int max_players_on_path(const Ensemble& e, std::size_t tree) const;
};

// Most different players on one path of any of these trees, or an upper bound that is at most `enough`: counting walks every tree, the bound does not.
int max_players_on_path(const Ensemble& e, const Players& players, std::size_t first_tree, std::size_t last_tree, int enough = 0);

}  // namespace whybox

// Interventional games against sets of background rows held as bits: one walk of a tree for 64 rows and up to 256 background rows.
#pragma once

#include <span>

#include "attribution/games.hpp"
#include "simd/program.hpp"

namespace whybox {

inline constexpr int kMaxBitPlayers = 48;

// As pair_walk (games.hpp), for leaves that are constants, weights common to all rows, and at most kBitPlaces players on a path.
void bit_walk(const Ensemble& e, Players players, const Background& b, std::span<const double> table, int side, int order, TreeRange trees, Rows x,
              double* out, const InstructionSet& set);

}  // namespace whybox

// Estimates of the work for a tree, by which kernels and table sizes are chosen.
#pragma once

#include "core/players.hpp"

namespace whybox {

struct WorkEstimate {
    double vector_instructions = 0;  // for a block of four vectors of rows
    double table_entries = 0;        // and constants
    double multiplications = 0;      // roughly, to make them
};

// `bits`: of the largest subtree in tables; q: quadrature nodes.
WorkEstimate walk_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits);

// `registers`: largest table looked up in registers; background: rows, 0 for path-dependent.
WorkEstimate pattern_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits, int registers, bool single, double background);

}  // namespace whybox

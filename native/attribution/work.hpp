// How much work a tree is, before any of it is done: what the choice between kernels and table sizes rests on.
#pragma once

#include "core/players.hpp"

namespace whybox {

struct Work {
    double vectors = 0;  // vector instructions for a block of four vectors of rows
    double entries = 0;  // table entries and constants
    double build = 0;    // multiplications, roughly, to make them
};

// `bits`: largest bottom; q: quadrature nodes.
Work walk_work(const Ensemble& e, std::size_t tree, Players players, int q, int bits);

// `registers`: largest table looked up in registers; background: rows, 0 for path-dependent.
Work pattern_work(const Ensemble& e, std::size_t tree, Players players, int q, int order, int bits, int registers, bool single, double background);

}  // namespace whybox

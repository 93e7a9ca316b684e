// Attributions and interactions of many rows at a time. An Attributor is made once for an ensemble, its players and an index; it compiles
// runs of trees, as many as fit into the memory allowed, and those add their part of the result for as many rows as come.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attribution/games.hpp"

namespace whybox {

struct KernelSettings {
    std::string instructions;  // "plain", "neon", "avx2", "avx512"
    bool single_precision;  // float32 arithmetic
    int max_bits;           // of the largest subtree in tables
};

class TreeChunk {  // compiled trees; any number of threads may run one
public:
    virtual ~TreeChunk() = default;
    // out: rows x players x outputs, rows x players x players x outputs (both triangles, diagonal untouched), or rows x (players + pairs) x outputs
    // (players untouched); added to.
    virtual void run(Rows x, double* out, int threads) const = 0;
    virtual void run(Rows x, float* out, int threads) const = 0;
    std::size_t first = 0, last = 0;  // trees first .. last - 1
    std::size_t bytes = 0;
};

class Attributor {
public:
    virtual ~Attributor() = default;
    virtual std::size_t row_size() const = 0;  // entries of the result per row
    // Trees from `first` on: at least one, and no more than fit into `bytes` but for the last of them.
    virtual std::shared_ptr<TreeChunk> compile_chunk(std::size_t first, std::size_t bytes, int threads) const = 0;
};

struct QuadratureRule { std::vector<double> nodes, weights; };


enum class ResultLayout { attributions, matrices, pairs };  // of a row of the result: one entry a player, both triangles, or players and then the pairs of ResultCells

// The ensemble must outlive what these return.
std::unique_ptr<Attributor> walk_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, ResultLayout layout,
                                            std::vector<QuadratureRule> rules, std::vector<std::int32_t> rule_of_tree, const KernelSettings& setting);

// Tables of whole patterns. Rows of the background are copied; without a background (no rows) the game is path-dependent.
struct PatternGame {
    std::vector<QuadratureRule> rules;
    std::vector<std::int32_t> rule_of_tree;
    std::vector<double> background, weights, moments;
    int side = 0;
};
std::unique_ptr<Attributor> pattern_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, ResultLayout layout, PatternGame game,
    const KernelSettings& setting);

}  // namespace whybox

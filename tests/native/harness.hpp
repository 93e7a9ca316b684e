// A small test harness: TEST(name) { CHECK(...); }, trees to build, and what the kernels are held against, written as plainly as can be.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/ensemble.hpp"
#include "core/predict.hpp"

namespace whybox::tests {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

struct Test {
    const char* name;
    void (*run)();
};
std::vector<Test>& all_tests();
struct Register {
    Register(const char* name, void (*run)()) { all_tests().push_back({name, run}); }
};
#define TEST(name)                                            \
    static void name();                                       \
    static const ::whybox::tests::Register register_##name{#name, name}; \
    static void name()

// The first few failures of a test are printed, all are counted.
void fail(const char* file, int line, const std::string& what);
#define CHECK(condition) \
    do { if (!(condition)) ::whybox::tests::fail(__FILE__, __LINE__, #condition); } while (false)
#define CHECK_FOR(condition, what) \
    do { if (!(condition)) ::whybox::tests::fail(__FILE__, __LINE__, std::string(#condition) + " for " + (what)); } while (false)

// Numbers that are the same in every run and on every machine.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
    std::uint64_t bits() {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
        z = (z ^ z >> 27) * 0x94d049bb133111ebU;
        return z ^ z >> 31;
    }
    std::size_t below(std::size_t n) { return bits() % n; }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
    double between(double a, double b) { return a + (b - a) * uniform(); }

private:
    std::uint64_t state_;
};

// A tree as it is written down; children are added after their parents.
struct NodeSpec {
    std::int32_t feature = -1;
    double threshold = 0;
    std::uint8_t flags = 0;
    double cover = 1;
    std::vector<std::uint32_t> set;  // categories, in order
    bool as_list = false;            // kept as a list instead of bits
    std::vector<double> value;       // of a leaf
    std::vector<NodeSpec> children;          // left, right; none at a leaf
};
NodeSpec leaf(double value, double cover = 1);
NodeSpec leaf(std::vector<double> values, double cover);
NodeSpec split(std::int32_t feature, double threshold, std::uint8_t flags, NodeSpec left, NodeSpec right);
NodeSpec in_set(std::int32_t feature, std::vector<std::uint32_t> set, std::uint8_t flags, bool as_list, NodeSpec left, NodeSpec right);

// The arrays of an ensemble, for tests that damage them.
struct EnsembleBuilder {
    std::vector<std::int64_t> tree_offsets{0};
    std::vector<std::int32_t> left, right, feature, leaf;
    std::vector<double> threshold, cover;
    std::vector<std::uint8_t> flags;
    std::vector<std::int64_t> set_begin;
    std::vector<std::int32_t> set_words;
    std::vector<std::uint32_t> sets;
    std::vector<double> leaf_values;
    std::vector<std::int32_t> tree_output;
    std::vector<double> tree_weight;
    std::vector<double> base;
    std::vector<std::int64_t> linear_offset;
    std::vector<std::int32_t> linear_feature;
    std::vector<double> linear_coef, linear_const;
    std::int32_t columns = 0;

    EnsembleBuilder(std::int32_t columns, std::vector<double> base) : base(std::move(base)), columns(columns) {}
    EnsembleBuilder& tree(const NodeSpec& spec, std::int32_t output = 0, double weight = 1);  // output -1: leaves hold every output
    Ensemble ensemble() const;

private:
    std::int32_t node(const NodeSpec& spec, std::int64_t first);
};

struct EnsembleShape {
    std::size_t columns = 3, trees = 3, outputs = 1;
    int depth = 3;
    bool vector = false, categories = true;
};
Ensemble random_ensemble(Random& random, const EnsembleShape& shape);
std::vector<double> random_rows(Random& random, std::size_t rows, std::size_t columns);
// A chain of `depth` nodes over these columns, thresholds between -1 and 1.
Ensemble chain(Random& random, std::size_t depth, std::size_t columns);

inline Rows rows_of(const std::vector<double>& x, std::size_t columns) { return {x.data(), x.size() / columns, columns}; }
std::vector<double> predictions(const Ensemble& e, const std::vector<double>& x, bool with_base = true);

// A game: coalition (bit j: player j is present) -> outputs. Two kinds: absent players split by training weight, or come from background rows.
using Game = std::function<std::vector<double>(std::uint32_t)>;
Game path_game(const Ensemble& e, const std::vector<std::int32_t>& of_column, const double* x);
Game background_game(const Ensemble& e, const std::vector<std::int32_t>& of_column, const double* x, const std::vector<double>& background,
                     const std::vector<double>& weights);
// Shapley values: players x outputs, or (order 2, i < j filled alike, diagonal zero) players x players x outputs of Shapley interactions.
std::vector<double> shapley(const Game& game, int players, std::size_t outputs, int order);

// The rule of Gauss and Legendre on [0, 1], and the moments E[p^s (1-p)^t] of p uniform on it.
struct GaussRule { std::vector<double> nodes, weights; };
GaussRule gauss(int nodes);
std::vector<double> uniform_moments(int side);

double largest_difference(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace whybox::tests

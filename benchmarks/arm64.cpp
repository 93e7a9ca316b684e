// One kernel on some rows, to count its instructions: benchmarks/arm64.md says how. Arguments: instruction set, kernel, rows.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "attribution/attributor.hpp"
#include "attribution/bit_walk.hpp"
#include "effects/curves.hpp"
#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

constexpr std::size_t kColumns = 20, kTrees = 8, kBackground = 100;

NodeSpec tree(Random& random, int depth, double cover) {
    if (depth == 0) return leaf(random.between(-1, 1), cover);
    const double share = random.between(0.2, 0.8);
    const auto feature = static_cast<std::int32_t>(random.below(kColumns));
    NodeSpec left = tree(random, depth - 1, cover * share), right = tree(random, depth - 1, cover * (1 - share));
    return split(feature, random.between(-0.8, 0.8), kMissingLeft, std::move(left), std::move(right));
}

void attributions(const Attributor& attributor, Rows x) {
    std::vector<double> out(x.rows * attributor.row_size());
    for (std::size_t first = 0; first < kTrees;) {
        const auto part = attributor.compile_chunk(first, std::size_t{1} << 30, 1);
        part->run(x, out.data(), 1);
        first = part->last;
    }
}

int run(const std::string& name, const std::string& kernel, std::size_t rows) {
    const InstructionSet& set = instruction_set(name);
    Random random(1);
    EnsembleBuilder builder(kColumns, {0.0});
    const int depth = kernel.find("depth 4") != std::string::npos ? 4 : kernel.find("depth 8") != std::string::npos ? 8 : 6;
    for (std::size_t t = 0; t < kTrees; ++t) builder.tree(tree(random, depth, 1000));
    const Ensemble e = builder.ensemble();
    std::vector<double> x, background;
    for (std::size_t i = 0; i < rows * kColumns; ++i) x.push_back(random.between(-1, 1));
    for (std::size_t i = 0; i < kBackground * kColumns; ++i) background.push_back(random.between(-1, 1));
    std::vector<std::int32_t> of_column;
    for (std::size_t c = 0; c < kColumns; ++c) of_column.push_back(static_cast<std::int32_t>(c));
    const std::vector<double> weights(kBackground, 1.0 / kBackground);
    const Rows given = rows_of(x, kColumns);
    const bool single = kernel.find("float32") != std::string::npos;
    const std::size_t at = kernel.find(" bits");
    const int bits = at == std::string::npos ? 0 : kernel[at - 1] - '0';
    const std::vector<std::int32_t> first_rule(kTrees, 0);
    if (kernel.starts_with("predict")) {
        std::vector<double> out(rows);
        predict(e, given, {0, kTrees}, out.data());
    } else if (kernel.starts_with("lane walk")) {
        const GaussRule rule = gauss(depth / 2);
        attributions(*walk_attributor(e, of_column, kColumns, {{rule.nodes, rule.weights}}, first_rule, {name, single, bits}), given);
    } else if (kernel.starts_with("pattern tables")) {
        PatternGame game;
        game.background = background, game.weights = weights, game.moments = uniform_moments(10), game.side = 10;
        attributions(*pattern_attributor(e, of_column, kColumns, ResultLayout::attributions, game, {name, single, bits}), given);
    } else if (kernel.starts_with("bit walk")) {
        std::vector<double> out(rows * kColumns);
        bit_walk(e, {of_column, kColumns}, {rows_of(background, kColumns), weights.data(), false}, uniform_moments(10), 10, 1, {0, kTrees}, given, out.data(), set);
    } else if (kernel.starts_with("curves")) {
        const ValueIntervals intervals(e);
        std::vector<double> points;
        for (int k = 0; k < 100; ++k) points.push_back(-0.99 + 0.02 * k);
        std::vector<PlayerPoints> players;
        for (std::int32_t c = 0; c < static_cast<std::int32_t>(kColumns); ++c) players.push_back({{c}, points.data(), points.size()});
        const Grid grid(e, intervals, players);
        const CurvePlan plan(grid);
        CurveBlocks blocks(plan, set);
        for (std::size_t row = 0; row < rows;) row += blocks.next_rows(given, row);
    } else if (kernel.starts_with("exponentials")) {
        AlignedArray<double> values;
        values.resize(rows * kTrees);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.between(-5, 5);
        set.exponentials(values.data(), values.size());
    } else if (kernel != "rows alone") {
        std::fprintf(stderr, "no kernel is named %s\n", kernel.c_str());
        return 2;
    }
    return 0;
}

}  // namespace
}  // namespace whybox::tests

int main(int count, char** arguments) {
    if (count != 4) return 2;
    return whybox::tests::run(arguments[1], arguments[2], std::strtoul(arguments[3], nullptr, 10));
}

// Attributions and interactions against brute force over all coalitions, and on ensembles at the edge of what there is.
#include <algorithm>
#include <cmath>
#include <memory>

#include "attribution/attributor.hpp"
#include "attribution/bit_walk.hpp"
#include "attribution/games.hpp"
#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

using Values = std::vector<double>;

struct Problem {  // an ensemble, its players, rows and background rows
    const Ensemble& e;
    std::vector<std::int32_t> of_column;
    int players;
    Values x, background, weights;

    std::size_t columns() const { return static_cast<std::size_t>(e.columns); }
    std::size_t rows() const { return x.size() / columns(); }
    std::size_t cells(int order) const { return (order == 1 ? 1U : static_cast<std::size_t>(players)) * static_cast<std::size_t>(players * e.outputs()); }
    Players players_() const { return {of_column, players}; }
    Background background_rows() const { return {rows_of(background, columns()), weights.data(), false}; }

    std::vector<QuadratureRule> rules() const {  // one for each tree, exact for its longest path
        std::vector<QuadratureRule> all;
        for (std::size_t t = 0; t < e.trees(); ++t) {
            const auto rule = gauss(std::max(1, (players_().max_players_on_path(e, t) + 1) / 2));
            all.push_back({rule.nodes, rule.weights});
        }
        return all;
    }
    std::vector<std::int32_t> rule_of_tree() const {
        std::vector<std::int32_t> of(e.trees());
        for (std::size_t t = 0; t < of.size(); ++t) of[t] = static_cast<std::int32_t>(t);
        return of;
    }
    Values moments() const { return uniform_moments(players + 1); }
};

Values run(const Problem& c, const Attributor& attributor, int order, int threads, std::size_t bytes = std::size_t{1} << 30) {
    Values out(c.rows() * c.cells(order));
    for (std::size_t first = 0; first < c.e.trees();) {
        const auto part = attributor.compile_chunk(first, bytes, threads);
        CHECK(part->first == first && part->last > first);
        part->run(rows_of(c.x, c.columns()), out.data(), threads);
        first = part->last;
    }
    return out;
}

ResultLayout layout_of(int order) { return order == 1 ? ResultLayout::attributions : ResultLayout::matrices; }

std::unique_ptr<Attributor> walk(const Problem& c, int order, const KernelSettings& s) {
    return walk_attributor(c.e, c.of_column, c.players, layout_of(order), c.rules(), c.rule_of_tree(), s);
}

std::unique_ptr<Attributor> patterns(const Problem& c, int order, bool interventional, const KernelSettings& s) {
    whybox::PatternGame game;
    if (interventional) game.background = c.background, game.weights = c.weights, game.moments = c.moments(), game.side = c.players + 1;
    else game.rules = c.rules(), game.rule_of_tree = c.rule_of_tree();
    return pattern_attributor(c.e, c.of_column, c.players, layout_of(order), game, s);
}

Values pair_walk_of(const Problem& c, int order) {
    Values out(c.rows() * c.cells(order));
    pair_walk(c.e, c.players_(), c.background_rows(), c.moments(), c.players + 1, order, {0, c.e.trees()}, rows_of(c.x, c.columns()), out.data());
    return out;
}

Values bit_walk_of(const Problem& c, int order, const InstructionSet& set) {
    Values out(c.rows() * c.cells(order));
    bit_walk(c.e, c.players_(), c.background_rows(), c.moments(), c.players + 1, order, {0, c.e.trees()}, rows_of(c.x, c.columns()), out.data(), set);
    return out;
}

Values brute_force(const Problem& c, int order, bool interventional) {
    Values out;
    for (std::size_t i = 0; i < c.rows(); ++i) {
        const double* x = c.x.data() + i * c.columns();
        const auto game = interventional ? background_game(c.e, c.of_column, x, c.background, c.weights) : path_game(c.e, c.of_column, x);
        const auto row = shapley(game, c.players, static_cast<std::size_t>(c.e.outputs()), order);
        out.insert(out.end(), row.begin(), row.end());
    }
    return out;
}

Problem random_problem(Random& random, const Ensemble& e, std::size_t rows, std::size_t background, bool groups = false) {
    const auto columns = static_cast<std::size_t>(e.columns);
    Problem c{e, {}, groups ? 2 : e.columns, random_rows(random, rows, columns), random_rows(random, background, columns), {}};
    for (std::int32_t k = 0; k < e.columns; ++k) c.of_column.push_back(groups ? k % 2 : k);
    for (std::size_t b = 0; b < background; ++b) c.weights.push_back(b == 1 ? 0.0 : random.uniform() / static_cast<double>(background));
    return c;
}

void compare_with_brute_force(const Problem& c, const std::string& what) {
    for (const int order : {1, 2}) {
        const auto path = brute_force(c, order, false), pairs = brute_force(c, order, true);
        CHECK_FOR(largest_difference(pair_walk_of(c, order), pairs) < 1e-11, what);
        for (const auto* set : instruction_sets()) {
            const std::string where = what + ", " + set->name + ", order " + std::to_string(order);
            CHECK_FOR(largest_difference(bit_walk_of(c, order, *set), pairs) < 1e-11, where);
            for (const bool single : {false, true})
                for (const int bits : {0, 2, 5}) {
                    const KernelSettings s{set->name, single, bits};
                    const double tolerance = single ? 1e-4 : 1e-11;
                    CHECK_FOR(largest_difference(run(c, *walk(c, order, s), order, 1), path) < tolerance, "walk, " + where);
                    CHECK_FOR(largest_difference(run(c, *patterns(c, order, false, s), order, 1), path) < tolerance, "patterns, " + where);
                    CHECK_FOR(largest_difference(run(c, *patterns(c, order, true, s), order, 1), pairs) < tolerance, "patterns with background, " + where);
                }
        }
    }
}

}  // namespace

TEST(random_ensembles_against_brute_force) {
    const EnsembleShape shapes[] = {{}, {.columns = 4, .trees = 2, .depth = 6}, {.outputs = 3}, {.outputs = 3, .vector = true}, {.columns = 1, .depth = 4},
        {.columns = 5, .depth = 4, .categories = false}};
    for (std::size_t k = 0; k < std::size(shapes); ++k)
        for (std::uint64_t seed = 0; seed < 4; ++seed) {
            Random random(100 * k + seed);
            const Ensemble e = random_ensemble(random, shapes[k]);
            compare_with_brute_force(random_problem(random, e, 5, 7, seed == 3 && shapes[k].columns > 1), "shape " + std::to_string(k));
        }
}

TEST(one_leaf_zero_covers_and_equal_thresholds) {
    Random random(5);
    const Ensemble one = EnsembleBuilder(2, {0.5}).tree(leaf(3)).ensemble();
    compare_with_brute_force(random_problem(random, one, 3, 4), "one leaf");
    const Ensemble never = EnsembleBuilder(2, {0.0}).tree(split(0, 0.5, 0, leaf(1, 0), split(1, 0.0, 0, leaf(2, 0), leaf(5, 0)))).ensemble();
    compare_with_brute_force(random_problem(random, never, 4, 4), "no training weight");
    const Ensemble partly = EnsembleBuilder(2, {0.0}).tree(split(0, 0.5, 0, leaf(1, 0), split(0, 0.25, kLessEqual, leaf(2, 3), leaf(5, 1)))).ensemble();
    compare_with_brute_force(random_problem(random, partly, 6, 6), "a child without training weight");
    // the same question again below its own answers: two leaves that no row reaches
    const Ensemble twice = EnsembleBuilder(2, {0.0}).tree(split(0, 0.5, 0, split(0, 0.5, 0, leaf(1), leaf(2)), split(0, 0.5, 0, leaf(3), leaf(4)))).ensemble();
    compare_with_brute_force(random_problem(random, twice, 6, 6), "equal thresholds");
    // x < t and x <= t at the same threshold, and the two zeros
    const Ensemble zeros = EnsembleBuilder(2, {0.0}).tree(split(0, -0.0, 0, leaf(1), split(0, 0.0, kLessEqual, leaf(2), split(0, 5e-324, 0, leaf(3), leaf(4))))).ensemble();
    Problem c = random_problem(random, zeros, 0, 5);
    for (const double v : {0.0, -0.0, 5e-324, -5e-324, kNan, 1e-320}) c.x.insert(c.x.end(), {v, 1.0});
    compare_with_brute_force(c, "zeros and denormals");
}

TEST(players_that_no_tree_asks_about_get_zero) {
    Random random(6);
    const Ensemble e = EnsembleBuilder(70, {0.0}).tree(split(69, 0.5, 0, leaf(1), leaf(2))).ensemble();
    const Problem c = random_problem(random, e, 3, 65);
    for (const auto* set : instruction_sets())
        for (const auto& out : {run(c, *walk(c, 1, {set->name, false, 3}), 1, 1), run(c, *patterns(c, 1, true, {set->name, false, 6}), 1, 1), bit_walk_of(c, 1, *set)})
            for (std::size_t i = 0; i < out.size(); ++i) CHECK(i % 70 == 69 || out[i] == 0);
}

TEST(no_rows_no_trees_no_background) {
    Random random(7);
    const Ensemble e = random_ensemble(random, {}), none = EnsembleBuilder(3, {1.0}).ensemble();
    for (const Ensemble* which : {&e, &none})
        for (const std::size_t rows : {0, 2}) {
            if (which == &e && rows) continue;
            const Problem c = random_problem(random, *which, rows, 3);
            for (const int order : {1, 2}) {
                CHECK(pair_walk_of(c, order) == Values(c.rows() * c.cells(order)));
                for (const auto* set : instruction_sets()) CHECK(bit_walk_of(c, order, *set) == Values(c.rows() * c.cells(order)));
            }
        }
    const Problem c = random_problem(random, e, 2, 1);
    Problem weightless = c;
    weightless.weights[0] = 0;
    CHECK(pair_walk_of(weightless, 1) == Values(c.rows() * c.cells(1)));
    for (const auto* set : instruction_sets()) CHECK(bit_walk_of(weightless, 1, *set) == Values(c.rows() * c.cells(1)));
}

// A row's numbers depend neither on the rows beside it nor on the threads; chunks of any size add up to the same.
TEST(rows_threads_and_chunks_change_no_bit) {
    Random random(8);
    const Ensemble e = random_ensemble(random, {.columns = 4, .trees = 7, .outputs = 2, .depth = 6});
    const Problem all = random_problem(random, e, 300, 70);
    for (const auto* set : instruction_sets())
        for (const bool single : {false, true}) {
            const KernelSettings s{set->name, single, 4};
            const auto one = walk(all, 1, s), two = walk(all, 2, s), tables = patterns(all, 1, true, s);
            const auto expected = run(all, *one, 1, 1), want_pairs = run(all, *two, 2, 1), want_tables = run(all, *tables, 1, 1);
            const std::size_t width = static_cast<std::size_t>(single ? set->single.rows : set->exact.rows);
            for (const std::size_t rows : {std::size_t{1}, width - 1, width, width + 1, 2 * width + 1, std::size_t{300}})
                for (const int threads : {1, 2, 5, 64}) {
                    Problem some = all;
                    some.x.resize(rows * 4);
                    const std::string what = std::string(set->name) + ", " + std::to_string(rows) + " rows, " + std::to_string(threads) + " threads";
                    const auto computed = run(some, *one, 1, threads), got_pairs = run(some, *two, 2, threads), got_tables = run(some, *tables, 1, threads);
                    CHECK_FOR(std::equal(computed.begin(), computed.end(), expected.begin()), what);
                    CHECK_FOR(std::equal(got_pairs.begin(), got_pairs.end(), want_pairs.begin()), what);
                    CHECK_FOR(std::equal(got_tables.begin(), got_tables.end(), want_tables.begin()), what);
                }
            for (const std::size_t bytes : {1, 4096}) CHECK_FOR(largest_difference(run(all, *one, 1, 2, bytes), expected) < (single ? 1e-4 : 1e-12), set->name);
        }
}

TEST(more_than_64_rows_and_256_background_rows) {
    Random random(9);
    const Ensemble e = random_ensemble(random, {.columns = 4, .trees = 3, .depth = 5});
    for (const std::size_t background : {1, 63, 64, 65, 128, 129, 256, 257, 300}) {
        const Problem c = random_problem(random, e, 66, background);
        for (const int order : {1, 2}) {
            const auto expected = pair_walk_of(c, order);
            for (const auto* set : instruction_sets()) CHECK_FOR(largest_difference(bit_walk_of(c, order, *set), expected) < 1e-12, set->name);
        }
    }
}

TEST(trees_a_thousand_deep) {
    Random random(10);
    for (const std::size_t columns : {3, 40}) {
        const Ensemble e = chain(random, 1000, columns);
        const Problem c = random_problem(random, e, 5, 6);
        const auto outputs_of_rows = predictions(e, c.x, false), background_rows = predictions(e, c.background, false);
        std::vector<double> mean(1);
        expectation(e, mean.data());
        double background = 0, weight = 0;
        for (std::size_t b = 0; b < background_rows.size(); ++b) background += c.weights[b] * background_rows[b], weight += c.weights[b];
        const auto adds_up = [&](const Values& out, bool interventional, const std::string& what) {
            for (std::size_t i = 0; i < outputs_of_rows.size(); ++i) {
                double sum = 0;
                for (std::size_t j = 0; j < columns; ++j) sum += out[i * columns + j];
                CHECK_FOR(std::fabs(sum - (interventional ? weight * outputs_of_rows[i] - background : outputs_of_rows[i] - (mean[0] - e.base[0]))) < 1e-9, what);
            }
        };
        for (const auto* set : instruction_sets()) {
            for (const int bits : {0, 4}) adds_up(run(c, *walk(c, 1, {set->name, false, bits}), 1, 2), false, set->name);
            adds_up(bit_walk_of(c, 1, *set), true, set->name);
            CHECK_FOR(largest_difference(bit_walk_of(c, 2, *set), pair_walk_of(c, 2)) < 1e-11, set->name);
            if (columns == 3) {
                adds_up(run(c, *patterns(c, 1, true, {set->name, false, 6}), 1, 1), true, set->name);
                const auto expected = run(c, *patterns(c, 2, false, {set->name, false, 6}), 2, 1);
                for (const int bits : {0, 2, 5}) CHECK_FOR(largest_difference(run(c, *walk(c, 2, {set->name, false, bits}), 2, 2), expected) < 1e-11, set->name);
            }
        }
        adds_up(pair_walk_of(c, 1), true, "pair walk");
    }
}

TEST(hybrids_are_predictions_of_mixed_rows) {
    Random random(11);
    const Ensemble e = random_ensemble(random, {.columns = 4, .trees = 3, .outputs = 2, .depth = 5});
    const Problem c = random_problem(random, e, 1, 3);
    Values out(3 * 16 * 2), expected;
    hybrids(e, c.players_(), c.background_rows(), c.x.data(), out.data());
    for (std::size_t b = 0; b < 3; ++b)
        for (std::uint32_t s = 0; s < 16; ++s) {
            Values mixed(c.background.begin() + static_cast<std::ptrdiff_t>(4 * b), c.background.begin() + static_cast<std::ptrdiff_t>(4 * b + 4));
            for (std::size_t j = 0; j < 4; ++j)
                if (s >> j & 1U) mixed[j] = c.x[j];
            const auto outputs_of_rows = predictions(e, mixed, false);
            expected.insert(expected.end(), outputs_of_rows.begin(), outputs_of_rows.end());
        }
    CHECK(largest_difference(out, expected) < 1e-12);
}

}  // namespace whybox::tests

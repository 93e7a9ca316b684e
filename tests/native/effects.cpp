// Curves, means and differences against predictions of rows with values replaced.
#include "effects/effects.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "effects/curves.hpp"
#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

using Values = std::vector<double>;

struct GridFixture {  // players, their points, and the grid of both
    std::vector<Values> values;
    std::vector<PlayerPoints> levels;
    std::unique_ptr<ValueIntervals> classes;
    std::unique_ptr<Grid> grid;

    GridFixture(const Ensemble& e, const std::vector<std::vector<std::int32_t>>& players, std::vector<Values> points) : values(std::move(points)) {
        for (std::size_t j = 0; j < players.size(); ++j) levels.push_back({players[j], values[j].data(), values[j].size() / players[j].size()});
        classes = std::make_unique<ValueIntervals>(e);
        grid = std::make_unique<Grid>(e, *classes, levels);
    }
};

// Rows with the columns of some players set to some points, predicted.
Values replaced(const Ensemble& e, Values x, const GridFixture& a, const std::vector<std::pair<std::size_t, std::size_t>>& set) {
    const auto columns = static_cast<std::size_t>(e.columns);
    for (std::size_t i = 0; i < x.size() / columns; ++i)
        for (const auto& [j, point] : set)
            for (std::size_t k = 0; k < a.levels[j].columns.size(); ++k)
                x[i * columns + static_cast<std::size_t>(a.levels[j].columns[k])] = a.levels[j].values[point * a.levels[j].columns.size() + k];
    return predictions(e, x);
}

// Squared losses of the last output, against those of the curves: rows x points as given x outputs.
void compare_losses(const CurvePlan& plan, const GridFixture& a, Rows rows, const Values& curves, const InstructionSet& set, bool at_changes, const std::string& what) {
    const Grid& grid = *a.grid;
    const auto outputs = static_cast<std::size_t>(grid.e.outputs());
    std::size_t given = 0;
    for (const auto& l : a.levels) given += l.points;
    Values truth, row_weights, point_weights, want_at_points(grid.total()), at_points(grid.total()), own_outputs(rows.rows), of_row(rows.rows * grid.players());
    std::vector<std::int32_t> own_points;
    std::vector<WatchedPoint> watched;
    for (std::size_t k = 0; k < grid.total(); ++k) point_weights.push_back(static_cast<double>(k % 4));
    for (std::size_t i = 0; i < rows.rows; ++i) {
        truth.push_back(static_cast<double>(i) - 3), row_weights.push_back(static_cast<double>(i % 3));
        for (std::size_t j = 0; j < grid.players(); ++j) own_points.push_back(static_cast<std::int32_t>(i % grid.points(j)));
        if (i % 5 == 4) watched.push_back({i, i % grid.players(), i % grid.points(i % grid.players())});
    }
    Values watched_outputs(watched.size()), watched_differences(watched.size());
    const auto run = at_changes ? pair_losses_at_changes : pair_losses;
    run(plan, rows, set, {{LossKind::squared, Link::identity, 1, 0.5}, outputs - 1, 1, truth.data(), row_weights.data(), own_points.data(),
        point_weights.data()}, watched, own_outputs.data(), of_row.data(), at_points.data(), watched_outputs.data(), watched_differences.data());
    double largest = 0;
    for (std::size_t i = 0; i < rows.rows; ++i)
        for (std::size_t j = 0, first = 0; j < grid.players(); first += a.levels[j++].points) {
            Values losses(grid.points(j));  // points that were given twice are one
            for (std::size_t p = 0; p < a.levels[j].points; ++p)
                losses[grid.index(j)[p]] = std::pow(curves[(i * given + first + p) * outputs + outputs - 1] - truth[i], 2);
            double sum = 0;
            const double own = losses[static_cast<std::size_t>(own_points[i * grid.players() + j])];
            for (std::size_t k = 0; k < grid.points(j); ++k) {
                sum += point_weights[grid.first(j) + k] * (losses[k] - own);
                want_at_points[grid.first(j) + k] += row_weights[i] * (losses[k] - own);
            }
            largest = std::max(largest, std::fabs(sum - of_row[i * grid.players() + j]) / (1 + own));
        }
    CHECK_FOR(largest < 1e-9 && largest_difference(want_at_points, at_points) < 1e-6, what + ", losses, " + set.name);
    for (const double d : watched_differences) CHECK_FOR(d == 0, what + ", losses at the rows' own points, " + set.name);
}

void compare_with_predictions(const Ensemble& e, const Values& x, const GridFixture& a, const std::string& what) {
    const auto columns = static_cast<std::size_t>(e.columns), outputs = static_cast<std::size_t>(e.outputs());
    const Rows rows = rows_of(x, columns);
    std::size_t given = 0;
    for (const auto& l : a.levels) given += l.points;
    Values expected(rows.rows * given * outputs);
    std::vector<Values> means;
    for (std::size_t j = 0, at = 0; j < a.levels.size(); ++j)
        for (std::size_t p = 0; p < a.levels[j].points; ++p, ++at) {
            const auto replaced_outputs = replaced(e, x, a, {{j, p}});
            means.emplace_back(outputs);
            for (std::size_t i = 0; i < rows.rows; ++i)
                for (std::size_t c = 0; c < outputs; ++c) {
                    expected[(i * given + at) * outputs + c] = replaced_outputs[i * outputs + c];
                    means.back()[c] += replaced_outputs[i * outputs + c] - e.base[c];
                }
        }
    const CurvePlan plan(*a.grid), lists(*a.grid, true);
    for (const auto* set : instruction_sets()) {
        Values out(expected.size());
        individual(plan, rows, *set, out.data());
        CHECK_FOR(largest_difference(out, expected) < 1e-11, what + ", curves, " + set->name);
        compare_losses(plan, a, rows, expected, *set, false, what);
        if (!lists.any(CurvePlan::TreeMethod::walk)) compare_losses(lists, a, rows, expected, *set, true, what + ", where curves change");
        std::vector<EffectSums::Pair> pairs;
        for (std::int32_t j = 1; j < static_cast<std::int32_t>(a.levels.size()); ++j) pairs.emplace_back(0, j);
        EffectSums sums(*a.grid, pairs, *set), more(*a.grid, pairs, *set);
        const std::size_t half = e.trees() / 2;
        sums.load_rows(rows, nullptr), more.load_rows(rows, nullptr);
        sums.add_trees({0, half}), more.add_trees({half, e.trees()});
        sums.merge(more);
        const double scale = std::max<double>(1, static_cast<double>(rows.rows));
        for (std::size_t j = 0, at = 0; j < a.levels.size(); at += a.levels[j++].points) {
            Values one(a.grid->points(j) * outputs);
            sums.curve(j, one.data());
            for (std::size_t p = 0; p < a.levels[j].points; ++p)
                for (std::size_t c = 0; c < outputs; ++c)
                    CHECK_FOR(std::fabs(one[a.grid->index(j)[p] * outputs + c] - means[at + p][c]) < 1e-11 * scale, what + ", means, " + set->name);
        }
        for (std::size_t k = 0; k < pairs.size(); ++k) {
            const auto j = static_cast<std::size_t>(pairs[k].first), m = static_cast<std::size_t>(pairs[k].second);
            Values both(a.grid->points(j) * a.grid->points(m) * outputs);
            sums.surface(k, both.data());
            for (std::size_t p = 0; p < a.levels[j].points; ++p)
                for (std::size_t q = 0; q < a.levels[m].points; ++q) {
                    const auto replaced_outputs = replaced(e, x, a, {{j, p}, {m, q}});
                    for (std::size_t c = 0; c < outputs; ++c) {
                        double sum = 0;
                        for (std::size_t i = 0; i < rows.rows; ++i) sum += replaced_outputs[i * outputs + c] - e.base[c];
                        const std::size_t cell = a.grid->index(j)[p] * a.grid->points(m) + a.grid->index(m)[q];
                        CHECK_FOR(std::fabs(both[cell * outputs + c] - sum) < 1e-11 * scale, what + ", pairs, " + set->name);
                    }
                }
        }
    }
    std::vector<std::int32_t> low, high;
    Random random(20);
    for (std::size_t i = 0; i < rows.rows * a.levels.size(); ++i)
        for (auto* side : {&low, &high}) side->push_back(static_cast<std::int32_t>(random.below(a.levels[i % a.levels.size()].points)));
    Values moved(rows.rows * a.levels.size() * outputs);
    point_differences(e, a.levels, rows, low.data(), high.data(), moved.data());
    for (std::size_t i = 0; i < rows.rows; ++i)
        for (std::size_t j = 0, first = 0; j < a.levels.size(); first += a.levels[j++].points)
            for (std::size_t c = 0; c < outputs; ++c) {
                const auto at = [&](const std::vector<std::int32_t>& side) {
                    return expected[(i * given + first + static_cast<std::size_t>(side[i * a.levels.size() + j])) * outputs + c]; };
                CHECK_FOR(std::fabs(moved[(i * a.levels.size() + j) * outputs + c] - (at(high) - at(low))) < 1e-11, what + ", differences");
            }
}

}  // namespace

TEST(effects_of_random_ensembles) {
    // few leaves (as bits), many leaves (lists), many leaves with players of two columns (one way after the other)
    const EnsembleShape shapes[] = {{.columns = 3, .trees = 3, .depth = 4}, {.columns = 3, .trees = 2, .outputs = 2, .depth = 9, .categories = false},
        {.columns = 4, .trees = 2, .outputs = 3, .depth = 9, .vector = true}};
    for (std::size_t k = 0; k < std::size(shapes); ++k)
        for (std::uint64_t seed = 0; seed < 2; ++seed) {
            Random random(1000 * k + seed);
            const Ensemble e = random_ensemble(random, shapes[k]);
            const bool groups = k == 2;
            const std::vector<std::vector<std::int32_t>> players = groups ? std::vector<std::vector<std::int32_t>>{{0, 2}, {3}}
                : std::vector<std::vector<std::int32_t>>{{0}, {2}};
            const GridFixture a(e, players, {random_rows(random, 9, players[0].size()), random_rows(random, 7, players[1].size())});
            for (const std::size_t rows : {0, 1, 8, 9, 65}) compare_with_predictions(e, random_rows(random, rows, shapes[k].columns), a,
                "shape " + std::to_string(k) + ", " + std::to_string(rows) + " rows");
        }
}

TEST(effects_without_trees_of_one_leaf_and_of_a_chain) {
    Random random(12);
    const std::vector<std::vector<std::int32_t>> players{{0}, {1}};
    for (const Ensemble& e : {EnsembleBuilder(2, {0.5}).ensemble(), EnsembleBuilder(2, {0.5, 1}).tree(leaf(2), 1).ensemble(), chain(random, 300, 2),
                              EnsembleBuilder(2, {0.0}).tree(split(0, -0.0, 0, leaf(1), split(0, 0.0, kLessEqual, leaf(2),
                                  split(0, 5e-324, kMissingLeft, leaf(3), leaf(4))))).ensemble()}) {
        const GridFixture a(e, players, {{0.0, -0.0, 5e-324, -5e-324, kNan, 1e-320, kInf, -kInf}, {kNan}});
        compare_with_predictions(e, random_rows(random, 10, 2), a, "odd");
    }
}

TEST(categories_in_effects) {
    Random random(13);
    for (const bool as_list : {false, true}) {
        const Ensemble e = EnsembleBuilder(1, {0.0}).tree(in_set(0, {0, 31, 32, 63, 64}, 0, as_list, leaf(1), in_set(0, {33, 65}, kSetRight, as_list, leaf(2),
            leaf(3)))).ensemble();
        const GridFixture a(e, {{0}}, {{0, 30, 31, 32, 33, 63, 64, 65, 66, 31.5, -1, 4294967296.0, kNan, kInf}});
        compare_with_predictions(e, random_rows(random, 20, 1), a, "categories");
    }
}

TEST(weights_of_rows) {
    Random random(14);
    const Ensemble e = random_ensemble(random, {.columns = 2, .trees = 3, .depth = 5});
    const GridFixture a(e, {{0}}, {{0.1, 0.6, kNan}});
    const auto x = random_rows(random, 70, 2);
    Values weights;
    for (std::size_t i = 0; i < 70; ++i) weights.push_back(i % 3 ? random.uniform() : 0.0);
    for (const auto* set : instruction_sets()) {
        EffectSums sums(*a.grid, {}, *set);
        sums.load_rows(rows_of(x, 2), weights.data());
        sums.add_trees({0, e.trees()});
        Values one(a.grid->points(0));
        sums.curve(0, one.data());
        for (std::size_t p = 0; p < 3; ++p) {
            const auto replaced_outputs = replaced(e, x, a, {{0, p}});
            double sum = 0;
            for (std::size_t i = 0; i < 70; ++i) sum += weights[i] * (replaced_outputs[i] - e.base[0]);
            CHECK_FOR(std::fabs(one[a.grid->index(0)[p]] - sum) < 1e-10, set->name);
        }
    }
}

}  // namespace whybox::tests

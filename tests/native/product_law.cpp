// Trees under a product law against sums over all combinations of points.
#include "attribution/product_law.hpp"

#include <algorithm>
#include <cmath>

#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

using Values = std::vector<double>;

struct LawsFixture {  // of players of one column or two, with random masses on the points of a grid
    std::vector<Values> values;
    std::vector<PlayerPoints> points;
    ValueIntervals intervals;
    std::unique_ptr<Grid> grid;
    Values mass, derivative;
    std::vector<std::int64_t> laws;

    LawsFixture(const Ensemble& e, Random& random, const std::vector<std::vector<std::int32_t>>& players, std::vector<std::int64_t> n_laws)
        : intervals(e), laws(std::move(n_laws)) {
        for (const auto& columns : players) values.push_back(random_rows(random, 6, columns.size()));
        for (std::size_t j = 0; j < players.size(); ++j) points.push_back({players[j], values[j].data(), 6});
        grid = std::make_unique<Grid>(e, intervals, points);
        for (std::size_t j = 0; j < players.size(); ++j)
            for (std::int64_t law = 0; law < laws[j]; ++law) add_law(random, grid->points(j));
    }

    void add_law(Random& random, std::size_t count) {
        double sum = 0;
        const std::size_t first = mass.size();
        for (std::size_t p = 0; p < count; ++p) {
            mass.push_back(p == 0 || random.below(3) ? random.between(0.1, 1) : 0.0), sum += mass.back();
            derivative.push_back(mass.back() > 0 ? random.between(-1, 1) : 0.0);
        }
        for (std::size_t p = first; p < mass.size(); ++p) mass[p] /= sum;
        double rest = 0;
        for (std::size_t p = first; p < mass.size(); ++p) rest += derivative[p];
        derivative[first] -= rest;
    }

    PlayerLaws all() const { return {mass, derivative, laws}; }
    std::size_t first(std::size_t player) const {
        std::size_t at = 0;
        for (std::size_t j = 0; j < player; ++j) at += static_cast<std::size_t>(laws[j]) * grid->points(j);
        return at;
    }
};

// expected (outputs), then derivative (players x outputs), of one row.
Values by_enumeration(const Ensemble& e, const LawsFixture& a, const std::int64_t* law_of) {
    const std::size_t players = a.points.size(), outputs = static_cast<std::size_t>(e.outputs());
    Values out((players + 1) * outputs);
    for (std::size_t o = 0; o < outputs; ++o) out[o] = e.base[o];
    std::vector<std::size_t> at(players);  // positions in the grid
    for (bool done = false; !done;) {
        Values x(static_cast<std::size_t>(e.columns)), mass(players), derivative(players);
        for (std::size_t j = 0; j < players; ++j) {
            const auto index = a.grid->index(j);
            const auto given = static_cast<std::size_t>(std::find(index.begin(), index.end(), at[j]) - index.begin());
            const std::size_t n = a.points[j].columns.size(), cell = a.first(j) + static_cast<std::size_t>(law_of[j]) * a.grid->points(j) + at[j];
            for (std::size_t k = 0; k < n; ++k) x[static_cast<std::size_t>(a.points[j].columns[k])] = a.values[j][given * n + k];
            mass[j] = a.mass[cell], derivative[j] = a.derivative[cell];
        }
        const Values outputs_here = predictions(e, x, false);
        for (std::size_t set = 0; set <= players; ++set) {
            double product = 1;
            for (std::size_t j = 0; j < players; ++j) product *= j + 1 == set ? derivative[j] : mass[j];
            for (std::size_t o = 0; o < outputs; ++o) out[set * outputs + o] += product * outputs_here[o];
        }
        std::size_t j = 0;
        while (j < players && ++at[j] == a.grid->points(j)) at[j++] = 0;
        done = j == players;
    }
    return out;
}

void compare(const Ensemble& e, const LawsFixture& a, Random& random, std::size_t rows, const std::string& what) {
    const std::size_t players = a.points.size(), outputs = static_cast<std::size_t>(e.outputs());
    std::vector<std::int64_t> law_of;
    for (std::size_t i = 0; i < rows * players; ++i) law_of.push_back(static_cast<std::int64_t>(random.below(static_cast<std::size_t>(a.laws[i % players]))));
    std::vector<Values> want;
    for (std::size_t i = 0; i < rows; ++i) want.push_back(by_enumeration(e, a, law_of.data() + i * players));
    const ProductPaths paths(*a.grid);
    for (const auto* set : instruction_sets())
        for (const std::size_t max_bytes : {std::size_t{1}, std::size_t{1} << 20})
            for (const int threads : {1, 3}) {
                Values expected, derivative(rows * players * outputs);
                for (std::size_t i = 0; i < rows; ++i) expected.insert(expected.end(), e.base.begin(), e.base.end());
                for (std::size_t first = 0; first < e.trees();) {
                    const ProductTables tables(paths, a.all(), first, max_bytes, threads);
                    tables.run(law_of.data(), rows, *set, threads, expected.data(), derivative.data());
                    CHECK(tables.trees().last > first);
                    first = tables.trees().last;
                }
                for (std::size_t i = 0; i < rows; ++i)
                    for (std::size_t k = 0; k < (players + 1) * outputs; ++k) {
                        const double got = k < outputs ? expected[i * outputs + k] : derivative[i * players * outputs + k - outputs];
                        CHECK_FOR(std::fabs(got - want[i][k]) < 1e-12, what + ", " + set->name);
                    }
            }
}

}  // namespace

TEST(product_laws_of_random_ensembles) {
    const EnsembleShape shapes[] = {{.columns = 3, .trees = 3, .depth = 4}, {.columns = 4, .trees = 2, .outputs = 3, .depth = 7, .vector = true},
        {.columns = 3, .trees = 4, .outputs = 2, .depth = 5, .categories = false}};
    for (std::size_t k = 0; k < std::size(shapes); ++k)
        for (const std::int64_t laws : {1, 4, 8, 16, 20}) {
            Random random(100 * k + static_cast<std::uint64_t>(laws));
            const Ensemble e = random_ensemble(random, shapes[k]);
            std::vector<std::vector<std::int32_t>> players{{2, 0}, {1}};
            if (shapes[k].columns > 3) players.push_back({3});
            std::vector<std::int64_t> n_laws(players.size(), laws);
            n_laws[0] = std::min<std::int64_t>(laws, 3);  // some players with few laws, some with many
            const LawsFixture a(e, random, players, n_laws);
            for (const std::size_t rows : {0, 1, 8, 35}) compare(e, a, random, rows, "shape " + std::to_string(k) + ", " + std::to_string(laws) + " laws");
        }
}

TEST(product_laws_of_one_leaf_and_of_a_chain) {
    Random random(31);
    for (const Ensemble& e : {EnsembleBuilder(2, {0.5}).ensemble(), EnsembleBuilder(2, {0.5}).tree(leaf(2), 0).ensemble(), chain(random, 300, 2)}) {
        const LawsFixture a(e, random, {{0}, {1}}, {2, 2});
        compare(e, a, random, 9, "odd");
    }
}

TEST(product_laws_need_every_column) {
    const Ensemble e = EnsembleBuilder(2, {0.0}).tree(split(1, 0.5, 0, leaf(1), leaf(2))).ensemble();
    Random random(32);
    const LawsFixture a(e, random, {{0}}, {1});
    bool refused = false;
    try {
        const ProductPaths paths(*a.grid);
    } catch (const std::invalid_argument&) {
        refused = true;
    }
    CHECK(refused);
}

}  // namespace whybox::tests

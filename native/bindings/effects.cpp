// Bindings of feature effects.
#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "attribution/product_law.hpp"
#include "bindings/arrays.hpp"
#include "effects/curves.hpp"
#include "effects/effects.hpp"
#include "effects/off_data.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::bindings {
namespace {

// The points of a grid with all that kernels need of the model; the values are copied.
class EffectGrid {
public:
    std::vector<double> values;
    std::vector<whybox::PlayerPoints> points_of_players;
    std::unique_ptr<whybox::Grid> grid;
    std::size_t total_points = 0;  // points of all players

    // Made at the first call, by whichever thread comes first.
    const whybox::CurvePlan& curves() const {
        std::call_once(once_, [&] { plan_ = std::make_unique<whybox::CurvePlan>(*grid); });
        return *plan_;
    }

    // The same, of lists alone.
    const whybox::CurvePlan& lists() const {
        std::call_once(once_lists_, [&] { lists_ = std::make_unique<whybox::CurvePlan>(*grid, true); });
        return *lists_;
    }

    EffectGrid(const Ensemble& e, const whybox::ValueIntervals& classes, const Vector<std::int32_t>& columns, const Vector<std::int64_t>& offsets,
            const Vector<double>& all, const Vector<std::int64_t>& points)
        : values(all.data(), all.data() + all.size()) {
        require(offsets.size() == points.size() + 1 && offsets(0) == 0 && offsets(points.size()) == static_cast<std::int64_t>(columns.size()), "offsets out of range");
        std::vector<char> has_player(static_cast<std::size_t>(e.columns));
        std::size_t n_used = 0;
        for (std::size_t j = 0; j < points.size(); ++j) {
            require(offsets(j) < offsets(j + 1) && points(j) > 0, "a player without columns or points");
            points_of_players.push_back({{columns.data() + offsets(j), columns.data() + offsets(j + 1)}, values.data() + n_used, static_cast<std::size_t>(points(j))});
            for (const auto c : points_of_players.back().columns) {
                require(c >= 0 && c < e.columns && !has_player[static_cast<std::size_t>(c)], "a column is out of range or belongs to two players");
                has_player[static_cast<std::size_t>(c)] = 1;
            }
            n_used += points_of_players.back().points * points_of_players.back().columns.size();
            total_points += points_of_players.back().points;
            require(n_used <= values.size(), "too few values");
        }
        require(n_used == values.size(), "too many values");
        require(!e.has_linear_leaves(), "effects of linear leaves are not step functions");
        nb::gil_scoped_release release;
        grid = std::make_unique<whybox::Grid>(e, classes, points_of_players);
    }
    std::size_t outputs() const { return static_cast<std::size_t>(grid->e.outputs()); }

private:
    mutable std::once_flag once_, once_lists_;
    mutable std::unique_ptr<whybox::CurvePlan> plan_, lists_;
};

}  // namespace

void bind_effects(nb::module_& m) {
    nb::class_<ValueIntervals>(m, "ValueIntervals")
        .def("__init__", [](ValueIntervals* self, const Ensemble& e) {
            nb::gil_scoped_release release;
            new (self) ValueIntervals(e);
        }, "ensemble"_a)
        .def("interval_count", [](const ValueIntervals& c, std::size_t column) { return c.edges(column).size(); }, "column"_a)
        .def("edges", [](const ValueIntervals& c, std::size_t column, Out<double> out) {
            const auto edges = c.edges(column);
            require(out.size() == edges.size(), "out has the wrong size");
            std::copy(edges.begin(), edges.end(), out.data());
        }, "column"_a, "out"_a.noconvert())
        .def("find", [](const ValueIntervals& c, std::size_t column, Vector<double> x, Out<std::uint32_t> out) {
            require(column < c.columns() && out.size() == x.size(), "there is no such column, or out has the wrong size");
            nb::gil_scoped_release release;
            c.find(column, x.data(), 1, x.size(), out.data());
        }, "column"_a, "x"_a.noconvert(), "out"_a.noconvert());
    nb::class_<EffectGrid>(m, "EffectGrid")
        .def(nb::init<const Ensemble&, const ValueIntervals&, const Vector<std::int32_t>&, const Vector<std::int64_t>&, const Vector<double>&,
            const Vector<std::int64_t>&>(),
             nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), "ensemble"_a, "intervals"_a, "columns"_a.noconvert(), "offsets"_a.noconvert(), "values"_a.noconvert(),
             "points"_a.noconvert())
        .def("point_count", [](const EffectGrid& g, std::size_t player) {
            require(player < g.points_of_players.size(), "there is no such player");
            return g.grid->points(player);
        }, "player"_a)
        .def("point_order", [](const EffectGrid& g, std::size_t player, Out<std::uint32_t> out) {
            require(player < g.points_of_players.size() && out.size() == g.points_of_players[player].points, "out has the wrong size");
            const auto index = g.grid->index(player);
            std::copy(index.begin(), index.end(), out.data());
        }, "player"_a, "out"_a.noconvert())
        // out: points in the caller's order
        .def("individual_curves", [](const EffectGrid& g, Matrix x, const char* instructions, Out<double> out) {
            require_columns(g.grid->e, x);
            require(out.size() == x.shape(0) * g.total_points * g.outputs(), "out must be rows x points of all players x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release release;
            whybox::individual(g.curves(), rows(x), set, out.data());
        }, "x"_a.noconvert(), "instructions"_a, "out"_a.noconvert())
        // centre: points x outputs
        .def("curve_moments", [](const EffectGrid& g, Matrix x, const char* instructions, Vector<double> weights, int link, bool less_own, Vector<double> centre,
            Out<double> sum, Out<double> squares) {
            require_columns(g.grid->e, x);
            const std::size_t cells = g.grid->total() * g.outputs();
            require(weights.size() == x.shape(0) && centre.size() == cells && sum.size() == cells && squares.size() == cells && link >= 0 && link <= 3,
                   "centre and sums must be points x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release release;
            whybox::moments(g.curves(), rows(x), set, weights.data(), static_cast<whybox::Link>(link), less_own, centre.data(), sum.data(), squares.data());
        }, "x"_a.noconvert(), "instructions"_a, "weights"_a.noconvert(), "link"_a, "less_own"_a, "centre"_a.noconvert(), "total"_a.noconvert(), "squares"_a.noconvert())
        .def("row_averages", [](const EffectGrid& g, Matrix x, const char* instructions, Vector<double> masses, Out<double> out) {
            require_columns(g.grid->e, x);
            require(masses.size() == g.grid->total() && out.size() == x.shape(0) * g.points_of_players.size() * g.outputs(), "out must be rows x players x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release release;
            whybox::averages(g.curves(), rows(x), set, masses.data(), out.data());
        }, "x"_a.noconvert(), "instructions"_a, "masses"_a.noconvert(), "out"_a.noconvert())
        // loss: kind, link; parameters: scale, level. own_points: rows x players, of the grid's own points; watched: row, player, point of each
        .def("has_path_lists", [](const EffectGrid& g) {
            nb::gil_scoped_release release;
            return !g.lists().any(whybox::CurvePlan::TreeMethod::walk);
        })
        .def("pair_losses", [](const EffectGrid& g, Matrix x, const char* instructions, bool at_changes, int kind, int link, double scale, double level, std::size_t first_output,
            std::size_t outputs, Vector<double> truth, Vector<double> row_weights, Vector<std::int32_t> own_points, Vector<double> point_weights,
            Vector<std::int64_t> watched, Out<double> own_outputs, Out<double> of_row, Out<double> at_points, Out<double> watched_outputs, Out<double> watched_differences) {
            require_columns(g.grid->e, x);
            const std::size_t count = x.shape(0), players = g.points_of_players.size(), total = g.grid->total(), n_watched = watched.size() / 3;
            require(kind >= 0 && kind <= 6 && link >= 0 && link <= 3 && outputs > 0 && first_output + outputs <= g.outputs(), "no such loss");
            require(truth.size() == count && row_weights.size() == count && own_points.size() == count * players && of_row.size() == count * players &&
                own_outputs.size() == count * outputs, "one truth, weight and point a row");
            require(point_weights.size() == total && at_points.size() == total, "one weight a point");
            require(watched.size() == 3 * n_watched && watched_outputs.size() == n_watched * outputs && watched_differences.size() == n_watched,
                "three numbers for each point that is watched");
            for (std::size_t k = 0; k < count * players; ++k)
                require(own_points(k) >= 0 && static_cast<std::size_t>(own_points(k)) < g.grid->points(k % players), "there is no such point");
            std::vector<whybox::WatchedPoint> points;
            for (std::size_t w = 0; w < n_watched; ++w) {
                points.push_back({static_cast<std::size_t>(watched(3 * w)), static_cast<std::size_t>(watched(3 * w + 1)), static_cast<std::size_t>(watched(3 * w + 2))});
                require(points[w].row < count && points[w].player < players && points[w].point < g.grid->points(points[w].player), "there is no such point to watch");
                require(w == 0 || points[w - 1].row <= points[w].row, "points that are watched come in the order of rows");
            }
            require(!at_changes || !g.lists().any(whybox::CurvePlan::TreeMethod::walk), "these trees have splits that no list of paths follows");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release release;
            const auto run = at_changes ? whybox::pair_losses_at_changes : whybox::pair_losses;
            run(at_changes ? g.lists() : g.curves(), rows(x), set, {{static_cast<whybox::LossKind>(kind), static_cast<whybox::Link>(link), scale, level}, first_output, outputs,
                truth.data(), row_weights.data(), own_points.data(), point_weights.data()}, points, own_outputs.data(), of_row.data(), at_points.data(),
                watched_outputs.data(), watched_differences.data());
        }, "x"_a.noconvert(), "instructions"_a, "at_changes"_a, "kind"_a, "link"_a, "scale"_a, "level"_a, "first_output"_a, "outputs"_a, "truth"_a.noconvert(),
             "row_weights"_a.noconvert(), "own_points"_a.noconvert(), "point_weights"_a.noconvert(), "watched"_a.noconvert(), "own_outputs"_a.noconvert(), "of_row"_a.noconvert(),
             "at_points"_a.noconvert(), "watched_outputs"_a.noconvert(), "watched_differences"_a.noconvert())
        .def("point_differences", [](const EffectGrid& g, Matrix x, Vector<std::int32_t> low, Vector<std::int32_t> high, Out<double> out) {
            require_columns(g.grid->e, x);
            const std::size_t cells = x.shape(0) * g.points_of_players.size();
            require(low.size() == cells && high.size() == cells && out.size() == cells * g.outputs(), "out must be rows x players x outputs");
            for (const auto& some : {low, high})
                for (std::size_t i = 0; i < cells; ++i)
                    require(some(i) >= 0 && static_cast<std::size_t>(some(i)) < g.points_of_players[i % g.points_of_players.size()].points, "there is no such point");
            nb::gil_scoped_release release;
            whybox::point_differences(g.grid->e, g.points_of_players, rows(x), low.data(), high.data(), out.data());
        }, "x"_a.noconvert(), "low"_a.noconvert(), "high"_a.noconvert(), "out"_a.noconvert())
        .def("product_paths", [](const EffectGrid& g) {
            nb::gil_scoped_release release;
            return new whybox::ProductPaths(*g.grid);
        }, nb::keep_alive<0, 1>())
        .def("effect_sums", [](const EffectGrid& g, Vector<std::int32_t> first, Vector<std::int32_t> second, const char* instructions) {
            require(first.size() == second.size(), "pairs have two players");
            std::vector<EffectSums::Pair> pairs;
            for (std::size_t i = 0; i < first.size(); ++i) {
                require(first(i) >= 0 && first(i) < second(i) && static_cast<std::size_t>(second(i)) < g.points_of_players.size(),
                    "pairs are two different players in order");
                pairs.emplace_back(first(i), second(i));
            }
            return new EffectSums(*g.grid, std::move(pairs), whybox::instruction_set(instructions));
        }, nb::keep_alive<0, 1>(), "first"_a.noconvert(), "second"_a.noconvert(), "instructions"_a);
    nb::class_<EffectSums>(m, "EffectSums")
        .def("load_rows", [](EffectSums& s, Matrix x, Vector<double> weights) {
            require_columns(s.grid.e, x);
            require(x.shape(0) <= whybox::RowBlock::kMaxRows && (weights.size() == 0 || weights.size() == x.shape(0)), "too many rows, or not one weight a row");
            nb::gil_scoped_release release;
            s.load_rows(rows(x), weights.size() ? weights.data() : nullptr);
        }, "x"_a.noconvert(), "weights"_a.noconvert())
        .def("add_trees", [](EffectSums& s, std::size_t first_tree, std::size_t last_tree) {
            require(first_tree <= last_tree && last_tree <= s.grid.e.trees(), "no such trees");
            nb::gil_scoped_release release;
            s.add_trees({first_tree, last_tree});
        }, "first_tree"_a, "last_tree"_a)
        .def("merge", &EffectSums::merge, "other"_a)
        .def("curve", [](const EffectSums& s, std::size_t player, Out<double> out) {
            require(player < s.grid.players() && out.size() == s.grid.points(player) * static_cast<std::size_t>(s.grid.e.outputs()), "out must be points x outputs");
            s.curve(player, out.data());
        }, "player"_a, "out"_a.noconvert())
        .def("surface", [](const EffectSums& s, std::size_t which, Out<double> out) {
            require(which < s.pairs.size(), "there is no such pair");
            const auto [j, k] = s.pairs[which];
            require(out.size() == s.grid.points(static_cast<std::size_t>(j)) * s.grid.points(static_cast<std::size_t>(k)) * static_cast<std::size_t>(s.grid.e.outputs()),
                   "out must be points x points x outputs");
            nb::gil_scoped_release release;
            s.surface(which, out.data());
        }, "which"_a, "out"_a.noconvert());
    m.def("off_data_shares", [](Matrix data, Vector<std::int64_t> changed, Vector<double> weights, double usual_share, Vector<std::int64_t> neighbours, std::size_t size,
                                 Vector<std::int64_t> starts, const char* instructions, Out<double> shares, Out<double> squares) {
        const auto count = static_cast<std::int64_t>(data.shape(0));
        require(weights.size() == changed.size() && usual_share > 0.0 && usual_share <= 1.0, "changed rows must have one weight each, and the share must be above 0, at most 1");
        for (std::size_t i = 0; i < changed.size(); ++i)
            require(changed(i) >= 0 && changed(i) < count && (i == 0 || changed(i - 1) < changed(i)), "changed rows must be rows, in order");
        require(size > 0 && neighbours.size() % size == 0, "all sets must have the same number of neighbours");
        for (const auto k : span(neighbours)) require(k >= 0 && k < count, "there is no such row");
        require((starts.size() == 2 || starts.size() == 5) && starts(0) == 0 && starts(starts.size() - 1) == static_cast<std::int64_t>(size), "parts must cover the neighbours: all, or four");
        for (std::size_t p = 1; p < starts.size(); ++p) require(starts(p - 1) < starts(p), "parts must come in order, none empty");
        const std::size_t sets = neighbours.size() / size;
        require(shares.size() == sets * (starts.size() == 5 ? 1 + whybox::kHalfPairs : 1) && squares.size() == sets, "out must have a line for each set");
        const auto& set = whybox::instruction_set(instructions);
        nb::gil_scoped_release release;
        whybox::off_data_shares({rows(data), span(changed), span(weights), usual_share}, span(neighbours), size, span(starts), set, shares.data(), squares.data());
    }, "data"_a.noconvert(), "changed"_a.noconvert(), "weights"_a.noconvert(), "usual_share"_a, "neighbours"_a.noconvert(), "size"_a, "starts"_a.noconvert(), "instructions"_a,
       "shares"_a.noconvert(), "squares"_a.noconvert());
}

}  // namespace whybox::bindings

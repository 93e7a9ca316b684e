// Bindings of feature effects.
#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "effects/curves.hpp"
#include "effects/effects.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::bindings {
namespace {

// The points of a grid with all that kernels need of the model; the values are copied.
class Effects {
public:
    std::vector<double> values;
    std::vector<whybox::Levels> levels;
    std::unique_ptr<whybox::Grid> grid;
    std::size_t given = 0;  // points of all players

    // Made at the first call, by whichever thread comes first.
    const whybox::CurvePlan& curves() const {
        std::call_once(once_, [&] { plan_ = std::make_unique<whybox::CurvePlan>(*grid); });
        return *plan_;
    }

    Effects(const Ensemble& e, const whybox::Classes& classes, const Vector<std::int32_t>& columns, const Vector<std::int64_t>& offsets,
            const Vector<double>& all, const Vector<std::int64_t>& points)
        : values(all.data(), all.data() + all.size()) {
        expect(offsets.size() == points.size() + 1 && offsets(0) == 0 && offsets(points.size()) == static_cast<std::int64_t>(columns.size()), "offsets out of range");
        std::vector<char> taken(static_cast<std::size_t>(e.columns));
        std::size_t used = 0;
        for (std::size_t j = 0; j < points.size(); ++j) {
            expect(offsets(j) < offsets(j + 1) && points(j) > 0, "a player without columns or points");
            levels.push_back({{columns.data() + offsets(j), columns.data() + offsets(j + 1)}, values.data() + used, static_cast<std::size_t>(points(j))});
            for (const auto c : levels.back().columns) {
                expect(c >= 0 && c < e.columns && !taken[static_cast<std::size_t>(c)], "a column is out of range or belongs to two players");
                taken[static_cast<std::size_t>(c)] = 1;
            }
            used += levels.back().points * levels.back().columns.size();
            given += levels.back().points;
            expect(used <= values.size(), "too few values");
        }
        expect(used == values.size(), "too many values");
        expect(!e.linear(), "effects of linear leaves are not step functions");
        nb::gil_scoped_release free;
        grid = std::make_unique<whybox::Grid>(e, classes, levels);
    }
    std::size_t outputs() const { return static_cast<std::size_t>(grid->e.outputs()); }

private:
    mutable std::once_flag once_;
    mutable std::unique_ptr<whybox::CurvePlan> plan_;
};

}  // namespace

void bind_effects(nb::module_& m) {
    nb::class_<Classes>(m, "Classes")
        .def("__init__", [](Classes* self, const Ensemble& e) {
            nb::gil_scoped_release free;
            new (self) Classes(e);
        }, "ensemble"_a)
        .def("count", [](const Classes& c, std::size_t column) { return c.edges(column).size(); }, "column"_a)
        .def("edges", [](const Classes& c, std::size_t column, Out<double> out) {
            const auto edges = c.edges(column);
            expect(out.size() == edges.size(), "out has the wrong size");
            std::copy(edges.begin(), edges.end(), out.data());
        }, "column"_a, "out"_a.noconvert());
    nb::class_<Effects>(m, "Effects")
        .def(nb::init<const Ensemble&, const Classes&, const Vector<std::int32_t>&, const Vector<std::int64_t>&, const Vector<double>&, const Vector<std::int64_t>&>(),
             nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), "ensemble"_a, "classes"_a, "columns"_a.noconvert(), "offsets"_a.noconvert(), "values"_a.noconvert(),
             "points"_a.noconvert())
        .def("points", [](const Effects& g, std::size_t player) {
            expect(player < g.levels.size(), "there is no such player");
            return g.grid->points(player);
        }, "player"_a)
        .def("index", [](const Effects& g, std::size_t player, Out<std::uint32_t> out) {
            expect(player < g.levels.size() && out.size() == g.levels[player].points, "out has the wrong size");
            const auto index = g.grid->index(player);
            std::copy(index.begin(), index.end(), out.data());
        }, "player"_a, "out"_a.noconvert())
        // out: points in the caller's order
        .def("individual", [](const Effects& g, Matrix x, const char* instructions, Out<double> out) {
            check(g.grid->e, x);
            expect(out.size() == x.shape(0) * g.given * g.outputs(), "out must be rows x points of all players x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release free;
            whybox::individual(g.curves(), rows(x), set, out.data());
        }, "x"_a.noconvert(), "instructions"_a, "out"_a.noconvert())
        // centre: points x outputs
        .def("moments", [](const Effects& g, Matrix x, const char* instructions, Vector<double> weights, int link, bool less_own, Vector<double> centre, Out<double> sum, Out<double> squares) {
            check(g.grid->e, x);
            const std::size_t cells = g.grid->total() * g.outputs();
            expect(weights.size() == x.shape(0) && centre.size() == cells && sum.size() == cells && squares.size() == cells && link >= 0 && link <= 3,
                   "centre and sums must be points x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release free;
            whybox::moments(g.curves(), rows(x), set, weights.data(), static_cast<whybox::Link>(link), less_own, centre.data(), sum.data(), squares.data());
        }, "x"_a.noconvert(), "instructions"_a, "weights"_a.noconvert(), "link"_a, "less_own"_a, "centre"_a.noconvert(), "total"_a.noconvert(), "squares"_a.noconvert())
        .def("averages", [](const Effects& g, Matrix x, const char* instructions, Vector<double> masses, Out<double> out) {
            check(g.grid->e, x);
            expect(masses.size() == g.grid->total() && out.size() == x.shape(0) * g.levels.size() * g.outputs(), "out must be rows x players x outputs");
            const auto& set = whybox::instruction_set(instructions);
            nb::gil_scoped_release free;
            whybox::averages(g.curves(), rows(x), set, masses.data(), out.data());
        }, "x"_a.noconvert(), "instructions"_a, "masses"_a.noconvert(), "out"_a.noconvert())
        .def("shifted", [](const Effects& g, Matrix x, Vector<std::int32_t> low, Vector<std::int32_t> high, Out<double> out) {
            check(g.grid->e, x);
            const std::size_t cells = x.shape(0) * g.levels.size();
            expect(low.size() == cells && high.size() == cells && out.size() == cells * g.outputs(), "out must be rows x players x outputs");
            for (const auto& some : {low, high})
                for (std::size_t i = 0; i < cells; ++i)
                    expect(some(i) >= 0 && static_cast<std::size_t>(some(i)) < g.levels[i % g.levels.size()].points, "there is no such point");
            nb::gil_scoped_release free;
            whybox::shifted(g.grid->e, g.levels, rows(x), low.data(), high.data(), out.data());
        }, "x"_a.noconvert(), "low"_a.noconvert(), "high"_a.noconvert(), "out"_a.noconvert())
        .def("means", [](const Effects& g, Vector<std::int32_t> first, Vector<std::int32_t> second, const char* instructions) {
            expect(first.size() == second.size(), "pairs have two players");
            std::vector<Means::Pair> pairs;
            for (std::size_t i = 0; i < first.size(); ++i) {
                expect(first(i) >= 0 && first(i) < second(i) && static_cast<std::size_t>(second(i)) < g.levels.size(), "pairs are two different players in order");
                pairs.emplace_back(first(i), second(i));
            }
            return new Means(*g.grid, std::move(pairs), whybox::instruction_set(instructions));
        }, nb::keep_alive<0, 1>(), "first"_a.noconvert(), "second"_a.noconvert(), "instructions"_a);
    nb::class_<Means>(m, "Means")
        .def("fill", [](Means& s, Matrix x, Vector<double> weights) {
            check(s.grid.e, x);
            expect(x.shape(0) <= whybox::Block::kMost && (weights.size() == 0 || weights.size() == x.shape(0)), "too many rows, or not one weight a row");
            nb::gil_scoped_release free;
            s.fill(rows(x), weights.size() ? weights.data() : nullptr);
        }, "x"_a.noconvert(), "weights"_a.noconvert())
        .def("add", [](Means& s, std::size_t first_tree, std::size_t last_tree) {
            expect(first_tree <= last_tree && last_tree <= s.grid.e.trees(), "no such trees");
            nb::gil_scoped_release free;
            s.add({first_tree, last_tree});
        }, "first_tree"_a, "last_tree"_a)
        .def("merge", &Means::merge, "other"_a)
        .def("one", [](const Means& s, std::size_t player, Out<double> out) {
            expect(player < s.grid.players() && out.size() == s.grid.points(player) * static_cast<std::size_t>(s.grid.e.outputs()), "out must be points x outputs");
            s.one(player, out.data());
        }, "player"_a, "out"_a.noconvert())
        .def("pair", [](const Means& s, std::size_t which, Out<double> out) {
            expect(which < s.pairs.size(), "there is no such pair");
            const auto [j, k] = s.pairs[which];
            expect(out.size() == s.grid.points(static_cast<std::size_t>(j)) * s.grid.points(static_cast<std::size_t>(k)) * static_cast<std::size_t>(s.grid.e.outputs()),
                   "out must be points x points x outputs");
            nb::gil_scoped_release free;
            s.pair(which, out.data());
        }, "which"_a, "out"_a.noconvert());
}

}  // namespace whybox::bindings

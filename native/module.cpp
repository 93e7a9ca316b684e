// The only native file that knows Python: it checks dtypes and extents, releases the GIL, calls a kernel, returns.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "attribute.hpp"
#include "bit_walk.hpp"
#include "effects_curves.hpp"
#include "kernels.hpp"
#include "patterns.hpp"
#include "work.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using whybox::Arrays, whybox::Attributor, whybox::Background, whybox::Chunk, whybox::Ensemble, whybox::Players, whybox::Quadrature, whybox::Rows, whybox::Rule, whybox::Span;

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<const T> span(const Vector<T>& v) { return {v.data(), v.size()}; }
Rows rows(const Matrix& m) { return {m.data(), m.shape(0), m.shape(1)}; }

void expect(bool ok, const char* what) {
    if (!ok) throw std::invalid_argument(what);
}

void check(const Ensemble& e, const Matrix& x) {
    if (x.shape(1) != static_cast<std::size_t>(e.columns))
        throw std::invalid_argument("the matrix has " + std::to_string(x.shape(1)) + " columns, the ensemble " + std::to_string(e.columns));
}

Players players(const Ensemble& e, const Vector<std::int32_t>& of_column, int count) {
    expect(of_column.size() == static_cast<std::size_t>(e.columns) && count > 0, "one player per model column");
    for (const auto p : span(of_column)) expect(p >= 0 && p < count, "player out of range");
    return {span(of_column), count};
}

std::size_t attributions(const Ensemble& e, int count, int order) {
    expect(order == 1 || order == 2, "order must be 1 or 2");
    return static_cast<std::size_t>(count) * (order == 2 ? count : 1) * e.outputs();
}

Background background(const Ensemble& e, const Matrix& b, const Matrix& weights, std::size_t n) {
    check(e, b);
    const bool per_row = weights.shape(0) != 1;
    expect(weights.shape(1) == b.shape(0) && (!per_row || weights.shape(0) == n), "one weight per background row, or one per row and background row");
    return {rows(b), weights.data(), per_row};
}

// Quadrature rules laid end to end; rule r spans offsets[r] .. offsets[r + 1].
std::vector<Quadrature> rules(const Vector<double>& nodes, const Vector<double>& weights, const Vector<std::int64_t>& offsets) {
    expect(nodes.size() == weights.size() && offsets.size() > 1, "rules must have as many nodes as weights");
    std::vector<Quadrature> out;
    for (std::size_t r = 0; r + 1 < offsets.size(); ++r) {
        const auto from = offsets(r), to = offsets(r + 1);
        expect(from >= 0 && from < to && static_cast<std::size_t>(to) <= nodes.size(), "rule out of range");
        out.push_back({span(nodes).subspan(from, to - from), span(weights).subspan(from, to - from)});
    }
    return out;
}

std::vector<std::int32_t> numbers(const Ensemble& e, const Vector<std::int32_t>& rule_of_tree, std::size_t rules) {
    expect(rule_of_tree.size() == e.trees(), "one rule per tree");
    for (const auto r : span(rule_of_tree)) expect(r >= 0 && static_cast<std::size_t>(r) < rules, "rule out of range");
    return {rule_of_tree.data(), rule_of_tree.data() + rule_of_tree.size()};
}

std::vector<Rule> kept(const std::vector<Quadrature>& rules) {
    std::vector<Rule> out;
    for (const auto& r : rules) out.push_back({{r.nodes.begin(), r.nodes.end()}, {r.weights.begin(), r.weights.end()}});
    return out;
}

class Part {  // a chunk with what extents are checked against
public:
    const Ensemble& e;
    std::size_t cells;
    std::shared_ptr<Chunk> chunk;

    template <class O>
    void run(const Matrix& x, const Out<O>& out, int threads) const {
        check(e, x);
        expect(threads > 0 && out.size() == x.shape(0) * cells, "out has the wrong size");
        nb::gil_scoped_release free;
        if (x.shape(0)) chunk->run(rows(x), out.data(), threads);
    }
};

class Attribution {
public:
    const Ensemble& e;
    std::unique_ptr<Attributor> work;

    Part* chunk(std::size_t first, std::size_t bytes, int threads) const {
        expect(threads > 0 && first < e.trees(), "there is no such tree");
        nb::gil_scoped_release free;
        return new Part{e, work->row(), work->chunk(first, bytes, threads)};
    }
};

// The points of a grid and what they are asked of; the values are copied.
class Effects {
public:
    std::vector<double> values;
    std::vector<whybox::Levels> levels;
    std::unique_ptr<whybox::Grid> grid;
    std::size_t given = 0;  // points of all players

    // Made when first asked for, by whichever thread comes first.
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

void put(const whybox::Work& w, double* out) {
    out[0] = w.vectors;
    out[1] = w.entries;
    out[2] = w.build;
}

// No path has more players than this. Counting them walks the trees, so not where their depth says enough.
int most_on_path(const Ensemble& e, const Players& p, Span trees, int enough) {
    int most = 0;
    for (std::size_t t = trees.from; t < trees.to; ++t) most = std::max(most, e.depth[t]);
    most = std::min(most, p.count);
    if (most <= enough) return most;
    most = 0;
    for (std::size_t t = trees.from; t < trees.to; ++t) most = std::max(most, p.on_path(e, t));
    return most;
}
int longest_path(const Ensemble& e, const Players& p) { return most_on_path(e, p, {0, e.trees()}, 0); }

void bind_effects(nb::module_& m) {
    using whybox::Classes, whybox::Means;
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

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of whybox. Not public: use whybox.kernels.";
    m.def("instruction_sets", [] {
        nb::list names;
        for (const auto* s : whybox::instruction_sets()) names.append(nb::make_tuple(s->name, s->single.table_bits, s->exact.table_bits, s->single.rows, s->exact.rows));
        return names;
    });
    nb::class_<Ensemble> ensemble(m, "Ensemble");
    ensemble
        .def(
            "__init__",
            [](Ensemble* self, Vector<std::int64_t> tree_offsets, Vector<std::int32_t> left, Vector<std::int32_t> right, Vector<std::int32_t> feature,
               Vector<std::int32_t> leaf, Vector<double> threshold, Vector<double> cover, Vector<std::uint8_t> flags, Vector<std::int64_t> set_begin,
               Vector<std::int32_t> set_words, Vector<std::uint32_t> sets, Vector<double> leaf_values, Vector<std::int32_t> tree_output,
               Vector<double> tree_weight, Vector<double> base, Vector<std::int64_t> linear_offset, Vector<std::int32_t> linear_feature,
               Vector<double> linear_coef, Vector<double> linear_const, std::int32_t columns) {
                new (self) Ensemble(Arrays{span(tree_offsets), span(left), span(right), span(feature), span(leaf), span(threshold), span(cover),
                                           span(flags), span(set_begin), span(set_words), span(sets), span(leaf_values), span(tree_output),
                                           span(tree_weight), span(base), span(linear_offset), span(linear_feature), span(linear_coef),
                                           span(linear_const), columns});
            },
            nb::kw_only(), "tree_offsets"_a.noconvert(), "left"_a.noconvert(), "right"_a.noconvert(), "feature"_a.noconvert(), "leaf"_a.noconvert(),
            "threshold"_a.noconvert(), "cover"_a.noconvert(), "flags"_a.noconvert(), "set_begin"_a.noconvert(), "set_words"_a.noconvert(),
            "sets"_a.noconvert(), "leaf_values"_a.noconvert(), "tree_output"_a.noconvert(), "tree_weight"_a.noconvert(), "base"_a.noconvert(),
            "linear_offset"_a.noconvert(), "linear_feature"_a.noconvert(), "linear_coef"_a.noconvert(), "linear_const"_a.noconvert(), "columns"_a)
        .def_prop_ro("depth", [](const Ensemble& e) { return e.depth.empty() ? 0 : *std::max_element(e.depth.begin(), e.depth.end()); })
        .def("predict",
             [](const Ensemble& e, Matrix x, Out<double> out, std::size_t first, std::size_t last) {
                 check(e, x);
                 expect(out.size() == x.shape(0) * e.outputs(), "out must be rows x outputs");
                 expect(first <= last && last <= e.trees(), "there are no such trees");
                 nb::gil_scoped_release free;
                 whybox::predict(e, rows(x), first, last, out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert(), "first_tree"_a, "last_tree"_a)
        .def("leaves",
             [](const Ensemble& e, Matrix x, Out<std::int32_t> out) {
                 check(e, x);
                 expect(out.size() == x.shape(0) * e.trees(), "out must be rows x trees");
                 nb::gil_scoped_release free;
                 whybox::leaves(e, rows(x), out.data());
             }, "x"_a.noconvert(), "out"_a.noconvert())
        .def("expectation",
             [](const Ensemble& e, Out<double> out) {
                 expect(out.size() == e.base.size(), "out must hold one value per output");
                 nb::gil_scoped_release free;
                 whybox::expectation(e, out.data());
             }, "out"_a.noconvert())
        // pairs of players that some path asks for together, sorted: (pairs, 2)
        .def("pairs",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count) {
                 const whybox::Cells cells(e, players(e, of_column, count), 2);
                 auto* kept = new std::vector<std::pair<std::int32_t, std::int32_t>>(cells.pairs());
                 static_assert(sizeof(std::pair<std::int32_t, std::int32_t>) == 2 * sizeof(std::int32_t));
                 nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<std::pair<std::int32_t, std::int32_t>>*>(p); });
                 return nb::ndarray<nb::numpy, std::int32_t, nb::shape<-1, 2>>(kept->data(), {kept->size(), 2}, owner);
             }, "of_column"_a.noconvert(), "count"_a)
        .def("players_on_path",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Out<std::int32_t> out) {
                 const Players p = players(e, of_column, count);
                 expect(out.size() == e.trees(), "out must hold one value per tree");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); ++t) out.data()[t] = p.on_path(e, t);
             }, "of_column"_a.noconvert(), "count"_a, "out"_a.noconvert())
        // nodes and weights: all quadrature rules end to end; rule r spans rule_offsets[r] .. rule_offsets[r + 1]
        .def("path_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Vector<double> nodes, Vector<double> weights,
                Vector<std::int64_t> rule_offsets, Vector<std::int32_t> rule_of_tree, int order, Out<double> out) {
                 check(e, x);
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "path-dependent attributions of linear leaves are not defined");
                 expect(out.size() == x.shape(0) * attributions(e, count, order), "out has the wrong size");
                 const auto all = rules(nodes, weights, rule_offsets);
                 std::vector<Quadrature> of_tree;
                 for (const auto r : numbers(e, rule_of_tree, all.size())) of_tree.push_back(all[static_cast<std::size_t>(r)]);
                 nb::gil_scoped_release free;
                 whybox::path_walk(e, p, of_tree, order, rows(x), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "order"_a, "out"_a.noconvert())
        // table[s, t] = E[p^s (1-p)^t]; weights: 1 x background, or rows x background
        .def("pair_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Matrix b, Matrix weights, Matrix table, int order, std::size_t first_tree,
                std::size_t last_tree, const char* instructions, Out<double> out) {
                 check(e, x);
                 const whybox::InstructionSet& set = whybox::instruction_set(instructions);
                 const Players p = players(e, of_column, count);
                 const Background back = background(e, b, weights, x.shape(0));
                 expect(table.shape(0) == table.shape(1), "the table must be square");
                 expect(first_tree <= last_tree && last_tree <= e.trees(), "no such trees");
                 const Span trees{first_tree, last_tree};
                 const int most = e.linear() ? count : most_on_path(e, p, trees, std::min(whybox::kBitPlaces, static_cast<int>(table.shape(0))));
                 expect(table.shape(0) >= static_cast<std::size_t>(most), "the table is smaller than the longest path");
                 expect(out.size() == x.shape(0) * attributions(e, count, order), "out has the wrong size");
                 nb::gil_scoped_release free;
                 const std::span<const double> moments{table.data(), table.size()};
                 const int side = static_cast<int>(table.shape(0));
                 if (e.linear() || back.per_row || most > whybox::kBitPlaces) whybox::pair_walk(e, p, back, moments, side, order, trees, rows(x), out.data());
                 else whybox::bit_walk(e, p, back, moments, side, order, trees, rows(x), out.data(), set);
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "weights"_a.noconvert(), "table"_a.noconvert(),
             "order"_a, "first_tree"_a, "last_tree"_a, "instructions"_a, "out"_a.noconvert())
        .def("hybrids",
             [](const Ensemble& e, Vector<double> x, Vector<std::int32_t> of_column, int count, Matrix b, Out<double> out) {
                 expect(count <= 24, "at most 24 players");
                 const Players p = players(e, of_column, count);
                 check(e, b);
                 expect(x.size() == static_cast<std::size_t>(e.columns), "the row has the wrong length");
                 expect(out.size() == b.shape(0) * (std::size_t{1} << count) * e.outputs(), "out has the wrong size");
                 nb::gil_scoped_release free;
                 whybox::hybrids(e, p, Background{rows(b), nullptr, false}, x.data(), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "out"_a.noconvert());
    // nodes, weights, rule_offsets and rule_of_tree as in path_walk; keeps the ensemble alive.
    nb::class_<Part>(m, "Part")
        .def_prop_ro("first", [](const Part& p) { return p.chunk->first; })
        .def_prop_ro("last", [](const Part& p) { return p.chunk->last; })
        .def_prop_ro("bytes", [](const Part& p) { return p.chunk->bytes; })
        .def("run", &Part::run<double>, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a)
        .def("run", &Part::run<float>, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
    nb::class_<Attribution>(m, "Attribution")
        .def("chunk", &Attribution::chunk, nb::keep_alive<0, 1>(), "first"_a, "room"_a, "threads"_a);
    ensemble
        .def("walk",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<double> nodes, Vector<double> weights, Vector<std::int64_t> rule_offsets,
                Vector<std::int32_t> rule_of_tree, const char* instructions, bool single, int bits) {
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "path-dependent attributions of linear leaves are not defined");
                 expect(bits >= 0 && bits <= 5, "bits out of range");
                 auto all = kept(rules(nodes, weights, rule_offsets));
                 auto of_tree = numbers(e, rule_of_tree, all.size());
                 return new Attribution{e,
                     whybox::walk_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, std::move(all), std::move(of_tree), {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "instructions"_a, "single"_a, "bits"_a)
        // table as in pair_walk; b with no rows: path-dependent
        .def("patterns",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, int order, bool sparse, Vector<double> nodes, Vector<double> weights, Vector<std::int64_t> rule_offsets,
                Vector<std::int32_t> rule_of_tree, Matrix b, Vector<double> b_weights, Matrix table, const char* instructions, bool single, int bits) {
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "linear leaves have no tables");
                 expect(bits >= 0 && bits <= 16, "bits out of range");
                 whybox::Game game;
                 if (b.shape(0) == 0) {
                     game.rules = kept(rules(nodes, weights, rule_offsets));
                     game.rule_of_tree = numbers(e, rule_of_tree, game.rules.size());
                 } else {
                     check(e, b);
                     expect(b_weights.size() == b.shape(0), "one weight per background row");
                     expect(table.shape(0) == table.shape(1) && table.shape(0) > static_cast<std::size_t>(longest_path(e, p)), "the table is smaller than the longest path");
                     game.background.assign(b.data(), b.data() + b.size());
                     game.weights.assign(b_weights.data(), b_weights.data() + b_weights.size());
                     game.moments.assign(table.data(), table.data() + table.size());
                     game.side = static_cast<int>(table.shape(0));
                 }
                 expect(longest_path(e, p) <= 20, "paths of more than 20 players have no tables");
                 const auto layout = order == 1 ? whybox::Layout::attributions : sparse ? whybox::Layout::pairs : whybox::Layout::matrices;
                 return new Attribution{e,
                     whybox::pattern_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, layout, std::move(game), {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "order"_a, "sparse"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "b"_a.noconvert(), "b_weights"_a.noconvert(), "table"_a.noconvert(), "instructions"_a,
             "single"_a, "bits"_a)
        // every step-th tree x (vector instructions for four vectors of rows, table entries, multiplications to build them): what a plan decides by
        .def("walk_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int bits, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 expect(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 5, "out must be trees x 3");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); t += step) put(whybox::walk_work(e, t, p, q(t), bits), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "bits"_a, "step"_a, "out"_a.noconvert())
        .def("pattern_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int order, int bits, int registers, bool single,
                double background, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 expect(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 16 && (order == 1 || order == 2),
                        "out must be trees x 3");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); t += step)
                     put(whybox::pattern_work(e, t, p, q(t), order, bits, registers, single, background), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "order"_a, "bits"_a, "registers"_a, "single"_a, "background"_a, "step"_a, "out"_a.noconvert());
    bind_effects(m);
}

// Bindings of attributions and interactions.
#include <algorithm>
#include <memory>
#include <vector>

#include "attribution/attributor.hpp"
#include "attribution/bit_walk.hpp"
#include "attribution/compile_patterns.hpp"
#include "attribution/games.hpp"
#include "attribution/work.hpp"
#include "bindings/arrays.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::bindings {
namespace {

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

void put(const Work& w, double* out) {
    out[0] = w.vectors;
    out[1] = w.entries;
    out[2] = w.build;
}

int longest_path(const Ensemble& e, const Players& p) { return most_on_path(e, p, 0, e.trees()); }

}  // namespace

void bind_attribution(nb::module_& m, nb::class_<Ensemble>& ensemble) {
    // everywhere: nodes and weights hold all quadrature rules end to end; rule r spans rule_offsets[r] .. rule_offsets[r + 1]
    ensemble
        // pairs of players that are on one path together, sorted: (pairs, 2)
        .def("pairs",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count) {
                 const Cells cells(e, players(e, of_column, count), 2);
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
        // adds path-dependent interactions to out, rows x players x players x outputs
        .def("path_pairs",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Vector<double> nodes, Vector<double> weights,
                Vector<std::int64_t> rule_offsets, Vector<std::int32_t> rule_of_tree, Out<double> out) {
                 check(e, x);
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "path-dependent attributions of linear leaves are not defined");
                 expect(out.size() == x.shape(0) * attributions(e, count, 2), "out has the wrong size");
                 const auto all = rules(nodes, weights, rule_offsets);
                 std::vector<Quadrature> of_tree;
                 for (const auto r : numbers(e, rule_of_tree, all.size())) of_tree.push_back(all[static_cast<std::size_t>(r)]);
                 nb::gil_scoped_release free;
                 path_pairs(e, p, of_tree, rows(x), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "out"_a.noconvert())
        // table[s, t] = E[p^s (1-p)^t]; weights: 1 x background, or rows x background
        .def("pair_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Matrix b, Matrix weights, Matrix table, int order, std::size_t first_tree,
                std::size_t last_tree, const char* instructions, Out<double> out) {
                 check(e, x);
                 const InstructionSet& set = instruction_set(instructions);
                 const Players p = players(e, of_column, count);
                 const Background back = background(e, b, weights, x.shape(0));
                 expect(table.shape(0) == table.shape(1), "the table must be square");
                 expect(first_tree <= last_tree && last_tree <= e.trees(), "no such trees");
                 const TreeRange trees{first_tree, last_tree};
                 const int most = e.linear() ? count : most_on_path(e, p, first_tree, last_tree, std::min(kBitPlaces, static_cast<int>(table.shape(0))));
                 expect(table.shape(0) >= static_cast<std::size_t>(most), "the table is smaller than the longest path");
                 expect(out.size() == x.shape(0) * attributions(e, count, order), "out has the wrong size");
                 nb::gil_scoped_release free;
                 const std::span<const double> moments{table.data(), table.size()};
                 const int side = static_cast<int>(table.shape(0));
                 if (e.linear() || back.per_row || most > kBitPlaces) pair_walk(e, p, back, moments, side, order, trees, rows(x), out.data());
                 else bit_walk(e, p, back, moments, side, order, trees, rows(x), out.data(), set);
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
                 hybrids(e, p, Background{rows(b), nullptr, false}, x.data(), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "out"_a.noconvert());
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
                     walk_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, std::move(all), std::move(of_tree), {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "instructions"_a, "single"_a, "bits"_a)
        // table as in pair_walk; b with no rows: path-dependent
        .def("patterns",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, int order, bool sparse, Vector<double> nodes, Vector<double> weights, Vector<std::int64_t> rule_offsets,
                Vector<std::int32_t> rule_of_tree, Matrix b, Vector<double> b_weights, Matrix table, const char* instructions, bool single, int bits) {
                 const Players p = players(e, of_column, count);
                 expect(!e.linear(), "linear leaves have no tables");
                 expect(bits >= 0 && bits <= 16, "bits out of range");
                 Game game;
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
                 const auto layout = order == 1 ? Layout::attributions : sparse ? Layout::pairs : Layout::matrices;
                 return new Attribution{e,
                     pattern_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, layout, std::move(game), {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "order"_a, "sparse"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "b"_a.noconvert(), "b_weights"_a.noconvert(), "table"_a.noconvert(), "instructions"_a,
             "single"_a, "bits"_a)
        // every step-th tree x (vector instructions for four vectors of rows, table entries, multiplications to build them): what a plan decides by
        .def("walk_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int bits, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 expect(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 5, "out must be trees x 3");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); t += step) put(walk_work(e, t, p, q(t), bits), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "bits"_a, "step"_a, "out"_a.noconvert())
        .def("pattern_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int order, int bits, int registers, bool single,
                double background, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 expect(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 16 && (order == 1 || order == 2),
                        "out must be trees x 3");
                 nb::gil_scoped_release free;
                 for (std::size_t t = 0; t < e.trees(); t += step)
                     put(pattern_work(e, t, p, q(t), order, bits, registers, single, background), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "order"_a, "bits"_a, "registers"_a, "single"_a, "background"_a, "step"_a, "out"_a.noconvert());
}

}  // namespace whybox::bindings

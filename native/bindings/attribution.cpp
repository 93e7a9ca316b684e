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

std::size_t result_size(const Ensemble& e, int count, int order) {
    require(order == 1 || order == 2, "order must be 1 or 2");
    return static_cast<std::size_t>(count) * (order == 2 ? count : 1) * e.outputs();
}

Background background(const Ensemble& e, const Matrix& b, const Matrix& weights, std::size_t n) {
    require_columns(e, b);
    const bool per_row = weights.shape(0) != 1;
    require(weights.shape(1) == b.shape(0) && (!per_row || weights.shape(0) == n), "one weight per background row, or one per row and background row");
    return {rows(b), weights.data(), per_row};
}

// Quadrature rules laid end to end; rule r spans offsets[r] .. offsets[r + 1].
std::vector<QuadratureView> rules(const Vector<double>& nodes, const Vector<double>& weights, const Vector<std::int64_t>& offsets) {
    require(nodes.size() == weights.size() && offsets.size() > 1, "rules must have as many nodes as weights");
    std::vector<QuadratureView> out;
    for (std::size_t r = 0; r + 1 < offsets.size(); ++r) {
        const auto from = offsets(r), to = offsets(r + 1);
        require(from >= 0 && from < to && static_cast<std::size_t>(to) <= nodes.size(), "rule out of range");
        out.push_back({span(nodes).subspan(from, to - from), span(weights).subspan(from, to - from)});
    }
    return out;
}

std::vector<std::int32_t> checked_rule_of_tree(const Ensemble& e, const Vector<std::int32_t>& rule_of_tree, std::size_t rules) {
    require(rule_of_tree.size() == e.trees(), "one rule per tree");
    for (const auto r : span(rule_of_tree)) require(r >= 0 && static_cast<std::size_t>(r) < rules, "rule out of range");
    return {rule_of_tree.data(), rule_of_tree.data() + rule_of_tree.size()};
}

std::vector<QuadratureRule> stored_rules(const std::vector<QuadratureView>& rules) {
    std::vector<QuadratureRule> out;
    for (const auto& r : rules) out.push_back({{r.nodes.begin(), r.nodes.end()}, {r.weights.begin(), r.weights.end()}});
    return out;
}

class CompiledChunk {  // a chunk with what extents are checked against
public:
    const Ensemble& e;
    std::size_t cells;
    std::shared_ptr<TreeChunk> chunk;

    template <class O>
    void run(const Matrix& x, const Out<O>& out, int threads) const {
        require_columns(e, x);
        require(threads > 0 && out.size() == x.shape(0) * cells, "out has the wrong size");
        nb::gil_scoped_release release;
        if (x.shape(0)) chunk->run(rows(x), out.data(), threads);
    }
};

class CompiledTrees {
public:
    const Ensemble& e;
    std::unique_ptr<Attributor> attributor;

    CompiledChunk* chunk(std::size_t first, std::size_t bytes, int threads) const {
        require(threads > 0 && first < e.trees(), "there is no such tree");
        nb::gil_scoped_release release;
        return new CompiledChunk{e, attributor->row_size(), attributor->compile_chunk(first, bytes, threads)};
    }
};

ResultLayout result_layout(int order, bool sparse) {
    return order == 1 ? ResultLayout::attributions : sparse ? ResultLayout::pairs : ResultLayout::matrices;
}

void write_estimate(const WorkEstimate& w, double* out) {
    out[0] = w.vector_instructions;
    out[1] = w.table_entries;
    out[2] = w.multiplications;
}


}  // namespace

void bind_attribution(nb::module_& m, nb::class_<Ensemble>& ensemble) {
    // everywhere: nodes and weights hold all quadrature rules end to end; rule r spans rule_offsets[r] .. rule_offsets[r + 1]
    ensemble
        // pairs of players that are on one path together, sorted: (pairs, 2)
        .def("interacting_pairs",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count) {
                 const ResultCells cells(e, players(e, of_column, count), 2);
                 auto* pairs = new std::vector<std::pair<std::int32_t, std::int32_t>>(cells.pairs());
                 static_assert(sizeof(std::pair<std::int32_t, std::int32_t>) == 2 * sizeof(std::int32_t));
                 nb::capsule owner(pairs, [](void* p) noexcept { delete static_cast<std::vector<std::pair<std::int32_t, std::int32_t>>*>(p); });
                 return nb::ndarray<nb::numpy, std::int32_t, nb::shape<-1, 2>>(pairs->data(), {pairs->size(), 2}, owner);
             }, "of_column"_a.noconvert(), "count"_a)
        .def("players_on_path",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Out<std::int32_t> out) {
                 const Players p = players(e, of_column, count);
                 require(out.size() == e.trees(), "out must hold one value per tree");
                 nb::gil_scoped_release release;
                 for (std::size_t t = 0; t < e.trees(); ++t) out.data()[t] = p.max_players_on_path(e, t);
             }, "of_column"_a.noconvert(), "count"_a, "out"_a.noconvert())
        // adds path-dependent interactions to out, rows x players x players x outputs
        // table[s, t] = E[p^s (1-p)^t]; weights: 1 x background, or rows x background
        .def("pair_walk",
             [](const Ensemble& e, Matrix x, Vector<std::int32_t> of_column, int count, Matrix b, Matrix weights, Matrix table, int order, std::size_t first_tree,
                std::size_t last_tree, const char* instructions, Out<double> out) {
                 require_columns(e, x);
                 const InstructionSet& set = instruction_set(instructions);
                 const Players p = players(e, of_column, count);
                 const Background checked_background = background(e, b, weights, x.shape(0));
                 require(table.shape(0) == table.shape(1), "the table must be square");
                 require(first_tree <= last_tree && last_tree <= e.trees(), "no such trees");
                 const TreeRange trees{first_tree, last_tree};
                 const int longest_path = e.has_linear_leaves() ? count : max_players_on_path(e, p, first_tree, last_tree,
                     std::min(kMaxBitPlayers, static_cast<int>(table.shape(0))));
                 require(table.shape(0) >= static_cast<std::size_t>(longest_path), "the table is smaller than the longest path");
                 require(out.size() == x.shape(0) * result_size(e, count, order), "out has the wrong size");
                 nb::gil_scoped_release release;
                 const std::span<const double> moments{table.data(), table.size()};
                 const int side = static_cast<int>(table.shape(0));
                 if (e.has_linear_leaves() || checked_background.per_row || longest_path > kMaxBitPlayers) pair_walk(e, p, checked_background, moments, side,
                     order, trees, rows(x), out.data());
                 else bit_walk(e, p, checked_background, moments, side, order, trees, rows(x), out.data(), set);
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "weights"_a.noconvert(), "table"_a.noconvert(),
             "order"_a, "first_tree"_a, "last_tree"_a, "instructions"_a, "out"_a.noconvert())
        .def("hybrid_outputs",
             [](const Ensemble& e, Vector<double> x, Vector<std::int32_t> of_column, int count, Matrix b, Out<double> out) {
                 require(count <= 24, "at most 24 players");
                 const Players p = players(e, of_column, count);
                 require_columns(e, b);
                 require(x.size() == static_cast<std::size_t>(e.columns), "the row has the wrong length");
                 require(out.size() == b.shape(0) * (std::size_t{1} << count) * e.outputs(), "out has the wrong size");
                 nb::gil_scoped_release release;
                 hybrids(e, p, Background{rows(b), nullptr, false}, x.data(), out.data());
             }, nb::kw_only(), "x"_a.noconvert(), "of_column"_a.noconvert(), "count"_a, "b"_a.noconvert(), "out"_a.noconvert());
    nb::class_<CompiledChunk>(m, "CompiledChunk")
        .def_prop_ro("first_tree", [](const CompiledChunk& p) { return p.chunk->first; })
        .def_prop_ro("last_tree", [](const CompiledChunk& p) { return p.chunk->last; })
        .def_prop_ro("bytes", [](const CompiledChunk& p) { return p.chunk->bytes; })
        .def("run", &CompiledChunk::run<double>, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a)
        .def("run", &CompiledChunk::run<float>, "x"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
    nb::class_<CompiledTrees>(m, "CompiledTrees")
        .def("compile_chunk", &CompiledTrees::chunk, nb::keep_alive<0, 1>(), "first_tree"_a, "max_bytes"_a, "threads"_a);
    ensemble
        .def("lane_walk",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<double> nodes, Vector<double> weights, Vector<std::int64_t> rule_offsets,
                Vector<std::int32_t> rule_of_tree, int order, bool sparse, const char* instructions, bool single, int bits) {
                 const Players p = players(e, of_column, count);
                 require(!e.has_linear_leaves(), "path-dependent attributions of linear leaves are not defined");
                 require(bits >= 0 && bits <= 5, "bits out of range");
                 auto all = stored_rules(rules(nodes, weights, rule_offsets));
                 auto of_tree = checked_rule_of_tree(e, rule_of_tree, all.size());
                 return new CompiledTrees{e,
                     walk_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, result_layout(order, sparse), std::move(all), std::move(of_tree),
                         {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "order"_a, "sparse"_a, "instructions"_a, "single"_a, "bits"_a)
        // table as in pair_walk; b with no rows: path-dependent
        .def("pattern_tables",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, int order, bool sparse, Vector<double> nodes, Vector<double> weights,
                 Vector<std::int64_t> rule_offsets,
                Vector<std::int32_t> rule_of_tree, Matrix b, Vector<double> b_weights, Matrix table, const char* instructions, bool single, int bits) {
                 const Players p = players(e, of_column, count);
                 require(!e.has_linear_leaves(), "linear leaves have no tables");
                 require(bits >= 0 && bits <= 16, "bits out of range");
                 const int longest_path = max_players_on_path(e, p, 0, e.trees());
                 PatternGame game;
                 if (b.shape(0) == 0) {
                     game.rules = stored_rules(rules(nodes, weights, rule_offsets));
                     game.rule_of_tree = checked_rule_of_tree(e, rule_of_tree, game.rules.size());
                 } else {
                     require_columns(e, b);
                     require(b_weights.size() == b.shape(0), "one weight per background row");
                     require(table.shape(0) == table.shape(1) && table.shape(0) > static_cast<std::size_t>(longest_path), "the table is smaller than the longest path");
                     game.background.assign(b.data(), b.data() + b.size());
                     game.weights.assign(b_weights.data(), b_weights.data() + b_weights.size());
                     game.moments.assign(table.data(), table.data() + table.size());
                     game.side = static_cast<int>(table.shape(0));
                 }
                 require(longest_path <= 20, "paths of more than 20 players have no tables");
                 return new CompiledTrees{e,
                     pattern_attributor(e, {p.of_column.begin(), p.of_column.end()}, count, result_layout(order, sparse), std::move(game), {instructions, single, bits})};
             }, nb::keep_alive<0, 1>(), nb::kw_only(), "of_column"_a.noconvert(), "count"_a, "order"_a, "sparse"_a, "nodes"_a.noconvert(), "weights"_a.noconvert(),
             "rule_offsets"_a.noconvert(), "rule_of_tree"_a.noconvert(), "b"_a.noconvert(), "b_weights"_a.noconvert(), "table"_a.noconvert(), "instructions"_a,
             "single"_a, "bits"_a)
        // every step-th tree x (vector instructions for four vectors of rows, table entries, multiplications to build them): what a plan decides by
        .def("lane_walk_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int order, int bits, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 require(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 5 && (order == 1 || order == 2), "out must be trees x 3");
                 nb::gil_scoped_release release;
                 for (std::size_t t = 0; t < e.trees(); t += step) write_estimate(walk_work(e, t, p, q(t), order, bits), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "order"_a, "bits"_a, "step"_a, "out"_a.noconvert())
        .def("pattern_table_work",
             [](const Ensemble& e, Vector<std::int32_t> of_column, int count, Vector<std::int32_t> q, int order, int bits, int registers, bool single,
                double background, std::size_t step, Out<double> out) {
                 const Players p = players(e, of_column, count);
                 require(step > 0 && out.size() == (e.trees() + step - 1) / step * 3 && q.size() == e.trees() && bits >= 0 && bits <= 16 && (order == 1 || order == 2),
                        "out must be trees x 3");
                 nb::gil_scoped_release release;
                 for (std::size_t t = 0; t < e.trees(); t += step)
                     write_estimate(pattern_work(e, t, p, q(t), order, bits, registers, single, background), out.data() + 3 * (t / step));
             }, "of_column"_a.noconvert(), "count"_a, "q"_a.noconvert(), "order"_a, "bits"_a, "registers"_a, "single"_a, "background"_a, "step"_a, "out"_a.noconvert());
}

}  // namespace whybox::bindings

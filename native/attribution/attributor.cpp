#include "attribution/attributor.hpp"

#include <algorithm>
#include <functional>
#include <type_traits>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "attribution/compile_patterns.hpp"
#include "attribution/compile_walk.hpp"
#include "attribution/distinct_splits.hpp"
#include "core/split.hpp"
#include "core/threads.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox {

namespace {

// A core's own second-level cache, in bytes.
std::size_t core_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found > 0) return static_cast<std::size_t>(found);
#endif
    return std::size_t{1} << 20;
}

// Bytes of columns and sums to work on side by side: while they stay in the core's cache, every tree's tables are read from afar once for all of
// them. Trees that would fill that cache by themselves leave space for little else.
std::size_t row_buffer_bytes(std::size_t table_bytes, std::size_t trees) {
    return table_bytes / std::max<std::size_t>(trees, 1) > core_cache() / 4 ? core_cache() / 8 : core_cache() / 4 * 3;
}

bool scalar_goes_left(const void* e, std::int64_t node, double x) {
    const auto& ensemble = *static_cast<const Ensemble*>(e);
    return goes_left(ensemble, ensemble.nodes[static_cast<std::size_t>(node)], x);
}

// Where one cell's sum goes in a row of the result: one position, or the two triangles.
struct OutputPosition { std::int64_t first, second; };

template <class T, class C>
struct ChunkLayout {  // what all chunks of an attributor share
    const Ensemble& e;
    int players;
    LaneKernels<T, C> kernels;
    bool single_precision;
    std::size_t row_size;  // entries of the result per row
    std::vector<OutputPosition> positions;
    bool pairs;            // order 2
};

// `Tree` is WalkTree<T> or PatternTree<T>.
template <class T, class C, class Tree>
class LaneChunk final : public TreeChunk {
public:
    explicit LaneChunk(std::shared_ptr<const ChunkLayout<T, C>> chunk_layout) : chunk_layout_(std::move(chunk_layout)), e_(chunk_layout_->e),
        kernels_(chunk_layout_->kernels), positions_(chunk_layout_->positions), row_size_(chunk_layout_->row_size) {}
    void run(Rows x, double* out, int threads) const override { run_rows(x, trees, out, threads); }
    void run(Rows x, float* out, int threads) const override { run_rows(x, trees, out, threads); }
    std::vector<Tree> trees;

private:
    std::shared_ptr<const ChunkLayout<T, C>> chunk_layout_;
    const Ensemble& e_;
    const LaneKernels<T, C>& kernels_;
    const std::vector<OutputPosition>& positions_;
    std::size_t row_size_;

    struct WorkerBuffers {
        AlignedArray<C> columns;
        AlignedArray<T> results, product, subtree_sums;
        AlignedArray<double> masks, path;
    };

    template <class O>
    void run_rows(Rows x, const std::vector<Tree>& trees, O* out, int threads) const {
        const std::size_t lanes = static_cast<std::size_t>(kernels_.rows), blocks = (x.rows + lanes - 1) / lanes;
        const std::size_t per_block = lanes * (x.columns * sizeof(C) + positions_.size() * sizeof(T));
        const std::size_t blocks_in_cache = std::max<std::size_t>(1, row_buffer_bytes(bytes, trees.size()) / std::max<std::size_t>(per_block, 1));
        const auto workers = static_cast<std::size_t>(threads);
        // so that no thread waits for another's last band
        const std::size_t n_bands = ((blocks + blocks_in_cache - 1) / blocks_in_cache + workers - 1) / workers * workers;
        const std::size_t blocks_per_band = (blocks + n_bands - 1) / n_bands;
        std::vector<WorkerBuffers> worker_buffers(static_cast<std::size_t>(threads));
        parallel_for((blocks + blocks_per_band - 1) / blocks_per_band, threads, [&](int worker, std::size_t i) {
            WorkerBuffers& buffers = worker_buffers[static_cast<std::size_t>(worker)];
            if (buffers.masks.size() == 0) allocate(buffers, trees, blocks_per_band, x.columns);
            run_blocks(x, trees, buffers, i * blocks_per_band, std::min(blocks, (i + 1) * blocks_per_band), out);
        });
    }

    void allocate(WorkerBuffers& buffers, const std::vector<Tree>& trees, std::size_t blocks_per_band, std::size_t columns) const {
        std::size_t depth = 0, product = 0, sums = 0;
        for (const auto& t : trees) {
            depth = std::max(depth, static_cast<std::size_t>(t.depth) + 2);
            if constexpr (std::is_same_v<Tree, WalkTree<T>>) {
                product = std::max(product, static_cast<std::size_t>(t.depth + 2) * t.q * kernels_.rows);
                const auto levels = chunk_layout_->pairs ? static_cast<std::size_t>(t.first_sum.back()) : static_cast<std::size_t>(t.depth + 2) * t.leaf_width;
                sums = std::max(sums, levels * t.q * kernels_.rows);
            }
        }
        buffers.product.resize(product);
        buffers.subtree_sums.resize(sums);
        buffers.results.resize(blocks_per_band * positions_.size() * kernels_.rows);
        buffers.columns.resize(blocks_per_band * columns * kernels_.rows);
        buffers.masks.resize(static_cast<std::size_t>(chunk_layout_->players) * kernels_.mask_bytes / 8 + 1);
        buffers.path.resize(depth * kernels_.index_bytes / 8 + 1);
        kernels_.reset(buffers.masks.data(), buffers.path.data(), chunk_layout_->players);
    }

    // Blocks first .. last go through every tree together, so that a tree's tables are read from cache by all but the first.
    template <class O>
    void run_blocks(Rows x, const std::vector<Tree>& trees, WorkerBuffers& buffers, std::size_t first, std::size_t last, O* out) const {
        const std::size_t lanes = static_cast<std::size_t>(kernels_.rows), cells = positions_.size();
        std::fill_n(buffers.results.data(), (last - first) * cells * lanes, T{0});
        for (std::size_t b = first; b < last; ++b) load_rows(x, b * lanes, buffers.columns.data() + (b - first) * x.columns * lanes);
        LaneBlock<T, C> block{};
        block.product = buffers.product.data();
        block.subtree_sums = buffers.subtree_sums.data();
        block.masks = buffers.masks.data();
        block.path = buffers.path.data();
        block.outputs = e_.outputs();
        block.stride = static_cast<std::int64_t>(x.columns);
        block.ensemble = &e_;
        block.goes_left = &scalar_goes_left;
        for (const auto& tree : trees) {
            const auto view = tree.view();
            for (std::size_t b = first; b < last; ++b) {
                block.columns = buffers.columns.data() + (b - first) * x.columns * lanes;
                block.results = buffers.results.data() + (b - first) * cells * lanes;
                block.rows = x.row(b * lanes);
                block.last = static_cast<int>(std::min(lanes, x.rows - b * lanes)) - 1;
                if constexpr (std::is_same_v<Tree, WalkTree<T>>) chunk_layout_->pairs ? kernels_.walk_interactions(view, block) : kernels_.walk(view, block);
                else kernels_.look_up(view, block);
            }
        }
        for (std::size_t b = first; b < last; ++b) store_results(buffers.results.data() + (b - first) * cells * lanes, std::min(lanes, x.rows - b * lanes),
            out + b * lanes * row_size_);
    }

    void load_rows(Rows x, std::size_t first, C* to) const {
        const std::size_t lanes = static_cast<std::size_t>(kernels_.rows);
        for (std::size_t l = 0; l < lanes; ++l) {
            const double* row = x.row(std::min(first + l, x.rows - 1));
            for (std::size_t c = 0; c < x.columns; ++c) to[c * lanes + l] = chunk_layout_->single_precision ? static_cast<C>(static_cast<float>(row[c]))
                : static_cast<C>(row[c]);
        }
    }

    template <class O>
    void store_results(const T* results, std::size_t count, O* out) const {
        const std::size_t lanes = static_cast<std::size_t>(kernels_.rows);
        for (std::size_t l = 0; l < count; ++l, out += row_size_)
            for (std::size_t c = 0; c < positions_.size(); ++c) {
                const O value = static_cast<O>(results[c * lanes + l]);
                out[positions_[c].first] += value;
                if (positions_[c].second >= 0) out[positions_[c].second] += value;
            }
    }
};

template <class T, class C, class Tree>
class LaneAttributor final : public Attributor {
public:
    using Compile = std::function<Tree(std::size_t)>;
    LaneAttributor(ChunkLayout<T, C> chunk_layout, Compile compile) : chunk_layout_(std::make_shared<const ChunkLayout<T, C>>(std::move(chunk_layout))),
        compile_(std::move(compile)) {}

    std::size_t row_size() const override { return chunk_layout_->row_size; }
    std::shared_ptr<TreeChunk> compile_chunk(std::size_t first, std::size_t bytes, int threads) const override {
        auto chunk = std::make_shared<LaneChunk<T, C, Tree>>(chunk_layout_);
        auto& trees = chunk->trees;
        const std::size_t all = chunk_layout_->e.trees();
        while (first + trees.size() < all && chunk->bytes < bytes) {
            const std::size_t before = trees.size(), batch_size = std::min<std::size_t>(all - first - before, 2 * static_cast<std::size_t>(threads));
            trees.resize(before + batch_size);
            parallel_for(batch_size, threads, [&](int, std::size_t i) { trees[before + i] = compile_(first + before + i); });
            for (std::size_t i = 0; i < batch_size; ++i) chunk->bytes += trees[before + i].bytes();
        }
        chunk->first = first;
        chunk->last = first + trees.size();
        return chunk;
    }

private:
    std::shared_ptr<const ChunkLayout<T, C>> chunk_layout_;
    Compile compile_;
};

// Calls make.operator()<T, C>(kernels) for the arithmetic of the settings and the precision of the model's columns.
template <class Make>
std::unique_ptr<Attributor> with_arithmetic(const Ensemble& e, const KernelSettings& s, const Make& make) {
    const InstructionSet& set = instruction_set(s.instructions);
    if (!s.single_precision) return make(set.exact);
    return reads_single(e) ? make(set.single) : make(set.mixed);
}

std::vector<OutputPosition> output_positions(const ResultCells& cells, int players, int outputs, ResultLayout layout) {
    std::vector<OutputPosition> positions;
    const auto k = static_cast<std::int64_t>(outputs);
    if (layout == ResultLayout::attributions)
        for (std::int64_t i = 0; i < players * k; ++i) positions.push_back({i, -1});
    else
        for (std::int64_t c = 0; const auto& [i, j] : cells.pairs()) {
            for (std::int64_t o = 0; o < k; ++o)
                if (layout == ResultLayout::pairs) positions.push_back({(players + c) * k + o, -1});
                else positions.push_back({(std::int64_t{i} * players + j) * k + o, (std::int64_t{j} * players + i) * k + o});
            ++c;
        }
    return positions;
}

std::size_t entries_of_row(const ResultCells& cells, int players, int outputs, ResultLayout layout) {
    const auto n = static_cast<std::size_t>(players);
    return (layout == ResultLayout::attributions ? n : layout == ResultLayout::matrices ? n * n : n + cells.count()) * static_cast<std::size_t>(outputs);
}

ResultCells cells_of(const Ensemble& e, Players players, ResultLayout layout) { return {e, players, layout == ResultLayout::attributions ? 1 : 2}; }

}  // namespace

std::unique_ptr<Attributor> walk_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, ResultLayout layout,
                                            std::vector<QuadratureRule> rules, std::vector<std::int32_t> rule_of_tree, const KernelSettings& s) {
    const bool pairs = layout != ResultLayout::attributions;
    const auto cells = std::make_shared<const ResultCells>(cells_of(e, Players{of_column, players}, layout));
    return with_arithmetic(e, s, [&]<class T, class C>(const LaneKernels<T, C>& w) -> std::unique_ptr<Attributor> {
        const WalkShape shape{std::min(s.max_bits, w.max_walk_bits), reads_single(e), std::is_same_v<C, float>, pairs ? cells.get() : nullptr};
        ChunkLayout<T, C> chunk_layout{e, players, w, shape.single, entries_of_row(*cells, players, e.outputs(), layout),
            output_positions(*cells, players, e.outputs(), layout), pairs};
        return std::make_unique<LaneAttributor<T, C, WalkTree<T>>>(std::move(chunk_layout), [&e, of_column, players, rules, rule_of_tree, cells, shape](std::size_t t) {
                const QuadratureRule& r = rules[static_cast<std::size_t>(rule_of_tree[t])];
                return compile_walk<T>(e, t, Players{of_column, players}, QuadratureView{r.nodes, r.weights}, shape);
            });
    });
}

std::unique_ptr<Attributor> pattern_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, ResultLayout layout, PatternGame game,
    const KernelSettings& s) {
    const ResultCells cells = cells_of(e, Players{of_column, players}, layout);
    std::vector<double> columns(game.background.size()), rounded(game.background.size());
    for (std::size_t i = 0, rows = game.weights.size(), width = static_cast<std::size_t>(e.columns); i < columns.size(); ++i) {
        columns[i] = game.background[i % rows * width + i / rows];
        rounded[i] = static_cast<double>(static_cast<float>(columns[i]));
    }
    game.background = {};
    return with_arithmetic(e, s, [&]<class T, class C>(const LaneKernels<T, C>& w) -> std::unique_ptr<Attributor> {
        const std::size_t row = entries_of_row(cells, players, e.outputs(), layout);
        const auto positions = output_positions(cells, players, e.outputs(), layout);
        const PatternShape shape{s.max_bits, reads_single(e), std::is_same_v<C, float>};
        return std::make_unique<LaneAttributor<T, C, PatternTree<T>>>(ChunkLayout<T, C>{e, players, w, shape.single, row, positions, false},
            [&e, of_column, players, cells, game, columns, rounded, shape](std::size_t t) {
                Replacement replacement{{}, game.weights, columns.data(), rounded.data(), game.moments, game.side};
                if (game.weights.empty()) {
                    const QuadratureRule& r = game.rules[static_cast<std::size_t>(game.rule_of_tree[t])];
                    replacement.rule = {r.nodes, r.weights};
                }
                return compile_patterns<T>(e, t, Players{of_column, players}, cells, replacement, shape);
            });
    });
}

}  // namespace whybox

#include "attribution/product_law.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "core/threads.hpp"

namespace whybox {

ProductPaths::ProductPaths(const Grid& g) : grid(g), nodes_of_(g.players()), leaf_values_(static_cast<std::size_t>(g.e.leaf_width)) {
    const Ensemble& e = grid.e;
    if (e.nodes.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() / 2)) throw std::length_error("the model has too many nodes for a product law");
    nodes_.reserve(e.nodes.size() / 2), edges_.reserve(e.nodes.size() / 2);
    for (std::size_t j = 0; j < grid.players(); ++j) {
        ranges_.push_back({0, static_cast<std::uint32_t>(grid.points(j))});
        path_.push_back({{static_cast<std::uint32_t>(j), 1}, -1});
    }
    for (std::size_t t = 0; t < e.trees(); ++t) {
        first_node_.push_back(static_cast<std::int64_t>(nodes_.size()));
        trees_.push_back({add_node(e.root(t), *e.root(t), e.tree_weight[t]), e.first_output(t)});
    }
    first_node_.push_back(static_cast<std::int64_t>(nodes_.size()));
}

std::int32_t ProductPaths::add_leaf(const Node& n, double weight) {
    const double* const values = grid.e.values_of(n);
    const std::size_t width = static_cast<std::size_t>(grid.e.leaf_width);
    for (std::size_t o = 0; o < width; ++o) leaf_values_.push_back(weight * values[o]);
    return ~static_cast<std::int32_t>(leaf_values_.size() / width - 1);
}

// A child that no point reaches is leaf 0.
std::int32_t ProductPaths::add_node(const Node* root, const Node& n, double weight) {
    if (n.left < 0) return add_leaf(n, weight);
    if (grid.player(n) < 0) throw std::invalid_argument("a column that the model reads has no player");
    const auto j = static_cast<std::size_t>(grid.player(n));
    const auto id = static_cast<std::int32_t>(nodes_.size());
    const auto position = static_cast<std::int32_t>(nodes_of_[j].size());
    const PathState before = path_[j];
    Edges edges{{}, before.edge};
    for (const bool left : {true, false}) {
        PointSet& side = edges.sides[left ? 0 : 1];
        side.begin = static_cast<std::uint32_t>(ranges_.size());
        side.count = grid.append_side(n, left, before.points.begin, before.points.count, ranges_);
        if (ranges_.size() > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("the model has too many categories for a product law");
    }
    nodes_of_[j].push_back(id);
    nodes_.push_back({static_cast<std::int32_t>(j), {-1, -1}});
    edges_.push_back(edges);
    const std::int32_t children[2] = {n.left, n.right};
    for (int side = 0; side < 2; ++side) {
        if (edges.sides[side].count == 0) continue;
        path_[j] = {edges.sides[side], 2 * position + side};
        const std::int32_t child = add_node(root, root[children[side]], weight);
        nodes_[static_cast<std::size_t>(id)].child[side] = child;
    }
    path_[j] = before;
    return id;
}

int ProductPaths::depth(TreeRange trees) const {
    int deepest = 0;
    for (std::size_t t = trees.first; t < trees.last; ++t) deepest = std::max(deepest, grid.e.depth[t]);
    return deepest;
}

ProductTrees ProductPaths::view(TreeRange trees) const {
    return {nodes_.data(), trees_.data() + trees.first, leaf_values_.data(), nullptr, static_cast<std::int64_t>(trees.last - trees.first), first_node_[trees.first],
        grid.e.leaf_width, grid.e.outputs(), static_cast<std::int32_t>(grid.players())};
}

namespace {

// Sums of a player's masses and derivatives over ranges of points, for `laws` laws side by side. No sum is a difference of others, so that small ones keep
// all their digits. Points stand in blocks of sixteen, with the sums from each point to the ends of its block. Pairs of blocks, fours, eights, ... hold the
// sums from each block to the middle of them: any range of several blocks lies on both sides of one such middle.
template <int laws>
class RangeSums {
public:
    static constexpr std::size_t kEntry = 2 * laws;  // masses, derivatives

    // law_of_lane: which law each lane has.
    RangeSums(const double* mass, const double* derivative, std::size_t points, const std::int64_t* law_of_lane)
        : points_(points), blocks_((points + kBlock - 1) / kBlock), levels_(std::max<std::size_t>(1, static_cast<std::size_t>(std::bit_width(blocks_ - 1)))),
          sums_(std::make_unique_for_overwrite<double[]>((3 * points_ + levels_ * blocks_) * kEntry)), alone_(sums_.get()), to_end_(alone_ + points_ * kEntry),
          from_begin_(to_end_ + points_ * kEntry), of_blocks_(from_begin_ + points_ * kEntry) {
        const double *masses[laws], *derivatives[laws];
        for (std::size_t l = 0; l < laws; ++l) {
            const std::size_t first = static_cast<std::size_t>(law_of_lane[l]) * points;
            masses[l] = mass + first, derivatives[l] = derivative + first;
        }
        for (std::size_t p = 0; p < points_; ++p) {
            double* const to = alone_ + p * kEntry;
            for (std::size_t l = 0; l < laws; ++l) to[l] = masses[l][p], to[laws + l] = derivatives[l][p];
        }
        for (std::size_t block = 0; block < blocks_; ++block) {
            const std::size_t first = block * kBlock, end = std::min(first + kBlock, points_);
            accumulate(alone_, to_end_, first, end, end);
            accumulate(alone_, from_begin_, first, first, end);
            std::copy_n(to_end_ + first * kEntry, kEntry, of_blocks_ + block * kEntry);
        }
        for (std::size_t level = 1; level < levels_; ++level) {
            const std::size_t half = std::size_t{1} << level;
            for (std::size_t first = 0; first < blocks_; first += 2 * half)
                accumulate(of_blocks_, of_blocks_ + level * blocks_ * kEntry, first, std::min(first + half, blocks_), std::min(first + 2 * half, blocks_));
        }
    }

    void add(const Range& r, double* to) const {
        const std::size_t first = r.from, last = r.to - 1, first_block = first / kBlock, last_block = last / kBlock;
        if (first_block == last_block) {
            if (first % kBlock == 0) return add(from_begin_ + last * kEntry, to);
            for (std::size_t p = first; p <= last; ++p) add(alone_ + p * kEntry, to);
            return;
        }
        add(to_end_ + first * kEntry, to);
        if (first_block + 1 < last_block) add_blocks(first_block + 1, last_block - 1, to);
        add(from_begin_ + last * kEntry, to);
    }

private:
    static constexpr std::size_t kBlock = 16;

    std::size_t points_, blocks_, levels_;
    std::unique_ptr<double[]> sums_;
    double *alone_, *to_end_, *from_begin_, *of_blocks_;  // in sums_: of points, three times; levels x blocks, level 0: of each block alone

    static void add(const double* entry, double* to) {
        for (std::size_t k = 0; k < kEntry; ++k) to[k] += entry[k];
    }

    void add_blocks(std::size_t first, std::size_t last, double* to) const {
        const std::size_t level = first == last ? 0 : static_cast<std::size_t>(std::bit_width(first ^ last)) - 1;
        const double* const sums = of_blocks_ + level * blocks_ * kEntry;
        add(sums + first * kEntry, to);
        if (first != last) add(sums + last * kEntry, to);
    }

    // Of first .. end - 1, the sums from each entry to the middle: before it up to the middle, from it on from the middle.
    static void accumulate(const double* alone, double* to, std::size_t first, std::size_t middle, std::size_t end) {
        for (std::size_t i = middle; i-- > first;) add_to(alone + i * kEntry, i + 1 < middle ? to + (i + 1) * kEntry : nullptr, to + i * kEntry);
        for (std::size_t i = middle; i < end; ++i) add_to(alone + i * kEntry, i > middle ? to + (i - 1) * kEntry : nullptr, to + i * kEntry);
    }

    static void add_to(const double* alone, const double* sum, double* to) {
        if (!sum) std::copy_n(alone, kEntry, to);
        else for (std::size_t k = 0; k < kEntry; ++k) to[k] = sum[k] + alone[k];
    }
};

}  // namespace

ProductTables::ProductTables(const ProductPaths& paths, const PlayerLaws& laws, std::size_t first, std::size_t max_bytes, int threads)
    : paths_(paths), table_laws_(4), any_by_row_(false), trees_{first, first} {
    const std::size_t players = paths.grid.players();
    std::size_t begin = 0;
    for (std::size_t j = 0; j < players; ++j) {
        laws_.push_back({laws.mass.data() + begin, laws.derivative.data() + begin, laws.laws[j]});
        begin += static_cast<std::size_t>(laws.laws[j]) * paths.grid.points(j);
        while (table_laws_ < std::min<std::int64_t>(laws.laws[j], 16)) table_laws_ *= 2;
    }
    const bool too_many = std::any_of(laws_.begin(), laws_.end(), [](const LawRows& l) { return l.laws > 16; });
    if (too_many) table_laws_ = kGroupRows, any_by_row_ = true;
    const std::size_t per_node = 4 * static_cast<std::size_t>(table_laws_);
    const auto n_nodes = [&](std::size_t last) { return static_cast<std::size_t>(paths.first_node(last) - paths.first_node(first)); };
    while (trees_.last < paths.trees() && (trees_.last == first || n_nodes(trees_.last + 1) * per_node * sizeof(double) <= max_bytes)) ++trees_.last;
    tables_.resize(n_nodes(trees_.last) * per_node);
    parallel_for(players, threads, [&](int, std::size_t j) {
        if (by_row(j)) return;
        std::int64_t lanes[16];
        for (std::int64_t l = 0; l < 16; ++l) lanes[l] = std::min(l, laws_[j].laws - 1);
        fill_player(j, lanes, tables_.data());
    });
}

void ProductTables::fill_player(std::size_t player, const std::int64_t* law_of_lane, double* tables) const {
    if (table_laws_ == 4) fill<4>(player, law_of_lane, tables);
    else if (table_laws_ == 8) fill<8>(player, law_of_lane, tables);
    else fill<16>(player, law_of_lane, tables);
}

// Where the mass is zero so is the derivative: the ratio of zero to one.
template <int laws>
void ProductTables::fill(std::size_t player, const std::int64_t* law_of_lane, double* tables) const {
    const auto& nodes = paths_.nodes_of(player);
    const std::int64_t first_node = paths_.first_node(trees_.first);
    const auto begin = std::lower_bound(nodes.begin(), nodes.end(), first_node), end = std::lower_bound(begin, nodes.end(), paths_.first_node(trees_.last));
    if (begin == end) return;
    const RangeSums<laws> sums(laws_[player].mass, laws_[player].derivative, paths_.grid.points(player), law_of_lane);
    const std::ptrdiff_t first = begin - nodes.begin();
    std::vector<double> states(static_cast<std::size_t>(end - begin) * 4 * laws);  // of each edge: mass, derivative divided by it
    double whole[2 * laws];
    std::fill_n(whole, laws, 1.0), std::fill_n(whole + laws, laws, 0.0);
    double* state = states.data();
    for (auto node = begin; node != end; ++node) {
        const ProductPaths::Edges& edges = paths_.edges(*node);
        const double* const above = edges.previous < 0 ? whole : states.data() + (edges.previous - 2 * first) * 2 * laws;
        double* to = tables + (*node - first_node) * (4 * laws);
        for (int side = 0; side < 2; ++side, state += 2 * laws, to += 2 * laws) {
            double sum[2 * laws] = {};
            for (const Range& r : paths_.ranges(edges.sides[side])) sums.add(r, sum);
            // everything is read before anything is stored: the compiler must assume that a store changes it
            double before[2 * laws], entry[2 * laws];
            std::copy_n(above, 2 * laws, before);
            for (int l = 0; l < laws; ++l) {
                const double mass = sum[l], one_or_mass = mass > 0 ? mass : 1.0, mass_above = before[l], one_or_above = mass_above > 0 ? mass_above : 1.0;
                const double share = sum[laws + l] / one_or_mass;
                entry[l] = mass / one_or_above;
                entry[laws + l] = share - before[laws + l];
                sum[laws + l] = share;
            }
            std::copy_n(entry, 2 * laws, to);
            std::copy_n(sum, 2 * laws, state);
        }
    }
}

// What one thread needs for a block of rows.
class ProductTables::Worker {
public:
    Worker(const ProductTables& tables, const InstructionSet& set)
        : tables_(tables), kernels_(set.products), rows_(static_cast<std::size_t>(tables.any_by_row_ ? kGroupRows : kernels_.rows)), view_(tables.paths_.view(tables.trees_)) {
        const auto levels = static_cast<std::size_t>(tables.paths_.depth(tables.trees_)) + 2, width = static_cast<std::size_t>(view_.leaf_width);
        law_index_.resize(players() * rows_);
        products_.resize(levels * rows_), sums_.resize(levels * width * rows_);
        results_.resize((players() + 1) * outputs() * rows_);
        view_.tables = tables.tables_.data();
        if (!tables.any_by_row_) return;
        own_.resize(tables.tables_.size());
        std::copy_n(tables.tables_.data(), own_.size(), own_.data());
        view_.tables = own_.data();
    }

    void run(const std::int64_t* law_of, std::size_t count, double* expected, double* derivative) {
        load(law_of, count);
        for (std::size_t l = 0; l < count; ++l) {
            for (std::size_t k = 0; k < players() * outputs(); ++k) results_[k * rows_ + l] = derivative[l * players() * outputs() + k];
            for (std::size_t o = 0; o < outputs(); ++o) results_[(players() * outputs() + o) * rows_ + l] = expected[l * outputs() + o];
        }
        const ProductBlock block{reinterpret_cast<const std::int64_t*>(law_index_.data()), products_.data(), sums_.data(), results_.data()};
        if (tables_.any_by_row_) kernels_.add_eight(view_, block);
        else kernels_.add[std::bit_width(static_cast<std::uint64_t>(tables_.table_laws_)) - 3](view_, block);
        for (std::size_t l = 0; l < count; ++l) {
            for (std::size_t k = 0; k < players() * outputs(); ++k) derivative[l * players() * outputs() + k] = results_[k * rows_ + l];
            for (std::size_t o = 0; o < outputs(); ++o) expected[l * outputs() + o] = results_[(players() * outputs() + o) * rows_ + l];
        }
    }

private:
    const ProductTables& tables_;
    const ProductKernels& kernels_;
    std::size_t rows_;
    ProductTrees view_;
    AlignedArray<std::uint64_t> law_index_;
    AlignedArray<double> products_, sums_, results_, own_;

    std::size_t players() const { return static_cast<std::size_t>(view_.players); }
    std::size_t outputs() const { return static_cast<std::size_t>(view_.outputs); }

    // Lanes beyond the rows repeat the last.
    void load(const std::int64_t* law_of, std::size_t count) {
        for (std::size_t j = 0; j < players(); ++j) {
            std::int64_t laws[kGroupRows] = {};
            for (std::size_t l = 0; l < rows_; ++l) {
                const std::int64_t law = law_of[std::min(l, count - 1) * players() + j];
                if (tables_.by_row(j)) laws[l] = law;
                law_index_[j * rows_ + l] = static_cast<std::uint64_t>(kernels_.law_index(tables_.by_row(j) ? static_cast<std::int64_t>(l) : law));
            }
            if (tables_.by_row(j)) tables_.fill_player(j, laws, own_.data());
        }
    }
};

void ProductTables::run(const std::int64_t* law_of, std::size_t rows, const InstructionSet& set, int threads, double* expected, double* derivative) const {
    const std::size_t lanes = static_cast<std::size_t>(any_by_row_ ? kGroupRows : set.products.rows), blocks = (rows + lanes - 1) / lanes;
    const std::size_t players = paths_.grid.players(), outputs = static_cast<std::size_t>(paths_.grid.e.outputs());
    std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(std::max(threads, 1)));
    parallel_for(blocks, threads, [&](int w, std::size_t block) {
        auto& worker = workers[static_cast<std::size_t>(w)];
        if (!worker) worker = std::make_unique<Worker>(*this, set);
        const std::size_t first = block * lanes;
        worker->run(law_of + first * players, std::min(lanes, rows - first), expected + first * outputs, derivative + first * players * outputs);
    });
}

}  // namespace whybox

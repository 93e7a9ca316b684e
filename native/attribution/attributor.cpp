#include "attribution/attributor.hpp"

#include <algorithm>
#include <functional>
#include <type_traits>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "attribution/compile_patterns.hpp"
#include "attribution/compile_walk.hpp"
#include "attribution/questions.hpp"
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
// them. Trees that would fill that cache by themselves leave room for little else.
std::size_t room_for_rows(std::size_t table_bytes, std::size_t trees) {
    return table_bytes / std::max<std::size_t>(trees, 1) > core_cache() / 4 ? core_cache() / 8 : core_cache() / 4 * 3;
}

bool ask(const void* e, std::int64_t node, double x) {
    const auto& ensemble = *static_cast<const Ensemble*>(e);
    return goes_left(ensemble, ensemble.nodes[static_cast<std::size_t>(node)], x);
}

// Where one cell's sum goes in a row of the result: one place, or the two triangles.
struct Place { std::int64_t first, second; };

template <class T, class C>
struct Form {  // what all chunks of an attributor share
    const Ensemble& e;
    int players;
    Walker<T, C> walker;
    bool single;
    std::size_t row;  // entries of the result per row
    std::vector<Place> places;
};

// `Tree` is WalkTree<T> or PatternTree<T>.
template <class T, class C, class Tree>
class Lanes final : public Chunk {
public:
    explicit Lanes(std::shared_ptr<const Form<T, C>> form) : form_(std::move(form)), e_(form_->e), walker_(form_->walker), places_(form_->places), row_(form_->row) {}
    void run(Rows x, double* out, int threads) const override { rows(x, trees, out, threads); }
    void run(Rows x, float* out, int threads) const override { rows(x, trees, out, threads); }
    std::vector<Tree> trees;

private:
    std::shared_ptr<const Form<T, C>> form_;
    const Ensemble& e_;
    const Walker<T, C>& walker_;
    const std::vector<Place>& places_;
    std::size_t row_;

    struct Room {  // one worker's
        Aligned<C> columns;
        Aligned<T> phi, product, sums;
        Aligned<double> met, path;
    };

    template <class O>
    void rows(Rows x, const std::vector<Tree>& trees, O* out, int threads) const {
        const std::size_t lanes = static_cast<std::size_t>(walker_.rows), blocks = (x.rows + lanes - 1) / lanes;
        const std::size_t per_block = lanes * (x.columns * sizeof(C) + places_.size() * sizeof(T));
        const std::size_t fit = std::max<std::size_t>(1, room_for_rows(bytes, trees.size()) / std::max<std::size_t>(per_block, 1));
        const auto workers = static_cast<std::size_t>(threads);
        const std::size_t bands = ((blocks + fit - 1) / fit + workers - 1) / workers * workers;  // so that no thread waits for another's last band
        const std::size_t together = (blocks + bands - 1) / bands;
        std::vector<Room> rooms(static_cast<std::size_t>(threads));
        share_out((blocks + together - 1) / together, threads, [&](int worker, std::size_t i) {
            Room& room = rooms[static_cast<std::size_t>(worker)];
            if (room.met.size() == 0) furnish(room, trees, together, x.columns);
            band(x, trees, room, i * together, std::min(blocks, (i + 1) * together), out);
        });
    }

    void furnish(Room& room, const std::vector<Tree>& trees, std::size_t together, std::size_t columns) const {
        std::size_t depth = 0, product = 0, sums = 0;
        for (const auto& t : trees) {
            depth = std::max(depth, static_cast<std::size_t>(t.depth) + 2);
            if constexpr (std::is_same_v<Tree, WalkTree<T>>) {
                product = std::max(product, static_cast<std::size_t>(t.depth + 2) * t.q * walker_.rows);
                sums = std::max(sums, static_cast<std::size_t>(t.depth + 2) * t.q * walker_.rows * t.width);
            }
        }
        room.product.resize(product);
        room.sums.resize(sums);
        room.phi.resize(together * places_.size() * walker_.rows);
        room.columns.resize(together * columns * walker_.rows);
        room.met.resize(static_cast<std::size_t>(form_->players) * walker_.mask_bytes / 8 + 1);
        room.path.resize(depth * walker_.index_bytes / 8 + 1);
        walker_.reset(room.met.data(), room.path.data(), form_->players);
    }

    // Blocks first .. last go through every tree together, so that a tree's tables are read from cache by all but the first.
    template <class O>
    void band(Rows x, const std::vector<Tree>& trees, Room& room, std::size_t first, std::size_t last, O* out) const {
        const std::size_t lanes = static_cast<std::size_t>(walker_.rows), cells = places_.size();
        std::fill_n(room.phi.data(), (last - first) * cells * lanes, T{0});
        for (std::size_t b = first; b < last; ++b) load(x, b * lanes, room.columns.data() + (b - first) * x.columns * lanes);
        Desk<T, C> desk{};
        desk.product = room.product.data();
        desk.sums = room.sums.data();
        desk.met = room.met.data();
        desk.path = room.path.data();
        desk.outputs = e_.outputs();
        desk.stride = static_cast<std::int64_t>(x.columns);
        desk.ensemble = &e_;
        desk.goes_left = &ask;
        for (const auto& tree : trees) {
            const auto view = tree.view();
            for (std::size_t b = first; b < last; ++b) {
                desk.columns = room.columns.data() + (b - first) * x.columns * lanes;
                desk.phi = room.phi.data() + (b - first) * cells * lanes;
                desk.rows = x.row(b * lanes);
                desk.last = static_cast<int>(std::min(lanes, x.rows - b * lanes)) - 1;
                if constexpr (std::is_same_v<Tree, WalkTree<T>>) walker_.walk(view, desk);
                else walker_.look_up(view, desk);
            }
        }
        for (std::size_t b = first; b < last; ++b) unload(room.phi.data() + (b - first) * cells * lanes, std::min(lanes, x.rows - b * lanes), out + b * lanes * row_);
    }

    void load(Rows x, std::size_t first, C* to) const {
        const std::size_t lanes = static_cast<std::size_t>(walker_.rows);
        for (std::size_t l = 0; l < lanes; ++l) {
            const double* row = x.row(std::min(first + l, x.rows - 1));
            for (std::size_t c = 0; c < x.columns; ++c) to[c * lanes + l] = form_->single ? static_cast<C>(static_cast<float>(row[c])) : static_cast<C>(row[c]);
        }
    }

    template <class O>
    void unload(const T* phi, std::size_t many, O* out) const {
        const std::size_t lanes = static_cast<std::size_t>(walker_.rows);
        for (std::size_t l = 0; l < many; ++l, out += row_)
            for (std::size_t c = 0; c < places_.size(); ++c) {
                const O value = static_cast<O>(phi[c * lanes + l]);
                out[places_[c].first] += value;
                if (places_[c].second >= 0) out[places_[c].second] += value;
            }
    }
};

template <class T, class C, class Tree>
class Trees final : public Attributor {
public:
    using Compile = std::function<Tree(std::size_t)>;
    Trees(Form<T, C> form, Compile compile) : form_(std::make_shared<const Form<T, C>>(std::move(form))), compile_(std::move(compile)) {}

    std::size_t row() const override { return form_->row; }
    std::shared_ptr<Chunk> chunk(std::size_t first, std::size_t bytes, int threads) const override {
        auto made = std::make_shared<Lanes<T, C, Tree>>(form_);
        auto& trees = made->trees;
        const std::size_t all = form_->e.trees();
        while (first + trees.size() < all && made->bytes < bytes) {
            const std::size_t before = trees.size(), some = std::min<std::size_t>(all - first - before, 2 * static_cast<std::size_t>(threads));
            trees.resize(before + some);
            share_out(some, threads, [&](int, std::size_t i) { trees[before + i] = compile_(first + before + i); });
            for (std::size_t i = 0; i < some; ++i) made->bytes += trees[before + i].bytes();
        }
        made->first = first;
        made->last = first + trees.size();
        return made;
    }

private:
    std::shared_ptr<const Form<T, C>> form_;
    Compile compile_;
};

// Calls make.operator()<T, C>(walker) for the arithmetic that the setting names and the precision of the model's columns.
template <class Make>
std::unique_ptr<Attributor> choose(const Ensemble& e, const Setting& s, const Make& make) {
    const InstructionSet& set = instruction_set(s.instructions);
    if (!s.single) return make(set.exact);
    return reads_single(e) ? make(set.single) : make(set.mixed);
}

std::vector<Place> one_place_each(std::size_t count) {
    std::vector<Place> places;
    for (std::size_t i = 0; i < count; ++i) places.push_back({static_cast<std::int64_t>(i), -1});
    return places;
}

}  // namespace

std::unique_ptr<Attributor> walk_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, std::vector<Rule> rules,
                                            std::vector<std::int32_t> rule_of_tree, const Setting& s) {
    return choose(e, s, [&]<class T, class C>(const Walker<T, C>& w) -> std::unique_ptr<Attributor> {
        const WalkShape shape{std::min(s.bits, w.walk_bits), reads_single(e), std::is_same_v<C, float>};
        const std::size_t row = static_cast<std::size_t>(players) * e.outputs();
        return std::make_unique<Trees<T, C, WalkTree<T>>>(Form<T, C>{e, players, w, shape.single, row, one_place_each(row)},
            [&e, of_column, players, rules, rule_of_tree, shape](std::size_t t) {
                const Rule& r = rules[static_cast<std::size_t>(rule_of_tree[t])];
                return compile_walk<T>(e, t, Players{of_column, players}, Quadrature{r.nodes, r.weights}, shape);
            });
    });
}

std::unique_ptr<Attributor> pattern_attributor(const Ensemble& e, std::vector<std::int32_t> of_column, int players, Layout layout, Game game, const Setting& s) {
    const Cells cells(e, Players{of_column, players}, layout == Layout::attributions ? 1 : 2);
    std::vector<double> columns(game.background.size()), singles(game.background.size());
    for (std::size_t i = 0, rows = game.weights.size(), width = static_cast<std::size_t>(e.columns); i < columns.size(); ++i) {
        columns[i] = game.background[i % rows * width + i / rows];
        singles[i] = static_cast<double>(static_cast<float>(columns[i]));
    }
    game.background = {};
    const auto k = static_cast<std::int64_t>(e.outputs());
    std::vector<Place> places;
    if (layout == Layout::attributions) places = one_place_each(static_cast<std::size_t>(players * k));
    else
        for (std::int64_t c = 0; const auto& [i, j] : cells.pairs()) {
            for (std::int64_t o = 0; o < k; ++o)
                if (layout == Layout::pairs) places.push_back({(players + c) * k + o, -1});
                else places.push_back({(std::int64_t{i} * players + j) * k + o, (std::int64_t{j} * players + i) * k + o});
            ++c;
        }
    auto row = static_cast<std::size_t>(players * k);
    if (layout == Layout::matrices) row *= static_cast<std::size_t>(players);
    if (layout == Layout::pairs) row += places.size();
    return choose(e, s, [&]<class T, class C>(const Walker<T, C>& w) -> std::unique_ptr<Attributor> {
        const PatternShape shape{s.bits, reads_single(e), std::is_same_v<C, float>};
        return std::make_unique<Trees<T, C, PatternTree<T>>>(Form<T, C>{e, players, w, shape.single, row, places},
            [&e, of_column, players, cells, game, columns, singles, shape](std::size_t t) {
                Absent absent{{}, game.weights, columns.data(), singles.data(), game.moments, game.side};
                if (game.weights.empty()) {
                    const Rule& r = game.rules[static_cast<std::size_t>(game.rule_of_tree[t])];
                    absent.rule = {r.nodes, r.weights};
                }
                return compile_patterns<T>(e, t, Players{of_column, players}, cells, absent, shape);
            });
    });
}

}  // namespace whybox

// Classes of values, and grids as sets of points.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "core/split.hpp"
#include "effects/effects.hpp"

namespace whybox {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double above(double x) { return std::nextafter(x, kInfinity); }

// Doubles as integers in the same order, so that the space between two of them can be halved.
std::int64_t place(double x) {
    const auto bits = std::bit_cast<std::int64_t>(x);
    return bits < 0 ? std::numeric_limits<std::int64_t>::min() - bits : bits;
}
double at_place(std::int64_t p) { return std::bit_cast<double>(p < 0 ? std::numeric_limits<std::int64_t>::min() - p : p); }

// The largest value that goes left at a node that sends smaller values left and larger ones right; NaN: none does.
double edge(const Ensemble& e, const Node& n) {
    if (goes_left(e, n, kInfinity)) return kInfinity;
    if (!goes_left(e, n, -kInfinity)) return kNan;
    const double t = n.threshold, before = std::nextafter(t, -kInfinity);
    if (goes_left(e, n, t) ? !goes_left(e, n, above(t)) : goes_left(e, n, before)) return goes_left(e, n, t) ? t : before;
    std::int64_t yes = place(-kInfinity), no = place(kInfinity);
    if (n.flags & kSingle) {  // between the floats around the threshold, if it is as it should be
        const auto f = static_cast<float>(t);
        const auto low = place(std::nextafter(std::nextafter(f, -std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity()));
        const auto high = place(std::nextafter(std::nextafter(f, std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity()));
        if (goes_left(e, n, at_place(low)) && !goes_left(e, n, at_place(high))) yes = low, no = high;
    }
    while (static_cast<std::uint64_t>(no) - static_cast<std::uint64_t>(yes) > 1) {
        const auto middle = static_cast<std::int64_t>(static_cast<std::uint64_t>(yes) + (static_cast<std::uint64_t>(no) - static_cast<std::uint64_t>(yes)) / 2);
        (goes_left(e, n, at_place(middle)) ? yes : no) = middle;
    }
    return at_place(yes);
}

Node below(double threshold, unsigned flags) { return {threshold, 0, 0, 0, 0, 0, 0, -1, static_cast<std::uint8_t>(flags)}; }

bool straight(const Node& n) { return !(n.flags & (kCategorical | kZeroMissing)); }

// The edges of a node that is not straight: its threshold or the borders of its categories, and those of what counts as zero.
struct Bent {
    std::array<std::vector<std::uint32_t>, 4> codes;  // in some set, by how the node reads its values: as bits, 32 a word
    std::array<std::vector<std::uint32_t>, 4> lists;  // and one by one
    bool zero[2] = {false, false};                    // zero is missing, read as it is or in float32

    static unsigned reading(const Node& n) { return n.flags & (kSingle | kTinyAsZero); }
    static std::size_t slot(const Node& n) { return (n.flags & kSingle ? 1U : 0U) | (n.flags & kTinyAsZero ? 2U : 0U); }

    void add(const Ensemble& e, const Node& n, std::vector<double>& edges) {
        if (n.flags & kZeroMissing) zero[n.flags & kSingle ? 1 : 0] = true;
        if (!(n.flags & kCategorical)) {
            Node plain = n;
            plain.flags = static_cast<std::uint8_t>(n.flags & ~kZeroMissing);
            edges.push_back(edge(e, plain));
            return;
        }
        if (n.set_words < 0) {
            const auto first = e.sets.begin() + n.set_begin;
            lists[slot(n)].insert(lists[slot(n)].end(), first, first - n.set_words);
            return;
        }
        auto& seen = codes[slot(n)];
        if (seen.size() < static_cast<std::size_t>(n.set_words)) seen.resize(static_cast<std::size_t>(n.set_words));
        for (std::int32_t w = 0; w < n.set_words; ++w) seen[static_cast<std::size_t>(w)] |= e.sets[static_cast<std::size_t>(n.set_begin + w)];
    }

    static void around(const Ensemble& e, double code, unsigned reading, std::vector<double>& edges) {
        const bool cut = code == 0 && (reading & kTinyAsZero);  // whatever lies between -1 and 1
        edges.push_back(edge(e, cut ? below(-1.0, reading | kLessEqual) : below(code, reading)));
        edges.push_back(edge(e, below(code + 1, reading)));
    }

    void borders(const Ensemble& e, std::vector<double>& edges) const {
        for (std::size_t s = 0; s < codes.size(); ++s) {
            const unsigned reading = (s & 1 ? unsigned{kSingle} : 0U) | (s & 2 ? unsigned{kTinyAsZero} : 0U);
            for (std::size_t w = 0; w < codes[s].size(); ++w)
                for (std::uint32_t rest = codes[s][w]; rest; rest &= rest - 1)
                    around(e, 32.0 * static_cast<double>(w) + std::countr_zero(rest), reading, edges);
            std::vector<std::uint32_t> different(lists[s]);
            std::sort(different.begin(), different.end());
            different.erase(std::unique(different.begin(), different.end()), different.end());
            for (const std::uint32_t code : different) around(e, code, reading, edges);
        }
        for (const unsigned single : {0U, 1U}) {
            if (!zero[single]) continue;
            const unsigned reading = single ? unsigned{kSingle} : 0U;
            edges.push_back(edge(e, below(kZeroThreshold, reading | kLessEqual)));
            edges.push_back(edge(e, below(-kZeroThreshold, reading)));
        }
    }
};

}  // namespace

Classes::Classes(const Ensemble& e) : edges_(static_cast<std::size_t>(e.columns)), cuts_(e.nodes.size(), -1) {
    struct At { double edge; std::size_t node; };
    std::vector<std::vector<At>> of_column(edges_.size());
    std::vector<Bent> bent(edges_.size());
    for (std::size_t i = 0; i < e.nodes.size(); ++i) {
        const Node& n = e.nodes[i];
        if (n.left < 0) continue;
        const auto c = static_cast<std::size_t>(n.feature);
        if (!straight(n)) bent[c].add(e, n, edges_[c]);
        else if (const double x = edge(e, n); std::isnan(x)) cuts_[i] = 0;
        else of_column[c].push_back({x, i});
    }
    for (std::size_t c = 0; c < edges_.size(); ++c) {
        auto& nodes = of_column[c];
        auto& edges = edges_[c];
        bent[c].borders(e, edges);
        std::erase_if(edges, [](double x) { return std::isnan(x) || x == kInfinity; });
        std::sort(nodes.begin(), nodes.end(), [](const At& a, const At& b) { return a.edge < b.edge; });
        for (const At& at : nodes)
            if (at.edge < kInfinity && (edges.empty() || edges.back() != at.edge)) edges.push_back(at.edge);
        std::sort(edges.begin(), edges.end());
        edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
        std::size_t k = 0;
        for (const At& at : nodes) {
            while (k < edges.size() && edges[k] < at.edge) ++k;
            cuts_[at.node] = static_cast<std::int32_t>(k) + 1;
        }
    }
}

// Eight searches side by side and without branches: where a value lies is close to random.
void Classes::of(std::size_t column, const double* x, std::size_t stride, std::size_t count, std::uint32_t* out) const {
    constexpr std::size_t kBeside = 8;
    const auto& edges = edges_[column];
    for (std::size_t i = 0; i < count; i += kBeside) {
        const std::size_t many = std::min(kBeside, count - i);
        std::array<double, kBeside> value;
        std::array<const double*, kBeside> from;
        for (std::size_t k = 0; k < kBeside; ++k) value[k] = x[(i + std::min(k, many - 1)) * stride], from[k] = edges.data();
        for (std::size_t left = edges.size(); left > 0;) {
            const std::size_t half = (left + 1) / 2;
            for (std::size_t k = 0; k < kBeside; ++k) from[k] += half * static_cast<std::size_t>(from[k][half - 1] < value[k]);
            left -= half;
        }
        for (std::size_t k = 0; k < many; ++k) out[i + k] = std::isnan(value[k]) ? missing(column) : static_cast<std::uint32_t>(from[k] - edges.data());
    }
}

double Classes::example(std::size_t column, std::uint32_t which) const {
    const auto& edges = edges_[column];
    return which < edges.size() ? edges[which] : which == edges.size() ? kInfinity : kNan;
}

Grid::Grid(const Ensemble& ensemble, const Classes& c, std::span<const Levels> levels)
    : e(ensemble), classes(c), of_column_(static_cast<std::size_t>(ensemble.columns), -1), points_(levels.size()), first_(levels.size() + 1), missing_(levels.size()), index_(levels.size()),
      values_(levels.size()), plain_(ensemble.nodes.size(), Plain{kAsk, 0, false}) {
    std::vector<std::vector<std::uint32_t>> here(levels.size());
    for (std::size_t j = 0; j < levels.size(); ++j) {
        columns_.push_back(levels[j].columns);
        for (const auto column : levels[j].columns) of_column_[static_cast<std::size_t>(column)] = static_cast<std::int32_t>(j);
        if (levels[j].columns.size() == 1) by_class(levels[j], j, here);
        else {
            points_[j] = levels[j].points;
            index_[j].resize(points_[j]);
            std::iota(index_[j].begin(), index_[j].end(), 0U);
        }
        first_[j + 1] = first_[j] + points_[j];
    }
    for (std::size_t i = 0; i < e.nodes.size(); ++i) {
        const Node& n = e.nodes[i];
        if (n.left < 0 || player(n) < 0) continue;
        const auto j = static_cast<std::size_t>(player(n));
        const auto column = std::find(levels[j].columns.begin(), levels[j].columns.end(), n.feature) - levels[j].columns.begin();
        if (levels[j].columns.size() > 1 || classes.cut(static_cast<std::int64_t>(i)) < 0) ask(n, levels[j], static_cast<std::size_t>(column));
        else plain_[i] = plain(n, here[j]);
    }
}

// A player of one column: its points are the classes that the given values fall into.
void Grid::by_class(const Levels& levels, std::size_t player, std::vector<std::vector<std::uint32_t>>& all) {
    const auto column = static_cast<std::size_t>(levels.columns[0]);
    std::vector<std::uint32_t> classes_of(levels.points);
    classes.of(column, levels.values, 1, levels.points, classes_of.data());
    std::vector<std::uint32_t>& here = all[player] = classes_of;
    std::sort(here.begin(), here.end());
    here.erase(std::unique(here.begin(), here.end()), here.end());
    for (const auto c : classes_of) index_[player].push_back(static_cast<std::uint32_t>(std::lower_bound(here.begin(), here.end(), c) - here.begin()));
    for (const auto c : here) values_[player].push_back(classes.example(column, c));
    points_[player] = here.size();
    missing_[player] = here.back() == classes.missing(column);
}

Grid::Plain Grid::plain(const Node& n, std::span<const std::uint32_t> here) const {
    const auto column = static_cast<std::size_t>(n.feature);
    const bool nan = here.back() == classes.missing(column);
    const auto all = static_cast<std::uint32_t>(here.size()), regular = all - nan;
    const auto cut = static_cast<std::uint32_t>(classes.cut(&n - e.nodes.data()));
    const auto below = static_cast<std::uint32_t>(std::lower_bound(here.begin(), here.begin() + regular, cut) - here.begin());
    const bool nan_left = nan && goes_left(e, n, kNan);
    return {below, nan_left ? regular : all, nan_left};
}

void Grid::ask(const Node& n, const Levels& levels, std::size_t column) {
    const auto j = static_cast<std::size_t>(player(n));
    const std::size_t begin = pool_.size();
    pool_.push_back({});
    for (std::uint32_t p = 0; p < points_[j]; ++p) {
        if (!goes_left(e, n, levels.columns.size() == 1 ? values_[j][p] : levels.values[p * levels.columns.size() + column])) continue;
        if (pool_.size() > begin + 1 && pool_.back().to == p) ++pool_.back().to;
        else pool_.push_back({p, p + 1});
    }
    pool_[begin] = {0, static_cast<std::uint32_t>(pool_.size() - begin - 1)};
    if (begin >= kAsk) throw std::length_error("the model has too many categories for its effects");
    plain_[static_cast<std::size_t>(&n - e.nodes.data())].end = static_cast<std::uint32_t>(begin);
}

std::uint32_t Grid::side_asked(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const {
    const std::size_t at = plain_[static_cast<std::size_t>(&n - e.nodes.data())].end, size = stack.size();
    const std::span<const Range> those{pool_.data() + at + 1, pool_[at].to};
    std::size_t k = 0;
    for (std::size_t i = begin; i < begin + count; ++i) {
        const Range r = stack[i];
        std::uint32_t from = r.from;  // of what goes right
        while (k < those.size() && those[k].to <= r.from) ++k;
        for (std::size_t m = k; m < those.size() && those[m].from < r.to; ++m) {
            const Range both{std::max(r.from, those[m].from), std::min(r.to, those[m].to)};
            if (left) stack.push_back(both);
            else if (from < both.from) stack.push_back({from, both.from});
            from = both.to;
        }
        if (!left && from < r.to) stack.push_back({from, r.to});
    }
    return static_cast<std::uint32_t>(stack.size() - size);
}

}  // namespace whybox

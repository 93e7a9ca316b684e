// Classes of values, and grids as sets of points.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "effects.hpp"
#include "split.hpp"

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
    std::array<std::vector<std::uint32_t>, 4> codes;  // in some set, by how the node reads its values
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
        auto& seen = codes[slot(n)];
        if (seen.size() < static_cast<std::size_t>(n.set_words)) seen.resize(static_cast<std::size_t>(n.set_words));
        for (std::int32_t w = 0; w < n.set_words; ++w) seen[static_cast<std::size_t>(w)] |= e.sets[static_cast<std::size_t>(n.set_begin + w)];
    }

    void borders(const Ensemble& e, std::vector<double>& edges) const {
        for (std::size_t s = 0; s < codes.size(); ++s) {
            const unsigned reading = (s & 1 ? unsigned{kSingle} : 0U) | (s & 2 ? unsigned{kTinyAsZero} : 0U);
            for (std::size_t w = 0; w < codes[s].size(); ++w)
                for (std::uint32_t rest = codes[s][w]; rest; rest &= rest - 1) {
                    const double code = 32.0 * static_cast<double>(w) + std::countr_zero(rest);
                    edges.push_back(edge(e, below(code, reading)));
                    edges.push_back(edge(e, below(code + 1, reading)));
                }
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

std::uint32_t Classes::of(std::size_t column, double x) const {
    const auto& edges = edges_[column];
    if (std::isnan(x)) return missing(column);
    const double* from = edges.data();  // without branches: where a value lies is close to random
    for (std::size_t many = edges.size(); many > 0;) {
        const std::size_t half = (many + 1) / 2;
        from += from[half - 1] < x ? half : 0;
        many -= half;
    }
    return static_cast<std::uint32_t>(from - edges.data());
}

double Classes::example(std::size_t column, std::uint32_t which) const {
    const auto& edges = edges_[column];
    return which < edges.size() ? edges[which] : which == edges.size() ? kInfinity : kNan;
}

void intersect(std::span<const Range> a, std::span<const Range> b, Ranges& out) {
    for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
        const Range both{std::max(a[i].from, b[j].from), std::min(a[i].to, b[j].to)};
        if (both.from < both.to) out.push_back(both);
        a[i].to < b[j].to ? ++i : ++j;
    }
}

Grid::Grid(const Ensemble& ensemble, const Classes& c, std::span<const Levels> levels)
    : e(ensemble), classes(c), of_column_(static_cast<std::size_t>(ensemble.columns), -1), points_(levels.size()), first_(levels.size() + 1), index_(levels.size()),
      values_(levels.size()), straight_(static_cast<std::size_t>(ensemble.columns)), asked_(ensemble.nodes.size(), -1) {
    for (std::size_t j = 0; j < levels.size(); ++j) {
        for (const auto column : levels[j].columns) of_column_[static_cast<std::size_t>(column)] = static_cast<std::int32_t>(j);
        if (levels[j].columns.size() == 1) by_class(levels[j], j);
        else {
            points_[j] = levels[j].points;
            index_[j].resize(points_[j]);
            std::iota(index_[j].begin(), index_[j].end(), 0U);
        }
        first_[j + 1] = first_[j] + points_[j];
    }
    for (const Node& n : e.nodes) {
        if (n.left < 0 || player(n) < 0) continue;
        const Levels& of = levels[static_cast<std::size_t>(player(n))];
        const auto column = std::find(of.columns.begin(), of.columns.end(), n.feature) - of.columns.begin();
        if (of.columns.size() > 1 || classes.cut(&n - e.nodes.data()) < 0) ask(n, of, static_cast<std::size_t>(column));
    }
}

// A player of one column: its points are the classes that the given values fall into.
void Grid::by_class(const Levels& levels, std::size_t player) {
    const auto column = static_cast<std::size_t>(levels.columns[0]);
    std::vector<std::uint32_t> classes_of(levels.points);
    for (std::size_t p = 0; p < levels.points; ++p) classes_of[p] = classes.of(column, levels.values[p]);
    std::vector<std::uint32_t> here = classes_of;
    std::sort(here.begin(), here.end());
    here.erase(std::unique(here.begin(), here.end()), here.end());
    for (const auto c : classes_of) index_[player].push_back(static_cast<std::uint32_t>(std::lower_bound(here.begin(), here.end(), c) - here.begin()));
    for (const auto c : here) values_[player].push_back(classes.example(column, c));
    points_[player] = here.size();
    auto& s = straight_[column];
    s.nan = !here.empty() && here.back() == classes.missing(column);
    s.regular = static_cast<std::uint32_t>(here.size()) - s.nan;
    std::uint32_t k = 0;
    for (std::uint32_t c = 0; c <= classes.missing(column); ++c) {
        while (k < s.regular && here[k] < c) ++k;
        s.below.push_back(k);
    }
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
    asked_[static_cast<std::size_t>(&n - e.nodes.data())] = static_cast<std::int64_t>(begin);
}

void Grid::side(const Node& n, bool left, Ranges& out) const {
    const auto node = &n - e.nodes.data();
    if (const auto at = asked_[static_cast<std::size_t>(node)]; at >= 0) {
        const std::span<const Range> those{pool_.data() + at + 1, pool_[static_cast<std::size_t>(at)].to};
        if (left) return void(out.insert(out.end(), those.begin(), those.end()));
        std::uint32_t from = 0;
        for (const Range r : those) {
            if (from < r.from) out.push_back({from, r.from});
            from = r.to;
        }
        const auto end = static_cast<std::uint32_t>(points_[static_cast<std::size_t>(player(n))]);
        if (from < end) out.push_back({from, end});
        return;
    }
    const Straight& s = straight_[static_cast<std::size_t>(n.feature)];
    const std::uint32_t cut = s.below[static_cast<std::size_t>(classes.cut(node))];
    Range r = left ? Range{0, cut} : Range{cut, s.regular};
    const bool nan = s.nan && goes_left(e, n, kNan) == left;
    if (nan && r.to == s.regular && r.from < r.to) return out.push_back({r.from, r.to + 1});
    if (r.from < r.to) out.push_back(r);
    if (nan) out.push_back({s.regular, s.regular + 1});
}

}  // namespace whybox

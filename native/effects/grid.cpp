// Intervals of values, and grids as sets of points.
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

double next_above(double x) { return std::nextafter(x, kInfinity); }

// Doubles as integers in the same order, so that the space between two of them can be halved.
std::int64_t ordered_bits(double x) {
    const auto bits = std::bit_cast<std::int64_t>(x);
    return bits < 0 ? std::numeric_limits<std::int64_t>::min() - bits : bits;
}
double from_ordered_bits(std::int64_t p) { return std::bit_cast<double>(p < 0 ? std::numeric_limits<std::int64_t>::min() - p : p); }

// The largest value that goes left at a node that sends smaller values left and larger ones right; NaN: none does.
double edge(const Ensemble& e, const Node& n) {
    if (goes_left(e, n, kInfinity)) return kInfinity;
    if (!goes_left(e, n, -kInfinity)) return kNan;
    const double t = n.threshold, before = std::nextafter(t, -kInfinity);
    if (goes_left(e, n, t) ? !goes_left(e, n, next_above(t)) : goes_left(e, n, before)) return goes_left(e, n, t) ? t : before;
    std::int64_t left = ordered_bits(-kInfinity), right = ordered_bits(kInfinity);
    if (n.flags & kSingle) {  // between the floats around the threshold, where the library compares as documented
        const auto f = static_cast<float>(t);
        const auto low = ordered_bits(std::nextafter(std::nextafter(f, -std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity()));
        const auto high = ordered_bits(std::nextafter(std::nextafter(f, std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity()));
        if (goes_left(e, n, from_ordered_bits(low)) && !goes_left(e, n, from_ordered_bits(high))) left = low, right = high;
    }
    while (static_cast<std::uint64_t>(right) - static_cast<std::uint64_t>(left) > 1) {
        const auto middle = static_cast<std::int64_t>(static_cast<std::uint64_t>(left) + (static_cast<std::uint64_t>(right) - static_cast<std::uint64_t>(left)) / 2);
        (goes_left(e, n, from_ordered_bits(middle)) ? left : right) = middle;
    }
    return from_ordered_bits(left);
}

Node threshold_node(double threshold, unsigned flags) { return {threshold, 0, 0, 0, 0, 0, 0, -1, static_cast<std::uint8_t>(flags)}; }

bool is_threshold(const Node& n) { return !(n.flags & (kCategorical | kZeroMissing)); }

// The edges of splits that are not a plain threshold: the threshold or the borders of categories, and those of what counts as zero.
struct OtherSplits {
    std::array<std::vector<std::uint32_t>, 4> category_bits;   // in some set, by how the node reads its values: as bits, 32 a word
    std::array<std::vector<std::uint32_t>, 4> category_lists;  // and as lists
    bool zero_is_missing[2] = {false, false};                  // read as it is, or in float32

    static unsigned read_flags(const Node& n) { return n.flags & (kSingle | kTinyAsZero); }
    static std::size_t slot(const Node& n) { return (n.flags & kSingle ? 1U : 0U) | (n.flags & kTinyAsZero ? 2U : 0U); }

    void add(const Ensemble& e, const Node& n, std::vector<double>& edges) {
        if (n.flags & kZeroMissing) zero_is_missing[n.flags & kSingle ? 1 : 0] = true;
        if (!(n.flags & kCategorical)) {
            Node plain = n;
            plain.flags = static_cast<std::uint8_t>(n.flags & ~kZeroMissing);
            edges.push_back(edge(e, plain));
            return;
        }
        if (n.set_words < 0) {
            const auto first = e.sets.begin() + n.set_begin;
            category_lists[slot(n)].insert(category_lists[slot(n)].end(), first, first - n.set_words);
            return;
        }
        auto& bits = category_bits[slot(n)];
        if (bits.size() < static_cast<std::size_t>(n.set_words)) bits.resize(static_cast<std::size_t>(n.set_words));
        for (std::int32_t w = 0; w < n.set_words; ++w) bits[static_cast<std::size_t>(w)] |= e.sets[static_cast<std::size_t>(n.set_begin + w)];
    }

    static void add_category_edges(const Ensemble& e, double code, unsigned read_flags, std::vector<double>& edges) {
        const bool cut = code == 0 && (read_flags & kTinyAsZero);  // whatever lies between -1 and 1
        edges.push_back(edge(e, cut ? threshold_node(-1.0, read_flags | kLessEqual) : threshold_node(code, read_flags)));
        edges.push_back(edge(e, threshold_node(code + 1, read_flags)));
    }

    void append_edges(const Ensemble& e, std::vector<double>& edges) const {
        for (std::size_t s = 0; s < category_bits.size(); ++s) {
            const unsigned read_flags = (s & 1 ? unsigned{kSingle} : 0U) | (s & 2 ? unsigned{kTinyAsZero} : 0U);
            for (std::size_t w = 0; w < category_bits[s].size(); ++w)
                for (std::uint32_t rest = category_bits[s][w]; rest; rest &= rest - 1)
                    add_category_edges(e, 32.0 * static_cast<double>(w) + std::countr_zero(rest), read_flags, edges);
            std::vector<std::uint32_t> different(category_lists[s]);
            std::sort(different.begin(), different.end());
            different.erase(std::unique(different.begin(), different.end()), different.end());
            for (const std::uint32_t code : different) add_category_edges(e, code, read_flags, edges);
        }
        for (const unsigned single : {0U, 1U}) {
            if (!zero_is_missing[single]) continue;
            const unsigned read_flags = single ? unsigned{kSingle} : 0U;
            edges.push_back(edge(e, threshold_node(kZeroThreshold, read_flags | kLessEqual)));
            edges.push_back(edge(e, threshold_node(-kZeroThreshold, read_flags)));
        }
    }
};

}  // namespace

ValueIntervals::ValueIntervals(const Ensemble& e) : edges_(static_cast<std::size_t>(e.columns)), cuts_(e.nodes.size(), -1) {
    struct NodeEdge { double edge; std::size_t node; };
    std::vector<std::vector<NodeEdge>> of_column(edges_.size());
    std::vector<OtherSplits> other_splits(edges_.size());
    for (std::size_t i = 0; i < e.nodes.size(); ++i) {
        const Node& n = e.nodes[i];
        if (n.left < 0) continue;
        const auto c = static_cast<std::size_t>(n.feature);
        if (!is_threshold(n)) other_splits[c].add(e, n, edges_[c]);
        else if (const double x = edge(e, n); std::isnan(x)) cuts_[i] = 0;
        else of_column[c].push_back({x, i});
    }
    for (std::size_t c = 0; c < edges_.size(); ++c) {
        auto& nodes = of_column[c];
        auto& edges = edges_[c];
        other_splits[c].append_edges(e, edges);
        std::erase_if(edges, [](double x) { return std::isnan(x) || x == kInfinity; });
        std::sort(nodes.begin(), nodes.end(), [](const NodeEdge& a, const NodeEdge& b) { return a.edge < b.edge; });
        for (const NodeEdge& begin_of_ranges : nodes)
            if (begin_of_ranges.edge < kInfinity && (edges.empty() || edges.back() != begin_of_ranges.edge)) edges.push_back(begin_of_ranges.edge);
        std::sort(edges.begin(), edges.end());
        edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
        std::size_t k = 0;
        for (const NodeEdge& begin_of_ranges : nodes) {
            while (k < edges.size() && edges[k] < begin_of_ranges.edge) ++k;
            cuts_[begin_of_ranges.node] = static_cast<std::int32_t>(k) + 1;
        }
    }
}

// Eight binary searches side by side and without branches: the position of a value is close to random.
void ValueIntervals::find(std::size_t column, const double* x, std::size_t stride, std::size_t count, std::uint32_t* out) const {
    constexpr std::size_t kSearches = 8;
    const auto& edges = edges_[column];
    for (std::size_t i = 0; i < count; i += kSearches) {
        const std::size_t n_values = std::min(kSearches, count - i);
        std::array<double, kSearches> value;
        std::array<const double*, kSearches> from;
        for (std::size_t k = 0; k < kSearches; ++k) value[k] = x[(i + std::min(k, n_values - 1)) * stride], from[k] = edges.data();
        for (std::size_t left = edges.size(); left > 0;) {
            const std::size_t half = (left + 1) / 2;
            for (std::size_t k = 0; k < kSearches; ++k) from[k] += half * static_cast<std::size_t>(from[k][half - 1] < value[k]);
            left -= half;
        }
        for (std::size_t k = 0; k < n_values; ++k) out[i + k] = std::isnan(value[k]) ? missing_index(column) : static_cast<std::uint32_t>(from[k] - edges.data());
    }
}

double ValueIntervals::representative(std::size_t column, std::uint32_t interval) const {
    const auto& edges = edges_[column];
    return interval < edges.size() ? edges[interval] : interval == edges.size() ? kInfinity : kNan;
}

Grid::Grid(const Ensemble& ensemble, const ValueIntervals& c, std::span<const PlayerPoints> points_of_players)
    : e(ensemble), intervals(c), of_column_(static_cast<std::size_t>(ensemble.columns), -1), points_(points_of_players.size()),
        first_(points_of_players.size() + 1), missing_(points_of_players.size()), index_(points_of_players.size()),
      values_(points_of_players.size()), cuts_(ensemble.nodes.size(), NodeCut{kListed, 0, false}) {
    std::vector<std::vector<std::uint32_t>> present(points_of_players.size());
    for (std::size_t j = 0; j < points_of_players.size(); ++j) {
        columns_.push_back(points_of_players[j].columns);
        for (const auto column : points_of_players[j].columns) of_column_[static_cast<std::size_t>(column)] = static_cast<std::int32_t>(j);
        if (points_of_players[j].columns.size() == 1) set_points_by_interval(points_of_players[j], j, present);
        else {
            points_[j] = points_of_players[j].points;
            index_[j].resize(points_[j]);
            std::iota(index_[j].begin(), index_[j].end(), 0U);
        }
        first_[j + 1] = first_[j] + points_[j];
    }
    for (std::size_t i = 0; i < e.nodes.size(); ++i) {
        const Node& n = e.nodes[i];
        if (n.left < 0 || player(n) < 0) continue;
        const auto j = static_cast<std::size_t>(player(n));
        const auto column = std::find(points_of_players[j].columns.begin(), points_of_players[j].columns.end(), n.feature) - points_of_players[j].columns.begin();
        if (points_of_players[j].columns.size() > 1 || intervals.cut_index(static_cast<std::int64_t>(i)) < 0) list_left_points(n, points_of_players[j],
            static_cast<std::size_t>(column));
        else cuts_[i] = interval_cut(n, present[j]);
    }
}

// A player of one column: its points are the intervals of the given values.
void Grid::set_points_by_interval(const PlayerPoints& points, std::size_t player, std::vector<std::vector<std::uint32_t>>& all) {
    const auto column = static_cast<std::size_t>(points.columns[0]);
    std::vector<std::uint32_t> interval_of(points.points);
    intervals.find(column, points.values, 1, points.points, interval_of.data());
    std::vector<std::uint32_t>& present = all[player] = interval_of;
    std::sort(present.begin(), present.end());
    present.erase(std::unique(present.begin(), present.end()), present.end());
    for (const auto c : interval_of) index_[player].push_back(static_cast<std::uint32_t>(std::lower_bound(present.begin(), present.end(), c) - present.begin()));
    for (const auto c : present) values_[player].push_back(intervals.representative(column, c));
    points_[player] = present.size();
    missing_[player] = present.back() == intervals.missing_index(column);
}

Grid::NodeCut Grid::interval_cut(const Node& n, std::span<const std::uint32_t> present) const {
    const auto column = static_cast<std::size_t>(n.feature);
    const bool nan = present.back() == intervals.missing_index(column);
    const auto all = static_cast<std::uint32_t>(present.size()), regular = all - nan;
    const auto cut = static_cast<std::uint32_t>(intervals.cut_index(&n - e.nodes.data()));
    const auto below = static_cast<std::uint32_t>(std::lower_bound(present.begin(), present.begin() + regular, cut) - present.begin());
    const bool nan_left = nan && goes_left(e, n, kNan);
    return {below, nan_left ? regular : all, nan_left};
}

void Grid::list_left_points(const Node& n, const PlayerPoints& points, std::size_t column) {
    const auto j = static_cast<std::size_t>(player(n));
    const std::size_t begin = left_ranges_.size();
    left_ranges_.push_back({});
    for (std::uint32_t p = 0; p < points_[j]; ++p) {
        if (!goes_left(e, n, points.columns.size() == 1 ? values_[j][p] : points.values[p * points.columns.size() + column])) continue;
        if (left_ranges_.size() > begin + 1 && left_ranges_.back().to == p) ++left_ranges_.back().to;
        else left_ranges_.push_back({p, p + 1});
    }
    left_ranges_[begin] = {0, static_cast<std::uint32_t>(left_ranges_.size() - begin - 1)};
    if (begin >= kListed) throw std::length_error("the model has too many categories for its effects");
    cuts_[static_cast<std::size_t>(&n - e.nodes.data())].end = static_cast<std::uint32_t>(begin);
}

std::uint32_t Grid::listed_side(const Node& n, bool left, std::size_t begin, std::size_t count, Ranges& stack) const {
    const std::size_t begin_of_ranges = cuts_[static_cast<std::size_t>(&n - e.nodes.data())].end, size = stack.size();
    const std::span<const Range> ranges{left_ranges_.data() + begin_of_ranges + 1, left_ranges_[begin_of_ranges].to};
    std::size_t k = 0;
    for (std::size_t i = begin; i < begin + count; ++i) {
        const Range r = stack[i];
        std::uint32_t from = r.from;  // of what goes right
        while (k < ranges.size() && ranges[k].to <= r.from) ++k;
        for (std::size_t m = k; m < ranges.size() && ranges[m].from < r.to; ++m) {
            const Range both{std::max(r.from, ranges[m].from), std::min(r.to, ranges[m].to)};
            if (left) stack.push_back(both);
            else if (from < both.from) stack.push_back({from, both.from});
            from = both.to;
        }
        if (!left && from < r.to) stack.push_back({from, r.to});
    }
    return static_cast<std::uint32_t>(stack.size() - size);
}

}  // namespace whybox

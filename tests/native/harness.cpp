#include "harness.hpp"

#include <algorithm>
#include <bit>

#include "core/split.hpp"

namespace whybox::tests {

std::vector<Test>& all_tests() {
    static std::vector<Test> tests;
    return tests;
}

NodeSpec leaf(double value, double cover) { return leaf(std::vector<double>{value}, cover); }
NodeSpec leaf(std::vector<double> values, double cover) {
    NodeSpec s;
    s.value = std::move(values);
    s.cover = cover;
    return s;
}
NodeSpec split(std::int32_t feature, double threshold, std::uint8_t flags, NodeSpec left, NodeSpec right) {
    NodeSpec s;
    s.feature = feature;
    s.threshold = threshold;
    s.flags = flags;
    s.cover = left.cover + right.cover;
    s.children.push_back(std::move(left));
    s.children.push_back(std::move(right));
    return s;
}
NodeSpec in_set(std::int32_t feature, std::vector<std::uint32_t> set, std::uint8_t flags, bool as_list, NodeSpec left, NodeSpec right) {
    NodeSpec s = split(feature, kNan, static_cast<std::uint8_t>(flags | kCategorical), std::move(left), std::move(right));
    s.set = std::move(set);
    s.as_list = as_list;
    return s;
}

std::int32_t EnsembleBuilder::node(const NodeSpec& spec, std::int64_t first) {
    const auto at = left.size();
    left.push_back(-1), right.push_back(-1), feature.push_back(spec.feature), leaf.push_back(-1), threshold.push_back(spec.threshold);
    cover.push_back(spec.cover), flags.push_back(spec.flags), set_begin.push_back(static_cast<std::int64_t>(sets.size())), set_words.push_back(0);
    if (spec.children.empty()) {
        leaf[at] = static_cast<std::int32_t>(leaf_values.size() / spec.value.size());
        leaf_values.insert(leaf_values.end(), spec.value.begin(), spec.value.end());
        return static_cast<std::int32_t>(static_cast<std::int64_t>(at) - first);
    }
    if (spec.flags & kCategorical) {
        if (spec.as_list) {
            sets.insert(sets.end(), spec.set.begin(), spec.set.end());
            set_words[at] = -static_cast<std::int32_t>(spec.set.size());
        } else {
            const std::size_t words = spec.set.empty() ? 0 : spec.set.back() / 32 + 1, begin = sets.size();
            sets.resize(begin + words);
            for (const auto c : spec.set) sets[begin + c / 32] |= 1U << (c % 32);
            set_words[at] = static_cast<std::int32_t>(words);
        }
    }
    left[at] = node(spec.children[0], first);
    right[at] = node(spec.children[1], first);
    return static_cast<std::int32_t>(static_cast<std::int64_t>(at) - first);
}

EnsembleBuilder& EnsembleBuilder::tree(const NodeSpec& spec, std::int32_t output, double weight) {
    node(spec, tree_offsets.back());
    tree_offsets.push_back(static_cast<std::int64_t>(left.size()));
    tree_output.push_back(output);
    tree_weight.push_back(weight);
    return *this;
}

Ensemble EnsembleBuilder::ensemble() const {
    return Ensemble(EnsembleArrays{tree_offsets, left, right, feature, leaf, threshold, cover, flags, set_begin, set_words, sets, leaf_values, tree_output, tree_weight,
                           base, linear_offset, linear_feature, linear_coef, linear_const, columns});
}

namespace {

constexpr double kGrid[] = {-1.5, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0};

NodeSpec random_tree(Random& random, const EnsembleShape& shape, int depth, double cover) {
    if (depth == 0 || random.below(7) == 0) {
        std::vector<double> values;
        for (std::size_t k = 0; k < (shape.vector ? shape.outputs : 1); ++k) values.push_back(random.between(-2, 2));
        return leaf(std::move(values), cover);
    }
    constexpr double shares[] = {0.0, 0.2, 0.5, 0.9};
    const double share = random.below(3) == 0 ? shares[random.below(4)] : random.uniform();
    const auto feature = static_cast<std::int32_t>(random.below(shape.columns));
    const auto flags = static_cast<std::uint8_t>(random.bits() & static_cast<unsigned>(~(kCategorical | kSetRight)));
    NodeSpec left = random_tree(random, shape, depth - 1, cover * share), right = random_tree(random, shape, depth - 1, cover * (1 - share));
    if (!shape.categories || random.below(3)) return split(feature, kGrid[random.below(std::size(kGrid))], flags, std::move(left), std::move(right));
    std::vector<std::uint32_t> set;
    for (std::uint32_t c = 0; c < (random.below(2) ? 3U : 70U); ++c)
        if (random.below(2)) set.push_back(c);
    return in_set(feature, std::move(set), static_cast<std::uint8_t>(flags | (random.below(2) ? kSetRight : 0)), random.below(2) == 0, std::move(left), std::move(right));
}

}  // namespace

Ensemble random_ensemble(Random& random, const EnsembleShape& shape) {
    EnsembleBuilder flat(static_cast<std::int32_t>(shape.columns), {});
    for (std::size_t k = 0; k < shape.outputs; ++k) flat.base.push_back(random.between(-1, 1));
    for (std::size_t t = 0; t < shape.trees; ++t)
        flat.tree(random_tree(random, shape, shape.depth, 100), shape.vector ? -1 : static_cast<std::int32_t>(random.below(shape.outputs)), random.between(0.3, 1.2));
    return flat.ensemble();
}

std::vector<double> random_rows(Random& random, std::size_t rows, std::size_t columns) {
    constexpr double odd[] = {-1.5, -0.5, 0.0, -0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 31.0, 32.0, 63.0, 64.0, 69.0, kNan, kInf, -kInf, 1e-36, -1e-36, 5e-324};
    std::vector<double> x;
    for (std::size_t i = 0; i < rows * columns; ++i) x.push_back(random.below(2) ? odd[random.below(std::size(odd))] : random.between(-2, 3));
    return x;
}

Ensemble chain(Random& random, std::size_t depth, std::size_t columns) {
    EnsembleBuilder flat(static_cast<std::int32_t>(columns), {0.5});
    // written without recursion: node 2k is the k-th split, node 2k + 1 the leaf that leaves the chain there
    for (std::size_t k = 0; k <= depth; ++k) {
        const auto at = static_cast<std::int32_t>(2 * k);
        const bool last = k == depth, inner_left = random.below(2) != 0;
        flat.left.push_back(last ? -1 : inner_left ? at + 2 : at + 1);
        flat.right.push_back(last ? -1 : inner_left ? at + 1 : at + 2);
        flat.feature.push_back(last ? -1 : static_cast<std::int32_t>(random.below(columns)));
        flat.leaf.push_back(last ? static_cast<std::int32_t>(k) : -1);
        flat.threshold.push_back(random.between(-1, 1));
        flat.cover.push_back(static_cast<double>(depth - k + 1));
        if (!last) flat.left.push_back(-1), flat.right.push_back(-1), flat.feature.push_back(-1), flat.leaf.push_back(static_cast<std::int32_t>(k)),
            flat.threshold.push_back(0), flat.cover.push_back(1);
        flat.leaf_values.push_back(random.between(-1, 1));
    }
    flat.flags.resize(flat.left.size()), flat.set_begin.resize(flat.left.size()), flat.set_words.resize(flat.left.size());
    flat.tree_offsets.push_back(static_cast<std::int64_t>(flat.left.size()));
    flat.tree_output.push_back(0), flat.tree_weight.push_back(1);
    return flat.ensemble();
}

std::vector<double> predictions(const Ensemble& e, const std::vector<double>& x, bool with_base) {
    const Rows rows = rows_of(x, static_cast<std::size_t>(e.columns));
    const auto k = static_cast<std::size_t>(e.outputs());
    std::vector<double> out(rows.rows * k);
    predict(e, rows, {0, e.trees()}, out.data());
    if (!with_base)
        for (std::size_t i = 0; i < out.size(); ++i) out[i] -= e.base[i % k];
    return out;
}

namespace {

void path_value(const Ensemble& e, std::size_t t, std::int32_t id, double weight, std::uint32_t coalition, const std::vector<std::int32_t>& of_column, const double* x,
                std::vector<double>& out) {
    const Node& n = e.root(t)[id];
    if (n.left < 0) {
        for (int c = 0; c < e.leaf_width; ++c) out[static_cast<std::size_t>(e.first_output(t) + c)] += weight * e.tree_weight[t] * e.values_of(n)[c];
        return;
    }
    if (coalition >> of_column[static_cast<std::size_t>(n.feature)] & 1U)
        return path_value(e, t, goes_left(e, n, x[n.feature]) ? n.left : n.right, weight, coalition, of_column, x, out);
    for (const auto child : {n.left, n.right}) path_value(e, t, child, weight * Ensemble::cover_share(n, e.root(t)[child]), coalition, of_column, x, out);
}

}  // namespace

Game path_game(const Ensemble& e, const std::vector<std::int32_t>& of_column, const double* x) {
    return [&e, of_column, x](std::uint32_t coalition) {
        std::vector<double> out(static_cast<std::size_t>(e.outputs()));
        for (std::size_t t = 0; t < e.trees(); ++t) path_value(e, t, 0, 1, coalition, of_column, x, out);
        return out;
    };
}

Game background_game(const Ensemble& e, const std::vector<std::int32_t>& of_column, const double* x, const std::vector<double>& background,
                     const std::vector<double>& weights) {
    return [&e, of_column, x, background, weights](std::uint32_t coalition) {
        std::vector<double> mixed = background, out(static_cast<std::size_t>(e.outputs()));
        const auto columns = static_cast<std::size_t>(e.columns);
        for (std::size_t i = 0; i < mixed.size(); ++i)
            if (coalition >> of_column[i % columns] & 1U) mixed[i] = x[i % columns];
        const auto there = predictions(e, mixed, false);
        for (std::size_t i = 0; i < there.size(); ++i) out[i % out.size()] += weights[i / out.size()] * there[i];
        return out;
    };
}

std::vector<double> shapley(const Game& game, int players, std::size_t outputs, int order) {
    const std::uint32_t all = 1U << players;
    std::vector<std::vector<double>> values;
    for (std::uint32_t s = 0; s < all; ++s) values.push_back(game(s));
    const auto moments = uniform_moments(players + 1);
    const auto n = static_cast<std::size_t>(players);
    std::vector<double> out((order == 1 ? n : n * n) * outputs);
    for (int i = 0; i < players; ++i)
        for (int j = 0; j < (order == 1 ? 1 : i); ++j) {
            const std::uint32_t mine = order == 1 ? 1U << i : 1U << i | 1U << j;
            for (std::uint32_t s = 0; s < all; ++s) {
                if (s & mine) continue;
                const int inside = std::popcount(s);
                const double share = moments[static_cast<std::size_t>(inside * (players + 1) + players - order - inside)];
                for (std::size_t c = 0; c < outputs; ++c) {
                    if (order == 1) {
                        out[static_cast<std::size_t>(i) * outputs + c] += share * (values[s | mine][c] - values[s][c]);
                        continue;
                    }
                    const double add = share * (values[s | mine][c] - values[s | 1U << i][c] - values[s | 1U << j][c] + values[s][c]);
                    out[(static_cast<std::size_t>(i) * n + static_cast<std::size_t>(j)) * outputs + c] += add;
                    out[(static_cast<std::size_t>(j) * n + static_cast<std::size_t>(i)) * outputs + c] += add;
                }
            }
        }
    return out;
}

GaussRule gauss(int nodes) {
    GaussRule rule;
    for (int i = 1; i <= nodes; ++i) {
        double x = std::cos(3.14159265358979323846 * (i - 0.25) / (nodes + 0.5)), slope = 0;
        for (int step = 0; step < 100; ++step) {  // Newton's method on the Legendre polynomial
            double p = 1, before = 0;
            for (int k = 1; k <= nodes; ++k) before = std::exchange(p, ((2 * k - 1) * x * p - (k - 1) * before) / k);
            slope = nodes * (x * p - before) / (x * x - 1);
            x -= p / slope;
        }
        rule.nodes.push_back((1 - x) / 2);
        rule.weights.push_back(1 / ((1 - x * x) * slope * slope));
    }
    return rule;
}

std::vector<double> uniform_moments(int side) {
    std::vector<double> out;
    for (int s = 0; s < side; ++s)
        for (int t = 0; t < side; ++t) out.push_back(std::exp(std::lgamma(s + 1.0) + std::lgamma(t + 1.0) - std::lgamma(s + t + 2.0)));
    return out;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size()) return kInf;
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double gap = std::fabs(a[i] - b[i]);
        if (!(gap <= most)) most = gap;  // NaN counts
    }
    return most;
}

}  // namespace whybox::tests

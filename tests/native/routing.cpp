// Where values go, and which arrays are refused.
#include <algorithm>
#include <cmath>

#include "attribution/attributor.hpp"
#include "attribution/predict_blocks.hpp"
#include "core/split.hpp"
#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

bool refused(const EnsembleBuilder& flat) {
    try {
        (void)flat.ensemble();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

EnsembleBuilder stump() {
    EnsembleBuilder flat(2, {0.0});
    flat.tree(split(0, 0.5, 0, leaf(1), split(1, 0.5, 0, leaf(2), leaf(3))));
    return flat;
}

template <class Change>
bool refused_after(const Change& change) {
    EnsembleBuilder flat = stump();
    change(flat);
    return refused(flat);
}

// Every value that a comparison may stumble on, around a threshold.
std::vector<double> values_around(double t) {
    const auto f = static_cast<double>(static_cast<float>(t));
    std::vector<double> x{t, f, -t, 0.0, -0.0, kNan, kInf, -kInf, 5e-324, -5e-324, 1e-40, -1e-40, kZeroThreshold, -kZeroThreshold, 1e-36, -1e-36, 1e-34, -1e-34,
        1e300, -1e300};
    for (const double v : {t, f, kZeroThreshold, 0.0}) {
        for (const double to : {kInf, -kInf}) {
            x.push_back(std::nextafter(v, to));
            x.push_back(static_cast<double>(std::nextafter(static_cast<float>(v), static_cast<float>(to))));
        }
    }
    return x;
}

constexpr double kThresholds[] = {0.5, 0.1, 0.0, -0.0, 1e-40, -1e-40, 5e-324, 1e-35, -1e-35, 1e-36, 3.4e38, 1e300, -1e300, kInf, -kInf};

}  // namespace

TEST(arrays_that_are_no_ensemble_are_refused) {
    CHECK(!refused(stump()));
    CHECK(refused_after([](EnsembleBuilder& f) { f.left[0] = 0; }));                       // a cycle
    CHECK(refused_after([](EnsembleBuilder& f) { f.left[2] = 1; }));                       // a child before its parent
    CHECK(refused_after([](EnsembleBuilder& f) { f.right[2] = 5; }));                      // a child outside the tree
    CHECK(refused_after([](EnsembleBuilder& f) { f.right[2] = -7; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.right[2] = f.left[2]; }));              // the same child twice
    CHECK(refused_after([](EnsembleBuilder& f) { f.left[1] = 3, f.right[1] = 4, f.feature[1] = 0; }));  // two parents, and no orphan
    CHECK(refused_after([](EnsembleBuilder& f) { f.left[2] = -1; }));                      // an orphan
    CHECK(refused_after([](EnsembleBuilder& f) { f.feature[0] = 2; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.feature[0] = -1; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.leaf[1] = 3; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.leaf[1] = -1; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.base.clear(); }));                      // no outputs
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_output[0] = 1; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_output[0] = -2; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_offsets[1] = 4; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_offsets[0] = 1; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_weight.clear(); }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.cover.pop_back(); }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.flags[0] = kCategorical, f.set_words[0] = 1; }));  // a set that is not there
    CHECK(refused_after([](EnsembleBuilder& f) { f.flags[0] = kCategorical, f.set_begin[0] = -1; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.flags[0] = kCategorical, f.sets = {4, 4}, f.set_words[0] = -2; }));  // a list out of order
    CHECK(refused_after([](EnsembleBuilder& f) { f.linear_offset = {0, 1}, f.linear_feature = {0}, f.linear_coef = {1.0}; }));
    CHECK(refused_after([](EnsembleBuilder& f) { f.tree_offsets.push_back(5), f.tree_output.push_back(0), f.tree_weight.push_back(1); }));  // a tree without nodes
}

TEST(no_trees_and_single_leaves_predict) {
    const Ensemble none = EnsembleBuilder(2, {0.25, -1}).ensemble();
    CHECK(predictions(none, {1, 2, 3, 4}) == (std::vector<double>{0.25, -1, 0.25, -1}));
    CHECK(predictions(none, {}).empty());
    std::vector<double> mean(2);
    expectation(none, mean.data());
    CHECK(mean == (std::vector<double>{0.25, -1}));
    const Ensemble one = EnsembleBuilder(2, {0.25}).tree(leaf(2), 0, 0.5).ensemble();
    CHECK(predictions(one, {kNan, kInf}) == std::vector<double>{1.25});
    std::int32_t at = 7;
    const std::vector<double> x{kNan, kInf};
    reached_leaves(one, rows_of(x, 2), &at);
    CHECK(at == 0);
}

TEST(every_number_of_rows_predicts_the_same) {
    Random random(1);
    const Ensemble e = random_ensemble(random, {.columns = 4, .trees = 5, .outputs = 2, .depth = 6});
    const auto x = random_rows(random, 1100, 4);
    const auto all = predictions(e, x);
    for (const std::size_t rows : {0, 1, 7, 8, 9, 511, 512, 513, 1099}) {
        const auto some = predictions(e, {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(rows * 4)});
        CHECK_FOR(std::equal(some.begin(), some.end(), all.begin()), std::to_string(rows) + " rows");
    }
}

TEST(predictions_of_blocks_are_those_of_single_rows) {
    Random random(2);
    for (const int depth : {3, 6, 9})  // trees that are walked by bits, and larger ones
        for (const int outputs : {1, 3}) {
            const Ensemble e = random_ensemble(random, {.columns = 4, .trees = 7, .outputs = static_cast<std::size_t>(outputs), .depth = depth});
            auto x = random_rows(random, 2100, 4);
            for (std::size_t i = 0; i < x.size(); i += 41) x[i] = i % 2 ? kNan : kThresholds[i % std::size(kThresholds)];
            for (const std::size_t rows : {0, 1, 63, 64, 65, 1984, 2100}) {
                const Rows some{x.data(), rows, 4};
                for (const TreeRange trees : {TreeRange{0, 7}, TreeRange{2, 5}}) {
                    std::vector<double> alone(rows * static_cast<std::size_t>(outputs)), together(alone.size(), 9.0);
                    predict(e, some, trees, alone.data());
                    for (const auto* set : instruction_sets()) {
                        predict_blocks(e, some, trees, *set, together.data());
                        CHECK_FOR(alone == together, std::string(set->name) + ", " + std::to_string(rows) + " rows");
                    }
                }
            }
        }
}

TEST(categories_at_the_borders_of_words) {
    for (const bool as_list : {false, true})
        for (const std::uint8_t flags : {0, int{kTinyAsZero}, int{kSetRight}}) {
            const std::vector<std::uint32_t> set{0, 31, 32, 63, 64, 95};
            const Ensemble e = EnsembleBuilder(1, {0.0}).tree(in_set(0, set, flags, as_list, leaf(1), leaf(0))).ensemble();
            const bool whole = flags & kTinyAsZero, turned = flags & kSetRight;
            const std::vector<std::pair<double, bool>> wanted{
                {0, true}, {-0.0, true}, {31, true}, {32, true}, {33, false}, {30, false}, {63, true}, {64, true}, {65, false}, {95, true}, {96, false},
                    {127, false}, {128, false},
                {31.5, true}, {32.999, true}, {95.999, true}, {-0.5, whole}, {-1, false}, {4294967295.0, false}, {4294967296.0, false},
                    {4294967296.0 + 31, false}, {1e300, false},
                {kInf, false}, {-kInf, false}};
            for (const auto& [x, member] : wanted) CHECK_FOR(predictions(e, {x})[0] == (member != turned ? 1.0 : 0.0),
                std::to_string(x) + (as_list ? " in a list" : " in bits"));
            CHECK(predictions(e, {kNan})[0] == 0.0);  // missing goes right, in a set or not
        }
    const Ensemble empty = EnsembleBuilder(1, {0.0}).tree(in_set(0, {}, 0, false, leaf(1), leaf(0))).ensemble();
    for (const double x : {0.0, 31.0, kNan, kInf}) CHECK(predictions(empty, {x})[0] == 0.0);
}

// A stump with equal covers and leaves 1 and -1: the attribution of its only player says which way the row went.
TEST(every_kernel_sends_values_where_a_node_does) {
    const std::vector<std::int32_t> of_column{0};
    const auto rule = gauss(1);
    for (const double t : kThresholds)
        for (unsigned flags = 0; flags < 256; ++flags) {
            if (flags & kSetRight && !(flags & kCategorical)) continue;
            const auto f = static_cast<std::uint8_t>(flags);
            const Ensemble e = flags & kCategorical ? EnsembleBuilder(1, {0.0}).tree(in_set(0, {0, 2, 40}, f, false, leaf(1), leaf(-1))).ensemble()
                                                    : EnsembleBuilder(1, {0.0}).tree(split(0, t, f, leaf(1), leaf(-1))).ensemble();
            const auto x = values_around(t);
            const auto want = predictions(e, x);
            for (const auto* set : instruction_sets())
                for (const bool single : {false, true})
                    for (const int bits : {0, 3}) {
                        const KernelSettings setting{set->name, single, bits};
                        whybox::PatternGame game;
                        game.rules = {{rule.nodes, rule.weights}}, game.rule_of_tree = {0};
                        for (const auto& made : {walk_attributor(e, of_column, 1, ResultLayout::attributions, {{rule.nodes, rule.weights}}, {0}, setting),
                                                 pattern_attributor(e, of_column, 1, ResultLayout::attributions, game, setting)}) {
                            std::vector<double> out(x.size());
                            made->compile_chunk(0, 1, 1)->run(rows_of(x, 1), out.data(), 1);
                            CHECK_FOR(largest_difference(out, want) < 1e-6, std::string(set->name) + (single ? " float32"
                                : " float64") + ", flags " + std::to_string(flags) +
                                                                                 ", threshold " + std::to_string(t));
                        }
                    }
        }
}

}  // namespace whybox::tests

// Every instruction set against the plain one, operation by operation.
#include <algorithm>
#include <cmath>

#include "core/aligned.hpp"
#include "harness.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox::tests {
namespace {

const InstructionSet& plain_set() { return *instruction_sets().back(); }

std::uint64_t word(Random& random) {
    switch (random.below(4)) {
        case 0: return 0;
        case 1: return ~std::uint64_t{0};
        default: return random.bits();
    }
}

}  // namespace

TEST(comparisons_of_64_values) {
    Random random(2);
    AlignedArray<double> x;
    x.resize(64);
    const double odd[] = {0.0, -0.0, kNan, -kNan, kInf, -kInf, 5e-324, -5e-324, 1.0, std::nextafter(1.0, 2.0), std::nextafter(1.0, 0.0)};
    for (int round = 0; round < 200; ++round) {
        for (std::size_t i = 0; i < 64; ++i) x[i] = odd[random.below(std::size(odd))];
        const double t = odd[random.below(std::size(odd))];
        for (const auto kind : {kLess, kLessOrNan, kNotAbove, kNotAboveOrNan}) {
            std::uint64_t want = 0;
            for (std::size_t i = 0; i < 64; ++i) {
                const bool missing = std::isnan(x[i]) || std::isnan(t), nan_left = kind == kLessOrNan || kind == kNotAboveOrNan;
                const bool left = missing ? nan_left : kind == kLess || kind == kLessOrNan ? x[i] < t : x[i] <= t;
                want |= static_cast<std::uint64_t>(left) << i;
            }
            for (const auto* s : instruction_sets()) CHECK_FOR(s->goes_left(x.data(), t, kind) == want, s->name);
        }
    }
}

// exp and log against the C library's in long double: numbers of every size, and the ends of the range.
TEST(exponentials_and_logarithms) {
    Random random(9);
    constexpr std::size_t count = 4096;
    AlignedArray<double> x, got;
    x.resize(count), got.resize(count);
    const double odd[] = {0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-17, 709.7, 709.79, 710.0, 1e308, kInf, -708.4, -745.1, -745.2, -1e308, -kInf};
    for (std::size_t i = 0; i < count; ++i) x[i] = i < std::size(odd) ? odd[i] : random.between(-1, 1) * (i % 3 == 0 ? 708 : i % 3 == 1 ? 2 : 1e-3);
    for (const auto* s : instruction_sets()) {
        std::copy_n(x.data(), count, got.data());
        s->exponentials(got.data(), count);
        for (std::size_t i = 0; i < count; ++i) {
            const auto want = static_cast<long double>(std::exp(static_cast<long double>(x[i])));
            const auto rounded = static_cast<double>(want);
            const bool same = std::isinf(rounded) || rounded == 0 ? got[i] == rounded : std::fabs(got[i] - want) <= 3e-16L * want + 5e-324L;
            CHECK_FOR(same, std::string(s->name) + ", exp of " + std::to_string(x[i]));
        }
        got[0] = kNan;
        s->exponentials(got.data(), 8);
        CHECK_FOR(std::isnan(got[0]), s->name);
    }
    const double positive[] = {1.0, std::nextafter(1.0, 2.0), std::nextafter(1.0, 0.0), 1.4142135623730951, 1.4142135623730950, 2.0, 0.5, 0x1p-52, 2.3e-308, 1e308};
    for (std::size_t i = 0; i < count; ++i) x[i] = i < std::size(positive) ? positive[i] : i % 2 ? random.between(0.5, 2) : std::exp(random.between(-700, 700));
    for (const auto* s : instruction_sets()) {
        std::copy_n(x.data(), count, got.data());
        s->logarithms(got.data(), count);
        for (std::size_t i = 0; i < count; ++i) {
            const auto want = std::log(static_cast<long double>(x[i]));
            CHECK_FOR(std::fabs(got[i] - want) <= 5e-16L * std::fabs(want), std::string(s->name) + ", log of " + std::to_string(x[i]));
        }
    }
}

// A group of rows against single distances, and every set against the plain one, to the bit.
TEST(nearest_points_of_rows) {
    Random random(6);
    constexpr std::size_t rows = kNearestGroup, points = 9;
    for (std::int64_t dimensions = 1; dimensions <= 4; ++dimensions) {
        AlignedArray<double> x, got, want;
        x.resize(static_cast<std::size_t>(dimensions) * 2 * rows), got.resize(rows), want.resize(rows);
        std::vector<double> y(points * static_cast<std::size_t>(dimensions));
        std::vector<std::int64_t> itself(points, -1);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = random.between(-1, 1);
        for (auto& v : y) v = random.between(-1, 1);
        itself[2] = rows + 5, itself[4] = 5, itself[7] = rows + 31;
        for (const std::int64_t first_row : {std::int64_t{0}, static_cast<std::int64_t>(rows)})
            for (const std::int64_t last : {2, 5, 9}) {
                for (std::size_t i = 0; i < rows; ++i) {
                    want[i] = kInf;
                    for (std::int64_t k = 2; k < last; ++k) {
                        double square = 0;
                        for (std::int64_t d = 0; d < dimensions; ++d) {
                            const double difference = x[static_cast<std::size_t>(d) * 2 * rows + static_cast<std::size_t>(first_row) + i] - y[static_cast<std::size_t>(k * dimensions + d)];
                            square += difference * difference;
                        }
                        if (itself[static_cast<std::size_t>(k)] != first_row + static_cast<std::int64_t>(i)) want[i] = std::min(want[i], square);
                    }
                }
                for (const auto* s : instruction_sets()) {
                    s->nearest_squares({dimensions, 2 * static_cast<std::int64_t>(rows), x.data(), first_row, y.data(), itself.data(), 2, last, got.data()});
                    std::size_t wrong = 0;
                    for (std::size_t i = 0; i < rows; ++i) wrong += got[i] != want[i];
                    CHECK_FOR(wrong == 0, s->name);
                }
            }
    }
}

// Values of products with one factor a player, for one row against some background rows, by the definition.
TEST(games_that_are_products) {
    Random random(11);
    constexpr std::int64_t background = 3;
    const double node[] = {0.2, 0.7, 0.9, 0.5}, node_weight[] = {0.3, 0.5, 0.2, 0.0}, weights[] = {0.5, 0.0, 2.0};
    for (const std::int64_t players : {1, 2, 5}) {
        const std::size_t size = static_cast<std::size_t>(players) * kProductsAtOnce;
        AlignedArray<double> row, donors, scratch, got;
        row.resize(size), donors.resize(background * size), scratch.resize(6 * size), got.resize(size);
        for (std::size_t k = 0; k < size; ++k) row[k] = k % 5 ? random.uniform() : 0.0;
        for (std::size_t k = 0; k < donors.size(); ++k) donors[k] = k % 7 ? random.uniform() : 1.0;
        for (const auto* s : instruction_sets()) {
            for (std::size_t k = 0; k < size; ++k) got[k] = 1.0;
            s->product_games({players, 4, background, row.data(), donors.data(), weights, node, node_weight, scratch.data(), got.data()});
            for (std::size_t k = 0; k < size; ++k) {
                double want = 1.0;
                for (std::size_t b = 0; b < background; ++b)
                    for (std::size_t n = 0; n < 4; ++n) {
                        double others = weights[b] * node_weight[n];
                        for (std::size_t l = k % kProductsAtOnce; l < size; l += kProductsAtOnce)
                            if (l != k) others *= donors[b * size + l] + node[n] * (row[l] - donors[b * size + l]);
                        want += (row[k] - donors[b * size + k]) * others;
                    }
                CHECK_FOR(std::fabs(got[k] - want) <= 1e-14, s->name);
            }
        }
    }
}

TEST(sets_of_rows_as_bits) {
    Random random(3);
    for (const std::size_t words : {8, 16, 64}) {
        AlignedArray<std::uint64_t> a, b, one, two;
        AlignedArray<std::uint16_t> classes;
        AlignedArray<double> weights;
        for (auto* v : {&a, &b, &one, &two}) v->resize(words);
        classes.resize(64 * words), weights.resize(64 * words);
        for (int round = 0; round < 20; ++round) {
            constexpr std::uint16_t odd[] = {0, 1, 32767, 32768, 65534, 65535};
            for (std::size_t w = 0; w < words; ++w) a[w] = round ? word(random) : 0, b[w] = word(random);
            for (std::size_t i = 0; i < 64 * words; ++i) classes[i] = odd[random.below(std::size(odd))], weights[i] = random.uniform();
            for (const auto* s : instruction_sets()) {
                for (const std::uint16_t cut : odd) {
                    s->intervals_below(classes.data(), cut, one.data(), words);
                    std::size_t wrong = 0;
                    for (std::size_t i = 0; i < 64 * words; ++i) wrong += (one[i / 64] >> (i % 64) & 1U) != (classes[i] < cut);
                    CHECK_FOR(wrong == 0, s->name);
                }
                for (const std::uint64_t flip : {std::uint64_t{0}, ~std::uint64_t{0}}) {
                    std::size_t many = 0;
                    for (std::size_t w = 0; w < words; ++w)
                        for (std::uint64_t set = a[w] & (b[w] ^ flip); set; set &= set - 1) ++many;
                    CHECK_FOR(s->count_intersection(a.data(), b.data(), flip, words) == many, s->name);
                    CHECK_FOR(s->intersect(a.data(), b.data(), flip, two.data(), words) == (many > 0), s->name);
                    std::size_t wrong = 0;
                    for (std::size_t w = 0; w < words; ++w) wrong += two[w] != (a[w] & (b[w] ^ flip));
                    CHECK_FOR(wrong == 0, s->name);
                }
                double sum = 0;
                for (std::size_t i = 0; i < 64 * words; ++i)
                    if (a[i / 64] >> (i % 64) & 1U) sum += weights[i];
                CHECK_FOR(std::fabs(s->sum_weights(a.data(), weights.data(), words) - sum) < 1e-10, s->name);
            }
        }
    }
}

TEST(rows_are_parted_alike) {
    Random random(4);
    std::vector<std::uint16_t> of_row(1000 + 32);
    for (auto& c : of_row) c = static_cast<std::uint16_t>(random.below(5));
    for (const std::size_t many : {0, 1, 7, 8, 9, 64, 257}) {
        for (int round = 0; round < 30; ++round) {
            std::vector<std::uint64_t> rows;
            for (std::size_t i = 0; i < many; ++i) {
                const std::uint64_t places[] = {kNoPlayer, 0, 1, 2};
                const std::uint64_t p = places[random.below(4)];
                rows.push_back(pack_row(random.below(1000), p, p == kNoPlayer ? kNoPlayer : places[random.below(4)]));
            }
            const RowPartition how{of_row.data(), static_cast<std::uint32_t>(random.below(6)), random.below(2) ? 0x10000U
                : static_cast<std::uint32_t>(random.below(5)), random.below(3),
                              {random.below(2) != 0, random.below(2) != 0}};
            std::vector<std::uint64_t> want[2];
            for (const auto* s : {&plain_set(), instruction_sets().front(), instruction_sets()[instruction_sets().size() / 2]}) {
                std::vector<std::uint64_t> got[2];
                std::uint64_t* to[2];
                for (int side = 0; side < 2; ++side) got[side].resize(many + 8), to[side] = got[side].data();
                s->partition(how, rows.data(), many, to);
                for (int side = 0; side < 2; ++side) got[side].resize(static_cast<std::size_t>(to[side] - got[side].data()));
                if (s == &plain_set()) want[0] = got[0], want[1] = got[1];
                CHECK_FOR(got[0] == want[0] && got[1] == want[1], s->name);
            }
        }
    }
}

TEST(an_unknown_instruction_set_is_refused) {
    bool threw = false;
    try {
        (void)instruction_set("sse9");
    } catch (const std::invalid_argument&) {
        threw = true;
    }
    CHECK(threw);
    CHECK(instruction_sets().back()->name == std::string("plain"));
}

}  // namespace whybox::tests

#include "effects/off_data.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/aligned.hpp"

namespace whybox {
namespace {

constexpr double kRounding = 1e-12;  // distances of ranks that differ by less are the same
constexpr std::size_t kHalves[kHalfPairs][2] = {{0, 1}, {2, 3}, {0, 2}, {1, 3}, {0, 3}, {1, 2}};  // two halves, three times

// Rows column by column, padded to whole groups, as vector code reads them.
struct Columns {
    std::size_t stride = 0;
    AlignedArray<double> values;

    Columns(std::size_t rows, std::size_t dimensions) : stride((rows + kNearestGroup - 1) / kNearestGroup * kNearestGroup) { values.resize(dimensions * stride); }
    void set_row(std::size_t i, const double* row, std::size_t dimensions) {
        for (std::size_t d = 0; d < dimensions; ++d) values[d * stride + i] = row[d];
    }
};

// Distances to the nearest point of each part, parts x stride.
void nearest(const Columns& x, const std::vector<double>& points, std::size_t dimensions, const std::int64_t* itself, std::span<const std::int64_t> starts,
    const InstructionSet& set, AlignedArray<double>& out) {
    for (std::size_t part = 0; part + 1 < starts.size(); ++part)
        for (std::size_t first = 0; first < x.stride; first += kNearestGroup)
            set.nearest_squares({static_cast<std::int64_t>(dimensions), static_cast<std::int64_t>(x.stride), x.values.data(), static_cast<std::int64_t>(first), points.data(),
                itself, starts[part], starts[part + 1], out.data() + part * x.stride + first});
    const std::size_t all = (starts.size() - 1) * x.stride;
    for (std::size_t i = 0; i < all; ++i) out[i] = std::sqrt(out[i]);
}

double least_of_parts(const double* first, std::size_t stride, std::size_t parts) {
    double least = *first;
    for (std::size_t p = 1; p < parts; ++p) least = std::min(least, first[p * stride]);
    return least;
}

// The distance that the usual share does not exceed: one of them, the next above.
double usual_distance(std::vector<double>& distances, double share) {
    const auto at = static_cast<std::ptrdiff_t>(std::ceil(static_cast<double>(distances.size() - 1) * share));
    std::nth_element(distances.begin(), distances.begin() + at, distances.end());
    return distances[static_cast<std::size_t>(at)];
}

}  // namespace

void off_data_shares(const OffDataRows& rows, std::span<const std::int64_t> neighbours, std::size_t size, std::span<const std::int64_t> starts,
    const InstructionSet& set, double* shares, double* squares) {
    const std::size_t dimensions = rows.data.columns, parts = starts.size() - 1, changed = rows.which.size(), width = parts == 4 ? 1 + kHalfPairs : 1;
    Columns x(changed, dimensions), near(size, dimensions);
    for (std::size_t i = 0; i < changed; ++i) x.set_row(i, rows.data.row(static_cast<std::size_t>(rows.which[i])), dimensions);
    std::vector<double> points(size * dimensions), distances;
    std::vector<std::int64_t> itself(size), position(size);
    for (std::size_t k = 0; k < size; ++k) position[k] = static_cast<std::int64_t>(k);
    AlignedArray<double> own, far;
    own.resize(parts * near.stride);
    far.resize(parts * x.stride);

    for (std::size_t s = 0; s < neighbours.size() / size; ++s) {
        const auto members = neighbours.subspan(s * size, size);
        for (std::size_t k = 0; k < size; ++k) {
            const double* row = rows.data.row(static_cast<std::size_t>(members[k]));
            std::copy_n(row, dimensions, points.begin() + static_cast<std::ptrdiff_t>(k * dimensions));
            near.set_row(k, row, dimensions);
            const auto found = std::lower_bound(rows.which.begin(), rows.which.end(), members[k]);
            itself[k] = found != rows.which.end() && *found == members[k] ? found - rows.which.begin() : -1;
        }
        nearest(near, points, dimensions, position.data(), starts, set, own);
        nearest(x, points, dimensions, itself.data(), starts, set, far);

        distances.clear();
        for (std::size_t k = 0; k < size; ++k) distances.push_back(least_of_parts(own.data() + k, near.stride, parts));
        const double usual = usual_distance(distances, rows.usual_share) + kRounding;
        double share = 0.0, square = 0.0;
        for (std::size_t i = 0; i < changed; ++i)
            if (least_of_parts(far.data() + i, x.stride, parts) > usual) {
                share += rows.weights[i];
                square += rows.weights[i] * rows.weights[i];
            }
        shares[s * width] = share;
        squares[s] = square;
        if (parts != 4) continue;

        for (std::size_t h = 0; h < kHalfPairs; ++h) {
            const auto [one, two] = kHalves[h];
            distances.clear();
            for (const std::size_t quarter : {one, two})
                for (auto k = static_cast<std::size_t>(starts[quarter]); k < static_cast<std::size_t>(starts[quarter + 1]); ++k)
                    distances.push_back(std::min(own[one * near.stride + k], own[two * near.stride + k]));
            const double bound = usual_distance(distances, rows.usual_share) + kRounding;
            const double *a = far.data() + one * x.stride, *b = far.data() + two * x.stride;
            double of_half = 0.0;
            for (std::size_t i = 0; i < changed; ++i) of_half += std::min(a[i], b[i]) > bound ? rows.weights[i] : 0.0;
            shares[s * width + 1 + h] = of_half;
        }
    }
}

}  // namespace whybox

#include "effects/nearest.hpp"

#include <algorithm>

#include "core/aligned.hpp"

namespace whybox {

void nearest_squares(Rows x, Rows points, const std::int64_t* itself, std::span<const std::int64_t> starts, const InstructionSet& set, double* out) {
    constexpr std::size_t kGroup = kNearestGroup;
    const std::size_t stride = (x.rows + kGroup - 1) / kGroup * kGroup;
    AlignedArray<double> columns, nearest;
    columns.resize(x.columns * stride);
    nearest.resize(kGroup);
    for (std::size_t i = 0; i < x.rows; ++i)
        for (std::size_t d = 0; d < x.columns; ++d) columns[d * stride + i] = x.row(i)[d];
    for (std::size_t part = 0; part + 1 < starts.size(); ++part)
        for (std::size_t first = 0; first < x.rows; first += kGroup) {
            set.nearest_squares({static_cast<std::int64_t>(x.columns), static_cast<std::int64_t>(stride), columns.data(), static_cast<std::int64_t>(first), points.data,
                itself, starts[part], starts[part + 1], nearest.data()});
            std::copy_n(nearest.data(), std::min(kGroup, x.rows - first), out + part * x.rows + first);
        }
}

}  // namespace whybox

#include "attribution/predict_blocks.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "attribution/distinct_splits.hpp"
#include "attribution/padded_columns.hpp"
#include "simd/instruction_sets.hpp"

namespace whybox {
namespace {

constexpr std::size_t kRowsAtATree = 1984;  // rows that go through a tree before the next; not a power of two, so that columns do not share cache sets
// of a tree that is walked by bits: in larger ones the nodes hold few of 64 rows, and without vectors a comparison of 64 rows takes longer
constexpr std::int64_t kMostNodes = 255, kMostNodesPlain = 63;

class BlockPredictor {
public:
    BlockPredictor(const Ensemble& e, const InstructionSet& set) : e_(e), set_(set), outputs_(static_cast<std::size_t>(e.outputs())), order_(kRowsAtATree) {
        std::iota(order_.begin(), order_.end(), 0U);
    }

    void load_rows(Rows x, double* out) {
        columns_.fill(x, std::span<const std::uint32_t>(order_).first(x.rows));
        rows_ = x.rows, out_ = out;
    }

    void add_tree(std::size_t t) {
        const Node* root = e_.root(t);
        const auto nodes = static_cast<std::size_t>(e_.tree_offsets[t + 1] - e_.tree_offsets[t]);
        if (splits_.size() < nodes) splits_.resize(nodes), at_.resize(nodes);
        for (std::size_t i = 0; i < nodes; ++i)
            if (root[i].left >= 0) splits_[i] = compile_split(e_, t, static_cast<std::int32_t>(i), root[i].flags & kSingle, false);
        for (std::size_t first = 0; first < rows_; first += kBlockRows) {
            const std::size_t count = std::min(kBlockRows, rows_ - first);
            at_[0] = count == kBlockRows ? ~Mask{0} : (Mask{1} << count) - 1;
            for (std::size_t i = 0; i < nodes; ++i) {  // children come after their parents
                const Node& n = root[i];
                const Mask here = at_[i];
                if (n.left < 0) {
                    if (here) add_leaf(n, t, here, first);
                    continue;
                }
                const Mask left = here ? here & columns_.left(e_, n, splits_[i], first, set_) : Mask{0};
                at_[static_cast<std::size_t>(n.left)] = left, at_[static_cast<std::size_t>(n.right)] = here & ~left;
            }
        }
    }

private:
    void add_leaf(const Node& leaf, std::size_t tree, Mask rows, std::size_t first) {
        const double weight = e_.tree_weight[tree], *v = e_.values_of(leaf);
        double* out = out_ + first * outputs_ + e_.first_output(tree);
        if (e_.leaf_width == 1) {
            const double value = weight * *v;
            for_each_bit(rows, [&](int r) { out[static_cast<std::size_t>(r) * outputs_] += value; });
            return;
        }
        for_each_bit(rows, [&](int r) {
            double* o = out + static_cast<std::size_t>(r) * outputs_;
            for (int c = 0; c < e_.leaf_width; ++c) o[c] += weight * v[c];
        });
    }

    const Ensemble& e_;
    const InstructionSet& set_;
    std::size_t outputs_, rows_ = 0;
    std::vector<std::uint32_t> order_;
    PaddedColumns columns_;
    double* out_ = nullptr;
    std::vector<Split> splits_;
    std::vector<Mask> at_;  // by node: the rows that come to it
};

}  // namespace

void predict_blocks(const Ensemble& e, Rows x, TreeRange trees, const InstructionSet& set, double* out) {
    const std::int64_t most_nodes = &set == instruction_sets().back() ? kMostNodesPlain : kMostNodes;
    auto is_small = [&](std::size_t t) { return e.tree_offsets[t + 1] - e.tree_offsets[t] <= most_nodes; };
    const auto k = static_cast<std::size_t>(e.outputs());
    for (std::size_t i = 0; i < x.rows; ++i) std::copy(e.base.begin(), e.base.end(), out + i * k);
    if (x.rows < kBlockRows || e.has_linear_leaves()) return add_trees(e, x, trees, out);
    BlockPredictor predictor(e, set);
    for (std::size_t first = 0; first < x.rows; first += kRowsAtATree) {
        const Rows some{x.row(first), std::min(kRowsAtATree, x.rows - first), x.columns};
        predictor.load_rows(some, out + first * k);
        for (std::size_t t = trees.first; t < trees.last;) {
            std::size_t last = t;
            while (last < trees.last && !is_small(last)) ++last;
            if (last > t) add_trees(e, some, {t, last}, out + first * k), t = last;
            else predictor.add_tree(t++);
        }
    }
}

}  // namespace whybox

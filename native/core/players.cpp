#include "core/players.hpp"

#include <algorithm>
#include <vector>

namespace whybox {

int Players::on_path(const Ensemble& e, std::size_t tree) const {
    const Node* root = e.root(tree);
    std::vector<int> met(count, 0);
    int now = 0, most = 0;
    struct Step { std::int32_t node; bool leave; };
    std::vector<Step> stack{{0, false}};
    while (!stack.empty()) {
        const Step s = stack.back();
        stack.pop_back();
        const Node& node = root[s.node];
        if (node.left < 0) {
            most = std::max(most, now);
            continue;
        }
        const auto p = of_column[node.feature];
        if (s.leave) {
            if (--met[p] == 0) --now;
            continue;
        }
        if (met[p]++ == 0) ++now;
        stack.push_back({s.node, true});
        stack.push_back({node.left, false});
        stack.push_back({node.right, false});
    }
    return most;
}

int most_on_path(const Ensemble& e, const Players& players, std::size_t first_tree, std::size_t last_tree, int enough) {
    int most = 0;
    for (std::size_t t = first_tree; t < last_tree; ++t) most = std::max(most, e.depth[t]);
    most = std::min(most, static_cast<int>(players.count));
    if (most <= enough) return most;
    most = 0;
    for (std::size_t t = first_tree; t < last_tree; ++t) most = std::max(most, players.on_path(e, t));
    return most;
}

}  // namespace whybox

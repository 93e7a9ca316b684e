#include "core/players.hpp"

#include <algorithm>
#include <vector>

namespace whybox {

int Players::max_players_on_path(const Ensemble& e, std::size_t tree) const {
    const Node* root = e.root(tree);
    std::vector<int> occurrences(count, 0);
    int current = 0, largest = 0;
    struct Visit { std::int32_t node; bool leaving; };
    std::vector<Visit> stack{{0, false}};
    while (!stack.empty()) {
        const Visit s = stack.back();
        stack.pop_back();
        const Node& node = root[s.node];
        if (node.left < 0) {
            largest = std::max(largest, current);
            continue;
        }
        const auto p = of_column[node.feature];
        if (s.leaving) {
            if (--occurrences[p] == 0) --current;
            continue;
        }
        if (occurrences[p]++ == 0) ++current;
        stack.push_back({s.node, true});
        stack.push_back({node.left, false});
        stack.push_back({node.right, false});
    }
    return largest;
}

int max_players_on_path(const Ensemble& e, const Players& players, std::size_t first_tree, std::size_t last_tree, int enough) {
    int largest = 0;
    for (std::size_t t = first_tree; t < last_tree; ++t) largest = std::max(largest, e.depth[t]);
    largest = std::min(largest, static_cast<int>(players.count));
    if (largest <= enough) return largest;
    largest = 0;
    for (std::size_t t = first_tree; t < last_tree; ++t) largest = std::max(largest, players.max_players_on_path(e, t));
    return largest;
}

}  // namespace whybox

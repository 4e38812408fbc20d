#include "program.h"

#include <algorithm>
#include <bit>

namespace qdeck {

Program::Program(int nodes) {
    std::vector<std::vector<uint32_t>> levels{{(1u << nodes) - 1}};
    for (int paired = 0; paired < nodes / 2; paired++) {
        std::vector<uint32_t> next;
        for (const uint32_t set : levels.back()) {
            const uint32_t low = set ^ std::bit_floor(set);
            for (uint32_t left = low; left; left &= left - 1)
                next.push_back(low ^ (left & -left));
        }
        std::sort(next.begin(), next.end());
        next.erase(std::unique(next.begin(), next.end()), next.end());
        levels.push_back(std::move(next));
    }
    std::vector<uint16_t> number(size_t{1} << nodes);
    for (auto level = levels.rbegin(); level != levels.rend(); ++level)
        for (const uint32_t set : *level) {
            number[set] = static_cast<uint16_t>(steps.size());
            const int high = std::bit_width(set) - 1;
            const uint32_t low = set ? set ^ (1u << high) : 0;
            steps.push_back(static_cast<uint8_t>(std::popcount(low)));
            for (uint32_t left = low; left; left &= left - 1) {
                const int node = std::countr_zero(left);
                pair.push_back(static_cast<uint8_t>(16 * high + node));
                rest.push_back(number[low ^ (1u << node)]);
            }
        }
}

uint32_t Program::run(const uint32_t *words, uint32_t *best) const noexcept {
    const uint8_t *two = pair.data();
    const uint16_t *others = rest.data();
    const size_t subsets = steps.size();
    best[0] = 0;
    for (size_t s = 1; s < subsets; s++) {
        uint32_t sum = ~0u;
        const int count = steps[s];
        for (int t = 0; t < count; t++)
            sum = least(sum, words[two[t]] + best[others[t]]);
        two += count;
        others += count;
        best[s] = sum;
    }
    return best[subsets - 1];
}

}  // namespace qdeck

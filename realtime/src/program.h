// Minimum-weight perfect matchings of up to 16 nodes: closed forms for up to 6, flat programs over subsets for more.
//
// The highest node of a subset is always paired next, so that only few subsets can occur (33, 87, 231, 607, 1600 for
// 8, 10, 12, 14, 16 nodes). A step is (pair of nodes, subset that remains); subsets are numbered from small to large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qdeck {

struct Program {
    static constexpr int WIDEST = 16;
    static constexpr size_t SUBSETS = 2048;  // room for the least sum of each subset

    explicit Program(int nodes);
    size_t bytes() const noexcept { return rest.size() * sizeof(uint16_t) + pair.size() + steps.size(); }
    // The least sum of the pairs' `words` (at 16 * higher node + lower node), and of those of each subset in `best`.
    uint32_t run(const uint32_t *words, uint32_t *best) const noexcept;

    // Subset s has steps[s] steps, those of subset 1 first; subset 0 is empty, the last one holds all nodes.
    std::vector<uint8_t> steps;
    std::vector<uint8_t> pair;  // 16 * higher node + lower node
    std::vector<uint16_t> rest;
};

// A word of table.h with room under its weight: the low bits of up to eight words add up without touching the weight.
inline uint32_t spread(uint16_t word) noexcept {
    return (word & ~1u) << 4 | (word & 1u);
}

inline uint32_t least(uint32_t a, uint32_t b) noexcept {
    return a < b ? a : b;
}

// The least sum that pairs up four nodes, a < b < c < d, and the first six.
inline uint32_t four(const uint32_t *w, int a, int b, int c, int d) noexcept {
    return least(w[16 * d + c] + w[16 * b + a], least(w[16 * d + b] + w[16 * c + a], w[16 * d + a] + w[16 * c + b]));
}
inline uint32_t six(const uint32_t *w) noexcept {
    return least(least(least(w[84] + four(w, 0, 1, 2, 3), w[83] + four(w, 0, 1, 2, 4)),
                       least(w[82] + four(w, 0, 1, 3, 4), w[81] + four(w, 0, 2, 3, 4))),
                 w[80] + four(w, 1, 2, 3, 4));
}

}  // namespace qdeck

// Perfect matchings of up to 16 nodes by dynamic programming over subsets, as flat programs.
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

    explicit Program(int nodes);
    size_t bytes() const noexcept { return (pair.size() + rest.size() + steps.size()) * sizeof(uint16_t); }

    // Subset s has steps[s] steps, those of subset 1 first; subset 0 is empty, the last one holds all nodes.
    std::vector<uint16_t> steps;
    std::vector<uint16_t> pair;  // 16 * higher node + lower node
    std::vector<uint16_t> rest;
};

}  // namespace qdeck

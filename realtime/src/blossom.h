// A minimum-weight matching with boundary of any number of defects, exact: the primal-dual method with blossoms (Edmonds
// 1965; the single-tree search on dense graphs after Galil, ACM Computing Surveys 18, 1986) on the complete graph of the
// defects' capped distances, in 16-bit integers.
//
// Duals y start at min(B(i), min_j V(i, j) / 2): mutual nearest neighbours are tight at once, and most defects are
// matched before the first search. Each defect that is left grows one alternating tree until it meets the boundary or a
// match that can give way. The boundary is a node that takes any number of partners, with dual 0.
#pragma once

#include "arena.h"

#include <cstdint>

namespace qdeck {

inline constexpr int LANES = 16;
inline constexpr int32_t OUTSIDE = -1;  // mate: the boundary
inline constexpr int32_t EXPOSED = -2;  // mate: none

// The defects of one basis and their words (table.h), in tiles of 16 columns: a row of few defects is half a cache line.
struct Tiles {
    uint16_t *words = nullptr;   // `row`; 0xffff on the diagonal and in the lanes beyond the last defect
    uint16_t *bounds = nullptr;  // words of the distances to the boundary; NO_BOUNDARY if there is none
    uint16_t *near = nullptr;    // the least word of each row
    int32_t *mate = nullptr;     // result: partner, OUTSIDE or EXPOSED
    int32_t count = 0;           // of defects
    int32_t rows = 0;            // capacity

    uint16_t *row(int32_t i, int32_t tile) const noexcept {
        return words + (size_t(tile) * size_t(rows) + size_t(i)) * LANES;
    }
    uint16_t word(int32_t i, int32_t j) const noexcept { return row(i, j / LANES)[j % LANES]; }
};

class Solver {
public:
    struct Counts {
        uint64_t solved = 0, searches = 0, shrunk = 0, expanded = 0, stale = 0;
    };

    virtual ~Solver();
    // Fills `mate`. False if there is no perfect matching.
    virtual bool solve(const Tiles &tiles) noexcept = 0;
    // Whether the duals prove the last solution: they are feasible, and their sum is its weight. For tests: slow.
    virtual bool proven() const noexcept = 0;

    Counts counts;
    Arena arena;
};

// Solvers for up to `capacity` defects; the caller owns them. The one with vectors is null where the processor has none.
Solver *plain_solver(int32_t capacity);
Solver *vector_solver(int32_t capacity);

}  // namespace qdeck

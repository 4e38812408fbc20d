// The two inner parts of the matching decoder that are worth vectors: to gather the words of defects as they arrive,
// and to match any number of them. Written once (gather_core.h, blossom_core.h), compiled for several processors.
#pragma once

#include "arena.h"
#include "table.h"

#include <cstdint>

namespace qdeck {

inline constexpr int LANES = 16;
inline constexpr int32_t OUTSIDE = -1;  // mate: the boundary
inline constexpr int32_t EXPOSED = -2;  // mate: none

// Two defects of a part, and the word of their pair.
struct Known {
    uint16_t a, b, word, unused;
};

// Bits of near defects: in the word `word` of the near row of `defect`.
struct Found {
    uint64_t found;
    uint32_t defect;
    uint32_t word;
};
inline constexpr int64_t QUEUE = 256;

// The defects of one basis in a shot. Words are those of table.h.
struct Gathered {
    const Basis *basis = nullptr;
    int32_t count = 0;            // of defects
    int32_t gathered = 0;         // defects whose pairs are known
    int32_t known_count = 0;
    int32_t dense = 0;            // of so many first defects the words of all pairs are gathered into `few`
    int32_t direct = 0;           // up to so many defects are solved without the kernel
    int32_t last = -1;            // the largest number of a defect in the basis
    int32_t rows = 0;             // capacity
    uint16_t *bounds = nullptr;   // to the boundary; NO_BOUNDARY if there is none
    uint32_t *best = nullptr;     // the least word of a defect's known pairs, and in the low half the other one (or itself)
    Known *known = nullptr;       // pairs; words of those left out are at least basis->reach
    uint16_t *few = nullptr;      // rows of 16 words, below the diagonal
    uint16_t *words = nullptr;    // for the kernel, see `row`
    int32_t *mate = nullptr;      // result: partner, OUTSIDE or EXPOSED
    int32_t *locals = nullptr;    // defect -> its number in the basis
    uint64_t *fired = nullptr;    // bits of the defects' numbers in the basis
    uint16_t *arrived = nullptr;  // number in the basis -> defect

    // 16 columns of a row of words. A row of few defects is half a cache line.
    uint16_t *row(int32_t i, int32_t tile) const noexcept {
        return words + (size_t(tile) * size_t(rows) + size_t(i)) * LANES;
    }
    uint16_t word(int32_t i, int32_t j) const noexcept { return basis->word(locals[i], locals[j]); }
};

// All defects of a shot.
struct Shot {
    const Place *places = nullptr;  // of each detector
    Gathered *parts = nullptr;      // one for each basis
    Found *queue = nullptr;         // room for QUEUE and a near row
    int32_t *active = nullptr;      // parts that have defects
    int32_t active_count = 0;
    bool whole = true;              // no defect came twice
};

class Kernel {
public:
    struct Counts {
        uint64_t solved = 0, searches = 0, shrunk = 0, expanded = 0, stale = 0, completed = 0;
    };

    virtual ~Kernel();
    // The numbers of the bits that are set in so many bits, the first in the lowest bit of the first byte; whole words of
    // eight bytes are read. `numbers` has room for all, and for 64 more. Returns how many.
    virtual size_t unpack(const uint8_t *packed, size_t bits, int32_t *numbers) const noexcept = 0;
    virtual void add(Shot &shot, const int32_t *defects, size_t count) noexcept = 0;
    // Fills `mate`. False if there is no perfect matching. `sum` is that of all words on both sides of a match, those
    // at the boundary twice, and `parity` the sum of the low bits of all matches.
    virtual bool solve(Gathered &part, int64_t &sum, uint32_t &parity) noexcept = 0;
    // Whether the duals prove the last solution: they are feasible, and their sum is its weight. For tests: slow.
    virtual bool proven() const noexcept = 0;

    Counts counts;
    Arena arena;
};

// For parts of up to `capacity` defects; the caller owns them. The one with vectors is null where the processor has
// none.
Kernel *plain_kernel(int32_t capacity);
Kernel *vector_kernel(int32_t capacity);

}  // namespace qdeck

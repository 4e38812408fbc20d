// All-pairs distances of a matching graph, the offline half of the matching decoder.
//
// A basis is a connected component of the graph. Between its detectors i and j stands the capped distance min(d(i, j),
// B(i) + B(j)): d in the bulk, B to the boundary. In this metric a minimum-weight perfect matching of k defects, with
// one boundary node of weight B(i) if k is odd, is a minimum-weight matching with boundary: nothing has to be copied
// per defect.
//
// Distances are integers of 15 bits, as fine as they fit: pairs are rounded up, and boundary distances up from a
// quarter, so that the triangle inequality holds exactly and rounding adds k/4 units on average to any matching of k
// defects. Where all weights are multiples of one weight, distances are exact.
//
// Most pairs of a large shot are far apart and never matched: `near` tells which ones to look at first.
#pragma once

#include "model.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qdeck {

inline constexpr uint16_t NO_BOUNDARY = 0xfffe;

// A word is twice the distance in units of the basis; the low bit tells whether the path flips `flip`. In a basis whose
// edges flip several masks the low bit is 0, and `mask` and `bound_masks` tell. What few defects need is in the first
// cache line.
struct alignas(64) Basis {
    std::vector<uint16_t> words;         // size * size, symmetric
    double unit = 1.0;                   // the model's weight in one unit of distance
    double bias = 0.0;                   // units that rounding adds per defect
    uint64_t flip = 0;
    int32_t size = 0;
    bool open = false;                   // it has an edge to the boundary
    bool masked = false;                 // its paths flip several masks
    uint16_t reach = 0xffff;             // words of pairs that `near` leaves out are not below
    int32_t span = 0;                    // 64-bit words of a mask
    int32_t near_lines = 0;              // cache lines of a row
    int32_t prefix = 0;                  // 16-bit words: of the counts in a row
    struct alignas(64) Line {
        uint64_t words[8];
    };
    std::vector<Line> near;              // for each detector a `near_row`
    int64_t near_count = 0;              // pairs that are near
    std::vector<int32_t> detectors;      // local number -> detector, by layer
    std::vector<uint16_t> bounds;        // to the boundary; NO_BOUNDARY in a basis that is not open
    std::vector<uint64_t> palette;       // the masks that paths flip, if they are several
    std::vector<uint32_t> shades;        // size * size indices into the palette, or empty
    std::vector<uint64_t> bound_masks;   // likewise per detector, or empty

    // The detectors before this one that are nearer to it than `reach`, and than both are to the boundary: number / 64
    // of the first one, `span` masks of bits from there on, and in 16 bits each: how many bits are before a mask
    // (`prefix` of them), and the words of all pairs.
    const uint64_t *near_row(int32_t local) const noexcept { return near[size_t(local) * size_t(near_lines)].words; }
    uint16_t word(int32_t i, int32_t j) const noexcept { return words[size_t(i) * size_t(size) + size_t(j)]; }
    uint64_t mask(int32_t i, int32_t j) const noexcept { return palette[shades[size_t(i) * size_t(size) + size_t(j)]]; }
};

struct Place {
    int32_t basis;
    uint16_t local;  // number within the basis
    uint16_t bound;  // the detector's of Basis::bounds
};

struct Table {
    // Throws std::invalid_argument, for a basis of too many detectors and what Model::check throws.
    explicit Table(const Model &model);
    size_t bytes() const noexcept;

    std::vector<Basis> bases;
    std::vector<Place> places;  // of each detector
};

}  // namespace qdeck

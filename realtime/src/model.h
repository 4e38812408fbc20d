// What a matching decoder is built from: the graph of a detector error model.
#pragma once

#include <cstdint>
#include <vector>

namespace qdeck {

inline constexpr int32_t BOUNDARY = -1;

// One mechanism that flips one detector (v == BOUNDARY) or two. `weight` is ln((1 - p) / p), not negative; bit k of
// `observables` tells whether it flips observable k (at most 64).
struct Edge {
    int32_t u;
    int32_t v;
    double weight;
    uint64_t observables;
};

// `layer` is the round in which a detector is complete, 0 for the first; not decreasing along a stream. Empty: unknown.
struct Model {
    int32_t detectors = 0;
    int32_t observables = 0;
    std::vector<Edge> edges;
    std::vector<int32_t> layer;

    // Throws std::invalid_argument, with the first thing that is wrong.
    void check() const;
};

}  // namespace qdeck

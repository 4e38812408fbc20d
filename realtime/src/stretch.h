// Models of any number of rounds from one volume whose middle rounds are all alike, and windows cut out of them.
#pragma once

#include "model.h"

namespace qdeck {

// Observable bits of paths that leave a window through an open end. A windowed model has at most 62 observables.
inline constexpr uint64_t FUTURE = uint64_t{1} << 63;
inline constexpr uint64_t PAST = uint64_t{1} << 62;

// The layers of a volume: which of them differ at the ends, and which repeat.
struct Layers {
    std::vector<std::vector<int32_t>> members;  // detectors of each layer, in increasing order
    int32_t head = 0;   // layers before the first that repeats
    int32_t tail = 0;   // layers after the last that repeats
    int32_t span = 0;   // most layers that an edge reaches forward
    int32_t width = 0;  // detectors in a layer that repeats

    // Throws std::invalid_argument for a model without layers, or in which no two layers are alike: there an edge of
    // one layer has a copy with the same weight and observables in the next, between the detectors of the same rank.
    explicit Layers(const Model &model);
    int32_t count() const noexcept { return static_cast<int32_t>(members.size()); }
    // The least number of layers that `stretch` can make.
    int32_t least() const noexcept { return head + tail + 1; }
};

// Where `stretch` puts an edge: the earlier of its layers, and its number among the edges of that layer, which is the
// same in all layers that are alike.
struct Spot {
    int32_t layer;
    int32_t step;
};

// Of each edge of a model.
std::vector<Spot> spots(const Model &model, const Layers &layers);

// The same experiment with another number of layers, at least layers.least(): detectors are numbered layer by layer, in
// each by rank, and edges likewise, by step. Throws std::invalid_argument for fewer.
Model stretch(const Model &model, const Layers &layers, int32_t count);

// An edge that leaves a window through its open future end.
struct Exit {
    int32_t detector;
    double weight;
};

// Layers from `from` up to but without `to` of a model that `stretch` made, renumbered from 0. Edges over an open end
// lead to the boundary and flip PAST or FUTURE; edges over a closed end are left out. `exits` may be null; it gets
// those over the open future end. So may `origins`, which gets the number in `model` of each edge.
Model cut(const Model &model, int32_t from, int32_t to, bool open_past, bool open_future,
          std::vector<Exit> *exits = nullptr, std::vector<int32_t> *origins = nullptr);

}  // namespace qdeck

// A window with its decoder: what sliding and parallel windows are made of.
#pragma once

#include "decoder.h"
#include "stretch.h"

#include <functional>

namespace qdeck {

// Makes the decoder of a window; it must give pairs. Its model has FUTURE and PAST as observables 63 and 62.
using Maker = std::function<std::unique_ptr<Compiled>(const Model &)>;

struct Part {
    std::unique_ptr<Compiled> compiled;
    std::vector<int32_t> first;  // detector of each layer, and the number of all
    std::vector<int32_t> layer;  // of each detector

    Part() = default;
    Part(const Model &window, int32_t layers, const Maker &maker) : compiled(maker(window)), layer(window.layer) {
        for (int32_t v = 0; v < window.detectors; v++)
            while (static_cast<int32_t>(first.size()) <= window.layer[v])
                first.push_back(v);
        first.resize(static_cast<size_t>(layers) + 1, window.detectors);
    }
    // The detector of a rank in a layer of the window, or BOUNDARY where none is.
    int32_t at(int64_t window_layer, int32_t rank) const noexcept {
        if (window_layer < 0 || window_layer + 1 >= static_cast<int64_t>(first.size()) || rank < 0)
            return BOUNDARY;
        const int32_t detector = first[window_layer] + rank;
        return detector < first[window_layer + 1] ? detector : BOUNDARY;
    }
    size_t bytes() const noexcept { return compiled->bytes() + (first.size() + layer.size()) * sizeof(int32_t); }
};

}  // namespace qdeck

// A window with its decoder: what sliding and parallel windows are made of.
#pragma once

#include "decoder.h"
#include "sites.h"
#include "stretch.h"

#include <functional>

namespace qdeck {

// Makes the decoder of a window; it must give pairs. Its model has FUTURE and PAST as observables 63 and 62.
using Maker = std::function<std::unique_ptr<Compiled>(const Model &)>;

// Layers that a window takes out of a longer volume, which `stretch` made, and whether its ends are open.
struct Cut {
    int32_t from;
    int32_t to;
    bool open_past;
    bool open_future;
};

// Of the layers at the end only the last may have another number of detectors. Throws std::invalid_argument.
void check_end(const Layers &layers);

struct Part {
    std::unique_ptr<Compiled> compiled;
    std::vector<int32_t> first;  // detector of each layer, and the number of all
    std::vector<int32_t> layer;  // of each detector

    Part() = default;
    // `losses`: its decoder must be able to erase edges; throws std::invalid_argument if it cannot. `made` may be null;
    // it gets the window, and `exits` what `cut` says.
    Part(const Model &whole, int32_t span, Cut where, const Maker &maker, bool losses, Model *made = nullptr,
         std::vector<Exit> *exits = nullptr);
    // The detector of a rank in a layer of the window, or BOUNDARY where none is.
    int32_t at(int64_t window_layer, int32_t rank) const noexcept {
        if (window_layer < 0 || window_layer + 1 >= static_cast<int64_t>(first.size()) || rank < 0)
            return BOUNDARY;
        const int32_t detector = first[window_layer] + rank;
        return detector < first[window_layer + 1] ? detector : BOUNDARY;
    }
    // Erase what the losses of a round of the stream erase here, where the window begins at layer `from` of the stream.
    // `end`: rounds of the stream, for the window at its end; `lost`: bits, by site.
    void erase(Decoder &decoder, const SiteTable &table, int64_t from, int64_t end, int64_t round,
               const uint64_t *lost) const noexcept;
    void erase(Decoder &decoder, const SiteTable &table, int64_t from, int64_t end, int64_t round,
               int32_t site) const noexcept;
    int32_t layers() const noexcept { return static_cast<int32_t>(first.size()) - 1; }
    size_t bytes() const noexcept {
        return compiled->bytes() + (first.size() + layer.size() + step.size() + edge.size()) * sizeof(int32_t);
    }

private:
    int32_t before = 0;         // layers before the window from which edges reach into it
    std::vector<int32_t> step;  // place in `edge` of each layer's first step, from `before` layers before the window on
    std::vector<int32_t> edge;  // of the window's model, NONE where it has none
    static constexpr int32_t NONE = -1;
};

}  // namespace qdeck

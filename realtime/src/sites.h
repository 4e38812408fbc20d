// What losses erase in a stream of rounds: a table by the rounds of one short volume, for streams of any length.
//
// A site is something in a round that may be lost, and noticed: an atom at a measurement, for instance. Its loss
// erases edges of that round's layer and of those around it. Rounds are alike but for some at the start and some at the
// end, and so are their tables.
#pragma once

#include "stretch.h"

#include <span>

namespace qdeck {

// By layer of a volume and site: numbers of the volume's edges. All layers may be empty: nothing is ever lost.
using Sites = std::vector<std::vector<std::vector<int32_t>>>;

// Sites of measurements: 2 m is the loss of measurement m of a round (no outcome), 2 m + 1 a loss of which its outcome
// tells. `lost` and `heralds` have an entry for each measurement of the volume, or are empty; `round_bits` are the
// measurements of each layer. Throws std::invalid_argument.
Sites measured_sites(const std::vector<std::vector<int32_t>> &lost, const std::vector<std::vector<int32_t>> &heralds,
                     const std::vector<uint32_t> &round_bits);

class SiteTable {
public:
    struct Hit {        // an edge that is erased
        int32_t layer;  // from the round's on, as in Spot
        int32_t step;
    };

    SiteTable() = default;
    // Throws std::invalid_argument for tables that do not fit, or of which too few rounds are alike.
    SiteTable(const Model &volume, const Layers &layers, const Sites &sites);

    bool empty() const noexcept { return sites == 0; }
    int32_t count() const noexcept { return sites; }  // of a round, at most
    size_t words() const noexcept { return static_cast<size_t>(sites + 63) / 64; }  // of a round's losses as bits
    int32_t ahead() const noexcept { return most_ahead; }  // layers after its round that a loss reaches
    int32_t head() const noexcept { return head_layers; }  // as Layers::head
    int32_t least() const noexcept { return first_alike + last_rounds; }  // rounds of the shortest stream
    // What a loss erases. `end`: how many rounds the stream has, INT64_MAX as long as that is not known.
    std::span<const Hit> hits(int64_t round, int64_t end, int32_t site) const noexcept {
        int64_t kind = round < first_alike ? round : first_alike;
        if (round >= end - last_rounds)
            kind = first_alike + 1 + (round - (end - last_rounds));
        const size_t at = static_cast<size_t>(kind) * static_cast<size_t>(sites) + static_cast<size_t>(site);
        return {all.data() + first[at], all.data() + first[at + 1]};
    }
    // What is kept of losses is of the same shape.
    bool alike(const SiteTable &other) const noexcept {
        return sites == other.sites && most_ahead == other.most_ahead;
    }
    size_t bytes() const noexcept { return first.size() * sizeof(int32_t) + all.size() * sizeof(Hit); }

private:
    int32_t sites = 0;
    int32_t most_ahead = 0;
    int32_t head_layers = 0;
    int32_t first_alike = 0;  // rounds before the first that is like others
    int32_t last_rounds = 0;  // rounds after the last one
    std::vector<int32_t> first;  // hits of a kind of round and a site
    std::vector<Hit> all;
};

}  // namespace qdeck

// Whether one more logical qubit fits onto a host: by what its volumes cost when they were tried, not by what they should.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "decoder.h"
#include "detectors.h"
#include "histogram.h"
#include "host.h"
#include "model.h"
#include "swap.h"

namespace qdeck {

// Some shots as defects, for warming decoders and for measuring them.
using Defects = std::vector<std::vector<int32_t>>;

// Decodes them until `for_ns` have passed, at least once each: memory is touched, caches and branches are warm.
void warm(Decoder &decoder, const Defects &shots, int64_t for_ns) noexcept;

// The same with a stream of rounds: errors of `volume`, as often as it says. The stream is ready to begin afterwards, or to
// adopt another one; its workers are awake.
void warm(StreamDecoder &stream, const Model &volume, int64_t for_ns);

// A decoder of this model, warm, with those shots as samples that have the most defects.
std::unique_ptr<Loaded> load(std::shared_ptr<const Compiled> compiled, Defects shots, int64_t warm_ns);

// Of one patch, in nanoseconds that the loop works (`LedgerHead::work_ns`).
struct Cost {
    double round_ns = 0;      // mean, of an enqueue that ends no volume
    double last_ns = 0;       // mean, of the one that does, with its decoding
    double last_p99_ns = 0;
    int64_t rounds = 1;       // of a volume
    // The share of one core that it takes at this cycle.
    double share(int64_t cycle_ns) const noexcept {
        return (round_ns * static_cast<double>(rounds - 1) + last_ns) / static_cast<double>(rounds * cycle_ns);
    }
};

// Runs frames of these measurements (as a controller's feed has them) through rings and a host's loop of their own, on this
// thread. Throws std::invalid_argument if they are not volumes of this qubit. `others`: bytes that the other tenants of the
// host work with; as many, but at most 2 MiB of them, are touched before each frame, for on a full host somebody else's
// data is in the caches.
Cost measure(Seating seating, const std::vector<uint32_t> &round_bits, std::span<const uint8_t> bits, size_t others = 0);

struct Tenant {
    Cost cost;
    int64_t cycle_ns = 1000;
    int64_t budget_ns = 10'000;
};

struct Bounds {
    double share = 0.7;        // of the core, of all patches together
    double together = 0.9;     // of the shortest budget: all patches may end a volume in the same moment
};

// Empty: it fits. Otherwise the reason, with figures, and what would help. `measured`: the share of the core that the
// tenants take on the running loop, if that is known; where it is more than their costs say (links and accounts cost, too),
// the candidate is expected to take more in the same proportion.
std::string refusal(const std::vector<Tenant> &tenants, const Tenant &candidate, const Bounds &bounds = {},
                    double measured = -1);

}  // namespace qdeck

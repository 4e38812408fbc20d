// The jitter control: what the machine takes from a thread that only looks at the clock. Measured beside every latency
// figure; what it shows is no decoder's fault.
#pragma once

#include <atomic>
#include <cstdint>

#include "histogram.h"

namespace qdeck {

struct Jitter {
    int64_t spun_ns = 0;          // how long the loop ran
    uint64_t readings = 0;        // of the clock
    int64_t switches = 0;         // involuntary, of this thread
    Histogram gaps;               // between two readings of the clock, every one of them
    double per_second(int64_t over_ns) const noexcept {
        return spun_ns ? static_cast<double>(gaps.above(static_cast<uint64_t>(over_ns))) * 1e9 / static_cast<double>(spun_ns) : 0.0;
    }
    // The share of the time in gaps longer than `over_ns`.
    double share(int64_t over_ns) const noexcept;
};

// Spins for `for_ns`, or until `stop` (which may be null).
void spin(Jitter &jitter, int64_t for_ns, const std::atomic<bool> *stop = nullptr) noexcept;

}  // namespace qdeck

// Log-linear histograms of nanoseconds in shared memory: one writer, any number of readers, and nobody waits.
//
// Values below 32 have a bucket each; above, every octave is divided into 32 buckets, so that a bucket is at most 1/32 of
// its values wide and a quantile (the middle of its bucket) is off by at most 1/64. Values from 2^36 ns (69 s) on go into
// the last bucket. The idea of the layout is HdrHistogram's; the code is our own.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace qdeck {

// Written by one thread only; a plain load and store, without the lock that an atomic increment would cost.
using Counter = std::atomic<uint64_t>;
static_assert(Counter::is_always_lock_free && sizeof(Counter) == 8);

inline void bump(Counter &counter, uint64_t by = 1) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

struct Histogram {
    static constexpr int SUB_BITS = 5;
    static constexpr int TOP_BITS = 36;
    static constexpr size_t BUCKETS = size_t{1 + TOP_BITS - SUB_BITS} << SUB_BITS;

    // A reader that wants a consistent total sums the buckets: `count` may be one ahead or behind.
    Counter count{0}, sum{0}, min{~uint64_t{0}}, max{0};
    Counter reserved[4]{};
    Counter buckets[BUCKETS]{};

    static constexpr size_t index(uint64_t value) noexcept {
        if (value < (uint64_t{1} << SUB_BITS)) return value;
        if (value >> TOP_BITS) return BUCKETS - 1;
        const int octave = 63 - std::countl_zero(value) - SUB_BITS;
        return (size_t(octave) << SUB_BITS) + (value >> octave);
    }
    // The smallest value of a bucket; of BUCKETS, where the last one ends.
    static constexpr uint64_t lower(size_t bucket) noexcept {
        if (bucket < (size_t{2} << SUB_BITS)) return bucket;
        const size_t octave = (bucket >> SUB_BITS) - 1;
        return (bucket - (octave << SUB_BITS)) << octave;
    }

    // Of the writer only. A clock that went back counts as 0.
    void record(int64_t value_ns) noexcept {
        const uint64_t value = value_ns < 0 ? 0 : static_cast<uint64_t>(value_ns);
        bump(buckets[index(value)]);
        bump(sum, value);
        if (value < min.load(std::memory_order_relaxed)) min.store(value, std::memory_order_relaxed);
        if (value > max.load(std::memory_order_relaxed)) max.store(value, std::memory_order_relaxed);
        bump(count);
    }
    // Of the writer only: everything of `other`, as if it had been recorded here.
    void merge(const Histogram &other) noexcept;
    void clear() noexcept;

    // The value below or at which the share `q` (0 to 1) of the recorded values lies, within 1/64; 0 when empty.
    uint64_t quantile(double q) const noexcept;
    // How many were above `value`; exact where a bucket ends at it, otherwise within that bucket.
    uint64_t above(uint64_t value) const noexcept;
    double mean() const noexcept;
};
static_assert(sizeof(Histogram) == 64 + 8 * Histogram::BUCKETS && Histogram::BUCKETS == 1024);

}  // namespace qdeck

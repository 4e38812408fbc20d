#include "histogram.h"

#include <algorithm>
#include <cmath>

namespace qdeck {

static uint64_t read(const Counter &counter) noexcept { return counter.load(std::memory_order_relaxed); }

void Histogram::merge(const Histogram &other) noexcept {
    for (size_t i = 0; i < BUCKETS; i++)
        if (const uint64_t many = read(other.buckets[i])) bump(buckets[i], many);
    bump(sum, read(other.sum));
    min.store(std::min(read(min), read(other.min)), std::memory_order_relaxed);
    max.store(std::max(read(max), read(other.max)), std::memory_order_relaxed);
    bump(count, read(other.count));
}

void Histogram::clear() noexcept {
    for (Counter &bucket : buckets) bucket.store(0, std::memory_order_relaxed);
    for (Counter *counter : {&count, &sum, &max}) counter->store(0, std::memory_order_relaxed);
    min.store(~uint64_t{0}, std::memory_order_relaxed);
}

uint64_t Histogram::quantile(double q) const noexcept {
    uint64_t total = 0;
    for (const Counter &bucket : buckets) total += read(bucket);
    if (!total) return 0;
    const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(total));
    const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, total);
    uint64_t seen = 0;
    size_t at = 0;
    while (at + 1 < BUCKETS && (seen += read(buckets[at])) < rank) at++;
    const uint64_t middle = lower(at) + (lower(at + 1) - 1 - lower(at)) / 2;
    return std::clamp(middle, std::min(read(min), read(max)), read(max));
}

uint64_t Histogram::above(uint64_t value) const noexcept {
    uint64_t many = 0;
    for (size_t i = index(value) + 1; i < BUCKETS; i++) many += read(buckets[i]);
    return many;
}

double Histogram::mean() const noexcept {
    const uint64_t many = read(count);
    return many ? static_cast<double>(read(sum)) / static_cast<double>(many) : 0.0;
}

}  // namespace qdeck

#include "jitter.h"

#include "clock.h"
#include "machine.h"

namespace qdeck {

double Jitter::share(int64_t over_ns) const noexcept {
    double within = 0;
    for (size_t i = Histogram::index(static_cast<uint64_t>(over_ns)) + 1; i < Histogram::BUCKETS; i++)
        within += static_cast<double>(gaps.buckets[i].load(std::memory_order_relaxed)) *
                  static_cast<double>(Histogram::lower(i));
    return spun_ns ? within / static_cast<double>(spun_ns) : 0.0;
}

void spin(Jitter &jitter, int64_t for_ns, const std::atomic<bool> *stop) noexcept {
    const int64_t switches = involuntary_switches(), start = now_ns();
    int64_t last = start;
    while (last - start < for_ns && !(stop && stop->load(std::memory_order_relaxed))) {
        pause_cpu();
        const int64_t now = now_ns();
        jitter.gaps.record(now - last);
        jitter.readings++;
        last = now;
    }
    jitter.spun_ns += last - start;
    jitter.switches += involuntary_switches() - switches;
}

}  // namespace qdeck

// What the operating system grants a real-time thread, and what it told us instead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qdeck {

struct Wishes {
    int core = -1;             // pin the calling thread to it; -1: leave it where it is
    int fifo_priority = 0;     // SCHED_FIFO at this priority, 1 to 99; 0: the class it has
    bool lock_memory = false;  // mlockall of the whole process, now and in future
    bool shallow_idle = false; // hold /dev/cpu_dma_latency at 0, so that cores do not sleep deeply
};

struct Granted {
    bool pinned = false, fifo = false, locked = false, shallow = false;
    int core = -1;                      // where the thread ran when this was filled in
    std::vector<std::string> refusals;  // a sentence for each wish that was not granted, and each warning
};

// Settles the calling thread; never throws for a wish that is refused. Pin after fork and before FIFO: children and
// threads inherit both, and two spinning FIFO threads on one core lock each other out.
Granted settle(const Wishes &wishes);

// How the kernel keeps real-time threads from taking a core for good.
struct Throttling {
    int64_t runtime_us = -1;  // of each period; -1: no limit
    int64_t period_us = 1'000'000;
    bool limited() const noexcept { return runtime_us >= 0 && runtime_us < period_us; }
    int64_t pause_us() const noexcept { return limited() ? period_us - runtime_us : 0; }
};
Throttling throttling();

// Involuntary switches of the calling thread so far, and time that hypervisors took from all cores, where told.
int64_t involuntary_switches() noexcept;
int64_t stolen_ms();

}  // namespace qdeck

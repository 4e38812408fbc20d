// Nanoseconds of CLOCK_MONOTONIC: one clock for controller, host and jitter control, also across processes.
#pragma once

#include <cstdint>
#include <ctime>

namespace qdeck {

inline int64_t now_ns() noexcept {
    timespec at{};
    clock_gettime(CLOCK_MONOTONIC, &at);  // from the vDSO: some 25 ns, no system call
    return int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
}

inline void pause_cpu() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace qdeck

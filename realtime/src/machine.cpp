#include "machine.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace qdeck {

static std::string reason(int error) { return std::strerror(error); }

static int hold_shallow_idle() {
    // The kernel keeps the promise for as long as the file is open: held until the process ends.
    static const int file = [] {
        const int opened = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
        const int32_t none = 0;
        if (opened >= 0 && write(opened, &none, sizeof none) != sizeof none) {
            close(opened);
            return -1;
        }
        return opened;
    }();
    return file;
}

Throttling throttling() {
    Throttling found;
    std::ifstream("/proc/sys/kernel/sched_rt_runtime_us") >> found.runtime_us;
    std::ifstream("/proc/sys/kernel/sched_rt_period_us") >> found.period_us;
    return found;
}

Granted settle(const Wishes &wishes) {
    Granted granted;
    if (wishes.core >= 0) {
        cpu_set_t only;
        CPU_ZERO(&only);
        if (wishes.core < CPU_SETSIZE) CPU_SET(static_cast<size_t>(wishes.core), &only);
        const int error = pthread_setaffinity_np(pthread_self(), sizeof only, &only);
        granted.pinned = !error;
        if (error)
            granted.refusals.push_back("The thread could not be pinned to core " + std::to_string(wishes.core) + " (" +
                                       reason(error) + "): name a core that this process may use.");
    }
    if (wishes.lock_memory) {
        granted.locked = !mlockall(MCL_CURRENT | MCL_FUTURE);
        if (!granted.locked)
            granted.refusals.push_back("Memory could not be locked (" + reason(errno) +
                                       "): raise the limit (ulimit -l) or grant CAP_IPC_LOCK.");
    }
    if (wishes.shallow_idle) {
        granted.shallow = hold_shallow_idle() >= 0;
        if (!granted.shallow)
            granted.refusals.push_back("Deep idle states of the processor could not be forbidden: grant write access to "
                                       "/dev/cpu_dma_latency, or expect outliers after pauses.");
    }
    if (wishes.fifo_priority > 0) {
        sched_param priority{};
        priority.sched_priority = wishes.fifo_priority;
        const int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
        granted.fifo = !error;
        if (error)
            granted.refusals.push_back("SCHED_FIFO was refused (" + reason(error) +
                                       "): grant CAP_SYS_NICE or an rtprio limit; until then the scheduler may preempt "
                                       "the loop whenever it likes.");
        if (const Throttling kernel = throttling(); !error && kernel.limited())
            granted.refusals.push_back(
                "The kernel may stop a real-time thread for " + std::to_string(kernel.pause_us() / 1000) +
                " ms after " + std::to_string(kernel.runtime_us / 1000) +
                " ms without a pause (sched_rt_runtime_us): let the loop nap between volumes, or set "
                "kernel.sched_rt_runtime_us to -1 for an isolated core.");
    }
    granted.core = sched_getcpu();
    return granted;
}

int64_t involuntary_switches() noexcept {
    rusage used{};
    getrusage(RUSAGE_THREAD, &used);
    return used.ru_nivcsw;
}

int64_t stolen_ms() {
    std::ifstream file("/proc/stat");
    std::string line, label;
    if (!std::getline(file, line)) return 0;
    std::istringstream words(line);
    int64_t ticks = 0;
    words >> label;
    for (int column = 0; column < 8; column++) words >> ticks;  // user nice system idle iowait irq softirq steal
    return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

}  // namespace qdeck

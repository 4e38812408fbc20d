// The smallest host: hands the frames of several links to one dispatcher, and keeps no account of time. For tests of links,
// and for programs that want no more; the host with deadlines, swaps and accounts is in host.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "dispatch.h"
#include "transport.h"

namespace qdeck {

class Server {
public:
    explicit Server(Dispatcher &dispatcher) noexcept : dispatcher_(&dispatcher) {}
    // Before `run`. Returns the number of the link. `transport` must outlive the server.
    size_t add(Transport &transport);

    // Answer frames for `for_ns`, or until `stop()`: look for frames until none came for `spin_ns`, then sleep on the links
    // that can be slept on (others are looked at every 50 us). Returns how many frames there were. One thread at a time.
    uint64_t run(int64_t for_ns, int64_t spin_ns) noexcept;
    // From any thread; for good.
    void stop() noexcept { stop_.store(true, std::memory_order_relaxed); }
    bool stopped() const noexcept { return stop_.load(std::memory_order_relaxed); }
    uint64_t dispatched(size_t link) const noexcept { return links_[link].frames.load(std::memory_order_relaxed); }

private:
    struct Link {
        Transport *transport = nullptr;
        std::atomic<uint64_t> frames{0};
        Link() = default;
        Link(const Link &other) : transport(other.transport) {}
    };
    bool poll(Link &link) noexcept;
    void sleep(int64_t most_ns) noexcept;

    Dispatcher *dispatcher_;
    std::vector<Link> links_;
    std::atomic<bool> stop_{false};
};

}  // namespace qdeck

// The host's end of a pair of rings, as a transport.
#pragma once

#include <utility>

#include "ring.h"
#include "transport.h"

namespace qdeck {

class RingLink final : public Transport {
public:
    RingLink(Consumer up, Producer down, bool wakes = false)
        : up_(std::move(up)), down_(std::move(down)), wakes_(wakes) {}
    std::span<const uint8_t> receive(bool &there) noexcept override { return up_.peek(there); }
    void release() noexcept override { up_.pop(); }
    std::span<uint8_t> reserve() noexcept override { return down_.reserve(); }
    bool send(size_t bytes) noexcept override {
        down_.publish(bytes);
        return true;
    }
    bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept override {
        return wakes_ && up_.wait(spin_ns, timeout_ns);
    }
    bool wakes() const noexcept { return wakes_; }

private:
    Consumer up_;
    Producer down_;
    bool wakes_;
};

}  // namespace qdeck

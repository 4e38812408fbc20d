// The host's end of a pair of rings as a Transport.
#pragma once

#include "ring.h"
#include "transport.h"

namespace qdeck {

class RingTransport final : public Transport {
public:
    // Takes the host's ends of `file`; throws what RingFile::consumer and producer throw.
    explicit RingTransport(const RingFile &file) : up_(file.consumer(Way::up)), down_(file.producer(Way::down)) {}

    std::span<const uint8_t> receive(bool &there) noexcept override { return up_.peek(there); }
    void release() noexcept override { up_.pop(); }
    std::span<uint8_t> reserve() noexcept override { return down_.reserve(); }
    bool send(size_t bytes) noexcept override {
        down_.publish(bytes);
        return true;
    }
    bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept override { return up_.wait(spin_ns, timeout_ns); }
    void beat(int64_t now) noexcept override {
        up_.beat(now);
        down_.beat(now);
    }
    Consumer &up() noexcept { return up_; }
    Producer &down() noexcept { return down_; }

private:
    Consumer up_;
    Producer down_;
};

}  // namespace qdeck

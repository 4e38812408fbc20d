// The controller's end of a link: rings, or a UDP socket.
#pragma once

#include <cstdint>
#include <vector>

#include "frame.h"
#include "ring.h"
#include "udp.h"

namespace qdeck {

class Wire {
public:
    virtual ~Wire() = default;
    virtual size_t capacity() const noexcept = 0;  // bytes of the largest frame
    // Room for the next frame; empty while the link is full.
    virtual Room reserve() noexcept = 0;
    virtual void publish(size_t bytes) noexcept = 0;
    // The next answer; `there` is false if none is. Valid until `pop`.
    virtual Bytes peek(bool &there) noexcept = 0;
    virtual void pop() noexcept = 0;
};

class RingWire final : public Wire {
public:
    RingWire(Producer up, Consumer down) : up_(std::move(up)), down_(std::move(down)) {}
    size_t capacity() const noexcept override { return up_.capacity(); }
    Room reserve() noexcept override { return up_.reserve(); }
    void publish(size_t bytes) noexcept override { up_.publish(bytes); }
    Bytes peek(bool &there) noexcept override { return down_.peek(there); }
    void pop() noexcept override { down_.pop(); }

private:
    Producer up_;
    Consumer down_;
};

// A frame that the system does not take is lost, like one that is lost on the way.
class UdpWire final : public Wire {
public:
    UdpWire(const std::string &host, uint16_t port, uint32_t stride) : client_(host, port, stride), out_(stride) {}
    size_t capacity() const noexcept override { return out_.size(); }
    Room reserve() noexcept override { return out_; }
    void publish(size_t bytes) noexcept override { client_.send(Bytes(out_).first(bytes)); }
    Bytes peek(bool &there) noexcept override {
        if (held_.empty()) held_ = client_.receive(0, 0);
        there = !held_.empty();
        return held_;
    }
    void pop() noexcept override { held_ = {}; }

private:
    UdpClient client_;
    std::vector<uint8_t> out_;
    Bytes held_;
};

}  // namespace qdeck

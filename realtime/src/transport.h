// What the host needs of a link: frames come, and at most one answer goes to each. Narrow on purpose: a ring, a UDP socket
// and, one day, RoCE verbs (a receive queue that is polled, a send queue that is posted to) fit behind it. No RDMA
// transport exists here, and none was ever run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qdeck {

class Transport {
public:
    virtual ~Transport() = default;
    // The next frame (a slot, a datagram), with its padding; `there` is false if none is. Valid until `release`.
    virtual std::span<const uint8_t> receive(bool &there) noexcept = 0;
    virtual void release() noexcept = 0;
    // Room for the answer to the frame that was received; empty while the peer does not take its answers.
    virtual std::span<uint8_t> reserve() noexcept = 0;
    // Send the first `bytes` of that room, before `release`. False: the system did not take it (counted by the transport).
    virtual bool send(size_t bytes) noexcept = 0;
    // Wait for a frame: spin for `spin_ns`, then sleep where the link can, until `timeout_ns` after the call.
    virtual bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept = 0;
    // A sign of life for the peer, with the time of `now_ns()`: every millisecond or so. For links that have no other.
    virtual void beat(int64_t now) noexcept { static_cast<void>(now); }
    // What several transports can sleep on together with poll(2); -1 if there is none.
    virtual int pollable() const noexcept { return -1; }
};

}  // namespace qdeck

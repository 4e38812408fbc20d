// The ring of cudaq-realtime (its host dispatcher's ABI): flags beside slots, in memory that somebody else laid out.
//
// In each direction there are u64 flags[slots] and slots x stride bytes. rx flag: 0 for a free slot, otherwise the address
// of the filled one. tx flag: 0 for none, the address of the response, IN_FLIGHT, or FAILED | error. Both sides walk the
// slots in order from slot 0; a response goes to the slot of its request, and a slot is free again when both its flags are
// 0. Written after the description of NVIDIA's protocol document and checked against our own client end only: no CUDA-Q
// program has been run on it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport.h"

namespace qdeck {

// Where the four arrays are; they outlive their users. Nobody trusts the addresses in the flags.
struct FlagRing {
    static constexpr uint64_t IN_FLIGHT = 0xEEEEEEEEEEEEEEEE;
    static constexpr uint64_t FAILED = uint64_t{0xDEAD} << 48;

    std::atomic<uint64_t> *rx_flags = nullptr;
    uint8_t *rx = nullptr;
    std::atomic<uint64_t> *tx_flags = nullptr;
    uint8_t *tx = nullptr;
    uint32_t slots = 8;
    uint32_t stride = 256;

    uint64_t rx_address(size_t slot) const noexcept { return reinterpret_cast<uint64_t>(rx + slot * stride); }
    uint64_t tx_address(size_t slot) const noexcept { return reinterpret_cast<uint64_t>(tx + slot * stride); }
    // Throws std::invalid_argument for a geometry that cannot be.
    void check() const;
};

// The host's side. Only one may walk a ring.
class FlagRingTransport final : public Transport {
public:
    explicit FlagRingTransport(const FlagRing &ring);

    std::span<const uint8_t> receive(bool &there) noexcept override;
    void release() noexcept override;
    std::span<uint8_t> reserve() noexcept override { return out_; }
    bool send(size_t bytes) noexcept override;
    bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept override;  // never sleeps
    uint64_t strange() const noexcept { return strange_; }  // flags that are no address of their slot: passed over

private:
    FlagRing ring_;
    std::vector<uint8_t> out_;  // a response is copied in one go: its magic must come last
    size_t slot_ = 0;
    uint64_t strange_ = 0;
};

// The controller's side.
class FlagRingClient {
public:
    explicit FlagRingClient(const FlagRing &ring);

    bool send(std::span<const uint8_t> frame) noexcept;  // false: the slot is not free, or the frame too long
    // The response to the oldest request that has none yet, `stride` bytes; empty while there is none. Valid until `pop`.
    std::span<const uint8_t> peek(uint64_t &error) noexcept;
    void pop() noexcept;
    // Give up the oldest request: the host drops what it does not know without an answer.
    bool skip() noexcept;
    size_t outstanding() const noexcept { return sent_ - answered_; }

private:
    FlagRing ring_;
    uint64_t sent_ = 0, answered_ = 0;
};

}  // namespace qdeck

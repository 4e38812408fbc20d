#include "flag_ring.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "clock.h"

namespace qdeck {

void FlagRing::check() const {
    if (!rx_flags || !rx || !tx_flags || !tx || slots < 1 || stride < 64 || stride % 8 || reinterpret_cast<uint64_t>(tx) % 4)
        throw std::invalid_argument("a ring with flags needs four arrays, at least one slot, and slots of 64 bytes or more");
}

FlagRingTransport::FlagRingTransport(const FlagRing &ring) : ring_(ring) {
    ring_.check();
    out_.resize(ring_.stride);
}

std::span<const uint8_t> FlagRingTransport::receive(bool &there) noexcept {
    const uint64_t flag = ring_.rx_flags[slot_].load(std::memory_order_acquire);
    there = flag != 0;
    if (!there)
        return {};
    if (flag != ring_.rx_address(slot_)) {  // an empty frame, which is dropped like any that is no request
        strange_++;
        return {};
    }
    return {ring_.rx + slot_ * ring_.stride, ring_.stride};
}

void FlagRingTransport::release() noexcept {
    ring_.rx_flags[slot_].store(0, std::memory_order_release);
    slot_ = (slot_ + 1) % ring_.slots;
}

bool FlagRingTransport::send(size_t bytes) noexcept {
    bytes = std::min(bytes, out_.size());
    if (bytes < sizeof(uint32_t))
        return false;
    uint8_t *slot = ring_.tx + slot_ * ring_.stride;
    std::memset(out_.data() + bytes, 0, out_.size() - bytes);
    ring_.tx_flags[slot_].store(FlagRing::IN_FLIGHT, std::memory_order_relaxed);
    std::memcpy(slot + sizeof(uint32_t), out_.data() + sizeof(uint32_t), out_.size() - sizeof(uint32_t));
    uint32_t magic;
    std::memcpy(&magic, out_.data(), sizeof magic);
    std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t *>(slot)).store(magic, std::memory_order_release);
    ring_.tx_flags[slot_].store(ring_.tx_address(slot_), std::memory_order_release);
    return true;
}

bool FlagRingTransport::wait(int64_t, int64_t timeout_ns) noexcept {
    const int64_t end = now_ns() + timeout_ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (ring_.rx_flags[slot_].load(std::memory_order_acquire))
                return true;
            pause_cpu();
        }
        std::this_thread::yield();
    } while (now_ns() < end);
    return false;
}

FlagRingClient::FlagRingClient(const FlagRing &ring) : ring_(ring) {
    ring_.check();
}

bool FlagRingClient::send(std::span<const uint8_t> frame) noexcept {
    const size_t slot = sent_ % ring_.slots;
    if (frame.size() > ring_.stride || ring_.rx_flags[slot].load(std::memory_order_acquire) ||
        ring_.tx_flags[slot].load(std::memory_order_acquire) || outstanding() == ring_.slots)
        return false;
    uint8_t *to = ring_.rx + slot * ring_.stride;
    if (!frame.empty())
        std::memcpy(to, frame.data(), frame.size());
    std::memset(to + frame.size(), 0, ring_.stride - frame.size());
    ring_.rx_flags[slot].store(ring_.rx_address(slot), std::memory_order_release);
    sent_++;
    return true;
}

std::span<const uint8_t> FlagRingClient::peek(uint64_t &error) noexcept {
    error = 0;
    if (!outstanding())
        return {};
    const size_t slot = answered_ % ring_.slots;
    const uint64_t flag = ring_.tx_flags[slot].load(std::memory_order_acquire);
    if (flag == ring_.tx_address(slot))
        return {ring_.tx + slot * ring_.stride, ring_.stride};
    if (flag != 0 && flag != FlagRing::IN_FLIGHT)
        error = flag;  // FAILED | why, or nonsense
    return {};
}

void FlagRingClient::pop() noexcept {
    ring_.tx_flags[answered_++ % ring_.slots].store(0, std::memory_order_release);
}

bool FlagRingClient::skip() noexcept {
    if (!outstanding())
        return false;
    const size_t slot = answered_ % ring_.slots;
    if (ring_.rx_flags[slot].load(std::memory_order_acquire) || ring_.tx_flags[slot].load(std::memory_order_acquire))
        return false;  // not taken yet, or answered after all
    answered_++;
    return true;
}

}  // namespace qdeck

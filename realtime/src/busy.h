// A decoder that only spins, volume after volume for as long as it is told, and answers 0: the busy control. Beside a
// decoder that took these times it shows what the machine, which takes the core away now and then, does to work that long.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "clock.h"
#include "decoder.h"

namespace qdeck {

class BusyDecoder final : public Decoder {
public:
    explicit BusyDecoder(std::shared_ptr<const std::vector<uint32_t>> times_ns) noexcept : times_ns_(std::move(times_ns)) {}
    void begin() noexcept override {}
    void add(std::span<const int32_t>) noexcept override {}
    Answer finish() noexcept override {
        const int64_t time_ns = (*times_ns_)[at_];
        at_ = at_ + 1 == times_ns_->size() ? 0 : at_ + 1;
        if (time_ns)
            for (const int64_t until = now_ns() + time_ns; now_ns() < until;) {
            }
        return {};
    }

private:
    std::shared_ptr<const std::vector<uint32_t>> times_ns_;
    size_t at_ = 0;
};

class Busy final : public Compiled {
public:
    // In nanoseconds, for one volume after the other, and then from the start again. Throws std::invalid_argument.
    explicit Busy(std::vector<uint32_t> times_ns)
        : times_ns_(std::make_shared<const std::vector<uint32_t>>(std::move(times_ns))) {
        if (times_ns_->empty()) throw std::invalid_argument("a busy control needs a time for one volume at least");
    }
    std::unique_ptr<Decoder> decoder() const override { return std::make_unique<BusyDecoder>(times_ns_); }
    size_t bytes() const noexcept override { return times_ns_->size() * sizeof(uint32_t); }

private:
    std::shared_ptr<const std::vector<uint32_t>> times_ns_;
};

}  // namespace qdeck

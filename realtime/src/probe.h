// A decoder that stands before another one: it takes hot swaps at the boundary of volumes, stamps the decoding, and keeps
// the defects of a volume so that a late one can be decoded again.
#pragma once

#include <cstring>
#include <vector>

#include "clock.h"
#include "decoder.h"
#include "swap.h"

namespace qdeck {

class Probe final : public Decoder {
public:
    Probe(std::unique_ptr<Loaded> first, size_t most_defects) : slot_(std::move(first)), live_(slot_.current().decoder.get()), defects_(most_defects) {}

    void begin() noexcept override {
        if (slot_.boundary()) swaps_++;
        live_ = slot_.current().decoder.get();
        live_->begin();
        many_ = 0;
        fits_ = true;
    }
    void add(std::span<const int32_t> defects) noexcept override {
        live_->add(defects);
        fits_ = fits_ && defects.size() <= defects_.size() - many_;
        if (!fits_ || defects.empty()) return;
        std::memcpy(defects_.data() + many_, defects.data(), defects.size_bytes());
        many_ += defects.size();
    }
    Answer finish() noexcept override {
        started_ns_ = now_ns();
        answer_ = live_->finish();
        ended_ns_ = now_ns();
        return answer_;
    }
    std::span<const Pair> pairs() noexcept override { return live_->pairs(); }

    // Of the last volume that was finished.
    int64_t started_ns() const noexcept { return started_ns_; }
    int64_t ended_ns() const noexcept { return ended_ns_; }
    const Answer &answer() const noexcept { return answer_; }
    // Its defects; empty if there were more than fit.
    std::span<const int32_t> defects() const noexcept { return {defects_.data(), fits_ ? many_ : 0}; }
    uint64_t epoch() noexcept { return slot_.current().epoch; }
    uint64_t swaps() const noexcept { return swaps_; }
    SwapSlot &slot() noexcept { return slot_; }

    // How long a whole volume takes this decoder now, with warm caches. Between volumes only.
    int64_t time_again(std::span<const int32_t> defects) noexcept {
        Decoder &decoder = *slot_.current().decoder;
        decoder.begin();  // once for the caches
        decoder.add(defects);
        decoder.finish();
        const int64_t start = now_ns();
        decoder.begin();
        decoder.add(defects);
        decoder.finish();
        const int64_t took = now_ns() - start;
        decoder.begin();
        return took;
    }

private:
    SwapSlot slot_;
    Decoder *live_;
    std::vector<int32_t> defects_;
    size_t many_ = 0;
    bool fits_ = true;
    Answer answer_;
    int64_t started_ns_ = 0, ended_ns_ = 0;
    uint64_t swaps_ = 0;
};

}  // namespace qdeck

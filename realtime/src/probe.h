// What stands between a patch and its decoder: takes hot swaps, stamps the decoding, and keeps the defects of a volume so
// that a late one can be decoded again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoder.h"
#include "patch.h"
#include "stream.h"
#include "swap.h"

namespace qdeck {

class Probe {
public:
    explicit Probe(std::unique_ptr<Loaded> first) noexcept : slot_(std::move(first)) {}
    virtual ~Probe() = default;

    // Between two volumes of `patch`, when `slot().pending()`; where it `joins`, also while a stream runs.
    virtual void swap(Patch &patch) noexcept = 0;
    virtual bool joins() const noexcept { return false; }
    // Between two volumes: lets a decoder that is staged decode a sample, if that takes `most_ns` at most with warm caches.
    virtual void rehearse(int64_t most_ns) noexcept { static_cast<void>(most_ns); }
    virtual bool endless() const noexcept { return false; }
    // Whether the last volume can be decoded again: its defects are at hand.
    virtual bool again() const noexcept { return false; }
    virtual std::span<const int32_t> defects() const noexcept { return {}; }
    // How long the decoding of these defects takes now, with warm caches. Between volumes only.
    virtual int64_t time_again(std::span<const int32_t>) noexcept { return -1; }

    // Of the last volume, or round of a stream.
    int64_t started_ns() const noexcept { return started_ns_; }
    int64_t ended_ns() const noexcept { return ended_ns_; }
    bool heuristic() const noexcept { return heuristic_; }
    uint64_t epoch() noexcept { return slot_.current().epoch; }
    SwapSlot &slot() noexcept { return slot_; }

protected:
    SwapSlot slot_;
    int64_t started_ns_ = 0, ended_ns_ = 0;
    bool heuristic_ = false;
};

class VolumeProbe final : public Probe, public Decoder {
public:
    explicit VolumeProbe(std::unique_ptr<Loaded> first, size_t most_defects = 1024);

    void begin() noexcept override;
    void add(std::span<const int32_t> defects) noexcept override;
    // A volume with losses is not decoded again: what was erased is not kept.
    bool erase(std::span<const int32_t> edges) noexcept override {
        fits_ = false;
        return live_->erase(edges);
    }
    Answer finish() noexcept override;
    std::span<const Pair> pairs() noexcept override { return live_->pairs(); }

    void swap(Patch &patch) noexcept override;
    void rehearse(int64_t most_ns) noexcept override;
    int64_t time_again(std::span<const int32_t> defects) noexcept override;
    bool again() const noexcept override { return fits_; }
    std::span<const int32_t> defects() const noexcept override { return {defects_.data(), many_}; }

private:
    Decoder *live_;
    std::vector<int32_t> defects_;
    size_t many_ = 0;
    bool fits_ = true;
};

class StreamProbe final : public Probe, public StreamDecoder {
public:
    explicit StreamProbe(std::unique_ptr<Loaded> first) noexcept;

    void begin() noexcept override { live_->begin(); }
    bool erase(std::span<const int32_t> sites) noexcept override { return live_->erase(sites); }
    Committed round(std::span<const int32_t> defects) noexcept override;
    Committed close(std::span<const int32_t> defects) noexcept override;

    bool endless() const noexcept override { return true; }
    bool joins() const noexcept override { return live_->adopts(); }
    void swap(Patch &patch) noexcept override;

private:
    StreamDecoder *live_;
};

}  // namespace qdeck

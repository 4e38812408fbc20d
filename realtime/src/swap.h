// Hot swap: a decoder that another thread built and warmed takes over between two volumes, or two rounds of a stream, and
// the old one is deleted by that thread or another, never by the loop.
//
// A new decoder is either offered (it takes over at the next boundary) or staged (it takes over at the boundary after the
// controller asked for it, in a frame between its rounds).
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "decoder.h"
#include "stream.h"

namespace qdeck {

// A decoder (of volumes, or of a stream) with all that it needs to live, and the epoch that its answers carry.
struct Loaded {
    std::shared_ptr<const void> keeps;
    std::unique_ptr<Decoder> decoder;
    std::unique_ptr<StreamDecoder> stream;
    // Some volumes with many defects, in rising order: its memory is in no cache of the loop's core before they were decoded
    // there, and what only large volumes touch would stay out of them for long.
    struct Sample {
        std::vector<int32_t> defects;
        int64_t warm_ns;  // that it takes with warm caches
    };
    std::vector<Sample> samples;
    size_t rehearsed = 0;  // samples, before it took over
    uint64_t epoch = 0;
    Loaded *next = nullptr;  // of the retired
};

// One hot thread calls `current`, `pending`, `take`, `next` and `promote`; any number of others, one at a time, the rest.
class SwapSlot {
public:
    explicit SwapSlot(std::unique_ptr<Loaded> first) noexcept : current_(first.release()) {}
    SwapSlot(const SwapSlot &) = delete;
    SwapSlot &operator=(const SwapSlot &) = delete;
    ~SwapSlot() {  // when the hot thread is gone
        delete current_;
        delete pending_.load();
        for (uint64_t at = promoted_.load(); at < staged_.load(); at++) delete stage_[at % STAGE];
        collect();
    }

    Loaded &current() noexcept { return *current_; }
    bool pending() const noexcept { return pending_.load(std::memory_order_relaxed) != nullptr; }
    // Between two volumes: takes what was offered. True if the decoder changed. No lock, no allocation, no system call.
    bool take() noexcept {
        return take([](Loaded &, Loaded &) { return true; });
    }
    // The same while a stream runs: `hand_over(old, fresh)` says whether the fresh one can go on, or is dropped.
    template <class HandOver> bool take(HandOver hand_over) noexcept {
        Loaded *const fresh = pending_.exchange(nullptr, std::memory_order_acquire);
        if (!fresh) return false;
        if (!hand_over(*current_, *fresh)) {
            retire(fresh);
            return false;
        }
        retire(std::exchange(current_, fresh));
        epoch_.store(fresh->epoch, std::memory_order_release);
        return true;
    }

    // What takes over when the controller asks for it; nullptr if nothing is staged.
    Loaded *next() const noexcept {
        const uint64_t at = promoted_.load(std::memory_order_relaxed);
        return at == staged_.load(std::memory_order_acquire) ? nullptr : stage_[at % STAGE];
    }
    // What was staged first is pending now. False: nothing is staged. Neither lock nor allocation.
    bool promote() noexcept {
        const uint64_t at = promoted_.load(std::memory_order_relaxed);
        if (at == staged_.load(std::memory_order_acquire)) return false;
        Loaded *const fresh = std::exchange(stage_[at % STAGE], nullptr);
        promoted_.store(at + 1, std::memory_order_release);
        if (Loaded *const late = pending_.exchange(fresh, std::memory_order_acq_rel)) retire(late);
        return true;
    }

    // The epoch in force. Once it is at least what `offer` returned, nothing older is in use.
    uint64_t epoch() const noexcept { return epoch_.load(std::memory_order_acquire); }
    // Takes effect at the next boundary; one that was offered before and not yet taken is dropped. Returns its epoch.
    uint64_t offer(std::unique_ptr<Loaded> fresh) {
        fresh->epoch = ++offered_;
        const uint64_t epoch = fresh->epoch;
        delete pending_.exchange(fresh.release(), std::memory_order_acq_rel);
        return epoch;
    }
    // To take over when the controller asks for it, after what was staged before. False: STAGE decoders wait already.
    bool stage(std::unique_ptr<Loaded> fresh) {
        const uint64_t at = staged_.load(std::memory_order_relaxed);
        if (at - promoted_.load(std::memory_order_acquire) == STAGE) return false;
        fresh->epoch = ++offered_;
        stage_[at % STAGE] = fresh.release();
        staged_.store(at + 1, std::memory_order_release);
        return true;
    }
    // Deletes what the loop has let go of; how many.
    int collect() noexcept {
        int many = 0;
        for (Loaded *old = retired_.exchange(nullptr, std::memory_order_acquire); old; many++)
            delete std::exchange(old, old->next);
        return many;
    }

    static constexpr uint64_t STAGE = 64;

private:
    void retire(Loaded *old) noexcept {
        old->next = retired_.load(std::memory_order_relaxed);
        while (!retired_.compare_exchange_weak(old->next, old, std::memory_order_release, std::memory_order_relaxed)) {
        }
    }

    Loaded *current_;
    std::atomic<uint64_t> epoch_{0};
    alignas(64) std::atomic<Loaded *> pending_{nullptr};
    std::atomic<Loaded *> retired_{nullptr};
    Loaded *stage_[STAGE] = {};
    std::atomic<uint64_t> staged_{0}, promoted_{0};
    uint64_t offered_ = 0;
};

}  // namespace qdeck

// Parallel windows: a stream that no single core keeps up with, over worker threads.
//
// Layers are cut into blocks of `core` layers with gaps of `gap` between them (Skoric et al., Nat. Commun. 14, 7040;
// Tan et al., PRX Quantum 4, 040344). A window over a core and a buffer on both sides, open to past and future, is
// decoded on its own, and pairs within the core are committed. Defects of the core that it pairs with something outside
// go to that side's gap; when both neighbours are done, the gap with all that was left is decoded, and everything is
// committed. Windows of either kind do not wait for one another, so that n workers decode n times as many rounds a
// second.
//
// One thread adds layers; workers take windows from a counter and hand results on by counters: no locks. A worker
// without work spins for some 100 us, then sleeps; only to wake one that sleeps does the adding thread call the system.
// Ranks and layers are as in window.h.
#pragma once

#include "part.h"
#include "stream.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace qdeck {

struct ParallelSettings {
    int32_t core = 0;    // layers that a window commits; 1 or 2 distances are usual
    int32_t gap = 0;     // layers between two cores, at least `buffer`
    int32_t buffer = 0;  // layers that a window sees on either side of its core; 1 distance is usual
};

class ParallelStream;

class ParallelWindows final {
public:
    // As for Windows. Each part of the graph must have a boundary. Throws std::invalid_argument.
    ParallelWindows(const Model &volume, ParallelSettings settings, const Maker &maker, const Sites &sites = {});
    size_t bytes() const noexcept;
    // Streams shorter than this are too short: decode them as one volume.
    int32_t least() const noexcept {
        return std::max(period() + settings.core + settings.buffer + head, losses.least());
    }
    int32_t width() const noexcept { return layer_width; }
    const ParallelSettings settings;

private:
    friend class ParallelStream;
    int32_t period() const noexcept { return settings.core + settings.gap; }
    bool alike(const ParallelWindows &other) const noexcept;  // but for weights
    SiteTable losses;
    int32_t head;
    int32_t layer_width;
    int32_t widest;
    Part first_core, core;  // A: open windows over cores
    Part first_gap, gap;    // B: closed windows over two cores and their gap
    Part end;               // closed, over the last core and all that follows
};

class ParallelStream {
public:
    // Starts `workers` threads; without any, `add` decodes by itself. At most `ahead` layers wait to be decoded.
    ParallelStream(const ParallelWindows &windows, int32_t workers, int32_t ahead);
    ~ParallelStream();
    ParallelStream(const ParallelStream &) = delete;
    ParallelStream &operator=(const ParallelStream &) = delete;

    // Forget all; waits until workers are done with what they have.
    void begin() noexcept;
    // Go on where `old` is, between two rounds, while its workers run: what `old` has committed is taken as it is,
    // rounds that it holds are copied and decoded anew here. Never waits. `old` takes no further windows until it begins anew.
    // False: the windows are others, `old` has ended, or this one has layers or windows of its own.
    bool adopt(const ParallelStream &old) noexcept;
    // Sites of the next layer that were lost; false if the windows were made without sites.
    bool erase(std::span<const int32_t> sites) noexcept;
    // The next layer's defects by rank, each once. False if the workers are so far behind that it has no room: it was
    // not taken, try again. Decodes nothing, if there are workers.
    bool add(std::span<const int32_t> ranks) noexcept;
    // The last layer; as `add`.
    bool add_last(std::span<const int32_t> ranks) noexcept;
    // Decode a window in the caller's thread, if one waits: what to do with a thread whose layer was not taken.
    bool help() noexcept {
        succeeded.store(false, std::memory_order_relaxed);  // its caller goes on with it
        return take(*workers.back());
    }
    // After the last layer: waits for the workers, helps them, and decodes the end. Its weight is not known (0).
    Answer finish() noexcept;
    // What is final: all up to the first gap that is not decoded yet. Of the whole stream after `finish`.
    Committed committed() noexcept;
    // Layers that have come, and of these those whose gaps are not decoded yet: grows without end if workers are too
    // slow, up to `ahead`.
    int64_t layers() const noexcept { return arrived; }
    int64_t backlog() noexcept;
    // Windows that this stream's threads decoded, each thread's; the caller's own is the last.
    std::vector<int64_t> shares() const;

private:
    struct Defect {
        int64_t layer;
        int32_t rank;
    };
    struct Slot {  // of a core and the gap after it
        std::vector<Defect> left, right;  // of fixed size: defects that the core leaves to the gaps beside it
        int32_t left_count = 0;
        int32_t right_count = 0;
        uint64_t core_flips = 0;
        uint64_t gap_flips = 0;
        std::atomic<int32_t> ready{0};   // neighbours of the gap that are done
        std::atomic<int64_t> done{-1};   // number of the gap that was decoded here last
    };
    struct alignas(64) Worker {
        std::unique_ptr<Decoder> first_core, core, first_gap, gap;
        std::vector<int32_t> ids;
        std::atomic<int64_t> decoded{0};
    };

    void work(Worker &worker) noexcept;
    bool take(Worker &worker) noexcept;
    void decode_core(Worker &worker, int64_t number) noexcept;
    void decode_gap(Worker &worker, int64_t number) noexcept;
    void collect(Worker &worker, const Part &part, int64_t from, int64_t begin, int64_t end, size_t &count) noexcept;
    void place(Worker &worker, const Part &part, int64_t from, const std::vector<Defect> &defects, int32_t number,
               size_t &count) noexcept;
    Answer decode(Decoder &decoder, Worker &worker, const Part &part, int64_t from, size_t count) noexcept;
    bool put(std::span<const int32_t> ranks, bool last) noexcept;
    void retire() noexcept;
    void wait_for(int64_t next) noexcept;
    void note(Quality quality) noexcept;
    Slot &slot(int64_t number) noexcept { return slots[static_cast<size_t>(number) % slots.size()]; }
    const Slot &slot(int64_t number) const noexcept { return slots[static_cast<size_t>(number) % slots.size()]; }
    size_t place_of(int64_t layer) const noexcept { return static_cast<size_t>(layer) % room; }

    const ParallelWindows &windows;
    size_t room;                // layers in the ring
    size_t stride;              // numbers of a layer there: how many defects, then their ranks
    std::vector<int32_t> ring;
    size_t lost_words = 0;      // of the losses of a layer, as bits by site
    std::vector<uint64_t> lost;  // beside the ring
    std::vector<Slot> slots;
    std::vector<std::unique_ptr<Worker>> workers;  // the caller's is the last
    std::unique_ptr<Decoder> ending;
    std::vector<std::thread> threads;

    // Of the caller:
    int64_t arrived = 0;
    int64_t retired = 0;  // gaps of this stream that are decoded, without a hole
    bool ended = false;
    std::vector<uint64_t> coming;  // losses of the next layer
    uint64_t frame = 0;  // of all that is retired
    // Numbers of cores count on through all streams, so that none is ever taken twice; `base` is this stream's first.
    int64_t base = 0;
    alignas(64) std::atomic<int64_t> published{0};
    alignas(64) std::atomic<int64_t> taken{0};
    alignas(64) std::atomic<int64_t> cores_done{0};  // with the gaps that they completed
    alignas(64) std::atomic<uint8_t> quality{0};
    std::atomic<bool> stopping{false};
    mutable std::atomic<bool> succeeded{false};  // another stream has adopted this one: what waits here is in vain
};

// Parallel windows behind the protocol of streams. A round for which the workers have left no room makes the caller
// decode a window itself: it is late then, and what is committed tells how far behind.
class ParallelWindowStream final : public StreamDecoder {
public:
    // `windows` must outlive it. Starts the workers.
    ParallelWindowStream(const ParallelWindows &windows, int32_t workers, int32_t ahead)
        : stream_(windows, workers, ahead) {}
    void begin() noexcept override { stream_.begin(); }
    bool erase(std::span<const int32_t> sites) noexcept override { return stream_.erase(sites); }
    Committed round(std::span<const int32_t> defects) noexcept override;
    Committed close(std::span<const int32_t> defects) noexcept override;

    bool adopts() const noexcept override { return true; }
    bool adopt(const StreamDecoder &old) noexcept override {
        return old.kind() == kind() && stream_.adopt(static_cast<const ParallelWindowStream &>(old).stream_);
    }
    const void *kind() const noexcept override { return &KIND; }

private:
    static constexpr char KIND = 0;
    ParallelStream stream_;
};

}  // namespace qdeck

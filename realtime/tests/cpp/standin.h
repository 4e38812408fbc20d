// Stand-ins for tests of the host: a decoder whose answer anybody can compute.
#pragma once

#include "clock.h"
#include "host.h"

#include <atomic>
#include <cstring>
#include <memory>

namespace standin {

using namespace qdeck;

// Observable 0: whether the number of defects is odd; the others: `mark`. Spins for `busy_ns` at every finish.
struct ParityDecoder final : Decoder {
    uint64_t mark;
    const std::atomic<int64_t> *busy_ns;
    std::atomic<int> *living;
    uint64_t parity = 0;
    ParityDecoder(uint64_t marked, const std::atomic<int64_t> *busy, std::atomic<int> *alive)
        : mark(marked), busy_ns(busy), living(alive) {
        if (living) living->fetch_add(1);
    }
    ~ParityDecoder() override {
        if (living) living->fetch_sub(1);
    }
    void begin() noexcept override { parity = 0; }
    void add(std::span<const int32_t> defects) noexcept override { parity ^= defects.size() & 1; }
    Answer finish() noexcept override {
        if (busy_ns)
            for (const int64_t until = now_ns() + busy_ns->load(std::memory_order_relaxed); now_ns() < until;) pause_cpu();
        return {parity | mark << 1, 0.0, Quality::exact};
    }
};

struct Parity final : Compiled {
    uint64_t mark = 0;
    const std::atomic<int64_t> *busy_ns = nullptr;
    std::atomic<int> *living = nullptr;
    std::unique_ptr<Decoder> decoder() const override { return std::make_unique<ParityDecoder>(mark, busy_ns, living); }
    size_t bytes() const noexcept override { return 0; }
};

inline std::unique_ptr<Loaded> load(uint64_t mark, const std::atomic<int64_t> *busy = nullptr,
                                    std::atomic<int> *living = nullptr) {
    auto compiled = std::make_shared<Parity>();
    compiled->mark = mark;
    compiled->busy_ns = busy;
    compiled->living = living;
    auto loaded = std::make_unique<Loaded>();
    loaded->decoder = compiled->decoder();
    loaded->keeps = std::move(compiled);
    return loaded;
}

// Measurements that are detectors.
inline std::shared_ptr<const Detectors> plain(int64_t measurements) {
    std::vector<std::vector<int64_t>> rows;
    for (int64_t i = 0; i < measurements; i++) rows.push_back({i});
    return std::make_shared<Detectors>(measurements, rows);
}

}  // namespace standin

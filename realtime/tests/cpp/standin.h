// Stand-ins for tests of the host: a decoder whose answer anybody can compute, and a service that takes one volume after
// the other, a measurement being a detector.
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
    loaded->compiled = std::move(compiled);
    return loaded;
}

struct Volumes final : Service {
    Probe probe_;
    int64_t decoder, volume_bits, taken = 0;
    Volumes(std::unique_ptr<Loaded> loaded, int64_t id, int64_t bits)
        : probe_(std::move(loaded), 256), decoder(id), volume_bits(bits) {
        probe_.begin();
    }
    Probe &probe() noexcept override { return probe_; }
    Handled handle(Bytes frame, Room room) noexcept override {
        Handled handled;
        Request request;
        Enqueue enqueue;
        if (parse(frame, request) != Fault::none) return handled;
        handled.published_ns = request.ptp_ns;
        auto respond = [&](Status status, Bytes result) {
            const Tell told{static_cast<uint8_t>(probe_.epoch()), 0, 0};
            handled.bytes = write_response(room, status, request.request_id, request.ptp_ns, result,
                                           request.ask & ask::tell ? &told : nullptr);
            handled.refused = status != Status::ok;
        };
        auto correct = [&] {
            const auto answer = static_cast<uint8_t>(probe_.answer().observables);
            respond(Status::ok, {&answer, 1});
            handled.answer = true;
        };
        if (request.function == static_cast<uint32_t>(Function::get_corrections)) {
            correct();
        } else if (request.function == static_cast<uint32_t>(Function::heartbeat)) {
            respond(Status::ok, request.payload);
        } else if (request.function != static_cast<uint32_t>(Function::enqueue_syndromes) ||
                   !parse(request.payload, enqueue) || enqueue.decoder != decoder) {
            respond(Status::bad_request, {});
        } else {
            if (!taken) probe_.begin();
            handled.round = true;
            handled.shot = static_cast<uint64_t>(enqueue.counter) >> 16;
            int32_t defects[64];
            size_t many = 0;
            for (int64_t bit = 0; bit < enqueue.syndromes; bit++)
                if (enqueue.bits[static_cast<size_t>(bit / 8)] >> (bit % 8) & 1)
                    defects[many++] = static_cast<int32_t>(taken + bit);
            probe_.add({defects, many});
            taken += enqueue.syndromes;
            if (taken == volume_bits) {
                taken = 0;
                probe_.finish();
                handled.volume = true;
            }
            if (handled.volume && request.ask & ask::push)
                correct();
            else if (!(request.ask & ask::quiet))
                respond(Status::ok, {});
        }
        return handled;
    }
};

}  // namespace standin

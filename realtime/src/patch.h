// One logical qubit: takes the raw measurements of its frames, makes defects of them, feeds a decoder, and answers.
//
// The semantics are those of NVIDIA's decoding server (cudaqx): a volume is decoded by the enqueue that completes it,
// before that is answered; an OK certifies only that bits were taken; a failure is latched until `reset`. One thread calls
// a patch. After construction nothing allocates, throws, locks, calls the system or reads a clock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "decoder.h"
#include "detectors.h"
#include "frame.h"
#include "stream.h"

namespace qdeck {

// What a patch counted since it was made. On the wire: 8 bytes each, in this order.
struct PatchStats {
    uint64_t volumes = 0;     // completed; of a stream: closed
    uint64_t rounds = 0;      // enqueues that were taken
    uint64_t bits = 0;
    uint64_t defects = 0;
    uint64_t answers = 0;     // corrections that were handed out
    uint64_t failures = 0;    // volumes that were latched as failed
    uint64_t heuristic = 0;   // answers that do not claim a minimum-weight solution
    uint64_t malformed = 0;   // enqueues
    uint64_t lost = 0;        // rounds, by gaps in the counter; those of volumes that are lost as a whole are not counted
    uint64_t abandoned = 0;   // volumes that were never completed
    uint64_t repeated = 0;    // enqueues that came a second time, and were not taken
    uint64_t committed = 0;   // rounds of the stream that runs that are final
    uint64_t epoch = 0;
    uint64_t erased = 0;      // measurements that were lost by the hardware
};

// How an enqueue went, for whoever measures it.
struct Taken {
    Status status = Status::ok;
    bool completed = false;  // a volume, decoded in this call (successfully or not); of a stream: a round or more
    bool repeated = false;   // it had been taken before
};

class Patch {
public:
    virtual ~Patch() = default;
    Patch(const Patch &) = delete;
    Patch &operator=(const Patch &) = delete;

    // Flags of namespace ask. `outcomes`: one byte for each measurement instead of a bit, 2 for one that was lost.
    Taken enqueue(const Enqueue &enqueue, uint8_t flags = 0, bool outcomes = false) noexcept;
    // An enqueue of which nothing else could be understood.
    Status malformed() noexcept;
    // ceil(observables / 8) bytes go to `out`, which has room for eight, when the status is ok.
    Status corrections(const Get &get, uint8_t *out, size_t &bytes) noexcept;
    // Whether corrections could be had now.
    virtual bool ready() const noexcept = 0;
    // Forget everything but the statistics: also a latched failure, and what the counter was.
    void reset() noexcept;

    // True between two volumes: only then may the decoder be changed.
    virtual bool at_boundary() const noexcept = 0;
    int32_t observables() const noexcept { return observables_; }
    const PatchStats &stats() const noexcept { return stats_; }
    uint8_t epoch() const noexcept { return static_cast<uint8_t>(stats_.epoch); }
    uint8_t tell_flags() const noexcept { return tell_; }
    // Check the counters of all enqueues, not only of those that ask for it: for links that lose frames.
    void order(bool always) noexcept { always_ordered_ = always; }

protected:
    explicit Patch(int32_t observables);
    // All or nothing; a false is a malformed enqueue.
    virtual bool take(const Enqueue &enqueue, uint8_t flags, bool outcomes, bool &completed) noexcept = 0;
    virtual bool under_way() const noexcept = 0;  // some of a volume came, but not all
    virtual bool endless() const noexcept = 0;    // counters then have no shots
    virtual void restart() noexcept = 0;
    virtual uint64_t answer() const noexcept = 0;
    virtual void clear() noexcept = 0;  // corrections that were read with `reset`
    void fail() noexcept;
    void recount() noexcept { counting_ = false; }  // the next counter may be any first one
    bool failed() const noexcept { return failed_; }

    PatchStats stats_;
    uint8_t tell_ = 0;

private:
    enum class Place { next, repeated, stale, gap };
    Place place(int64_t counter) noexcept;

    int32_t observables_;
    bool failed_ = false;
    bool dropped_ = false;
    bool always_ordered_ = false;
    bool counting_ = false;
    int64_t expected_ = 0;  // counter
};

// What the loss of an atom, told by a measurement, erases: numbers of the model's edges (as `Decoder::erase` takes them).
// Either table is empty or has an entry for each measurement of a volume.
struct Losses {
    std::vector<std::vector<int32_t>> lost;     // by the outcome 2 of enqueue_outcomes
    std::vector<std::vector<int32_t>> heralds;  // by a 1, for measurements that only tell of losses
};

// Volumes of a fixed number of measurements, each decoded as a whole; defects go to the decoder as soon as their detector
// is complete.
class VolumePatch final : public Patch {
public:
    // Throws std::invalid_argument. `decoder` must outlive the patch, or be replaced by `use`.
    VolumePatch(std::shared_ptr<const Detectors> detectors, int32_t observables, Decoder &decoder);
    // At a boundary only. The epoch is told with every answer.
    void use(Decoder &decoder, uint64_t epoch) noexcept;
    // Set-up: the decoder is told what losses erase. Throws std::invalid_argument for tables of another size.
    void losses(Losses losses);

    bool ready() const noexcept override { return finished_ && !failed(); }
    bool at_boundary() const noexcept override { return come_ == 0; }

private:
    bool take(const Enqueue &enqueue, uint8_t flags, bool outcomes, bool &completed) noexcept override;
    bool under_way() const noexcept override { return come_ != 0; }
    bool endless() const noexcept override { return false; }
    void restart() noexcept override;
    uint64_t answer() const noexcept override { return observables_now_; }
    void clear() noexcept override { observables_now_ = 0; }
    void herald(int64_t from, int64_t to) noexcept;
    void lose(const std::vector<int32_t> &edges) noexcept;

    std::shared_ptr<const Detectors> detectors_;
    Losses losses_;
    std::vector<int32_t> nothing_;
    std::vector<uint64_t> heralding_;  // measurements that tell of losses, as bits; empty if there are none
    Decoder *decoder_;
    Detectors::Pass pass_;
    std::vector<uint8_t> bits_;
    std::vector<int32_t> fired_;
    int64_t come_ = 0;  // measurements of the volume that runs
    bool finished_ = false;
    uint64_t observables_now_ = 0;
};

// Which measurements make the detectors of a stream: numbers within the round, below 0 for those of the rounds before.
struct RoundShape {
    std::shared_ptr<const Detectors> first;   // of round 0: no reach
    std::shared_ptr<const Detectors> steady;  // of every round after it, as many measurements as the first
    std::shared_ptr<const Detectors> last;    // of the transversal readout that closes the stream
};

// The measurements of a round that tell of losses by a 1: in the first round, in those after it, and in the last readout.
struct Heralds {
    std::vector<int32_t> first, steady, last;
};

// A stream without an end. Bits may come in any split; an enqueue with `ask::close` carries the last readout as a whole.
// Corrections are what is committed so far.
class StreamPatch final : public Patch {
public:
    StreamPatch(RoundShape shape, int32_t observables, StreamDecoder &stream);
    void use(StreamDecoder &stream, uint64_t epoch) noexcept;
    // Set-up: the decoder is told of losses, those by an outcome of 2 as site 2 m of the round (sites.h), and by heralds as
    // 2 m + 1. Throws std::invalid_argument for a decoder that cannot take account of them, or measurements that are not.
    void losses(const Heralds &heralds);

    bool ready() const noexcept override { return committed_.rounds > 0 && !failed(); }
    bool at_boundary() const noexcept override { return !running_; }

private:
    bool take(const Enqueue &enqueue, uint8_t flags, bool outcomes, bool &completed) noexcept override;
    bool under_way() const noexcept override { return running_; }
    bool endless() const noexcept override { return true; }
    void restart() noexcept override;
    uint64_t answer() const noexcept override { return committed_.observables ^ taken_; }
    void clear() noexcept override { taken_ = committed_.observables; }
    void settle(Committed committed) noexcept;
    void start() noexcept;
    void slide() noexcept;
    void lose(uint64_t width, const std::vector<uint64_t> &heralding) noexcept;

    RoundShape shape_;
    StreamDecoder *stream_;
    Detectors::Pass first_, steady_, last_;
    std::vector<int32_t> fired_;
    uint64_t keep_;       // bits of earlier rounds that detectors reach back to
    uint64_t most_;       // bits that the buffer holds, and some bytes
    std::vector<uint8_t> bits_;
    std::vector<uint8_t> lost_;  // beside `bits_`: outcomes of 2; empty where the decoder is not told
    bool heralded_ = false, some_lost_ = false;  // `some_lost_`: of what `bits_` holds from `base_` on
    std::vector<uint64_t> heralding_first_, heralding_, heralding_last_;  // measurements, as bits
    std::vector<int32_t> sites_;
    uint64_t base_ = 0;   // bit at which the round that runs begins
    uint64_t end_ = 0;    // bit behind the last one that came
    int64_t rounds_ = 0;
    bool running_ = false;
    Committed committed_;
    uint64_t taken_ = 0;  // what `clear` took
};

}  // namespace qdeck

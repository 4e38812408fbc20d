// From a frame to its answer: finds the patch, lets it work, writes the response. Pure: no clock, no link, no allocation;
// whoever calls it stamps, sends and swaps around it.
#pragma once

#include <cstdint>
#include <vector>

#include "frame.h"
#include "patch.h"

namespace qdeck {

struct Outcome {
    size_t bytes = 0;         // of the response; 0: there is none
    Patch *patch = nullptr;   // of the last request in the frame that was for one
    int64_t decoder = -1;     // its id
    int64_t counter = -1;     // of the last enqueue in the frame
    uint64_t ptp_ns = 0;      // of the last request in the frame
    uint32_t requests = 0;    // in the frame: more than one in a batch
    uint32_t refused = 0;     // of them, answered with a status other than ok
    bool enqueued = false;    // an enqueue was among them
    bool completed = false;   // an enqueue completed a volume
    bool failed = false;      // and the decoder could not take it
    bool answered = false;    // corrections are in the response
    uint32_t lost = 0;        // rounds that the frame's counters show to be missing
};

// What a `qdeck_swap_decoder` request reaches; it may only note the wish, for it is called on the hot thread.
class Swapper {
public:
    virtual ~Swapper() = default;
    virtual Status swap(int64_t decoder, int64_t version) noexcept = 0;
};

class Dispatcher {
public:
    static constexpr int64_t MOST_DECODERS = 4096;  // ids 0 to 4095; upstream has 32 of them

    // Set-up, not while `handle` may run. Throws std::invalid_argument for an id that is taken or out of range.
    void add(int64_t decoder, Patch &patch);
    void remove(int64_t decoder) noexcept;
    void swapper(Swapper *swapper) noexcept { swapper_ = swapper; }

    Patch *find(int64_t decoder) const noexcept {
        return static_cast<uint64_t>(decoder) < patches_.size() ? patches_[static_cast<size_t>(decoder)] : nullptr;
    }
    // Answers the frame at the start of `in` (a slot, a datagram). `in` and `out` do not overlap.
    Outcome handle(Bytes in, Room out) noexcept;

    uint64_t handled() const noexcept { return handled_; }  // frames
    uint64_t dropped() const noexcept { return dropped_; }  // no frame, or an unknown function: not answered, as upstream

private:
    size_t one(const Request &request, Room out, Outcome &outcome) noexcept;
    size_t enqueue(const Request &request, Room out, Outcome &outcome, bool outcomes) noexcept;
    size_t batch(const Request &request, Room out, Outcome &outcome) noexcept;

    std::vector<Patch *> patches_;
    Swapper *swapper_ = nullptr;
    uint64_t handled_ = 0;
    uint64_t dropped_ = 0;
};

}  // namespace qdeck

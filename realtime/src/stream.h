// The protocol of decoders for streams without an end: defects go in round by round, and what is final comes out.
//
// As with `Decoder`, nothing allocates, throws, locks or calls the system from `begin` on.
#pragma once

#include <cstdint>
#include <span>

namespace qdeck {

// What no later round can change any more.
struct Committed {
    uint64_t observables = 0;  // bit k: observable k was flipped an odd number of times in the committed rounds
    int64_t rounds = 0;        // rounds 0 to rounds - 1 are committed
    bool failed = false;       // something was too much for the decoder's memory: `observables` says nothing from here on
};

class StreamDecoder {
public:
    virtual ~StreamDecoder() = default;
    // Forget the stream before; the next round is round 0.
    virtual void begin() noexcept = 0;
    // Sites of the next round (`round` or `close`) that were lost: numbers of the table that the decoder was made with. False
    // from one that cannot take account of losses, or was made without.
    virtual bool erase(std::span<const int32_t> sites) noexcept {
        static_cast<void>(sites);
        return false;
    }
    // The defects of the next round, as detector numbers within that round: 0 to width - 1, each at most once.
    virtual Committed round(std::span<const int32_t> defects) noexcept = 0;
    // The last round (the detectors that a transversal readout completes): everything becomes final.
    virtual Committed close(std::span<const int32_t> defects) noexcept = 0;
    // Go on in place of `old` between two rounds, with other weights: all that is not committed comes over. False: the two
    // are not alike, or this one is busy. `old` stays alive: it is told nothing more, and another thread deletes it.
    virtual bool adopt(const StreamDecoder &) noexcept { return false; }
    virtual bool adopts() const noexcept { return false; }  // whether it ever does
    // Tells apart those that may be alike, at less cost than a cast in cold memory; null for none.
    virtual const void *kind() const noexcept { return nullptr; }
};

}  // namespace qdeck

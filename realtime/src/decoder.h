// The protocol of all decoders: compile once, run hot.
//
// A `Compiled` is immutable and shared by threads; each thread makes a `Decoder` of its own, with all the memory that
// it will ever need. From `begin` to `finish` nothing allocates, throws, locks or calls the system.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace qdeck {

// Two defects that were matched; `b` is BOUNDARY for one that was matched to the boundary. `observables`: those that
// the path between them flips; the exclusive or over all pairs is the answer's.
struct Pair {
    int32_t a;
    int32_t b;
    uint64_t observables;
};

enum class Quality : uint8_t {
    exact,      // a minimum-weight solution
    heuristic,  // what this decoder gives by its nature, such as union-find
    failed,     // too much for its memory: `observables` says nothing
};

struct Answer {
    uint64_t observables = 0;  // bit k: flip observable k
    double weight = 0.0;       // of the solution, in the model's units
    Quality quality = Quality::exact;
};

class Decoder {
public:
    virtual ~Decoder() = default;
    // Forget the shot before.
    virtual void begin() noexcept = 0;
    // Defects (detectors that fired) as they arrive, each at most once in a shot; work may be done here in advance.
    virtual void add(std::span<const int32_t> defects) noexcept = 0;
    // Edges of the model that were erased in this shot (a lost atom's, say): they flip with probability 1/2, so their
    // weight is 0 until the next `begin`. False from a decoder that cannot take account of it.
    virtual bool erase(std::span<const int32_t> edges) noexcept {
        static_cast<void>(edges);
        return false;
    }
    // The answer for all defects since `begin`.
    virtual Answer finish() noexcept = 0;
    // The matched pairs behind the last answer; empty for decoders that do not pair. Valid until the next `begin`.
    virtual std::span<const Pair> pairs() noexcept { return {}; }
};

class Compiled {
public:
    virtual ~Compiled() = default;
    virtual std::unique_ptr<Decoder> decoder() const = 0;
    virtual size_t bytes() const noexcept = 0;  // of memory that all its decoders share
};

}  // namespace qdeck

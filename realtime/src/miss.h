// Why a shot was late: a pure function of its stamps.
#pragma once

#include <cstdint>

namespace qdeck {

enum class Cause : uint8_t { none, transport, backlog, decode, preempted };
inline constexpr int CAUSES = 5;

const char *name_of(Cause cause) noexcept;

// Nanoseconds of one clock (clock.h). A stamp that nobody took is 0.
struct Stamps {
    int64_t published = 0;      // the controller published the last round of the volume
    int64_t seen = 0;           // the host's loop saw it
    int64_t decode_start = 0;   // its bits are defects now
    int64_t decode_end = 0;     // the observables are known
    int64_t answered = 0;       // the answer is in the ring
};

// What the loop knows about lost time that the stamps do not show.
struct Lost {
    int64_t busy_until = 0;     // the loop came back from earlier frames only then; 0: it had been waiting for this one
    int64_t waiting_ns = 0;     // of published to seen: the machine had taken the processor from the loop
    int64_t working_ns = 0;     // of seen to answered: the same
};

// How a reaction divides; the parts add up to `reaction`.
struct Parts {
    int64_t reaction = 0, transport = 0, backlog = 0, decode = 0, preempted = 0;
};

// Time that the machine took counts as that alone; what is left of the wait is backlog as long as the loop was at earlier
// frames, and transport otherwise. Stamps out of order, as from two machines' clocks, never give a negative part.
Parts divide(const Stamps &stamps, const Lost &lost) noexcept;

// The one cause of a shot that took longer than `budget_ns`: its largest part. (If taking one part away would have saved
// the deadline, taking the largest away would have.) Among equals: preempted, backlog, decode, transport.
Cause attribute(const Parts &parts, int64_t budget_ns) noexcept;

// The share [from, to) of a wait that the interval [start, end) covers.
int64_t overlap_ns(int64_t from, int64_t to, int64_t start, int64_t end) noexcept;

}  // namespace qdeck

#include "miss.h"

#include <algorithm>

namespace qdeck {

const char *name_of(Cause cause) noexcept {
    static constexpr const char *NAMES[CAUSES] = {"none", "transport", "backlog", "decode", "preempted"};
    return NAMES[static_cast<int>(cause) % CAUSES];
}

int64_t overlap_ns(int64_t from, int64_t to, int64_t start, int64_t end) noexcept {
    return std::max<int64_t>(0, std::min(to, end) - std::max(from, start));
}

Parts divide(const Stamps &stamps, const Lost &lost) noexcept {
    // A controller that does not stamp (published == 0) is taken to have published when the host saw it.
    const int64_t published = stamps.published ? std::min(stamps.published, stamps.seen) : stamps.seen;
    const int64_t waited = stamps.seen - published;
    const int64_t worked = std::max<int64_t>(0, stamps.answered - stamps.seen);
    const int64_t decoded =
        std::clamp<int64_t>(stamps.decode_end - std::max(stamps.decode_start, stamps.seen), 0, worked);

    Parts parts;
    parts.reaction = waited + worked;
    const int64_t lost_waiting = std::clamp<int64_t>(lost.waiting_ns, 0, waited);
    const int64_t lost_working = std::clamp<int64_t>(lost.working_ns, 0, worked);
    parts.preempted = lost_waiting + lost_working;
    const int64_t behind = overlap_ns(published, stamps.seen, published, lost.busy_until);
    parts.backlog = std::min(behind, waited - lost_waiting);
    // Time lost at work was lost in the decoder as far as it can have been.
    parts.decode = std::max<int64_t>(0, decoded - lost_working);
    parts.transport = parts.reaction - parts.preempted - parts.backlog - parts.decode;
    return parts;
}

Cause attribute(const Parts &parts, int64_t budget_ns) noexcept {
    if (parts.reaction <= budget_ns) return Cause::none;
    Cause cause = Cause::preempted;
    int64_t most = parts.preempted;
    auto consider = [&](Cause other, int64_t part) {
        if (part > most) {
            most = part;
            cause = other;
        }
    };
    consider(Cause::backlog, parts.backlog);
    consider(Cause::decode, parts.decode);
    consider(Cause::transport, parts.transport);
    return cause;
}

}  // namespace qdeck

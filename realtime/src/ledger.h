// The host's ledger in shared memory: what it did, how long it took, and why it was late. Written by one thread, read by
// anyone (Python with numpy, `qdeck realtime status`) without stopping it.
//
// The layout is fixed by LEDGER_VERSION; `ledger_layout` names every field for readers. Times are nanoseconds of clock.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "histogram.h"
#include "miss.h"
#include "region.h"

namespace qdeck {

inline constexpr uint64_t LEDGER_MAGIC = 0x31474c4b43454451;  // "QDECKLG1" in memory
inline constexpr uint32_t LEDGER_VERSION = 1;

enum class PatchState : uint64_t { free, live, gone };

// The last misses, each with its stamps. A reader takes a record whose `number` is the same before and after, and odd
// numbers are being written.
struct alignas(64) MissRecord {
    Counter number{0};  // 2 * (misses recorded before this one + 1) when whole
    Counter patch{0}, shot{0}, cause{0}, epoch{0};
    Counter published_ns{0}, seen_ns{0}, decode_start_ns{0}, decode_end_ns{0}, answered_ns{0};
    Counter transport_ns{0}, backlog_ns{0}, decode_ns{0}, preempted_ns{0};
    Counter reserved[2]{};
};

struct alignas(64) PatchLedger {
    Counter state{0}, decoder_id{0}, epoch{0}, cycle_ns{0}, budget_ns{0}, policy{0};
    Counter frames{0};           // requests of any kind
    Counter rounds{0};           // enqueues that were taken
    Counter shots{0};            // volumes that were decoded
    Counter answers{0};          // corrections that were handed out
    Counter misses[CAUSES]{};    // [none] counts the shots in time
    Counter lost_rounds{0};      // gaps in the counters of a controller that orders its rounds
    Counter refused{0};          // requests that were answered with a status other than ok
    Counter failures{0};         // volumes that no decoder could take
    Counter heuristic{0};        // answers that do not claim a minimum-weight solution
    Counter work_ns{0};          // of the loop, for this patch
    Counter reserved[7]{};
    char name[64]{};
    Histogram reaction;  // published to answered, of each shot
    Histogram wait;      // published to seen
    Histogram decode;    // the last round seen to its observables known
};

struct alignas(64) LedgerHead {
    uint64_t magic = LEDGER_MAGIC;
    uint32_t version = LEDGER_VERSION, head_bytes = 0, patch_bytes = 0, patches = 0, record_bytes = 0, records = 0;
    uint64_t bytes = 0;  // of the whole ledger
    uint64_t pid = 0;
    int64_t started_ns = 0, started_unix_ns = 0;
    Counter beat_ns{0};          // when the loop last looked around (about every millisecond)
    Counter sweeps{0};           // over all rings
    Counter work_ns{0};          // in which the loop had frames to answer
    Counter asleep_ns{0};        // in which it slept by its own choice
    Counter gaps{0}, gap_ns{0};  // in which the machine had the processor
    Counter switches{0};         // involuntary, of the loop's thread
    Counter core{0}, pinned{0}, fifo{0}, locked{0};
    Counter missed{0};           // records written; the newest is at (missed - 1) % records
    Counter reserved[12]{};
    Histogram gap;    // lengths of those gaps
    Histogram round;  // the loop's work for one frame that ended no volume
};

class Ledger {
public:
    // Throws std::system_error. `name` as in Region::create.
    explicit Ledger(int32_t patches, const std::string &name = "", int32_t records = 4096);

    LedgerHead &head() const noexcept { return *static_cast<LedgerHead *>(region_.data()); }
    PatchLedger &patch(int32_t index) const noexcept { return patches_[index]; }
    MissRecord &record(size_t index) const noexcept { return records_[index]; }
    const Region &region() const noexcept { return region_; }

    // Of the writer only.
    void miss(int32_t patch, uint64_t shot, uint64_t epoch, Cause cause, const Stamps &stamps,
              const Parts &parts) noexcept;

private:
    Region region_;
    PatchLedger *patches_;
    MissRecord *records_;
};

// Where a field lies in its structure, for readers of other languages: 8 bytes each, `many` in a row.
struct Field {
    std::string structure;  // head, patch, record or histogram
    std::string name;
    size_t offset;
    size_t many;
    char kind;  // u: unsigned, i: signed, c: characters (many bytes), h: a histogram; w: 4 bytes unsigned
};
std::vector<Field> ledger_layout();

}  // namespace qdeck

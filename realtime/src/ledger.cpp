#include "ledger.h"

#include <unistd.h>

#include <ctime>
#include <new>

#include "clock.h"

namespace qdeck {

Ledger::Ledger(int32_t patches, const std::string &name, int32_t records) {
    const size_t many = static_cast<size_t>(patches), kept = static_cast<size_t>(records);
    const size_t head_bytes = sizeof(LedgerHead), patch_bytes = sizeof(PatchLedger);
    const size_t bytes = head_bytes + many * patch_bytes + kept * sizeof(MissRecord);
    region_ = Region::create(bytes, name);
    auto *at = static_cast<std::byte *>(region_.data());
    auto *top = new (at) LedgerHead;
    patches_ = reinterpret_cast<PatchLedger *>(at + head_bytes);
    records_ = reinterpret_cast<MissRecord *>(at + head_bytes + many * patch_bytes);
    for (size_t i = 0; i < many; i++) new (&patches_[i]) PatchLedger;
    for (size_t i = 0; i < kept; i++) new (&records_[i]) MissRecord;
    top->head_bytes = static_cast<uint32_t>(head_bytes);
    top->patch_bytes = static_cast<uint32_t>(patch_bytes);
    top->patches = static_cast<uint32_t>(patches);
    top->record_bytes = sizeof(MissRecord);
    top->records = static_cast<uint32_t>(records);
    top->bytes = bytes;
    top->pid = static_cast<uint64_t>(getpid());
    top->started_ns = now_ns();
    timespec wall{};
    clock_gettime(CLOCK_REALTIME, &wall);
    top->started_unix_ns = int64_t{wall.tv_sec} * 1'000'000'000 + wall.tv_nsec;
}

void Ledger::miss(int32_t patch, uint64_t shot, uint64_t epoch, Cause cause, const Stamps &stamps,
                  const Parts &parts) noexcept {
    LedgerHead &top = head();
    if (!top.records) return;
    const uint64_t before = top.missed.load(std::memory_order_relaxed);
    MissRecord &record = records_[before % top.records];
    // Each store releases the ones before it: who sees a new field sees the odd number, too.
    auto put = [](Counter &field, auto value) { field.store(static_cast<uint64_t>(value), std::memory_order_release); };
    put(record.number, 2 * before + 1);
    put(record.patch, patch);
    put(record.shot, shot);
    put(record.cause, cause);
    put(record.epoch, epoch);
    put(record.published_ns, stamps.published);
    put(record.seen_ns, stamps.seen);
    put(record.decode_start_ns, stamps.decode_start);
    put(record.decode_end_ns, stamps.decode_end);
    put(record.answered_ns, stamps.answered);
    put(record.transport_ns, parts.transport);
    put(record.backlog_ns, parts.backlog);
    put(record.decode_ns, parts.decode);
    put(record.preempted_ns, parts.preempted);
    put(record.number, 2 * before + 2);
    top.missed.store(before + 1, std::memory_order_release);
}

std::vector<Field> ledger_layout() {
    return {
        {"head", "magic", offsetof(LedgerHead, magic), 1, 'u'},
        {"head", "version", offsetof(LedgerHead, version), 1, 'w'},
        {"head", "head_bytes", offsetof(LedgerHead, head_bytes), 1, 'w'},
        {"head", "patch_bytes", offsetof(LedgerHead, patch_bytes), 1, 'w'},
        {"head", "patches", offsetof(LedgerHead, patches), 1, 'w'},
        {"head", "record_bytes", offsetof(LedgerHead, record_bytes), 1, 'w'},
        {"head", "records", offsetof(LedgerHead, records), 1, 'w'},
        {"head", "bytes", offsetof(LedgerHead, bytes), 1, 'u'},
        {"head", "pid", offsetof(LedgerHead, pid), 1, 'u'},
        {"head", "started_ns", offsetof(LedgerHead, started_ns), 1, 'i'},
        {"head", "started_unix_ns", offsetof(LedgerHead, started_unix_ns), 1, 'i'},
        {"head", "beat_ns", offsetof(LedgerHead, beat_ns), 1, 'u'},
        {"head", "sweeps", offsetof(LedgerHead, sweeps), 1, 'u'},
        {"head", "work_ns", offsetof(LedgerHead, work_ns), 1, 'u'},
        {"head", "asleep_ns", offsetof(LedgerHead, asleep_ns), 1, 'u'},
        {"head", "gaps", offsetof(LedgerHead, gaps), 1, 'u'},
        {"head", "gap_ns", offsetof(LedgerHead, gap_ns), 1, 'u'},
        {"head", "switches", offsetof(LedgerHead, switches), 1, 'u'},
        {"head", "core", offsetof(LedgerHead, core), 1, 'u'},
        {"head", "pinned", offsetof(LedgerHead, pinned), 1, 'u'},
        {"head", "fifo", offsetof(LedgerHead, fifo), 1, 'u'},
        {"head", "locked", offsetof(LedgerHead, locked), 1, 'u'},
        {"head", "missed", offsetof(LedgerHead, missed), 1, 'u'},
        {"head", "gap", offsetof(LedgerHead, gap), 1, 'h'},
        {"head", "round", offsetof(LedgerHead, round), 1, 'h'},
        {"patch", "state", offsetof(PatchLedger, state), 1, 'u'},
        {"patch", "decoder_id", offsetof(PatchLedger, decoder_id), 1, 'u'},
        {"patch", "epoch", offsetof(PatchLedger, epoch), 1, 'u'},
        {"patch", "cycle_ns", offsetof(PatchLedger, cycle_ns), 1, 'u'},
        {"patch", "budget_ns", offsetof(PatchLedger, budget_ns), 1, 'u'},
        {"patch", "policy", offsetof(PatchLedger, policy), 1, 'u'},
        {"patch", "frames", offsetof(PatchLedger, frames), 1, 'u'},
        {"patch", "rounds", offsetof(PatchLedger, rounds), 1, 'u'},
        {"patch", "shots", offsetof(PatchLedger, shots), 1, 'u'},
        {"patch", "answers", offsetof(PatchLedger, answers), 1, 'u'},
        {"patch", "misses", offsetof(PatchLedger, misses), CAUSES, 'u'},
        {"patch", "lost_rounds", offsetof(PatchLedger, lost_rounds), 1, 'u'},
        {"patch", "refused", offsetof(PatchLedger, refused), 1, 'u'},
        {"patch", "failures", offsetof(PatchLedger, failures), 1, 'u'},
        {"patch", "heuristic", offsetof(PatchLedger, heuristic), 1, 'u'},
        {"patch", "work_ns", offsetof(PatchLedger, work_ns), 1, 'u'},
        {"patch", "name", offsetof(PatchLedger, name), 64, 'c'},
        {"patch", "reaction", offsetof(PatchLedger, reaction), 1, 'h'},
        {"patch", "wait", offsetof(PatchLedger, wait), 1, 'h'},
        {"patch", "decode", offsetof(PatchLedger, decode), 1, 'h'},
        {"record", "number", offsetof(MissRecord, number), 1, 'u'},
        {"record", "patch", offsetof(MissRecord, patch), 1, 'u'},
        {"record", "shot", offsetof(MissRecord, shot), 1, 'u'},
        {"record", "cause", offsetof(MissRecord, cause), 1, 'u'},
        {"record", "epoch", offsetof(MissRecord, epoch), 1, 'u'},
        {"record", "published_ns", offsetof(MissRecord, published_ns), 1, 'i'},
        {"record", "seen_ns", offsetof(MissRecord, seen_ns), 1, 'i'},
        {"record", "decode_start_ns", offsetof(MissRecord, decode_start_ns), 1, 'i'},
        {"record", "decode_end_ns", offsetof(MissRecord, decode_end_ns), 1, 'i'},
        {"record", "answered_ns", offsetof(MissRecord, answered_ns), 1, 'i'},
        {"record", "transport_ns", offsetof(MissRecord, transport_ns), 1, 'i'},
        {"record", "backlog_ns", offsetof(MissRecord, backlog_ns), 1, 'i'},
        {"record", "decode_ns", offsetof(MissRecord, decode_ns), 1, 'i'},
        {"record", "preempted_ns", offsetof(MissRecord, preempted_ns), 1, 'i'},
        {"histogram", "count", offsetof(Histogram, count), 1, 'u'},
        {"histogram", "sum", offsetof(Histogram, sum), 1, 'u'},
        {"histogram", "min", offsetof(Histogram, min), 1, 'u'},
        {"histogram", "max", offsetof(Histogram, max), 1, 'u'},
        {"histogram", "buckets", offsetof(Histogram, buckets), Histogram::BUCKETS, 'u'},
    };
}

}  // namespace qdeck

#include "host.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "clock.h"

namespace qdeck {

static constexpr size_t MOST_DEFECTS = 1024;   // of a volume that is kept to be decoded again
static constexpr size_t MOST_SUSPECTS = 64;
static constexpr int64_t BEAT_NS = 1'000'000;
// Cold caches make a decode up to 2.6 times as long; one that took longer than three times what it takes again was not
// computing all that time.
static constexpr int64_t COLD = 3;

struct Host::Seat {
    Seating seating;
    std::unique_ptr<Service> service;
    Probe *probe;
    Consumer up;
    Producer down;
    PatchLedger *ledger;
    int32_t place;
    int64_t expected_ns = 0;      // when the next frame should come
    int64_t round_ns = 200;       // the usual work for a frame that ends no volume
    bool between = true;          // volumes

    Seat(const Seating &told, std::unique_ptr<Service> made, Consumer consumer, Producer producer)
        : seating(told), service(std::move(made)), probe(&service->probe()), up(std::move(consumer)),
          down(std::move(producer)) {}
};

// A late shot that is explained at leisure: one whose decoding took suspiciously long is decoded again first, and those
// behind it wait, for its explanation may be theirs.
struct Host::Suspect {
    Seat *seat = nullptr;
    bool again = false;
    uint64_t shot = 0, epoch = 0;
    Stamps stamps;
    Lost lost;
    size_t many = 0;
    int32_t defects[MOST_DEFECTS];
};

Host::Host(const HostSettings &settings)
    : settings_(settings), ledger_(settings.patches, settings.ledger, settings.records),
      seats_(static_cast<size_t>(settings.patches)), suspects_(MOST_SUSPECTS) {}

Host::~Host() { stop(); }

int32_t Host::add(const Seating &seating, std::unique_ptr<Service> service, Consumer up, Producer down) {
    size_t place = 0;
    while (place < seats_.size() && seats_[place].load()) place++;
    if (place == seats_.size())
        throw std::runtime_error("this host has no place for more than " + std::to_string(seats_.size()) + " patches");
    auto seat = std::make_unique<Seat>(seating, std::move(service), std::move(up), std::move(down));
    seat->place = static_cast<int32_t>(place);
    PatchLedger &page = *new (&ledger_.patch(seat->place)) PatchLedger;  // as nobody had it before
    seat->ledger = &page;
    page.decoder_id = static_cast<uint64_t>(seating.decoder);
    page.cycle_ns = static_cast<uint64_t>(seating.cycle_ns);
    page.budget_ns = static_cast<uint64_t>(seating.budget_ns);
    page.policy = seating.policy;
    std::strncpy(page.name, seating.name.c_str(), sizeof page.name - 1);
    page.state.store(static_cast<uint64_t>(PatchState::live), std::memory_order_release);
    seats_[place].store(seat.get(), std::memory_order_release);
    if (static_cast<int32_t>(place) >= used_.load()) used_.store(static_cast<int32_t>(place) + 1);
    owned_.push_back(std::move(seat));
    return static_cast<int32_t>(place);
}

void Host::remove(int32_t place) {
    std::atomic<Seat *> &taken = seats_.at(static_cast<size_t>(place));
    Seat *const seat = taken.load(std::memory_order_acquire);
    if (!seat) return;
    if (running()) {
        leaving_.store(place, std::memory_order_release);
        while (taken.load(std::memory_order_acquire)) std::this_thread::yield();
    } else {
        let_go(place);
    }
    std::erase_if(owned_, [&](const auto &each) { return each.get() == seat; });
}

// Of the loop's thread, or while there is none.
void Host::let_go(int32_t place) noexcept {
    Seat *const seat = seats_[static_cast<size_t>(place)].load(std::memory_order_relaxed);
    for (size_t i = suspects_first_; i < suspects_end_; i++) {
        Suspect &suspect = suspects_[i % MOST_SUSPECTS];
        if (suspect.seat != seat) continue;
        explain(*seat, suspect.shot, suspect.epoch, suspect.stamps, suspect.lost);
        suspect.seat = nullptr;
    }
    seat->ledger->state.store(static_cast<uint64_t>(PatchState::gone), std::memory_order_relaxed);
    seats_[static_cast<size_t>(place)].store(nullptr, std::memory_order_release);
}

SwapSlot &Host::slot(int32_t place) {
    Seat *const seat = seats_.at(static_cast<size_t>(place)).load(std::memory_order_acquire);
    if (!seat) throw std::out_of_range("there is no patch at place " + std::to_string(place));
    return seat->probe->slot();
}

void Host::start() {
    if (running()) return;
    stop_.store(false);
    ready_.store(false);
    thread_ = std::thread([this] {
        granted_ = settle(settings_.wishes);
        LedgerHead &head = ledger_.head();
        head.core = static_cast<uint64_t>(granted_.core);
        head.pinned = granted_.pinned;
        head.fifo = granted_.fifo;
        head.locked = granted_.locked;
        ready_.store(true, std::memory_order_release);
        ready_.notify_all();
        loop();
    });
    ready_.wait(false, std::memory_order_acquire);
}

void Host::stop() {
    if (!running()) return;
    stop_.store(true);
    thread_.join();
    for (const auto &seat : owned_) seat->between = true;  // the loop is over: its decoders are free
    while (examine()) {
    }
}

void Host::lose(int64_t from, int64_t to) noexcept {
    lost_[lost_many_++ % INTERVALS] = {from, to};
    LedgerHead &head = ledger_.head();
    bump(head.gaps);
    bump(head.gap_ns, static_cast<uint64_t>(to - from));
    head.gap.record(to - from);
}

int64_t Host::lost_within(int64_t from, int64_t to) const noexcept {
    int64_t lost = 0;
    for (size_t i = lost_many_; i > 0 && lost_many_ - i < INTERVALS; i--) {
        const Interval &each = lost_[(i - 1) % INTERVALS];
        lost += overlap_ns(from, to, each.from, each.to);
    }
    return lost;
}

// At the clock while nothing is to be done: a long time since the last look was the machine's.
int64_t Host::look() noexcept {
    const int64_t now = now_ns();
    if (now - looked_ns_ > settings_.gap_ns) lose(looked_ns_, now);
    return looked_ns_ = now;
}

void Host::explain(Seat &seat, uint64_t shot, uint64_t epoch, const Stamps &stamps, Lost lost) noexcept {
    lost.waiting_ns = lost_within(stamps.published ? stamps.published : stamps.seen, stamps.seen);
    const Parts parts = divide(stamps, lost);
    const Cause cause = attribute(parts, seat.seating.budget_ns);
    if (cause != Cause::none) bump(seat.ledger->misses[static_cast<int>(cause)]);
    ledger_.miss(seat.place, shot, epoch, cause, stamps, parts);
}

// Explains the oldest shot that waits for it. False: there is none, or its patch is in the middle of a volume.
bool Host::examine() noexcept {
    if (suspects_first_ == suspects_end_) return false;
    Suspect &suspect = suspects_[suspects_first_ % MOST_SUSPECTS];
    if (Seat *const seat = suspect.seat) {
        if (suspect.again && !seat->between) return false;
        if (suspect.again) {
            const int64_t took = suspect.stamps.decode_end - suspect.stamps.decode_start;
            const int64_t again = seat->probe->time_again({suspect.defects, suspect.many});
            if (took > COLD * again) {
                suspect.lost.working_ns = took - again;
                lose(suspect.stamps.decode_start + again, suspect.stamps.decode_end);
            }
        }
        explain(*seat, suspect.shot, suspect.epoch, suspect.stamps, suspect.lost);
    }
    suspects_first_++;
    looked_ns_ = now_ns();
    return true;
}

void Host::account(Seat &seat, const Handled &handled, const Stamps &stamps) noexcept {
    PatchLedger &page = *seat.ledger;
    bump(page.shots);
    page.epoch.store(seat.probe->epoch(), std::memory_order_relaxed);
    if (handled.failed) bump(page.failures);
    if (seat.probe->answer().quality == Quality::heuristic) bump(page.heuristic);
    const int64_t reaction = stamps.answered - (stamps.published ? stamps.published : stamps.seen);
    page.reaction.record(reaction);
    if (stamps.published) page.wait.record(stamps.seen - stamps.published);
    page.decode.record(stamps.decode_end - stamps.seen);
    if (reaction <= seat.seating.budget_ns) bump(page.misses[0]);
    if (reaction <= seat.seating.budget_ns / 2) return;  // half the budget and more is on record

    Lost lost;
    lost.busy_until = free_ns_;
    const bool again = stamps.decode_end - stamps.decode_start > settings_.gap_ns;
    if ((again || suspects_first_ != suspects_end_) && suspects_end_ - suspects_first_ < MOST_SUSPECTS) {
        const auto defects = seat.probe->defects();
        Suspect &suspect = suspects_[suspects_end_++ % MOST_SUSPECTS];
        suspect.seat = &seat;
        suspect.again = again && defects.size() <= MOST_DEFECTS;
        suspect.shot = handled.shot;
        suspect.epoch = seat.probe->epoch();
        suspect.stamps = stamps;
        suspect.lost = lost;
        suspect.many = suspect.again ? defects.size() : 0;
        std::memcpy(suspect.defects, defects.data(), suspect.many * sizeof(int32_t));
        return;
    }
    explain(seat, handled.shot, seat.probe->epoch(), stamps, lost);
}

int32_t Host::serve(Seat &seat) noexcept {
    PatchLedger &page = *seat.ledger;
    int32_t served = 0;
    bool there = false;
    for (Bytes frame = seat.up.peek(there); there && served < settings_.burst; frame = seat.up.peek(there)) {
        // The first frame after a wait was seen when the clock was read; later ones are seen when their turn comes.
        const int64_t seen = served ? looked_ns_ : look();
        const Room room = seat.down.reserve();
        if (room.empty()) break;  // the controller does not read its answers: it has to, before it gets more
        Handled handled = seat.service->handle(frame, room);
        int64_t done = now_ns();
        if (handled.volume) {
            const Probe &probe = *seat.probe;
            const Stamps stamps{static_cast<int64_t>(handled.published_ns), seen, probe.started_ns(), probe.ended_ns(), done};
            const int64_t late = done - (stamps.published ? stamps.published : seen) - seat.seating.budget_ns;
            if (handled.bytes && late > 0) mark_late(room.first(handled.bytes), late);
            if (handled.bytes) seat.down.publish(handled.bytes);
            seat.up.pop();
            account(seat, handled, stamps);
            seat.between = true;
            if (!seat.up.ready()) examine();
        } else {
            if (handled.bytes) seat.down.publish(handled.bytes);
            seat.up.pop();
            seat.between = seat.between && !handled.round;
            const int64_t took = done - seen;
            ledger_.head().round.record(took);
            if (took > settings_.gap_ns && took > COLD * seat.round_ns)
                lose(seen + seat.round_ns, done);
            else
                seat.round_ns += (took - seat.round_ns) / 16;
        }
        bump(page.frames);
        if (handled.round) bump(page.rounds);
        if (handled.answer) bump(page.answers);
        if (handled.refused) bump(page.refused);
        if (handled.lost_rounds) bump(page.lost_rounds, handled.lost_rounds);
        served++;
        const int64_t now = now_ns();
        bump(page.work_ns, static_cast<uint64_t>(now - seen));
        bump(ledger_.head().work_ns, static_cast<uint64_t>(now - seen));
        looked_ns_ = free_ns_ = now;
        seat.expected_ns = seen + seat.seating.cycle_ns;
    }
    return served;
}

bool Host::sweep() noexcept {
    bool any = false;
    const int32_t used = used_.load(std::memory_order_acquire);
    for (int32_t i = 0; i < used; i++) {
        Seat *const seat = seats_[static_cast<size_t>(i)].load(std::memory_order_acquire);
        if (seat && seat->up.ready()) any = serve(*seat) > 0 || any;
    }
    return any;
}

void Host::nap(int64_t now) noexcept {
    int64_t until = now + settings_.nap_ns;
    const int32_t used = used_.load(std::memory_order_acquire);
    Seat *lone = nullptr;
    int32_t many = 0;
    for (int32_t i = 0; i < used; i++)
        if (Seat *const seat = seats_[static_cast<size_t>(i)].load(std::memory_order_acquire)) {
            lone = seat;
            many++;
            if (seat->expected_ns > now) until = std::min(until, seat->expected_ns - settings_.wake_early_ns);
        }
    if (until <= now) return;
    if (many == 1 && lone->seating.wakes) {
        lone->up.wait(0, until - now);
    } else {
        const timespec end{static_cast<time_t>(until / 1'000'000'000), static_cast<long>(until % 1'000'000'000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
    }
    const int64_t woken = now_ns();
    bump(ledger_.head().asleep_ns, static_cast<uint64_t>(woken - now));
    // Oversleeping is the machine's doing; what came in the meantime waited for it.
    if (woken - until > settings_.gap_ns) lose(until, woken);
    looked_ns_ = woken;
}

void Host::loop() noexcept {
    LedgerHead &head = ledger_.head();
    const int64_t switches = involuntary_switches();
    looked_ns_ = idle_since_ns_ = now_ns();
    bool stopping = false;
    while (true) {
        if (const int32_t place = leaving_.load(std::memory_order_relaxed); place >= 0) {
            leaving_.store(-1, std::memory_order_relaxed);
            let_go(place);
        }
        const bool worked = sweep();
        bump(head.sweeps);
        if (worked) {
            idle_since_ns_ = looked_ns_;
        } else {
            free_ns_ = 0;
            if (stopping) break;
            const int64_t now = look();
            examine();
            if (settings_.spin_ns >= 0 && now - idle_since_ns_ > settings_.spin_ns) nap(now);
            pause_cpu();
        }
        if (looked_ns_ - beat_ns_ > BEAT_NS) {
            beat_ns_ = looked_ns_;
            head.beat_ns.store(static_cast<uint64_t>(looked_ns_), std::memory_order_relaxed);
            if (!worked) head.switches.store(static_cast<uint64_t>(involuntary_switches() - switches), std::memory_order_relaxed);
        }
        if (stop_.load(std::memory_order_relaxed)) stopping = true;
    }
    head.switches.store(static_cast<uint64_t>(involuntary_switches() - switches), std::memory_order_relaxed);
}

}  // namespace qdeck

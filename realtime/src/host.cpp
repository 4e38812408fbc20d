#include "host.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "clock.h"

namespace qdeck {

static constexpr size_t MOST_DEFECTS = 1024;   // of a volume that is kept to be decoded again
static constexpr size_t MOST_SUSPECTS = 256;
static constexpr int64_t PATIENCE_NS = 50'000'000;  // of a shot that waits to be decoded again, and is not after that
static constexpr int64_t BEAT_NS = 1'000'000;
// Cold caches make a decode up to 2.6 times as long; one that took longer than three times what it takes again was not
// computing all that time.
static constexpr int64_t COLD = 3;

int64_t next_look_ns(int64_t now, int64_t expected_ns, int64_t cycle_ns, int64_t early_ns) noexcept {
    constexpr int64_t SILENT = 20;  // cycles
    if (!expected_ns || now - expected_ns > SILENT * cycle_ns) return INT64_MAX;
    const int64_t missed = std::max<int64_t>(0, now - early_ns - expected_ns + cycle_ns) / cycle_ns;
    return expected_ns + missed * cycle_ns - early_ns;
}

struct Host::Seat {
    Seating seating;
    PatchLedger *ledger = nullptr;
    int32_t place = -1;
    bool between = true;  // volumes

    explicit Seat(Seating told) : seating(std::move(told)) {}
};

// A link and those who speak over it.
struct Host::Channel final : Swapper {  // swaps that the controller asks for
    std::unique_ptr<Transport> link;
    bool wakes = false;
    Dispatcher dispatcher;
    std::vector<std::unique_ptr<Seat>> seats;
    int64_t cycle_ns = INT64_MAX;  // the shortest of its patches
    int64_t expected_ns = 0;       // when the next frame should come
    int64_t round_ns = 200;        // the usual work for a frame that ends no volume

    Status swap(int64_t decoder, int64_t) noexcept override {
        for (const auto &seat : seats)
            if (seat->seating.decoder == decoder)
                return seat->seating.probe->slot().promote() ? Status::ok : Status::not_ready;
        return Status::invalid_decoder;
    }
    Seat *find(const Patch *patch) const noexcept {
        for (const auto &seat : seats)
            if (seat->seating.patch.get() == patch) return seat.get();
        return nullptr;
    }
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
      channels_(static_cast<size_t>(settings.patches)),
      places_(static_cast<size_t>(settings.patches)), suspects_(MOST_SUSPECTS) {}

Host::~Host() { stop(); }

Seating seat_volumes(std::shared_ptr<const Detectors> detectors, int32_t observables, std::unique_ptr<Loaded> loaded,
                     Losses losses) {
    auto probe = std::make_unique<VolumeProbe>(std::move(loaded));
    auto patch = std::make_unique<VolumePatch>(std::move(detectors), observables, *probe);
    patch->losses(std::move(losses));
    Seating seating;
    seating.patch = std::move(patch);
    seating.probe = std::move(probe);
    return seating;
}

Seating seat_stream(RoundShape shape, int32_t observables, std::unique_ptr<Loaded> loaded, const Heralds *heralds) {
    auto probe = std::make_unique<StreamProbe>(std::move(loaded));
    Seating seating;
    auto patch = std::make_unique<StreamPatch>(std::move(shape), observables, *probe);
    if (heralds) patch->losses(*heralds);
    seating.patch = std::move(patch);
    seating.probe = std::move(probe);
    return seating;
}

std::vector<int32_t> Host::add(std::unique_ptr<Transport> link, std::vector<Seating> patches, bool wakes) {
    auto channel = std::make_unique<Channel>();
    channel->link = std::move(link);
    channel->wakes = wakes;
    channel->dispatcher.swapper(channel.get());
    std::vector<int32_t> places;
    for (size_t place = 0; place < places_.size() && places.size() < patches.size(); place++)
        if (!places_[place]) places.push_back(static_cast<int32_t>(place));
    if (places.size() < patches.size() || patches.empty())
        throw std::runtime_error("this host has " + std::to_string(places.size()) + " free places of " +
                                 std::to_string(places_.size()) + " for " + std::to_string(patches.size()) +
                                 " patches: start it with more");
    for (size_t i = 0; i < patches.size(); i++) {
        auto seat = std::make_unique<Seat>(std::move(patches[i]));
        const Seating &seating = seat->seating;
        channel->dispatcher.add(seating.decoder, *seating.patch);
        channel->cycle_ns = std::min(channel->cycle_ns, seating.cycle_ns);
        seat->place = places[i];
        channel->seats.push_back(std::move(seat));
    }
    for (const auto &seat : channel->seats) {
        const Seating &seating = seat->seating;
        PatchLedger &page = *new (&ledger_.patch(seat->place)) PatchLedger;  // as if nobody had had it before
        seat->ledger = &page;
        page.decoder_id = static_cast<uint64_t>(seating.decoder);
        page.cycle_ns = static_cast<uint64_t>(seating.cycle_ns);
        page.budget_ns = static_cast<uint64_t>(seating.budget_ns);
        page.policy = seating.policy;
        std::strncpy(page.name, seating.name.c_str(), sizeof page.name - 1);
        page.state.store(static_cast<uint64_t>(PatchState::live), std::memory_order_release);
        places_[static_cast<size_t>(seat->place)] = seat.get();
    }
    // There are as many channels as places at most, so that one is free.
    int32_t index = 0;
    while (channels_[static_cast<size_t>(index)].load()) index++;
    channels_[static_cast<size_t>(index)].store(channel.get(), std::memory_order_release);
    if (index >= used_.load()) used_.store(index + 1, std::memory_order_release);
    owned_.push_back(std::move(channel));
    return places;
}

Host::Seat &Host::seat_at(int32_t place) {
    if (place < 0 || static_cast<size_t>(place) >= places_.size() || !places_[static_cast<size_t>(place)])
        throw std::out_of_range("there is no patch at place " + std::to_string(place));
    return *places_[static_cast<size_t>(place)];
}

void Host::remove(int32_t place) {
    const Seat *const seat = &seat_at(place);
    for (size_t index = 0; index < channels_.size(); index++) {
        Channel *const channel = channels_[index].load();
        if (!channel || !channel->find(seat->seating.patch.get())) continue;
        if (running()) {
            leaving_.store(static_cast<int32_t>(index), std::memory_order_release);
            while (channels_[index].load(std::memory_order_acquire)) std::this_thread::yield();
        } else {
            let_go(*channel);
            channels_[index].store(nullptr);
        }
        for (const auto &gone : channel->seats) places_[static_cast<size_t>(gone->place)] = nullptr;
        std::erase_if(owned_, [&](const auto &each) { return each.get() == channel; });
        return;
    }
}

SwapSlot &Host::slot(int32_t place) { return seat_at(place).seating.probe->slot(); }

// Of the loop's thread, or while there is none.
void Host::let_go(Channel &channel) noexcept {
    for (const auto &seat : channel.seats) {
        for (size_t i = suspects_first_; i < suspects_end_; i++) {
            Suspect &suspect = suspects_[i % MOST_SUSPECTS];
            if (suspect.seat != seat.get()) continue;
            explain(*seat, suspect.shot, suspect.epoch, suspect.stamps, suspect.lost);
            suspect.seat = nullptr;
        }
        seat->ledger->state.store(static_cast<uint64_t>(PatchState::gone), std::memory_order_relaxed);
    }
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
    while (examine(true)) {  // the loop is over: its decoders are free
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

// Decoding again may take twice as long as the first time, and a round that comes meanwhile waits: there is leisure where the
// budget is long, and in a pause of the controllers'.
bool Host::leisure(const Suspect &suspect) const noexcept {
    const int64_t budget = suspect.seat->seating.budget_ns;
    return suspect.seat->between && (16 * (suspect.stamps.decode_end - suspect.stamps.decode_start) < budget ||
                                     looked_ns_ - idle_since_ns_ > budget);
}

// Explains the oldest shot that waits for it. False: there is none, or it waits for leisure.
bool Host::examine(bool over) noexcept {
    if (suspects_first_ == suspects_end_) return false;
    Suspect &suspect = suspects_[suspects_first_ % MOST_SUSPECTS];
    if (Seat *const seat = suspect.seat) {
        const bool now = over || leisure(suspect);
        if (suspect.again && !now && looked_ns_ - suspect.stamps.answered < PATIENCE_NS) return false;
        if (suspect.again && now) {
            const int64_t took = suspect.stamps.decode_end - suspect.stamps.decode_start;
            const int64_t again = seat->seating.probe->time_again({suspect.defects, suspect.many});
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

void Host::account(Seat &seat, const Outcome &outcome, const Stamps &stamps) noexcept {
    PatchLedger &page = *seat.ledger;
    Probe &probe = *seat.seating.probe;
    // A stream's rounds have a deadline each; a volume is known by the shot of its counter.
    const auto shot = static_cast<uint64_t>(outcome.counter) >> (probe.endless() ? 0 : 16);
    bump(page.shots);
    page.epoch.store(probe.epoch(), std::memory_order_relaxed);
    page.failures.store(seat.seating.patch->stats().failures, std::memory_order_relaxed);
    if (probe.heuristic()) bump(page.heuristic);
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
        const auto defects = probe.defects();
        Suspect &suspect = suspects_[suspects_end_++ % MOST_SUSPECTS];
        suspect.seat = &seat;
        suspect.again = again && probe.again() && defects.size() <= MOST_DEFECTS;
        suspect.shot = shot;
        suspect.epoch = probe.epoch();
        suspect.stamps = stamps;
        suspect.lost = lost;
        suspect.many = suspect.again ? defects.size() : 0;
        std::memcpy(suspect.defects, defects.data(), suspect.many * sizeof(int32_t));
        return;
    }
    explain(seat, shot, probe.epoch(), stamps, lost);
}

bool Host::serve(Channel &channel) noexcept {
    LedgerHead &head = ledger_.head();
    int32_t served = 0;
    bool there = false;
    for (Bytes frame = channel.link->receive(there); there && served < settings_.burst;
         frame = channel.link->receive(there)) {
        // Only the first frame after a wait tells of time that the machine took; later ones wait for their turn.
        const int64_t seen = served ? looked_ns_ : look();
        idle_since_ns_ = seen;
        const Room room = channel.link->reserve();
        if (room.empty()) break;  // the controller does not read its answers: it has to, before it gets more
        swap(channel, frame);
        const Outcome outcome = channel.dispatcher.handle(frame, room);
        const int64_t done = now_ns();
        Seat *const seat = channel.find(outcome.patch);
        if (outcome.completed) {
            const auto stamp = static_cast<int64_t>(outcome.ptp_ns);
            const int64_t late = done - (stamp ? stamp : seen) - seat->seating.budget_ns;
            if (late > 0 && outcome.bytes) mark_late(room.first(outcome.bytes), late);
        }
        if (outcome.bytes) channel.link->send(outcome.bytes);
        channel.link->release();
        if (outcome.completed) {
            const Probe &probe = *seat->seating.probe;
            account(*seat, outcome, {static_cast<int64_t>(outcome.ptp_ns), seen, probe.started_ns(), probe.ended_ns(), done});
            seat->between = seat->seating.patch->at_boundary();
            channel.link->receive(there);
            if (!there) {
                join(channel);
                // The next volume has just begun, or not yet: a short delay is made up for long before it ends.
                if (!examine()) seat->seating.probe->rehearse(seat->seating.budget_ns / 4);
            }
            looked_ns_ = now_ns();
        } else {
            if (seat) seat->between = seat->seating.patch->at_boundary();
            const int64_t took = done - seen;
            head.round.record(took);
            if (took > settings_.gap_ns && took > COLD * channel.round_ns)
                lose(seen + channel.round_ns, done);
            else
                channel.round_ns += (took - channel.round_ns) / 16;
            looked_ns_ = done;
        }
        const int64_t worked = looked_ns_ - seen;
        free_ns_ = looked_ns_;
        if (seat) {
            PatchLedger &page = *seat->ledger;
            bump(page.frames);
            if (outcome.enqueued) bump(page.rounds);
            if (outcome.answered) bump(page.answers);
            if (outcome.refused) bump(page.refused, outcome.refused);
            if (outcome.lost) bump(page.lost_rounds, outcome.lost);
            bump(page.work_ns, static_cast<uint64_t>(worked));
        }
        served++;
        bump(head.work_ns, static_cast<uint64_t>(worked));
        // By the controller's stamp where there is one: a frame that was seen late does not make the next one late.
        const auto published = static_cast<int64_t>(outcome.ptp_ns);
        channel.expected_ns = (published && published < seen ? published : seen) + channel.cycle_ns;
    }
    return served > 0;
}

// A decoder that waits to take over does so before the first enqueue of a volume (windows of a stream: before any), and
// not before: answers to requests in
// between still carry the epoch of the decoder that found them.
void Host::swap(Channel &channel, Bytes frame) noexcept {
    for (const auto &seat : channel.seats) {
        Probe &probe = *seat->seating.probe;
        if (!probe.slot().pending() || !(seat->seating.patch->at_boundary() || probe.joins())) continue;
        Request request;
        if (parse(frame, request) != Fault::none || request.function == static_cast<uint32_t>(Function::get_corrections))
            continue;
        probe.swap(*seat->seating.patch);
    }
}

// Streams take what waits right after an answer, where time is left: its memory is cold. (A link that never rests has it
// done before a frame, by `swap`.)
void Host::join(Channel &channel) noexcept {
    for (const auto &seat : channel.seats) {
        Probe &probe = *seat->seating.probe;
        if (probe.slot().pending() && probe.joins() && !seat->seating.patch->at_boundary())
            probe.swap(*seat->seating.patch);
    }
}

bool Host::sweep() noexcept {
    bool any = false;
    const int32_t used = used_.load(std::memory_order_acquire);
    for (int32_t i = 0; i < used; i++) {
        Channel *const channel = channels_[static_cast<size_t>(i)].load(std::memory_order_acquire);
        bool there = false;
        if (!channel) continue;
        channel->link->receive(there);
        if (there) any = serve(*channel) || any;
    }
    return any;
}

void Host::nap(int64_t now) noexcept {
    int64_t until = now + settings_.nap_ns;
    const int32_t used = used_.load(std::memory_order_acquire);
    Channel *lone = nullptr;
    int32_t many = 0;
    for (int32_t i = 0; i < used; i++)
        if (Channel *const channel = channels_[static_cast<size_t>(i)].load(std::memory_order_acquire)) {
            lone = channel;
            many++;
            until = std::min(until, next_look_ns(now, channel->expected_ns, channel->cycle_ns, settings_.wake_early_ns));
        }
    if (until <= now) return;
    // A lone link may wake us when a frame comes; of several, each is looked at after the nap.
    if (many == 1 && lone->wakes) {
        lone->link->wait(0, until - now);
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
        if (const int32_t index = leaving_.load(std::memory_order_relaxed); index >= 0) {
            leaving_.store(-1, std::memory_order_relaxed);
            std::atomic<Channel *> &leaving = channels_[static_cast<size_t>(index)];
            let_go(*leaving.load(std::memory_order_relaxed));
            leaving.store(nullptr, std::memory_order_release);
        }
        const bool worked = sweep();
        bump(head.sweeps);
        if (worked) {
            idle_since_ns_ = looked_ns_;
        } else {
            free_ns_ = 0;
            if (stopping) break;
            const int64_t now = look();
            if (!examine() && settings_.spin_ns >= 0 && now - idle_since_ns_ > settings_.spin_ns) nap(now);
            pause_cpu();
        }
        if (looked_ns_ - beat_ns_ > BEAT_NS) {
            beat_ns_ = looked_ns_;
            head.beat_ns.store(static_cast<uint64_t>(looked_ns_), std::memory_order_relaxed);
            if (!worked) head.switches.store(static_cast<uint64_t>(involuntary_switches() - switches), std::memory_order_relaxed);
            for (int32_t i = 0; i < used_.load(std::memory_order_relaxed); i++)
                if (Channel *const channel = channels_[static_cast<size_t>(i)].load(std::memory_order_acquire))
                    channel->link->beat(looked_ns_);
        }
        if (stop_.load(std::memory_order_relaxed)) stopping = true;
    }
    head.switches.store(static_cast<uint64_t>(involuntary_switches() - switches), std::memory_order_relaxed);
}

}  // namespace qdeck

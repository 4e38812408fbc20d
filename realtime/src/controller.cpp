#include "controller.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "clock.h"
#include "frame.h"

namespace qdeck {

static constexpr size_t KEPT = 4096;  // volumes of one feed that may be without an answer
static constexpr uint32_t NO_REACTION = UINT32_MAX;
static constexpr uint32_t GREETING = UINT32_MAX, SWAP = UINT32_MAX - 1;  // request ids

struct Controller::Line {
    Feed feed;
    std::unique_ptr<Wire> wire;
    Tally tally;
    size_t volume_bytes;

    int64_t volume = 0;    // the next one to publish from, of shots x laps
    int64_t lap_shot = 0;  // the same within the lap
    size_t round = 0;
    size_t at = 0;         // byte of the volume
    int64_t next_ns = 0;
    int64_t lost_ns = 0;   // by the controller until the last round was published
    int64_t unread = 0;    // responses that are still to come
    bool listed = false;   // among those with some
    bool latched = false;  // a volume failed: the host forgets it on a reset
    int last_epoch = -1;

    struct Outstanding {
        int64_t published_ns, lost_ns;
    };
    std::vector<Outstanding> kept = std::vector<Outstanding>(KEPT);
    int64_t oldest = 0;    // the first volume without an answer

    Line(Feed fed, std::unique_ptr<Wire> link)
        : feed(std::move(fed)), wire(std::move(link)), volume_bytes(feed.volume_bytes()) {
        const size_t all = static_cast<size_t>(volumes());
        tally.reaction_ns.assign(all, NO_REACTION);
        tally.corrections.assign(all, 0);
        tally.epoch.assign(all, 0);
        tally.gap_ns.assign(all, 0);
    }
    int64_t volumes() const noexcept { return feed.shots * feed.laps + (feed.closing_bits != 0); }
    // Of a round: shots and rounds in one number, or, without shots, rounds alone.
    uint64_t counter(int64_t of, size_t at_round) const noexcept {
        return feed.endless ? static_cast<uint64_t>(of) : static_cast<uint64_t>(of) << 16 | at_round;
    }
    bool closing() const noexcept { return feed.closing_bits && volume + 1 == volumes(); }
};

size_t Feed::volume_bytes() const noexcept {
    size_t bytes = 0;
    for (const uint32_t many : round_bits) bytes += bytes_of(many);
    return bytes;
}

void Feed::check() const {
    auto refuse = [](const std::string &why) { throw std::invalid_argument("a feed " + why); };
    if (round_bits.empty() || round_bits.size() > 65'000) refuse("has 1 to 65000 rounds in a volume");
    if (std::count(round_bits.begin(), round_bits.end(), 0u)) refuse("has at least one measurement in each round");
    if (shots < 1 || laps < 1) refuse("has at least one shot and one lap");
    if (endless && (round_bits.size() != 1 || !closing_bits || laps != 1 || !stream))
        refuse("without end has one kind of round, one lap and a readout that closes the stream");
    if (closing_bits && !endless) refuse("that is closed by bits of its own is one without end");
    const size_t bytes = static_cast<size_t>(shots) * volume_bytes() + bytes_of(closing_bits);
    if (bits.size() != bytes)
        refuse("of " + std::to_string(shots) + " shots has " + std::to_string(bytes) + " bytes of measurements, not " +
               std::to_string(bits.size()));
    if (observables < 1 || observables > 64) refuse("has 1 to 64 observables");
    for (const auto *answers : {&expected, &actual})
        if (!answers->empty() && answers->size() != static_cast<size_t>(endless ? 1 : shots))
            refuse("has one expected and one actual answer for each shot (of an endless stream, for its end), or none");
}

Controller::Controller(const Pace &pace) : pace_(pace) {
    if (pace.cycle_ns < 1 || pace.budget_ns < 1 || pace.timeout_ns < 1)
        throw std::invalid_argument("a cycle, a budget and a timeout are at least 1 ns");
}

Controller::~Controller() = default;

void Controller::add(Feed feed, Producer up, Consumer down) {
    add(std::move(feed), std::make_unique<RingWire>(std::move(up), std::move(down)));
}

void Controller::add(Feed feed, std::unique_ptr<Wire> wire) {
    feed.check();
    uint32_t widest = feed.closing_bits;
    for (const uint32_t many : feed.round_bits) widest = std::max(widest, many);
    const size_t frame = HEADER_BYTES + 32 + feed.bytes_of(widest) + EXTENSION_BYTES;  // 32: what an enqueue says itself
    if (frame > wire->capacity())
        throw std::invalid_argument("a feed's rounds need frames of " + std::to_string(frame) + " bytes, the link has " +
                                    std::to_string(wire->capacity()) + ": make its slots wider");
    lines_.push_back(std::make_unique<Line>(std::move(feed), std::move(wire)));
}

const Tally &Controller::tally(size_t feed) const noexcept { return lines_[feed]->tally; }

size_t Controller::rounds_of(size_t feed) const noexcept { return lines_[feed]->feed.round_bits.size(); }

int64_t Controller::look() noexcept {
    const int64_t now = now_ns(), gap = now - looked_ns_;
    if (gap > pace_.gap_ns && looked_ns_) {
        gaps_++;
        lost_ns_ += gap;
    }
    looked_ns_ = now;
    return now;
}

static void sleep_until(int64_t until_ns) noexcept {
    const timespec until{static_cast<time_t>(until_ns / 1'000'000'000), static_cast<long>(until_ns % 1'000'000'000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

void Controller::drain(Line &line) noexcept {
    bool there = false;
    for (Bytes frame = line.wire->peek(there); there; frame = line.wire->peek(there)) {
        const int64_t now = look();
        answered_ns_ = now;
        Response response;
        const bool sound = parse(frame, response) == Fault::none;
        Tally &tally = line.tally;
        const bool push = pace_.dialect == Dialect::push;
        const size_t rounds = line.feed.round_bits.size() - (push ? 1 : 0);
        const auto wanted = static_cast<uint32_t>(line.counter(line.oldest, rounds));
        // A quiet enqueue is answered only when it was refused: nobody waits for that.
        if (line.unread && (!push || response.request_id == wanted || response.request_id >= SWAP)) {
            line.unread--;
            outstanding_--;
        }
        if (response.request_id == SWAP && response.status == Status::ok) tally.swaps++;
        if (!sound || (response.status != Status::ok && response.request_id != SWAP)) tally.failed++;
        if (sound && response.request_id == wanted && line.oldest < line.volume) {
            const auto index = static_cast<size_t>(line.oldest);
            const Line::Outstanding &sent = line.kept[index % KEPT];
            line.latched |= response.status == Status::internal_error;
            // Nothing comes with the answer to a volume of which a latched failure let no round in.
            if (response.status == Status::ok && (line.feed.endless || !response.result.empty())) {
                uint64_t answer = 0;
                std::memcpy(&answer, response.result.data(), std::min<size_t>(response.result.size(), 8));
                const int64_t reaction = now - sent.published_ns;
                const bool final = !line.feed.endless || line.oldest + 1 == line.volumes();
                const auto shot = line.feed.endless ? 0 : static_cast<size_t>(line.oldest % line.feed.shots);
                tally.shots++;
                tally.corrections[index] = answer;
                tally.reaction_ns[index] = static_cast<uint32_t>(std::min<int64_t>(reaction, NO_REACTION - 1));
                tally.gap_ns[index] = static_cast<uint32_t>(std::min<int64_t>(lost_ns_ - sent.lost_ns, NO_REACTION));
                tally.epoch[index] = response.tell.epoch;
                if (line.last_epoch >= 0 && line.last_epoch != response.tell.epoch) tally.epochs++;
                line.last_epoch = response.tell.epoch;
                if (final && !line.feed.expected.empty()) tally.differ += answer != line.feed.expected[shot];
                if (final && !line.feed.actual.empty()) tally.logical_errors += answer != line.feed.actual[shot];
                tally.heuristic += (response.tell.flags & tell::heuristic) != 0;
                if (line.oldest >= pace_.warm_shots) {
                    tally.reaction.record(reaction);
                    tally.misses += reaction > pace_.budget_ns;
                    tally.told_late += (response.tell.flags & tell::late) != 0;
                }
            }
            line.oldest++;
        }
        line.wire->pop();
    }
}

// Gives up on the volume that waits for its answer, if it has for long: on links that lose frames.
void Controller::forget(Line &line) noexcept {
    if (!pace_.forget_ns || pace_.dialect != Dialect::push || !line.unread || line.oldest == line.volume) return;
    if (looked_ns_ - line.kept[static_cast<size_t>(line.oldest) % KEPT].published_ns < pace_.forget_ns) return;
    line.oldest++;
    line.unread--;
    outstanding_--;
}

void Controller::expect(Line &line) noexcept {
    line.unread++;
    outstanding_++;
    if (line.listed) return;
    line.listed = true;
    waiting_.push_back(&line);  // never more than there are lines: no allocation
}

void Controller::drain_all() noexcept {
    if (!outstanding_) {
        answered_ns_ = looked_ns_;
        return;
    }
    for (size_t i = 0; i < waiting_.size();) {
        Line &line = *waiting_[i];
        drain(line);
        forget(line);
        if (line.unread) {
            i++;
        } else {
            line.listed = false;
            waiting_[i] = waiting_.back();
            waiting_.pop_back();
        }
    }
}

void Controller::publish(Line &line) noexcept {
    const bool closing = line.closing();
    const uint32_t bits = closing ? line.feed.closing_bits : line.feed.round_bits[line.round];
    const size_t bytes = line.feed.bytes_of(bits);
    const bool last = line.round + 1 == line.feed.round_bits.size();
    const auto counter = static_cast<int64_t>(line.counter(line.volume, line.round));
    const bool push = pace_.dialect == Dialect::push;
    if (line.latched && line.round == 0) unlatch(line);
    const uint8_t *from = line.feed.bits.data() + static_cast<size_t>(line.lap_shot) * line.volume_bytes + line.at;
    const Enqueue enqueue{line.feed.decoder, counter, 0, static_cast<int64_t>(bits), {from, bytes}};
    uint8_t flags = push ? ask::ordered : 0;
    if (push && !line.feed.endless) flags |= last ? ask::quiet | ask::push | ask::tell : ask::quiet;
    if (push && line.feed.endless) flags |= closing ? ask::push | ask::tell : ask::tell;
    if (closing || (last && line.feed.stream && !line.feed.endless)) flags |= ask::close;
    const Room room = line.wire->reserve();
    const int64_t now = look();
    line.wire->publish(write_enqueue(room, static_cast<uint32_t>(counter), static_cast<uint64_t>(now), enqueue, flags,
                                  line.feed.outcomes));
    const int64_t late = now - line.next_ns, stalled = lost_ns_ - line.lost_ns;
    line.tally.slipped += late > pace_.cycle_ns / 2;
    line.tally.rounds++;
    if (!push) expect(line);
    line.next_ns += pace_.cycle_ns;
    // Hardware would not have been stalled by this machine: its rounds come a cycle apart, not bunched after a stall.
    if (lines_.size() == 1) line.next_ns += std::clamp<int64_t>(late, 0, stalled);
    line.lost_ns = lost_ns_;
    line.at += bytes;
    line.round++;
    if (pace_.swap_every_shots && line.round == 1 && line.volume % pace_.swap_every_shots == pace_.swap_every_shots - 1)
        ask_for_swap(line);
    if (!last) return;

    line.kept[static_cast<size_t>(line.volume) % KEPT] = {now, lost_ns_};
    if (!push) {
        const Get get{line.feed.decoder, line.feed.observables, false};
        while (line.wire->reserve().empty()) drain(line);
        const uint8_t told = ask::tell;
        line.wire->publish(write_get(line.wire->reserve(), static_cast<uint32_t>(counter + 1), static_cast<uint64_t>(now), get, told));
    }
    expect(line);
    line.round = line.at = 0;
    line.volume++;
    if (++line.lap_shot == line.feed.shots && !line.feed.endless) line.lap_shot = 0;
    line.tally.most_outstanding = std::max(line.tally.most_outstanding, line.volume - line.oldest);
}

// A request that changes nothing, and its answer: a host that napped is awake then. Or, at the start, a reset: the counters
// begin anew.
void Controller::greet(Line &line, bool reset) noexcept {
    uint8_t payload[8];
    std::memcpy(payload, &line.feed.decoder, sizeof payload);
    const Function function = reset ? Function::reset_decoder : Function::heartbeat;
    line.wire->publish(write_request(line.wire->reserve(), static_cast<uint32_t>(function), GREETING,
                                  static_cast<uint64_t>(now_ns()), payload));
    expect(line);
    looked_ns_ = answered_ns_ = now_ns();
    const int64_t until = looked_ns_ + pace_.timeout_ns;
    while (line.unread && looked_ns_ < until) {
        drain(line);
        looked_ns_ = now_ns();
    }
}

void Controller::unlatch(Line &line) noexcept {
    line.wire->publish(write_reset(line.wire->reserve(), GREETING, static_cast<uint64_t>(now_ns()), line.feed.decoder));
    expect(line);
    line.latched = false;
    while (line.wire->reserve().empty()) drain(line);
}

void Controller::ask_for_swap(Line &line) noexcept {
    const Room room = line.wire->reserve();
    if (room.empty()) return;
    uint8_t payload[16] = {};
    std::memcpy(payload, &line.feed.decoder, 8);
    line.wire->publish(write_request(room, static_cast<uint32_t>(Function::swap_decoder), SWAP, static_cast<uint64_t>(now_ns()),
                                  payload));
    expect(line);
}

void Controller::pause(Line &line) noexcept {
    const int64_t until = now_ns() + pace_.timeout_ns;
    while (line.unread && looked_ns_ < until) {  // what is under way is answered first
        drain(line);
        look();
    }
    sleep_until(now_ns() + pace_.pause_ns);
    greet(line, false);
    line.next_ns = looked_ns_ + pace_.cycle_ns;
}

bool Controller::due(Line &line) noexcept {
    for (;;) {
        drain_all();
        const int64_t now = look();
        if (now >= line.next_ns) break;
        if (pace_.nap_ns && !outstanding_ && line.next_ns - now > 2 * pace_.nap_ns) {
            sleep_until(line.next_ns - pace_.nap_ns);
            looked_ns_ = answered_ns_ = now_ns();
        }
        pause_cpu();
    }
    if (line.round == 0 && line.oldest < line.volume &&
        (pace_.policy != Policy::defer || line.volume - line.oldest >= static_cast<int64_t>(KEPT))) {
        // An answer is missing. A lone qubit waits for the moment itself, one of many for its next turn.
        int64_t now = looked_ns_;
        if (lines_.size() == 1)
            while (line.oldest < line.volume && now - answered_ns_ < pace_.timeout_ns) {
                drain_all();
                now = look();
            }
        else
            now += pace_.cycle_ns;
        if (pace_.policy == Policy::idle) {
            const int64_t rounds = (now - line.next_ns + pace_.cycle_ns - 1) / pace_.cycle_ns;
            line.tally.idle_rounds += rounds;
            line.next_ns += rounds * pace_.cycle_ns;
        } else {
            const int64_t cycles = (now - line.next_ns) / pace_.cycle_ns;
            line.tally.waited_ns += now - line.next_ns;
            line.next_ns = lines_.size() == 1 ? now : line.next_ns + std::max<int64_t>(1, cycles) * pace_.cycle_ns;
        }
        return false;
    }
    return true;
}

void Controller::run(const std::atomic<bool> *stop) {
    std::stable_sort(lines_.begin(), lines_.end(),
                     [&](const auto &a, const auto &b) {
                         return a->feed.phase_ns % pace_.cycle_ns < b->feed.phase_ns % pace_.cycle_ns;
                     });
    looked_ns_ = answered_ns_ = now_ns();
    waiting_.reserve(lines_.size());
    for (const auto &line : lines_) {
        greet(*line, true);
        if (line->unread)
            throw std::runtime_error("no answer for " + std::to_string(pace_.timeout_ns / 1'000'000) +
                                     " ms: is the host running, and does it serve these decoders?");
    }
    const int64_t start = now_ns() + 50'000;
    size_t busy = 0;
    for (const auto &line : lines_) {
        line->next_ns = start + line->feed.phase_ns;
        busy += line->volume < line->volumes();
    }
    auto stopped = [&] { return stop && stop->load(std::memory_order_relaxed); };
    auto patient = [&] {
        if (outstanding_ && looked_ns_ - answered_ns_ > pace_.timeout_ns)
            throw std::runtime_error("no answer for " + std::to_string(pace_.timeout_ns / 1'000'000) +
                                     " ms in the middle of a run: was the host stopped?");
    };
    int64_t next_pause = pace_.pause_every_shots;
    // Each pass is a cycle: it publishes one round of each feed whose turn it is.
    for (int64_t end = start + pace_.cycle_ns; busy && !stopped(); end += pace_.cycle_ns) {
        for (const auto &each : lines_) {
            Line &line = *each;
            if (line.volume == line.volumes() || (line.next_ns >= end && lines_.size() > 1)) continue;
            if (pace_.pause_every_shots && lines_.size() == 1 && line.round == 0 && line.volume >= next_pause) {
                next_pause = line.volume + pace_.pause_every_shots;
                pause(line);
            }
            if (!due(line)) {
                patient();
                continue;
            }
            for (bool counted = false; line.wire->reserve().empty(); counted = true) {
                if (!counted) line.tally.full++;
                drain_all();
                look();
                patient();
                if (stopped()) return;
            }
            publish(line);
            busy -= line.volume == line.volumes();
        }
    }
    while (outstanding_ && !stopped()) {
        drain_all();
        look();
        patient();
    }
    for (const auto &line : lines_) line->tally.lost = line->volume - line->tally.shots;
    ran_ns_ = looked_ns_ - start;
}

}  // namespace qdeck

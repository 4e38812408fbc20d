#include "check.h"
#include "controller.h"
#include "ring_transport.h"
#include "standin.h"

#include <bit>
#include <random>
#include <thread>

using namespace qdeck;

// Volumes of `rounds` rounds of 9 random measurements; the answers are their parities and `mark`.
static Feed feed_of(int64_t decoder, int64_t shots, int64_t laps, size_t rounds, uint64_t mark = 0) {
    std::mt19937_64 random(static_cast<uint64_t>(decoder) + 1);
    Feed feed;
    feed.decoder = decoder;
    feed.shots = shots;
    feed.laps = laps;
    feed.observables = 3;
    feed.round_bits.assign(rounds, 9);
    for (int64_t shot = 0; shot < shots; shot++) {
        int ones = 0;
        for (size_t round = 0; round < rounds; round++) {
            const uint64_t bits = random() & 0x1ff & random();
            ones += std::popcount(bits);
            feed.bits.push_back(static_cast<uint8_t>(bits));
            feed.bits.push_back(static_cast<uint8_t>(bits >> 8));
        }
        feed.expected.push_back(uint64_t(ones & 1) | mark << 1);
    }
    feed.actual = feed.expected;
    return feed;
}

struct Loop {
    Host host;
    Controller controller;
    Loop(const HostSettings &settings, const Pace &pace) : host(settings), controller(pace) {}
    int32_t add(int64_t decoder, int64_t shots, int64_t laps, size_t rounds, std::unique_ptr<Loaded> loaded,
                int64_t budget_ns, uint64_t mark = 0) {
        const RingFile rings = RingFile::create({256, 128, false}, {256, 128, false});
        Seating seating = seat_volumes(standin::plain(static_cast<int64_t>(9 * rounds)), 3, std::move(loaded));
        seating.decoder = decoder;
        seating.budget_ns = budget_ns;
        std::vector<Seating> seats;
        seats.push_back(std::move(seating));
        const int32_t place =
            host.add(std::make_unique<RingTransport>(rings), std::move(seats))[0];
        controller.add(feed_of(decoder, shots, laps, rounds, mark), rings.producer(Way::up), rings.consumer(Way::down));
        return place;
    }
};

static uint64_t all(const PatchLedger &page) {
    uint64_t sum = 0;
    for (const Counter &cause : page.misses) sum += cause;
    return sum;
}

static void every_answer_is_right(Dialect dialect, Policy policy) {
    Pace pace;
    pace.cycle_ns = 2'000;
    pace.dialect = dialect;
    pace.policy = policy;
    pace.warm_shots = 10;
    pace.pause_every_shots = 100;
    pace.pause_ns = 10'000;
    Loop loop({}, pace);
    for (int64_t patch = 0; patch < 3; patch++) loop.add(patch, 250, 2, 4, standin::load(0), 10'000);
    loop.host.start();
    loop.controller.run();
    loop.host.stop();
    for (size_t patch = 0; patch < 3; patch++) {
        const Tally &tally = loop.controller.tally(patch);
        const PatchLedger &page = loop.host.ledger().patch(static_cast<int32_t>(patch));
        CHECK(tally.shots == 500 && tally.differ == 0 && tally.logical_errors == 0);
        CHECK(tally.lost == 0 && tally.failed == 0 && tally.rounds == 2000);
        CHECK(tally.reaction.count == 490);
        CHECK(page.shots == 500 && page.rounds == 2000 && page.answers == 500 && page.lost_rounds == 0 && page.refused == 0);
        CHECK(page.reaction.count == 500);
        CHECK(all(page) == 500);  // each shot was in time or has one cause
    }
    CHECK(loop.controller.ran_ns() > 0);
}

// The time of a slow decoder is put on the decoder, or, as far as it would be faster another time, on the machine; which of
// a shot's parts is the largest depends on what the machine does besides (miss_test.cpp has the rule).
static void a_slow_decoder_is_named() {
    Pace pace;
    pace.cycle_ns = 500'000;
    pace.warm_shots = 0;
    std::atomic<int64_t> busy{300'000};
    Loop loop({}, pace);
    const int32_t place = loop.add(5, 20, 1, 2, standin::load(0, &busy), 200'000);
    loop.host.start();
    loop.controller.run();
    loop.host.stop();
    const PatchLedger &page = loop.host.ledger().patch(place);
    CHECK(page.misses[0] == 0 && all(page) == 20);
    for (size_t i = 0; i < 20; i++) {
        const MissRecord &record = loop.host.ledger().record(i);
        CHECK(record.shot == i && record.decode_ns + record.preempted_ns >= 300'000);
    }
    CHECK(loop.controller.tally(0).told_late == 20 && loop.controller.tally(0).differ == 0);
    CHECK(loop.host.ledger().head().missed >= 20);
}

// The decoder is fast again when it is tried once more: the time was not its own.
static void time_that_the_machine_took_is_not_the_decoders() {
    Pace pace;
    pace.cycle_ns = 200'000;
    pace.warm_shots = 0;
    struct Stalls final : Decoder {
        int finished = 0;
        void begin() noexcept override {}
        void add(std::span<const int32_t>) noexcept override {}
        Answer finish() noexcept override {
            if (finished++ == 0)  // as if another program had run here
                for (const int64_t until = now_ns() + 200'000'000; now_ns() < until;) pause_cpu();
            return {};
        }
    };
    auto loaded = std::make_unique<Loaded>();
    loaded->decoder = std::make_unique<Stalls>();
    Loop loop({}, pace);
    const int32_t place = loop.add(5, 4, 1, 2, std::move(loaded), 5'000'000);
    loop.host.start();
    loop.controller.run();
    loop.host.stop();
    const PatchLedger &page = loop.host.ledger().patch(place);
    CHECK(all(page) == 4);
    const MissRecord &record = loop.host.ledger().record(0);
    CHECK(record.shot == 0 && record.preempted_ns >= 100'000'000 && record.decode_ns < 100'000'000);
}

static void swaps_lose_nothing() {
    Pace pace;
    pace.cycle_ns = 1'000;
    std::atomic<int> living{0};
    Loop loop({}, pace);
    const int32_t place = loop.add(0, 400, 10, 3, standin::load(1, nullptr, &living), 10'000, 1);
    loop.host.start();
    std::atomic<bool> done{false};
    uint64_t offered = 0;
    std::thread swapper([&] {
        SwapSlot &slot = loop.host.slot(place);
        while (!done.load()) {
            offered = slot.offer(standin::load(1, nullptr, &living));
            while (slot.epoch() < offered && !done.load()) std::this_thread::yield();
            slot.collect();
        }
        slot.collect();
    });
    loop.controller.run();
    done.store(true);
    swapper.join();
    loop.host.stop();
    const Tally &tally = loop.controller.tally(0);
    CHECK(tally.shots == 4000 && tally.differ == 0 && tally.lost == 0 && tally.failed == 0 && tally.rounds == 12'000);
    CHECK(tally.epochs > 0 && offered > 0);
    CHECK(living.load() <= 2);  // the one in use and the one that was offered last
}

static void a_controller_asks_for_what_was_staged() {
    Pace pace;
    pace.swap_every_shots = 5;
    std::atomic<int> living{0};
    {
        Loop loop({}, pace);
        const int32_t place = loop.add(0, 100, 1, 3, standin::load(0, nullptr, &living), 10'000, 0);
        SwapSlot &slot = loop.host.slot(place);
        for (int i = 0; i < 18; i++) CHECK(slot.stage(standin::load(uint64_t(i) % 2 ? 0 : 1, nullptr, &living)));
        loop.host.start();
        loop.controller.run();
        loop.host.stop();
        const Tally &tally = loop.controller.tally(0);
        CHECK(tally.shots == 100 && tally.swaps == 18 && tally.epochs == 18 && tally.failed == 0);  // two found nothing
        // Asked for in volume 4, 9, ...: from the volume after it on, and not before.
        for (size_t shot = 0; shot < 100; shot++) {
            const size_t epoch = std::min<size_t>(shot / 5, 18);
            CHECK(tally.epoch[shot] == epoch && tally.corrections[shot] >> 1 == (epoch % 2 ? 1u : 0u));
        }
        CHECK(slot.collect() == 18 && living.load() == 1);
        for (uint64_t i = 0; i < SwapSlot::STAGE; i++) CHECK(slot.stage(standin::load(0, nullptr, &living)));
        CHECK(!slot.stage(standin::load(0, nullptr, &living)));
    }
    CHECK(living.load() == 0);
}

static void patches_come_and_go() {
    HostSettings settings;
    settings.patches = 2;
    Pace pace;
    pace.cycle_ns = 5'000;
    Loop loop(settings, pace);
    loop.host.start();
    loop.add(0, 50, 1, 2, standin::load(0), 1'000'000);
    const int32_t second = loop.add(1, 50, 1, 2, standin::load(0), 1'000'000);
    bool full = false;
    try {
        loop.add(2, 1, 1, 2, standin::load(0), 10'000);
    } catch (const std::runtime_error &) {
        full = true;
    }
    CHECK(full);
    loop.controller.run();
    loop.host.remove(second);
    CHECK(loop.host.ledger().patch(second).state == static_cast<uint64_t>(PatchState::gone));
    CHECK(loop.controller.tally(1).shots == 50);
    loop.host.stop();
}

static void a_host_that_naps() {
    HostSettings settings;
    settings.spin_ns = 1'000;
    settings.nap_ns = 100'000;
    settings.wake_early_ns = 10'000;
    Pace pace;
    pace.cycle_ns = 300'000;
    pace.nap_ns = 50'000;
    pace.warm_shots = 0;
    Loop loop(settings, pace);
    loop.add(0, 20, 1, 2, standin::load(0), 1'000'000);
    loop.host.start();
    loop.controller.run();
    loop.host.stop();
    CHECK(loop.controller.tally(0).shots == 20 && loop.controller.tally(0).differ == 0);
    CHECK(loop.host.ledger().head().asleep_ns > 0);
}

static void a_controller_without_a_host_gives_up() {
    Pace pace;
    pace.timeout_ns = 5'000'000;
    Loop loop({}, pace);
    loop.add(0, 10, 1, 2, standin::load(0), 10'000);
    bool told = false;
    try {
        loop.controller.run();
    } catch (const std::runtime_error &) {
        told = true;
    }
    CHECK(told);
}

static void a_nap_ends_before_the_next_frame() {
    const int64_t cycle = 1'000'000, early = 100'000, due = 50'000'000;
    CHECK(next_look_ns(due - cycle, due, cycle, early) == due - early);
    CHECK(next_look_ns(due - early, due, cycle, early) == due - early);      // awake: it may come any time
    CHECK(next_look_ns(due + early - 1, due, cycle, early) == due - early);  // a little late: still awake
    CHECK(next_look_ns(due + early, due, cycle, early) == due + cycle - early);
    CHECK(next_look_ns(due + cycle, due, cycle, early) == due + cycle - early);
    CHECK(next_look_ns(due + 7 * cycle + early, due, cycle, early) == due + 8 * cycle - early);
    CHECK(next_look_ns(due + 21 * cycle, due, cycle, early) == INT64_MAX);
    CHECK(next_look_ns(due, 0, cycle, early) == INT64_MAX);
}

int main() {
    a_nap_ends_before_the_next_frame();
    for (const Dialect dialect : {Dialect::push, Dialect::plain})
        for (const Policy policy : {Policy::wait, Policy::idle, Policy::defer}) every_answer_is_right(dialect, policy);
    a_slow_decoder_is_named();
    time_that_the_machine_took_is_not_the_decoders();
    swaps_lose_nothing();
    a_controller_asks_for_what_was_staged();
    patches_come_and_go();
    a_host_that_naps();
    a_controller_without_a_host_gives_up();
}

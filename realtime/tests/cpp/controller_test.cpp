// What the controller sends, looked at by a host that is written out here.
#include "check.h"
#include "controller.h"
#include "frame.h"

#include <stdexcept>
#include <thread>
#include <vector>

using namespace qdeck;

static Feed feed_of(int64_t shots) {
    Feed feed;
    feed.decoder = 9;
    feed.round_bits = {9, 3};
    feed.shots = shots;
    for (int64_t shot = 0; shot < shots; shot++)
        for (const uint8_t byte : {uint8_t(shot), uint8_t(1), uint8_t(5)}) feed.bits.push_back(byte);
    return feed;
}

// Answers everything that asks for an answer: corrections are the shot's number, refused ones are bad requests.
struct Clerk {
    Consumer up;
    Producer down;
    int64_t refuse = -1;  // this shot
    std::vector<Request> seen;
    std::vector<Enqueue> rounds;
    std::vector<uint8_t> first_bytes;
    explicit Clerk(const RingFile &rings) : up(rings.consumer(Way::up)), down(rings.producer(Way::down)) {}
    void run(size_t enqueues) {
        while (rounds.size() < enqueues || up.ready()) {
            bool there = false;
            const Bytes frame = up.peek(there);
            if (!there) {
                std::this_thread::yield();
                continue;
            }
            Request request;
            CHECK(parse(frame, request) == Fault::none);
            Enqueue enqueue;
            const bool outcomes = request.function == static_cast<uint32_t>(Function::enqueue_outcomes);
            if (outcomes || request.function == static_cast<uint32_t>(Function::enqueue_syndromes)) {
                CHECK(parse(request.payload, enqueue, outcomes));
                rounds.push_back(enqueue);
                first_bytes.push_back(enqueue.bits[0]);
            }
            seen.push_back(request);
            const auto shot = static_cast<uint8_t>(rounds.empty() ? 0 : rounds.back().counter >> 16);
            const bool corrections = (request.ask & ask::push) || request.function == static_cast<uint32_t>(Function::get_corrections);
            if (!(request.ask & ask::quiet) || corrections) {
                const Tell told{static_cast<uint8_t>(shot / 2), 0, 0};
                const bool refused = corrections && shot == refuse;
                down.publish(write_response(down.reserve(), refused ? Status::bad_request : Status::ok, request.request_id,
                                            request.ptp_ns, corrections && !refused ? Bytes(&shot, 1) : Bytes(), &told));
            }
            up.pop();
        }
    }
};

static void it_speaks_as_it_should(Dialect dialect) {
    const RingFile rings = RingFile::create({64, 128, false}, {64, 128, false});
    Pace pace;
    pace.dialect = dialect;
    pace.warm_shots = 1;
    Controller controller(pace);
    Feed feed = feed_of(6);
    feed.expected = {0, 1, 2, 3, 0, 5};
    feed.actual = {0, 0, 0, 3, 4, 5};
    feed.laps = 2;
    controller.add(feed, rings.producer(Way::up), rings.consumer(Way::down));
    Clerk clerk(rings);
    clerk.refuse = 5;
    std::thread host([&] { clerk.run(24); });
    controller.run();
    host.join();
    const Tally &tally = controller.tally(0);
    // Shots 6 to 11 are the second lap: answered as 6 to 11, which nobody expected.
    CHECK(tally.shots == 11 && tally.failed == 1 && tally.lost == 1 && tally.rounds == 24);
    CHECK(tally.differ == 1 + 6 && tally.logical_errors == 2 + 6);
    CHECK(tally.corrections[4] == 4 && tally.corrections[11] == 11);
    CHECK(tally.reaction_ns[5] == UINT32_MAX && tally.reaction_ns[4] != UINT32_MAX);
    CHECK(tally.reaction.count == 10);  // of twelve one warmed up and one was refused
    CHECK(tally.epochs == 5 && tally.epoch[4] == 2);
    CHECK(clerk.seen[0].function == static_cast<uint32_t>(Function::reset_decoder));
    for (size_t i = 0; i < clerk.rounds.size(); i++) {
        CHECK(clerk.rounds[i].decoder == 9 && clerk.rounds[i].counter == int64_t((i / 2) << 16 | i % 2));
        CHECK(clerk.rounds[i].syndromes == (i % 2 ? 3 : 9));
        CHECK(clerk.first_bytes[i] == (i % 2 ? 5 : i / 2 % 6));
    }
    CHECK(clerk.seen.size() == 1 + 24 + (dialect == Dialect::plain ? 12 : 0));
}

static void nonsense_is_refused() {
    const RingFile rings = RingFile::create({64, 128, false}, {64, 128, false});
    Controller controller(Pace{});
    for (int kind = 0; kind < 6; kind++) {
        Feed feed = feed_of(2);
        if (kind == 5) feed.round_bits = {9, 500}, feed.bits.assign(2 * 65, 0);  // too wide for the ring
        if (kind == 0) feed.round_bits.clear();
        if (kind == 1) feed.bits.pop_back();
        if (kind == 2) feed.observables = 65;
        if (kind == 3) feed.expected = {1};
        if (kind == 4) feed.laps = 0;
        bool refused = false;
        try {
            controller.add(feed, rings.producer(Way::up), rings.consumer(Way::down));
        } catch (const std::invalid_argument &) {
            refused = true;
        }
        CHECK(refused);
    }
}

static void outcomes_have_a_byte_each() {
    const RingFile rings = RingFile::create({64, 128, false}, {64, 128, false});
    Controller controller(Pace{});
    Feed feed;
    feed.round_bits = {2, 3};
    feed.shots = 1;
    feed.outcomes = true;
    feed.bits = {0, 2, 1, 2, 0};
    controller.add(feed, rings.producer(Way::up), rings.consumer(Way::down));
    Clerk clerk(rings);
    std::thread host([&] { clerk.run(2); });
    controller.run();
    host.join();
    CHECK(clerk.rounds.size() == 2 && clerk.rounds[1].syndromes == 3 && clerk.first_bytes[1] == 1);
    CHECK(clerk.seen[1].function == static_cast<uint32_t>(Function::enqueue_outcomes));
    CHECK(clerk.rounds[1].bits.size() == 3);
}

// As if the machine took all time between two looks at the clock: the rounds after it still come a cycle apart.
static void stalls_do_not_bunch_rounds() {
    const RingFile rings = RingFile::create({64, 128, false}, {64, 128, false});
    Pace pace;
    pace.gap_ns = 0;
    Controller controller(pace);
    controller.add(feed_of(40), rings.producer(Way::up), rings.consumer(Way::down));
    Clerk clerk(rings);
    std::thread host([&] { clerk.run(80); });
    controller.run();
    host.join();
    for (size_t i = 2; i < clerk.seen.size(); i++)
        CHECK(static_cast<int64_t>(clerk.seen[i].ptp_ns - clerk.seen[i - 1].ptp_ns) >= pace.cycle_ns);
}

// Over UDP, from a host that loses every fourth answer: those volumes are given up, all others are answered.
static void lost_answers_are_forgotten() {
    UdpTransport host({});
    Pace pace;
    pace.cycle_ns = 20'000;
    pace.warm_shots = 0;
    pace.forget_ns = 30'000'000;
    Controller controller(pace);
    controller.add(feed_of(12), std::make_unique<UdpWire>("127.0.0.1", host.port(), 256));
    std::atomic<bool> done{false};
    std::thread clerk([&] {
        int volumes = 0;
        while (!done.load()) {
            bool there = false;
            const Bytes frame = host.receive(there);
            if (!there) {
                std::this_thread::yield();
                continue;
            }
            Request request;
            CHECK(parse(frame, request) == Fault::none);
            const bool corrections = (request.ask & ask::push) != 0;
            if (!(request.ask & ask::quiet) || (corrections && ++volumes % 4)) {
                const uint8_t answer = static_cast<uint8_t>(volumes);
                host.send(write_response(host.reserve(), Status::ok, request.request_id, request.ptp_ns,
                                         corrections ? Bytes(&answer, 1) : Bytes(), nullptr));
            }
            host.release();
        }
    });
    controller.run();
    done.store(true);
    clerk.join();
    const Tally &tally = controller.tally(0);
    CHECK(tally.shots + tally.lost == 12 && tally.lost >= 3 && tally.rounds == 24 && tally.failed == 0);
    for (size_t shot = 0; shot < 12; shot++)
        if (tally.reaction_ns[shot] != UINT32_MAX) CHECK(tally.corrections[shot] == shot + 1 && shot % 4 != 3);
}

int main() {
    lost_answers_are_forgotten();
    stalls_do_not_bunch_rounds();
    outcomes_have_a_byte_each();
    it_speaks_as_it_should(Dialect::push);
    it_speaks_as_it_should(Dialect::plain);
    nonsense_is_refused();
}

#include "check.h"
#include "clock.h"
#include "link.h"
#include "ring_transport.h"
#include "serve.h"
#include "udp.h"

#include <stdexcept>
#include <system_error>
#include <thread>

using namespace link_test;

constexpr int64_t SECOND = 1'000'000'000;

static std::shared_ptr<const Detectors> code() {
    return std::make_shared<Detectors>(16, std::vector<std::vector<int64_t>>{{0}, {1}, {2, 7}, {15}});
}

// A datagram is a slot: short and full ones are taken, answers have the length that was asked for.
static void datagrams() {
    Recorder decoder(3);
    VolumePatch patch(code(), 3, decoder);
    Dispatcher dispatcher;
    dispatcher.add(0, patch);
    UdpTransport host({.stride = 128});
    CHECK(host.port() != 0 && host.pollable() >= 0);
    UdpClient brief("127.0.0.1", host.port(), 128), full("127.0.0.1", host.port(), 128, true), large("127.0.0.1", host.port(), 256);
    bool there = true;
    CHECK(host.receive(there).empty() && !there && !host.wait(0, 1000));
    uint8_t frame[256] = {};
    const auto answer = [&](UdpClient &client) -> Bytes {
        CHECK(host.wait(0, SECOND));
        const Outcome outcome = dispatcher.handle(host.receive(there), host.reserve());
        CHECK(there && outcome.bytes && host.send(outcome.bytes));
        host.release();
        return client.receive(1000, SECOND);
    };
    Response response;
    CHECK(brief.send({frame, write_reset(frame, 5, 6, 0)}));
    Bytes got = answer(brief);
    CHECK(got.size() == 24 && parse(got, response) == Fault::none && response.request_id == 5 && response.ptp_ns == 6);
    CHECK(full.send({frame, write_get(frame, 7, 0, {0, 3, false})}));
    got = answer(full);
    CHECK(got.size() == 128 && parse(got, response) == Fault::none && response.status == Status::not_ready);
    for (size_t i = 24; i < 128; i++)
        CHECK(got[i] == 0);
    // Of the length of the stride without being padded; too long; too short to be a frame; nothing at all.
    CHECK(large.send(Bytes(frame, 128)) && answer(large).size() == 128);
    CHECK(large.send(Bytes(frame, 100)) && answer(large).size() == 100);  // as padded as the request
    CHECK(large.send(Bytes(frame, 129)) && large.send(Bytes(frame, 256)) && brief.send(Bytes(frame, 128)));
    CHECK(answer(brief).size() == 128 && host.too_long() == 2);
    CHECK(!brief.send(Bytes(frame, 129)));
    CHECK(brief.send({}) && host.wait(0, SECOND) && host.receive(there).empty() && there);
    host.release();
    CHECK(host.received() == 6 && host.unsent() == 0);
    CHECK(brief.receive(0, 1000).empty());
}

static void settings() {
    const auto refused = [](auto call) {
        try {
            call();
        } catch (const std::invalid_argument &) {
            return 1;
        } catch (const std::system_error &) {
            return 2;
        }
        return 0;
    };
    UdpTransport host({});
    CHECK(refused([&] { UdpTransport({.port = host.port()}); }) == 2);
    CHECK(refused([&] { UdpTransport({.stride = 32}); }) == 1 && refused([&] { UdpTransport({.stride = 70000}); }) == 1);
    CHECK(refused([&] { UdpTransport({.host = "not a host"}); }) == 1 && refused([&] { UdpClient("", 1, 63); }) == 1);
    UdpTransport always({.padding = Padding::always}), never({.padding = Padding::never});
    uint8_t frame[64];
    bool there = false;
    for (UdpTransport *each : {&always, &never}) {
        UdpClient client("127.0.0.1", each->port(), 256, each == &never);
        CHECK(client.send({frame, write_reset(frame, 5, 6, 0)}) && each->wait(0, SECOND));
        each->receive(there);
        CHECK(each->send(25) && client.receive(0, SECOND).size() == (each == &always ? 256 : 25));
    }
}

// A server with a ring and two endpoints, each used by a client of its own: volumes of four rounds in one datagram.
static void server() {
    Recorder decoders[3]{Recorder(3), Recorder(3), Recorder(3)};
    VolumePatch a(code(), 3, decoders[0]), b(code(), 3, decoders[1]), c(code(), 3, decoders[2]);
    Dispatcher dispatcher;
    dispatcher.add(0, a);
    dispatcher.add(1, b);
    dispatcher.add(7, c);
    UdpTransport first({.stride = 512}), second({});
    const RingFile file = RingFile::create({8, 128, true}, {8, 128, true});
    RingTransport ring(file);
    Server host(dispatcher);
    CHECK(host.add(first) == 0 && host.add(second) == 1 && host.add(ring) == 2);
    std::thread thread([&] {
        while (!host.stopped())
            host.run(SECOND, 20'000);
    });

    const auto volume = [](int64_t decoder, int64_t shot, uint8_t (&frames)[512]) {
        size_t used = 0;
        for (int64_t round = 0; round < 4; round++) {
            const auto bits = static_cast<uint8_t>(shot >> round * 4 & 0xf);
            used += write_enqueue(Room(frames).subspan(used), static_cast<uint32_t>(round), 0,
                                  {decoder, shot << 16 | round, 0, 4, {&bits, 1}},
                                  ask::ordered | (round == 3 ? ask::push : ask::quiet));
        }
        return used;
    };
    const auto expected = [](int64_t shot) {
        const auto bit = [&](int i) { return shot >> i & 1; };
        return (bit(0) | bit(1) << 1 | (bit(2) ^ bit(7)) << 2) ^ bit(15);
    };
    UdpClient batches("127.0.0.1", first.port(), 512), singles("127.0.0.1", second.port());
    Producer up = file.producer(Way::up);
    Consumer down = file.consumer(Way::down);
    uint8_t frames[512], frame[512];
    Response response, inner;
    const int64_t started = now_ns();
    for (int64_t shot = 0; shot < 300; shot++) {
        const int64_t pattern = shot * 211 & 0xffff;
        size_t bytes = volume(0, pattern, frames);
        bytes = write_request(frame, static_cast<uint32_t>(Function::batch), 1, 0, Bytes(frames, bytes));
        CHECK(batches.send(Bytes(frame, bytes)));
        bytes = volume(7, pattern, frames);
        Batch rounds(Bytes(frames, bytes));
        for (Bytes each; rounds.next(each);)
            while (!up.push(each)) {}
        bytes = volume(1, pattern, frames);
        Batch again(Bytes(frames, bytes));
        for (Bytes each; again.next(each);)
            CHECK(singles.send(each));
        // Counters of patterns do not grow: start anew.
        bool there = false;
        CHECK(down.wait(1000, 10 * SECOND) && parse(down.peek(there), response) == Fault::none && response.result.size() == 1);
        CHECK(response.result[0] == expected(pattern));
        down.pop();
        CHECK(parse(singles.receive(1000, 10 * SECOND), response) == Fault::none && response.result.size() == 1);
        CHECK(response.status == Status::ok && response.result[0] == expected(pattern));
        CHECK(parse(batches.receive(1000, 10 * SECOND), response) == Fault::none && response.status == Status::ok);
        CHECK(parse(response.result, inner) == Fault::none && inner.result[0] == expected(pattern));
        for (const int64_t decoder : {0, 1, 7}) {
            const size_t reset = write_reset(frame, 1, 0, decoder, ask::quiet);
            if (decoder == 7)
                CHECK(up.push({frame, reset}) && down.wait(1000, 10 * SECOND) && (down.pop(), true));
            else
                CHECK((decoder ? singles : batches).send({frame, reset}) &&
                      !(decoder ? singles : batches).receive(1000, 10 * SECOND).empty());
        }
    }
    host.stop();
    thread.join();
    CHECK(up.peer_beat_ns() > started && down.peer_beat_ns() > started);
    CHECK(host.dispatched(0) == 600 && host.dispatched(1) == 1500 && host.dispatched(2) == 1500);
}

int main() {
    datagrams();
    settings();
    server();
}

#include "check.h"
#include "flag_ring.h"
#include "link.h"
#include "serve.h"

#include <memory>
#include <stdexcept>
#include <thread>

using namespace link_test;

struct Memory {
    std::unique_ptr<std::atomic<uint64_t>[]> rx_flags, tx_flags;
    std::vector<uint64_t> rx, tx;
    FlagRing ring;
    Memory(uint32_t slots, uint32_t stride)
        : rx_flags(new std::atomic<uint64_t>[slots]()), tx_flags(new std::atomic<uint64_t>[slots]()),
          rx(slots * stride / 8), tx(slots * stride / 8),
          ring{rx_flags.get(), reinterpret_cast<uint8_t *>(rx.data()), tx_flags.get(),
               reinterpret_cast<uint8_t *>(tx.data()), slots, stride} {}
};

static void slots() {
    Memory memory(4, 64);
    FlagRingTransport host(memory.ring);
    FlagRingClient client(memory.ring);
    uint8_t frame[64];
    bool there = true;
    uint64_t error = 0;
    CHECK(host.receive(there).empty() && !there && !host.wait(0, 1000) && client.peek(error).empty() && !client.skip());
    for (uint32_t i = 0; i < 4; i++)
        CHECK(client.send({frame, write_reset(frame, i, 0, 7)}));
    CHECK(!client.send({frame, 32}) && client.outstanding() == 4 && memory.rx_flags[3] == memory.ring.rx_address(3));
    CHECK(host.wait(0, 0));
    for (uint32_t i = 0; i < 4; i++) {
        Request request;
        CHECK(parse(host.receive(there), request) == Fault::none && there && request.request_id == i);
        if (i != 2) {  // the third gets no answer
            const size_t bytes = write_response(host.reserve(), Status::ok, i, 0, {});
            CHECK(host.send(bytes));
        }
        host.release();
        CHECK(memory.rx_flags[i] == 0);
    }
    CHECK(!client.send({frame, 32}));  // its answer was not read
    for (uint32_t i = 0; i < 4; i++) {
        Response response;
        if (i == 2) {
            CHECK(client.peek(error).empty() && error == 0 && client.skip());
            continue;
        }
        const Bytes answer = client.peek(error);
        CHECK(answer.size() == 64 && parse(answer, response) == Fault::none && response.request_id == i && !client.skip());
        client.pop();
    }
    CHECK(client.outstanding() == 0 && client.send({frame, 32}) && !client.send({frame, 65}));
    memory.tx_flags[0] = FlagRing::FAILED | 5;
    CHECK(client.peek(error).empty() && error == (FlagRing::FAILED | 5));
    // An address that is not the slot's is not followed.
    memory.rx_flags[0] = 0x1234;
    CHECK(host.receive(there).empty() && there && host.strange() == 1);
    FlagRing bad = memory.ring;
    bad.stride = 60;
    bool refused = false;
    try {
        FlagRingTransport transport(bad);
    } catch (const std::invalid_argument &) {
        refused = true;
    }
    CHECK(refused);
}

// Plain CUDA-Q frames: a volume of four rounds, then its corrections, over eight slots.
static void conversation() {
    Memory memory(8, 256);
    Recorder decoder(3);
    VolumePatch patch(std::make_shared<Detectors>(16, std::vector<std::vector<int64_t>>{{0}, {1}, {2, 7}, {15}}), 3, decoder);
    Dispatcher dispatcher;
    dispatcher.add(0, patch);
    FlagRingTransport host(memory.ring);
    Server server(dispatcher);
    server.add(host);
    std::thread thread([&] {
        while (!server.stopped())
            server.run(1'000'000'000, 0);
    });
    FlagRingClient client(memory.ring);
    uint8_t frame[256];
    uint32_t sent = 0, got = 0;
    uint64_t error = 0;
    for (int64_t shot = 0; shot < 500; shot++) {
        const int64_t pattern = shot * 40503 & 0xffff;
        for (int64_t round = 0; round < 5; round++) {
            const auto bits = static_cast<uint8_t>(pattern >> round * 4 & 0xf);
            const size_t bytes = round < 4 ? write_enqueue(frame, sent, 9, {0, shot << 16 | round, 0, 4, {&bits, 1}})
                                           : write_get(frame, sent, 9, {0, 3, false});
            CHECK(client.send({frame, bytes}));
            sent++;
        }
        while (got < sent) {
            const Bytes answer = client.peek(error);
            if (answer.empty()) {
                std::this_thread::yield();
                continue;
            }
            Response response;
            CHECK(parse(answer, response) == Fault::none && response.request_id == got && response.status == Status::ok);
            const auto bit = [&](int i) { return pattern >> i & 1; };
            if (got % 5 == 4)
                CHECK(response.result[0] == ((bit(0) | bit(1) << 1 | (bit(2) ^ bit(7)) << 2) ^ bit(15)));
            client.pop();
            got++;
        }
    }
    server.stop();
    thread.join();
}

int main() {
    slots();
    conversation();
}

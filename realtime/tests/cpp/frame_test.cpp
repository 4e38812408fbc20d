#include "check.h"
#include "frame.h"

#include <cstring>
#include <string>
#include <vector>

using namespace qdeck;

static std::vector<uint8_t> unhex(std::string_view text) {
    std::vector<uint8_t> bytes;
    std::string digits;
    for (const char letter : text)
        if (letter != '|')
            digits += letter;
    for (size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes.push_back(static_cast<uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return bytes;
}

static bool same(Bytes a, Bytes b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0; }

static void ids() {
    CHECK(fnv1a("enqueue_syndromes") == 0x7ED8BE82);
    CHECK(fnv1a("get_corrections") == 0x882D5BA1);
    CHECK(fnv1a("reset_decoder") == 0x977A59CF);
    CHECK(fnv1a("qdeck_swap_decoder") == 0x40E6F132);
    CHECK(fnv1a("qdeck_heartbeat") == 0xFDCE9692);
    CHECK(fnv1a("qdeck_stats") == 0xE51F2A65);
}

// The vectors of the protocol's description.
static void golden() {
    const auto enqueue = unhex("52515543|82bed87e|22000000|05000000|0000000000000000|0000000000000000|0500000000000000|"
                               "0000000000000000|0900000000000000|0d01");
    const auto ack = unhex("53515543|00000000|00000000|05000000|0000000000000000");
    const auto get = unhex("52515543|a15b2d88|11000000|06000000|0000000000000000|0000000000000000|0100000000000000|00");
    const auto result = unhex("53515543|00000000|01000000|06000000|0000000000000000|01");
    const auto reset = unhex("52515543|cf597a97|08000000|07000000|0000000000000000|0000000000000000");
    CHECK(enqueue.size() == 58 && get.size() == 41 && reset.size() == 32);

    uint8_t out[64];
    const uint8_t bits[] = {0x0d, 0xff};  // the seven bits beyond the ninth must not get out
    CHECK(write_enqueue(out, 5, 0, {0, 5, 0, 9, bits}) == 58 && same(Bytes(out, 58), enqueue));
    CHECK(write_get(out, 6, 0, {0, 1, false}) == 41 && same(Bytes(out, 41), get));
    CHECK(write_reset(out, 7, 0, 0) == 32 && same(Bytes(out, 32), reset));
    CHECK(write_response(out, Status::ok, 5, 0, {}) == 24 && same(Bytes(out, 24), ack));
    const uint8_t one[] = {1};
    CHECK(write_response(out, Status::ok, 6, 0, one) == 25 && same(Bytes(out, 25), result));

    Request request;
    CHECK(parse(Bytes(enqueue), request) == Fault::none);
    CHECK(request.function == 0x7ED8BE82 && request.request_id == 5 && request.ptp_ns == 0 && request.ask == 0);
    CHECK(request.bytes == 58);
    Enqueue round;
    CHECK(parse(request.payload, round) && round.decoder == 0 && round.counter == 5 && round.mapping == 0);
    CHECK(round.syndromes == 9 && round.bits.size() == 2 && round.bits[0] == 0x0d && round.bits[1] == 1);
    Get wanted;
    CHECK(parse(Bytes(get), request) == Fault::none && parse(request.payload, wanted));
    CHECK(wanted.decoder == 0 && wanted.return_size == 1 && !wanted.reset);
    int64_t decoder = -1;
    CHECK(parse(Bytes(reset), request) == Fault::none && decoder_of(request.payload, decoder) && decoder == 0);
    Response response;
    CHECK(parse(Bytes(result), response) == Fault::none && response.status == Status::ok && !response.told);
    CHECK(response.request_id == 6 && response.result.size() == 1 && response.result[0] == 1);
}

static void lengths() {
    uint8_t out[128] = {};
    const uint8_t bits[] = {0x55, 0x55, 0x55};
    const size_t bytes = write_enqueue(out, 1, 2, {3, 4, 0, 20, bits}, ask::push);
    CHECK(bytes == 24 + 32 + 3 + 8);
    Request request;
    for (size_t cut = 0; cut < bytes; cut++) {
        const Fault fault = parse(Bytes(out, cut), request);
        CHECK(fault == (cut < 24 ? Fault::truncated : cut < 59 ? Fault::length : Fault::none));
        if (fault == Fault::none)
            CHECK(request.ask == 0);  // without its extension it is a plain frame
    }
    CHECK(parse(Bytes(out), request) == Fault::none && request.ask == ask::push && request.bytes == bytes);
    for (const uint32_t length : {36u, 105u, 0x7fffffffu, 0xffffffe8u, 0xffffffffu}) {
        std::memcpy(out + 8, &length, 4);
        CHECK((parse(Bytes(out), request) == Fault::none) == (length <= 104));
    }
    out[0] = 'S';
    CHECK(parse(Bytes(out), request) == Fault::magic);

    // What the numbers of an enqueue may be.
    uint8_t payload[64] = {};
    Enqueue round;
    for (const auto &[count, good] : std::vector<std::pair<int64_t, bool>>{
             {0, true}, {256, true}, {257, false}, {-1, false}, {MOST_SYNDROMES + 1, false}, {INT64_MAX, false},
             {INT64_MIN, false}}) {
        std::memcpy(payload + 24, &count, 8);
        CHECK(parse(Bytes(payload), round) == good);
    }
    CHECK(!parse(Bytes(payload, 31), round));
    const int64_t many = 33;
    std::memcpy(payload + 24, &many, 8);
    CHECK(parse(Bytes(payload), round) && !parse(Bytes(payload), round, true));

    // No room, nothing written.
    uint8_t small[66];
    std::memset(small, 7, sizeof small);
    for (size_t room = 0; room <= 66; room++)
        CHECK(write_enqueue(Room(small, room), 1, 2, {3, 4, 0, 20, bits}, ask::push) == 0);
    CHECK(write_enqueue(small, 1, 2, {3, 4, 0, 25, bits}) == 0);  // less bits than promised
    CHECK(write_response(Room(small, 23), Status::ok, 0, 0, {}) == 0);
    for (const uint8_t byte : small)
        CHECK(byte == 7);
}

static void extensions() {
    uint8_t out[64] = {};
    const uint8_t result[] = {9};
    Tell tell{250, tell::heuristic, 0};
    CHECK(write_response(out, Status::not_ready, 8, 77, result, &tell) == 33);
    Response response;
    CHECK(parse(Bytes(out), response) == Fault::none && response.told && response.tell.epoch == 250);
    CHECK(response.status == Status::not_ready && response.ptp_ns == 77 && response.bytes == 33);
    CHECK(mark_late(out, 1'500));
    CHECK(parse(Bytes(out), response) == Fault::none && response.tell.late_us == 2);
    CHECK(response.tell.flags == (tell::heuristic | tell::late));
    CHECK(mark_late(out, 1'000'000'000'000) && parse(Bytes(out), response) == Fault::none);
    CHECK(response.tell.late_us == 65535);
    CHECK(mark_late(out, 0) && parse(Bytes(out), response) == Fault::none);
    CHECK(response.tell.late_us == 0 && response.tell.flags == tell::heuristic);
    CHECK(mark_epoch(out, 259) && parse(Bytes(out), response) == Fault::none && response.tell.epoch == 3);
    CHECK(write_response(out, Status::ok, 8, 77, {}) == 24 && !mark_epoch(Room(out, 24), 1) && !mark_late(Room(out, 24), 1));
}

static void batches() {
    uint8_t frames[256];
    size_t used = 0;
    const uint8_t bits[] = {1};
    for (int i = 0; i < 3; i++)
        used += write_enqueue(Room(frames).subspan(used), static_cast<uint32_t>(i), 0, {0, i, 0, 8, bits},
                              i == 1 ? ask::tell : 0);
    uint8_t out[300];
    const size_t bytes = write_request(out, static_cast<uint32_t>(Function::batch), 9, 0, Bytes(frames, used));
    CHECK(bytes == 24 + 3 * 57 + 8);
    Request request;
    CHECK(parse(Bytes(out, bytes), request) == Fault::none && request.request_id == 9);
    Bytes frame;
    Batch batch(request.payload);
    for (uint32_t i = 0; i < 3; i++) {
        Request inner;
        CHECK(batch.next(frame) && parse(frame, inner) == Fault::none && inner.request_id == i);
        CHECK(inner.ask == (i == 1 ? ask::tell : 0));
    }
    CHECK(!batch.next(frame) && batch.fault() == Fault::none);
    Batch cut(request.payload.first(used - 1));
    CHECK(cut.next(frame) && cut.next(frame) && !cut.next(frame) && cut.fault() == Fault::length && !cut.next(frame));
}

int main() {
    ids();
    golden();
    lengths();
    extensions();
    batches();
}

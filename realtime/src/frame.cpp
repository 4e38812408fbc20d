#include "frame.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace qdeck {
namespace {

static_assert(std::endian::native == std::endian::little, "the frames are copied as they lie in memory");

constexpr uint32_t EXTENSION_MAGIC = 0x31584451;  // "QDX1" in memory
constexpr size_t ENQUEUE_BYTES = 32;
constexpr size_t GET_BYTES = 17;

template <class Number> Number load(const uint8_t *at) noexcept {
    Number number;
    std::memcpy(&number, at, sizeof number);
    return number;
}

template <class Number> uint8_t *store(uint8_t *at, Number number) noexcept {
    std::memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

uint8_t *store_request(uint8_t *at, uint32_t function, size_t payload, uint32_t request_id, uint64_t ptp_ns) noexcept {
    at = store(at, REQUEST_MAGIC);
    at = store(at, function);
    at = store(at, static_cast<uint32_t>(payload));
    at = store(at, request_id);
    return store(at, ptp_ns);
}

uint8_t *store_ask(uint8_t *at, uint8_t flags) noexcept {
    at = store(at, EXTENSION_MAGIC);
    return store(at, static_cast<uint32_t>(flags));
}

// The bytes of a frame, or 0 if there is no room.
size_t needed(Room out, size_t payload, bool extended) noexcept {
    const size_t most = std::min<size_t>(out.size(), UINT32_MAX);
    const size_t fixed = HEADER_BYTES + (extended ? EXTENSION_BYTES : 0);
    return fixed <= most && payload <= most - fixed ? fixed + payload : 0;
}

bool extended(Bytes frame, size_t end) noexcept {
    return frame.size() - end >= EXTENSION_BYTES && load<uint32_t>(frame.data() + end) == EXTENSION_MAGIC;
}

size_t bytes_of(int64_t syndromes, bool outcomes) noexcept {
    return static_cast<size_t>(outcomes ? syndromes : (syndromes + 7) / 8);
}

}  // namespace

Fault parse(Bytes frame, Request &request) noexcept {
    if (frame.size() < HEADER_BYTES)
        return Fault::truncated;
    const uint8_t *at = frame.data();
    if (load<uint32_t>(at) != REQUEST_MAGIC)
        return Fault::magic;
    const size_t length = load<uint32_t>(at + 8);
    if (length > frame.size() - HEADER_BYTES)
        return Fault::length;
    request.function = load<uint32_t>(at + 4);
    request.request_id = load<uint32_t>(at + 12);
    request.ptp_ns = load<uint64_t>(at + 16);
    request.payload = frame.subspan(HEADER_BYTES, length);
    request.bytes = HEADER_BYTES + length;
    request.ask = 0;
    if (extended(frame, request.bytes)) {
        request.ask = at[request.bytes + 4];
        request.bytes += EXTENSION_BYTES;
    }
    return Fault::none;
}

Fault parse(Bytes frame, Response &response) noexcept {
    if (frame.size() < HEADER_BYTES)
        return Fault::truncated;
    const uint8_t *at = frame.data();
    if (load<uint32_t>(at) != RESPONSE_MAGIC)
        return Fault::magic;
    const size_t length = load<uint32_t>(at + 8);
    if (length > frame.size() - HEADER_BYTES)
        return Fault::length;
    response.status = static_cast<Status>(load<int32_t>(at + 4));
    response.request_id = load<uint32_t>(at + 12);
    response.ptp_ns = load<uint64_t>(at + 16);
    response.result = frame.subspan(HEADER_BYTES, length);
    response.bytes = HEADER_BYTES + length;
    response.tell = Tell{};
    response.told = extended(frame, response.bytes);
    if (response.told) {
        at += response.bytes;
        response.tell = Tell{at[4], at[5], load<uint16_t>(at + 6)};
        response.bytes += EXTENSION_BYTES;
    }
    return Fault::none;
}

bool decoder_of(Bytes payload, int64_t &decoder) noexcept {
    if (payload.size() < sizeof decoder)
        return false;
    decoder = load<int64_t>(payload.data());
    return true;
}

bool parse(Bytes payload, Enqueue &enqueue, bool outcomes) noexcept {
    if (payload.size() < ENQUEUE_BYTES)
        return false;
    const uint8_t *at = payload.data();
    enqueue.decoder = load<int64_t>(at);
    enqueue.counter = load<int64_t>(at + 8);
    enqueue.mapping = load<int64_t>(at + 16);
    enqueue.syndromes = load<int64_t>(at + 24);
    if (enqueue.syndromes < 0 || enqueue.syndromes > MOST_SYNDROMES)
        return false;
    const size_t bytes = bytes_of(enqueue.syndromes, outcomes);
    if (bytes > payload.size() - ENQUEUE_BYTES)
        return false;
    enqueue.bits = payload.subspan(ENQUEUE_BYTES, bytes);
    return true;
}

bool parse(Bytes payload, Get &get) noexcept {
    if (payload.size() < GET_BYTES)
        return false;
    const uint8_t *at = payload.data();
    get.decoder = load<int64_t>(at);
    get.return_size = load<int64_t>(at + 8);
    get.reset = at[16] != 0;
    return true;
}

size_t write_request(Room out, uint32_t function, uint32_t request_id, uint64_t ptp_ns, Bytes payload,
                     uint8_t flags) noexcept {
    const size_t bytes = needed(out, payload.size(), flags != 0);
    if (!bytes)
        return 0;
    uint8_t *at = out.data();
    if (!payload.empty())
        std::memmove(at + HEADER_BYTES, payload.data(), payload.size());
    at = store_request(at, function, payload.size(), request_id, ptp_ns) + payload.size();
    if (flags)
        store_ask(at, flags);
    return bytes;
}

size_t write_enqueue(Room out, uint32_t request_id, uint64_t ptp_ns, const Enqueue &enqueue, uint8_t flags,
                     bool outcomes) noexcept {
    if (enqueue.syndromes < 0 || enqueue.syndromes > MOST_SYNDROMES)
        return 0;
    const size_t bits = bytes_of(enqueue.syndromes, outcomes);
    const size_t bytes = needed(out, ENQUEUE_BYTES + bits, flags != 0);
    if (!bytes || enqueue.bits.size() < bits)
        return 0;
    const Function function = outcomes ? Function::enqueue_outcomes : Function::enqueue_syndromes;
    uint8_t *at = store_request(out.data(), static_cast<uint32_t>(function), ENQUEUE_BYTES + bits, request_id, ptp_ns);
    at = store(at, enqueue.decoder);
    at = store(at, enqueue.counter);
    at = store(at, enqueue.mapping);
    at = store(at, enqueue.syndromes);
    if (bits)
        std::memcpy(at, enqueue.bits.data(), bits);
    at += bits;
    if (!outcomes && enqueue.syndromes % 8)
        at[-1] &= static_cast<uint8_t>((1 << (enqueue.syndromes % 8)) - 1);  // unused bits are zero
    if (flags)
        store_ask(at, flags);
    return bytes;
}

size_t write_get(Room out, uint32_t request_id, uint64_t ptp_ns, const Get &get, uint8_t flags) noexcept {
    uint8_t payload[GET_BYTES];
    store(store(store(payload, get.decoder), get.return_size), static_cast<uint8_t>(get.reset));
    return write_request(out, static_cast<uint32_t>(Function::get_corrections), request_id, ptp_ns, payload, flags);
}

size_t write_reset(Room out, uint32_t request_id, uint64_t ptp_ns, int64_t decoder, uint8_t flags) noexcept {
    uint8_t payload[sizeof decoder];
    store(payload, decoder);
    return write_request(out, static_cast<uint32_t>(Function::reset_decoder), request_id, ptp_ns, payload, flags);
}

size_t write_response(Room out, Status status, uint32_t request_id, uint64_t ptp_ns, Bytes result,
                      const Tell *tell) noexcept {
    const size_t bytes = needed(out, result.size(), tell != nullptr);
    if (!bytes)
        return 0;
    uint8_t *at = out.data();
    if (!result.empty() && result.data() != at + HEADER_BYTES)
        std::memmove(at + HEADER_BYTES, result.data(), result.size());
    at = store(at, RESPONSE_MAGIC);
    at = store(at, static_cast<int32_t>(status));
    at = store(at, static_cast<uint32_t>(result.size()));
    at = store(at, request_id);
    at = store(at, ptp_ns) + result.size();
    if (tell) {
        at = store(at, EXTENSION_MAGIC);
        at = store(at, tell->epoch);
        at = store(at, tell->flags);
        store(at, tell->late_us);
    }
    return bytes;
}

bool mark_late(Room response, int64_t late_ns) noexcept {
    Response parsed;
    if (parse(Bytes(response), parsed) != Fault::none || !parsed.told)
        return false;
    uint8_t *at = response.data() + parsed.bytes - EXTENSION_BYTES;
    const int64_t late_us = std::clamp<int64_t>((late_ns + 999) / 1000, 0, UINT16_MAX);
    at[5] = static_cast<uint8_t>(late_ns > 0 ? at[5] | tell::late : at[5] & ~tell::late);
    store(at + 6, static_cast<uint16_t>(late_ns > 0 ? late_us : 0));
    return true;
}

bool mark_epoch(Room response, uint64_t epoch) noexcept {
    Response parsed;
    if (parse(Bytes(response), parsed) != Fault::none || !parsed.told)
        return false;
    response[parsed.bytes - EXTENSION_BYTES + 4] = static_cast<uint8_t>(epoch);
    return true;
}

bool Batch::next(Bytes &frame) noexcept {
    if (rest_.empty() || fault_ != Fault::none)
        return false;
    Request request;
    fault_ = parse(rest_, request);
    if (fault_ != Fault::none)
        return false;
    frame = rest_.first(request.bytes);
    rest_ = rest_.subspan(request.bytes);
    return true;
}

}  // namespace qdeck

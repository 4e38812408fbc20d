// The frames of cudaq-realtime, byte for byte: what a controller and the host say to each other.
//
// A request is 24 bytes of header and `arg_len` bytes of payload, a response 24 bytes and `result_len` bytes; whatever
// follows in the slot or datagram is padding. Integers are little-endian and packed; bit strings are least significant bit
// first, ceil(n / 8) bytes. Source: NVIDIA cudaqx `decoder_rpc_wire_format.h` and cuda-quantum's protocol document (read at
// cudaqx ef991e97); marked experimental there, so `tests/cpp/frame_test.cpp` holds the bytes that we mean.
//
// Our extension sits in the padding, where a plain CUDA-Q client neither writes nor reads: eight bytes right behind the
// payload of a request (`Ask`), and, only if that request asked for it, eight bytes behind the result of its response
// (`Tell`). Several frames travel together as the payload of one `qdeck_batch` request.
//
// Parsing never trusts a length, never allocates and never throws. Spans that come out point into the span that went in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace qdeck {

using Bytes = std::span<const uint8_t>;
using Room = std::span<uint8_t>;

constexpr uint32_t fnv1a(std::string_view name) noexcept {
    uint32_t hash = 2166136261u;
    for (const char letter : name)
        hash = (hash ^ static_cast<uint8_t>(letter)) * 16777619u;
    return hash;
}

inline constexpr uint32_t REQUEST_MAGIC = 0x43555152;   // "RQUC" in memory
inline constexpr uint32_t RESPONSE_MAGIC = 0x43555153;  // "SQUC" in memory
inline constexpr size_t HEADER_BYTES = 24;
inline constexpr size_t EXTENSION_BYTES = 8;
inline constexpr int64_t MOST_SYNDROMES = int64_t{1} << 20;  // bits in one enqueue

enum class Function : uint32_t {
    enqueue_syndromes = fnv1a("enqueue_syndromes"),
    get_corrections = fnv1a("get_corrections"),
    reset_decoder = fnv1a("reset_decoder"),
    // Ours.
    enqueue_outcomes = fnv1a("qdeck_enqueue_outcomes"),  // like enqueue_syndromes with one byte each: 0, 1, 2 = lost
    swap_decoder = fnv1a("qdeck_swap_decoder"),          // i64 decoder_id, i64 version: answered by the host's swap
    heartbeat = fnv1a("qdeck_heartbeat"),                // i64 decoder_id; the result is the payload
    stats = fnv1a("qdeck_stats"),                        // i64 decoder_id; the result is `PatchStats`
    batch = fnv1a("qdeck_batch"),                        // frames, back to back; the result is their responses
};

enum class Status : int32_t {
    ok = 0,
    invalid_decoder = 1,
    bad_request = 2,
    internal_error = 3,
    not_ready = 4,
    busy = 5,
    syndromes_dropped = 6,
};

// Flags of a request's extension.
namespace ask {
inline constexpr uint8_t tell = 1;     // add the extension to the response
inline constexpr uint8_t push = 2;     // an enqueue that completes a volume is answered with the corrections
inline constexpr uint8_t quiet = 4;    // no response to an enqueue that went well and has nothing to push
inline constexpr uint8_t ordered = 8;  // `counter` is (shot << 16) | round: find the gaps
inline constexpr uint8_t close = 16;   // these are the last measurements of a stream
}  // namespace ask

// Flags of a response's extension.
namespace tell {
inline constexpr uint8_t late = 1;       // the answer missed its deadline
inline constexpr uint8_t heuristic = 2;  // the decoder does not claim a minimum-weight solution
inline constexpr uint8_t lost = 4;       // erased measurements were decoded
}  // namespace tell

struct Tell {
    uint8_t epoch = 0;   // of the decoder that answered: counts its hot swaps, modulo 256
    uint8_t flags = 0;   // of namespace tell
    uint16_t late_us = 0;  // by how much, when the flag says so; 65535 stands for more
};

struct Request {
    uint32_t function = 0;
    uint32_t request_id = 0;
    uint64_t ptp_ns = 0;  // 0: not used
    Bytes payload;
    uint8_t ask = 0;     // of namespace ask
    size_t bytes = 0;    // of the frame with its extension, without padding
};

struct Response {
    Status status = Status::ok;
    uint32_t request_id = 0;
    uint64_t ptp_ns = 0;
    Bytes result;
    bool told = false;  // whether there was an extension
    Tell tell;
    size_t bytes = 0;
};

// Why bytes are not a frame.
enum class Fault : uint8_t {
    none,
    truncated,  // less than a header
    magic,      // some other protocol: the upstream dispatcher drops it without an answer, and so do we
    length,     // the header promises more payload than there is
};

Fault parse(Bytes frame, Request &request) noexcept;
Fault parse(Bytes frame, Response &response) noexcept;

// Payloads. False: too short, or the numbers contradict each other (the server's `bad_request`).
struct Enqueue {
    int64_t decoder = 0;
    int64_t counter = 0;
    int64_t mapping = 0;
    int64_t syndromes = 0;
    Bytes bits;  // ceil(syndromes / 8) bytes, or `syndromes` bytes of enqueue_outcomes
};
struct Get {
    int64_t decoder = 0;
    int64_t return_size = 0;  // bits
    bool reset = false;
};
bool decoder_of(Bytes payload, int64_t &decoder) noexcept;  // the first eight bytes of every payload but a batch's
bool parse(Bytes payload, Enqueue &enqueue, bool outcomes = false) noexcept;
bool parse(Bytes payload, Get &get) noexcept;

// Writing. Each returns the bytes of the frame, or 0 if `out` has not room for it (`out` is then as it was).
// `flags` of namespace ask; 0 writes no extension. `tell` may be null.
size_t write_request(Room out, uint32_t function, uint32_t request_id, uint64_t ptp_ns, Bytes payload,
                     uint8_t flags = 0) noexcept;
size_t write_enqueue(Room out, uint32_t request_id, uint64_t ptp_ns, const Enqueue &enqueue, uint8_t flags = 0,
                     bool outcomes = false) noexcept;
size_t write_get(Room out, uint32_t request_id, uint64_t ptp_ns, const Get &get, uint8_t flags = 0) noexcept;
size_t write_reset(Room out, uint32_t request_id, uint64_t ptp_ns, int64_t decoder, uint8_t flags = 0) noexcept;
// `result` may lie in `out` already, right behind the header.
size_t write_response(Room out, Status status, uint32_t request_id, uint64_t ptp_ns, Bytes result,
                      const Tell *tell = nullptr) noexcept;

// Sets or clears the deadline's part of a response that was written with an extension; false if it has none.
bool mark_late(Room response, int64_t late_ns) noexcept;
bool mark_epoch(Room response, uint64_t epoch) noexcept;  // the same for the decoder's epoch

// The frames of a batch, one after the other: `next` is false at the end or at the first that is not a frame (`fault`).
class Batch {
public:
    explicit Batch(Bytes payload) noexcept : rest_(payload) {}
    bool next(Bytes &frame) noexcept;
    Fault fault() const noexcept { return fault_; }

private:
    Bytes rest_;
    Fault fault_ = Fault::none;
};

}  // namespace qdeck

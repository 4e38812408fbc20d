// What the tests of patches and of the dispatcher share: decoders that tell what they were given, and frames.
#pragma once

#include "dispatch.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace link_test {

using namespace qdeck;

// The answer has bit k for every defect d with d % width == k, flipped each time.
struct Recorder final : Decoder {
    int32_t width;
    Quality quality = Quality::exact;
    std::vector<int32_t> defects, erased;
    int begun = 0, finished = 0;
    explicit Recorder(int32_t observables) : width(observables) { defects.reserve(4096); }
    void begin() noexcept override {
        defects.clear();
        erased.clear();
        begun++;
    }
    void add(std::span<const int32_t> more) noexcept override { defects.insert(defects.end(), more.begin(), more.end()); }
    bool erase(std::span<const int32_t> edges) noexcept override {
        erased.insert(erased.end(), edges.begin(), edges.end());
        return true;
    }
    Answer finish() noexcept override {
        finished++;
        uint64_t bits = 0;
        for (const int32_t defect : defects)
            bits ^= uint64_t{1} << defect % width;
        return {bits, 0.0, quality};
    }
};

// Commits every round at once; keeps what it was told of losses.
struct Counter final : StreamDecoder {
    Committed now;
    std::vector<std::vector<int32_t>> rounds, lost;
    std::vector<int32_t> coming;
    bool closed = false;
    void begin() noexcept override {
        now = {};
        rounds.clear();
        lost.clear();
        coming.clear();
        closed = false;
    }
    bool erase(std::span<const int32_t> sites) noexcept override {
        coming.insert(coming.end(), sites.begin(), sites.end());
        return true;
    }
    Committed round(std::span<const int32_t> defects) noexcept override {
        rounds.emplace_back(defects.begin(), defects.end());
        std::sort(rounds.back().begin(), rounds.back().end());
        std::sort(coming.begin(), coming.end());
        lost.push_back(std::exchange(coming, {}));
        for (const int32_t defect : defects)
            now.observables ^= uint64_t{1} << defect % 8;
        now.rounds++;
        return now;
    }
    Committed close(std::span<const int32_t> defects) noexcept override {
        closed = true;
        return round(defects);
    }
};

// A dispatcher's answer to a frame, taken apart.
struct Said {
    bool any = false;
    Status status = Status::ok;
    std::vector<uint8_t> result;
    Response response;
    Outcome outcome;
};

struct Talk {
    Dispatcher &dispatcher;
    uint32_t request_id = 100;

    Said say(Bytes frame) {
        uint8_t out[512];
        std::memset(out, 0xAA, sizeof out);
        Said said;
        said.outcome = dispatcher.handle(frame, out);
        said.any = said.outcome.bytes > 0;
        if (said.any && parse(Bytes(out, said.outcome.bytes), said.response) == Fault::none) {
            said.status = said.response.status;
            said.result.assign(said.response.result.begin(), said.response.result.end());
            said.response.result = {};
        }
        return said;
    }
    Said enqueue(int64_t decoder, int64_t counter, const std::string &bits, uint8_t flags = 0, int64_t mapping = 0) {
        std::vector<uint8_t> packed(bits.size() / 8 + 1), frame(128 + bits.size());
        for (size_t i = 0; i < bits.size(); i++)
            packed[i / 8] |= static_cast<uint8_t>((bits[i] == '1') << i % 8);
        const Enqueue round{decoder, counter, mapping, static_cast<int64_t>(bits.size()), packed};
        return say(Bytes(frame.data(), write_enqueue(frame, request_id++, 7, round, flags)));
    }
    Said outcomes(int64_t decoder, int64_t counter, std::vector<uint8_t> values, uint8_t flags = 0) {
        std::vector<uint8_t> frame(128 + values.size());
        const Enqueue round{decoder, counter, 0, static_cast<int64_t>(values.size()), values};
        return say(Bytes(frame.data(), write_enqueue(frame, request_id++, 7, round, flags, true)));
    }
    Said get(int64_t decoder, int64_t bits, bool reset = false, uint8_t flags = 0) {
        uint8_t frame[64];
        return say(Bytes(frame, write_get(frame, request_id++, 7, {decoder, bits, reset}, flags)));
    }
    Said reset(int64_t decoder) {
        uint8_t frame[64];
        return say(Bytes(frame, write_reset(frame, request_id++, 7, decoder)));
    }
    Said call(Function function, Bytes payload, uint8_t flags = 0) {
        std::vector<uint8_t> frame(64 + payload.size());
        return say(Bytes(frame.data(), write_request(frame, static_cast<uint32_t>(function), request_id++, 7, payload, flags)));
    }
};

}  // namespace link_test

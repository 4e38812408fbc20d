// What a fuzzer throws at the link: one input is a sequence of frames for one dispatcher. Used by the deterministic test
// and by libFuzzer (fuzz_link.cpp).
#pragma once

#include "check.h"
#include "link.h"

namespace link_test {

// Answers that were produced are frames, of the request's id, and within their room; statistics only grow.
class Target {
public:
    Target() {
        dispatcher_.add(0, volume_);
        dispatcher_.add(1, stream_);
        ordered_.order(true);
        Losses losses{std::vector<std::vector<int32_t>>(100), std::vector<std::vector<int32_t>>(100)};
        for (int32_t i = 0; i < 100; i += 3) {
            losses.lost[static_cast<size_t>(i)] = {i, i + 1};
            losses.heralds[static_cast<size_t>(99 - i)] = {i};
        }
        ordered_.losses(losses);
        stream_.losses({{0, 7}, {1, 49}, {59}});
        dispatcher_.add(2, ordered_);
    }

    void frame(Bytes in, size_t room) {
        room = std::min(room, sizeof out_ - 16);
        std::memset(out_ + room, 0x5A, 16);
        const Outcome outcome = dispatcher_.handle(in, Room(out_, room));
        for (size_t i = 0; i < 16; i++)
            CHECK(out_[room + i] == 0x5A);
        CHECK(outcome.bytes <= room);
        if (outcome.bytes == 0)
            return;
        Request request;
        Response response;
        CHECK(parse(in, request) == Fault::none && parse(Bytes(out_, outcome.bytes), response) == Fault::none);
        CHECK(response.request_id == request.request_id && response.ptp_ns == request.ptp_ns);
        CHECK(response.bytes == outcome.bytes && (!response.told || (request.ask & ask::tell)));
        CHECK(static_cast<int32_t>(response.status) >= 0 && static_cast<int32_t>(response.status) <= 6);
        for (const Recorder *each : {&plain_, &strict_})
            for (const int32_t defect : each->defects)
                CHECK(defect >= 0 && defect < 40);
        CHECK(strict_.erased.size() <= 3 * 100);
        for (const int32_t edge : strict_.erased)
            CHECK(edge >= 0 && edge <= 100);
        if (!rounds_.lost.empty())
            for (const int32_t site : rounds_.lost.back())
                CHECK(site >= 0 && site < 120);
    }

    // The first two bytes of each piece tell how long it is and how much room its answer has.
    void input(Bytes bytes) {
        while (bytes.size() > 3) {
            const size_t length = std::min<size_t>(bytes[0] | (bytes[1] & 3) << 8, bytes.size() - 3);
            frame(bytes.subspan(3, length), bytes[2] ? size_t{bytes[2]} : 700);
            bytes = bytes.subspan(3 + length);
        }
    }

    Dispatcher &dispatcher() { return dispatcher_; }
    const PatchStats &stats(int which) { return dispatcher_.find(which)->stats(); }

private:
    static std::vector<std::vector<int64_t>> rows(int64_t from, int64_t reach) {
        std::vector<std::vector<int64_t>> made;
        for (int64_t i = 0; i < 40; i++)
            made.push_back(i % 7 ? std::vector<int64_t>{from + i, i} : std::vector<int64_t>{i - reach});
        return made;
    }
    static RoundShape shape() {
        return {std::make_shared<Detectors>(50, rows(5, 0)), std::make_shared<Detectors>(50, rows(-50, 50), 50),
                std::make_shared<Detectors>(60, rows(-51, 50), 51)};
    }

    Recorder plain_{5}, strict_{64};
    Counter rounds_;
    VolumePatch volume_{std::make_shared<Detectors>(100, rows(60, 0)), 5, plain_};
    VolumePatch ordered_{std::make_shared<Detectors>(100, rows(60, 0)), 64, strict_};
    StreamPatch stream_{shape(), 8, rounds_};
    Dispatcher dispatcher_;
    uint8_t out_[1024];
};

}  // namespace link_test

#include "check.h"
#include "link.h"

#include <random>
#include <stdexcept>

using namespace link_test;
using Numbers = std::vector<int32_t>;
using Some = std::vector<uint8_t>;

// Ten measurements: three ancillas for three rounds, and one; a detector for each pair of successive outcomes.
static std::shared_ptr<const Detectors> code() {
    return std::make_shared<Detectors>(10, std::vector<std::vector<int64_t>>{
        {0}, {1}, {2}, {0, 3}, {1, 4}, {2, 5}, {3, 6}, {4, 7}, {5, 8}, {6, 9}});
}

struct Bench {
    Recorder decoder{3};
    VolumePatch patch{code(), 3, decoder};
    Dispatcher dispatcher;
    Talk talk{dispatcher};
    Bench() { dispatcher.add(4, patch); }
};

static void volumes() {
    Bench b;
    CHECK(b.talk.get(4, 3).status == Status::not_ready);
    Said said = b.talk.enqueue(4, 0, "110");
    CHECK(said.any && said.status == Status::ok && said.result.empty() && !said.outcome.completed && said.outcome.enqueued);
    CHECK(said.response.request_id == 101 && said.response.ptp_ns == 7 && !said.response.told);
    CHECK((b.decoder.defects == Numbers{0, 1}) && b.decoder.begun == 1);  // at once, not at the end
    CHECK(b.talk.get(4, 3).status == Status::not_ready && !b.patch.at_boundary());
    CHECK(b.talk.enqueue(4, 1, "1").status == Status::ok && (b.decoder.defects == Numbers{0, 1}));
    CHECK(b.talk.enqueue(4, 1, "00101").status == Status::ok && b.decoder.finished == 0);
    said = b.talk.enqueue(4, 2, "0");
    CHECK(said.status == Status::ok && said.outcome.completed && said.result.empty() && b.decoder.finished == 1);
    // Measurements 110 100 101 0: detectors 0, 1 | 4 | 8 | 9 (of 6 and 9).
    CHECK((b.decoder.defects == Numbers{0, 1, 4, 8, 9}));
    said = b.talk.get(4, 3);
    CHECK(said.status == Status::ok && said.outcome.answered && (said.result == Some{0b100}));
    CHECK((b.talk.get(4, 3).result == Some{0b100}) && b.patch.at_boundary());  // as often as one likes
    CHECK((b.talk.get(4, 3, true).result == Some{0b100}) && (b.talk.get(4, 3).result == Some{0}));
    // The next volume discards the last.
    CHECK(b.talk.enqueue(4, 3, "0").status == Status::ok && b.talk.get(4, 3).status == Status::not_ready);
    CHECK(b.talk.enqueue(4, 3, "000000001").status == Status::ok && (b.talk.get(4, 3).result == Some{1}));
    const PatchStats &stats = b.patch.stats();
    CHECK(stats.volumes == 2 && stats.rounds == 6 && stats.bits == 20 && stats.answers == 5 && stats.defects == 6);
}

static void latches() {
    Bench b;
    const std::string volume(10, '0');
    for (const char *how : {"mapping", "nothing", "too much", "too much at once", "short"}) {
        const std::string kind = how;
        CHECK(b.talk.enqueue(4, 0, "11111").status == Status::ok);
        Said said;
        if (kind == "mapping")
            said = b.talk.enqueue(4, 0, "1", 0, 1);
        else if (kind == "nothing")
            said = b.talk.enqueue(4, 0, "");
        else if (kind == "too much")
            said = b.talk.enqueue(4, 0, "000000");
        else if (kind == "too much at once")
            said = b.talk.enqueue(4, 0, std::string(1000, '1'));
        else
            said = b.talk.call(Function::enqueue_syndromes, Some{4, 0, 0, 0, 0, 0, 0, 0, 9});
        CHECK(said.status == Status::bad_request && said.outcome.refused == 1);
        CHECK(b.talk.get(4, 3).status == Status::internal_error);
        CHECK(b.talk.enqueue(4, 0, volume).status == Status::ok);  // and is ignored
        CHECK(b.talk.get(4, 3, true).status == Status::internal_error);
        CHECK(b.talk.reset(4).status == Status::ok && b.talk.get(4, 3).status == Status::not_ready);
        CHECK(b.talk.enqueue(4, 0, volume).status == Status::ok && (b.talk.get(4, 3).result == Some{0}));
    }
    CHECK(b.patch.stats().failures == 5 && b.patch.stats().malformed == 5);
    b.decoder.quality = Quality::failed;
    const Said said = b.talk.enqueue(4, 0, volume);
    CHECK(said.status == Status::ok && said.outcome.completed && said.outcome.failed);
    CHECK(b.talk.get(4, 3).status == Status::internal_error && b.talk.enqueue(4, 0, volume).status == Status::ok);
    CHECK(b.talk.reset(4).status == Status::ok);
    CHECK(b.talk.enqueue(4, 0, volume, ask::push).status == Status::internal_error);  // a push tells at once
    CHECK(b.talk.reset(4).status == Status::ok && b.talk.get(4, 3).status == Status::not_ready);
    // A volume under way is forgotten by a reset.
    b.decoder.quality = Quality::heuristic;
    CHECK(b.talk.enqueue(4, 0, "11111").status == Status::ok && b.talk.reset(4).status == Status::ok);
    CHECK(b.talk.enqueue(4, 0, volume).status == Status::ok);
    const Said heuristic = b.talk.get(4, 3, false, ask::tell);
    CHECK((heuristic.result == Some{0}) && heuristic.response.told && heuristic.response.tell.flags == tell::heuristic);
}

static void requests() {
    Bench b;
    CHECK(b.talk.get(5, 3).status == Status::invalid_decoder && b.talk.enqueue(-1, 0, "1").status == Status::invalid_decoder);
    CHECK(b.talk.reset(INT64_MAX).status == Status::invalid_decoder);
    for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{2}, int64_t{4}, INT64_MAX})
        CHECK(b.talk.get(4, size).status == Status::bad_request);  // which does not latch:
    CHECK(b.talk.get(4, 3).status == Status::not_ready);
    CHECK(b.talk.call(Function::get_corrections, Some{4, 0, 0, 0, 0, 0, 0, 0, 3}).status == Status::bad_request);
    CHECK(b.talk.call(Function::get_corrections, Some{4}).status == Status::bad_request);
    CHECK(b.talk.call(Function::reset_decoder, {}).status == Status::bad_request);
    CHECK(b.talk.call(Function::reset_decoder, Some(100, 0)).status == Status::invalid_decoder);  // longer ones are fine
    // Neither a frame nor a known function: silence.
    CHECK(!b.talk.call(static_cast<Function>(1), Some(8, 4)).any && !b.talk.say(Some(100, 0)).any && !b.talk.say({}).any);
    CHECK(b.dispatcher.dropped() == 3);
    const Some beat{4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3};
    CHECK((b.talk.call(Function::heartbeat, beat).result == beat));
    const Said stats = b.talk.call(Function::stats, Some{4, 0, 0, 0, 0, 0, 0, 0});
    CHECK(stats.result.size() == sizeof(PatchStats) && stats.result[0] == 0);
    CHECK(b.talk.call(Function::swap_decoder, Some(16, 0)).status == Status::invalid_decoder);
    struct Note final : Swapper {
        int64_t decoder = -1, version = -1;
        Status swap(int64_t which, int64_t what) noexcept override {
            decoder = which;
            version = what;
            return what < 3 ? Status::ok : Status::busy;
        }
    } note;
    Some swap{4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    CHECK(b.talk.call(Function::swap_decoder, swap).status == Status::bad_request);  // nobody to ask
    b.dispatcher.swapper(&note);
    CHECK(b.talk.call(Function::swap_decoder, swap).status == Status::ok && note.decoder == 4 && note.version == 2);
    swap[8] = 3;
    CHECK(b.talk.call(Function::swap_decoder, swap).status == Status::busy);

    const auto refused = [&](int64_t id) {
        try {
            b.dispatcher.add(id, b.patch);
        } catch (const std::invalid_argument &) {
            return true;
        }
        return false;
    };
    CHECK(refused(4) && refused(-1) && refused(4096) && !refused(4095) && b.talk.get(4095, 3).status == Status::not_ready);
    b.dispatcher.remove(4095);
    b.dispatcher.remove(77);
    CHECK(b.talk.get(4095, 3).status == Status::invalid_decoder);
}

static void flags() {
    Bench b;
    CHECK(!b.talk.enqueue(4, 0, "11111", ask::quiet).any);
    CHECK(b.talk.enqueue(4, 0, "111111", ask::quiet).status == Status::bad_request);  // errors are never quiet
    b.talk.reset(4);
    CHECK(!b.talk.enqueue(4, 0, "11111", ask::quiet | ask::push | ask::tell).any);
    Recorder next(3);
    const Said said = b.talk.enqueue(4, 1, "00000", ask::quiet | ask::push | ask::tell);
    CHECK(said.status == Status::ok && said.result.size() == 1 && said.outcome.completed && said.outcome.answered);
    CHECK(said.response.told && said.response.tell.epoch == 0 && said.outcome.counter == 1 && said.outcome.decoder == 4);
    b.patch.use(next, 257);
    CHECK(b.talk.enqueue(4, 1, std::string(10, '0'), ask::tell).response.tell.epoch == 1 && next.finished == 1);
    // Lost measurements count as 0, and are told.
    const Said lost = b.talk.outcomes(4, 1, {1, 0, 2, 0, 0, 0, 2, 0, 0, 0}, ask::push | ask::tell);
    CHECK((next.defects == Numbers{0, 3}) && lost.response.tell.flags == tell::lost && b.patch.stats().erased == 2);
    CHECK(b.talk.outcomes(4, 1, {3}).status == Status::bad_request);
}

static void losses() {
    Bench b;
    Losses told{std::vector<std::vector<int32_t>>(10), std::vector<std::vector<int32_t>>(10)};
    told.lost[1] = {7, 8};
    told.lost[2] = {9};
    told.heralds[9] = {5};
    told.heralds[3] = {6};
    b.patch.losses(told);
    CHECK(b.talk.outcomes(4, 0, {0, 2, 1, 0, 0}).status == Status::ok && (b.decoder.erased == Numbers{7, 8}));
    CHECK(b.talk.enqueue(4, 0, "01001", ask::push).result.size() == 1 && (b.decoder.erased == Numbers{7, 8, 5}));
    CHECK(b.talk.enqueue(4, 0, "0111011111").status == Status::ok && (b.decoder.erased == Numbers{6, 5}));
    CHECK(b.talk.get(4, 3, false, ask::tell).response.tell.flags == tell::lost && b.patch.stats().erased == 4);
    CHECK(b.talk.enqueue(4, 0, std::string(10, '0')).status == Status::ok && b.decoder.erased.empty());
    CHECK(b.talk.get(4, 3, false, ask::tell).response.tell.flags == 0);
    told.lost.pop_back();
    bool refused = false;
    try {
        b.patch.losses(told);
    } catch (const std::invalid_argument &) {
        refused = true;
    }
    CHECK(refused);
}

static int64_t at(int64_t shot, int64_t round) { return shot << 16 | round; }

static void gaps() {
    Bench b;
    const uint8_t flags = ask::ordered;
    CHECK(b.talk.enqueue(4, at(3, 1), "000", flags).status == Status::syndromes_dropped);  // the first one was lost
    CHECK(b.talk.get(4, 3).status == Status::syndromes_dropped);
    CHECK(b.talk.enqueue(4, at(3, 0), "000", flags).status == Status::ok);
    CHECK(b.talk.get(4, 3).status == Status::not_ready);
    Said said = b.talk.enqueue(4, at(3, 3), "1", flags);
    CHECK(said.status == Status::syndromes_dropped && said.outcome.lost == 2 && !said.outcome.completed);
    CHECK(b.talk.enqueue(4, at(3, 4), "1", flags).outcome.lost == 0);  // counted once
    // The controller goes back to where the host stopped.
    CHECK(b.talk.enqueue(4, at(3, 1), "111", flags).status == Status::ok);
    CHECK(b.talk.enqueue(4, at(3, 1), "111", flags).status == Status::ok && b.patch.stats().repeated == 1);
    CHECK(b.talk.enqueue(4, at(3, 2), "111", flags).status == Status::ok);
    said = b.talk.enqueue(4, at(3, 3), "1", flags | ask::push);
    CHECK(said.status == Status::ok && said.result.size() == 1 && (b.decoder.defects == Numbers{3, 4, 5}));
    // The answer was lost: the repetition brings it again, and decodes nothing.
    CHECK((b.talk.enqueue(4, at(3, 3), "1", flags | ask::push).result == said.result) && b.decoder.finished == 1);
    // A shot that loses its end, one that is lost as a whole, and one that comes late.
    CHECK(b.talk.enqueue(4, at(4, 0), "111", flags).status == Status::ok);
    CHECK(b.talk.enqueue(4, at(6, 1), "111", flags).status == Status::syndromes_dropped);
    CHECK(b.talk.enqueue(4, at(7, 0), "0000000000", flags).status == Status::ok && b.patch.stats().abandoned == 1);
    CHECK((b.talk.get(4, 3).result == Some{0}) && b.decoder.defects.empty());
    CHECK(b.talk.enqueue(4, at(5, 0), "111", flags).status == Status::syndromes_dropped);
    CHECK((b.talk.get(4, 3).result == Some{0}));
    // Counters that run on through all shots are in order, too; without the flag nobody looks at them.
    CHECK(b.talk.enqueue(4, at(7, 1), "0000000000", flags).status == Status::ok);
    for (const int64_t counter : {int64_t{0}, int64_t{-5}, INT64_MAX, INT64_MIN, int64_t{0}})
        CHECK(b.talk.enqueue(4, counter, "00").status == Status::ok);
    CHECK(b.talk.get(4, 3).status == Status::ok);
    b.patch.order(true);
    CHECK(b.talk.enqueue(4, INT64_MAX - 0xffff, "00").status == Status::ok);
    CHECK(b.talk.enqueue(4, INT64_MAX, "00").status == Status::syndromes_dropped);
    CHECK(b.talk.enqueue(4, INT64_MIN, "00").status == Status::syndromes_dropped);
    CHECK(b.talk.reset(4).status == Status::ok && b.talk.enqueue(4, 0, "00").status == Status::ok);
}

static void batches() {
    Bench b;
    uint8_t frames[512];
    size_t used = 0;
    const uint8_t bits[] = {0x01};
    for (uint32_t i = 0; i < 5; i++)
        used += write_enqueue(Room(frames).subspan(used), i, 0, {4, i, 0, 2, bits}, i == 4 ? ask::push : ask::quiet);
    used += write_get(Room(frames).subspan(used), 5, 0, {4, 3, false}, ask::tell);
    const Said said = b.talk.call(Function::batch, Bytes(frames, used), ask::tell);
    CHECK(said.status == Status::ok && said.outcome.requests == 6 && said.outcome.completed && said.outcome.refused == 0);
    CHECK(said.response.told && said.result.size() == 25 + 33);
    Response first, second;
    CHECK(parse(Bytes(said.result), first) == Fault::none && first.request_id == 4 && first.result.size() == 1);
    CHECK(parse(Bytes(said.result).subspan(first.bytes), second) == Fault::none && second.request_id == 5 && second.told);
    // A batch in a batch is refused, the rest is done.
    uint8_t nested[600];
    size_t inner = write_request(nested, static_cast<uint32_t>(Function::batch), 1, 0, Bytes(frames, used));
    inner += write_reset(Room(nested).subspan(inner), 2, 0, 4);
    CHECK(b.talk.call(Function::batch, Bytes(nested, inner)).status == Status::bad_request);
    CHECK(b.talk.get(4, 3).status == Status::not_ready);
    CHECK(b.talk.call(Function::batch, Bytes(frames, used - 1)).status == Status::bad_request);
    CHECK(b.talk.reset(4).status == Status::ok);
    CHECK(!b.talk.call(Function::batch, Bytes(frames, 65), ask::quiet).any && b.talk.call(Function::batch, {}).any);
    // Responses that find no room: the work is done, and the batch tells of it.
    uint8_t frame[600], small[24 + 25 + 23];
    const size_t bytes = write_request(frame, static_cast<uint32_t>(Function::batch), 1, 0, Bytes(frames, used));
    b.talk.reset(4);
    Response response;
    const Outcome outcome = b.dispatcher.handle(Bytes(frame, bytes), small);
    CHECK(outcome.completed && parse(Bytes(small, outcome.bytes), response) == Fault::none);
    CHECK(response.status == Status::internal_error && b.talk.get(4, 3).status == Status::ok);
    for (size_t room = 0; room < 24; room++)
        CHECK(b.dispatcher.handle(Bytes(frame, bytes), Room(small, room)).bytes == 0);
}

static void streams() {
    std::mt19937_64 rng(5);
    const int64_t width = 13;
    std::vector<std::vector<int64_t>> first, steady, last;
    for (int64_t i = 0; i < width; i++) {
        if (i % 2)
            first.push_back({i});
        steady.push_back({i, i - width});
    }
    for (int64_t i = 0; i < 5; i++)
        last.push_back({i, i + 1, 2 * i - width, i - 2 * width});
    const RoundShape shape{std::make_shared<Detectors>(width, first), std::make_shared<Detectors>(width, steady, width),
                           std::make_shared<Detectors>(6, last, 2 * width)};
    Counter decoder;
    StreamPatch patch(shape, 8, decoder);
    Dispatcher dispatcher;
    dispatcher.add(0, patch);
    Talk talk{dispatcher};
    CHECK(talk.get(0, 8).status == Status::not_ready);
    for (int lap = 0; lap < 3; lap++) {
        const int rounds = lap == 1 ? 2 : 1000;
        std::string all, closing;
        for (int64_t i = 0; i < rounds * width; i++)
            all += rng() % 4 ? '0' : '1';
        for (int i = 0; i < 6; i++)
            closing += rng() % 2 ? '0' : '1';
        int64_t counter = 0;
        for (size_t sent = 0; sent < all.size();) {
            const size_t piece = std::min(all.size() - sent, lap ? size_t{1} + rng() % 2000 : static_cast<size_t>(width));
            CHECK(talk.enqueue(0, counter++, all.substr(sent, piece), ask::ordered).status == Status::ok);
            sent += piece;
            CHECK(decoder.rounds.size() == sent / static_cast<size_t>(width));
        }
        CHECK((talk.get(0, 8).result == Some{static_cast<uint8_t>(decoder.now.observables)}));
        CHECK((talk.get(0, 8, true).result == Some{static_cast<uint8_t>(decoder.now.observables)}));
        const uint64_t read = decoder.now.observables;
        CHECK((talk.get(0, 8).result == Some{0}) && !patch.at_boundary());  // what came since it was read
        const Said said = talk.enqueue(0, counter, closing, ask::ordered | ask::close | ask::push);
        CHECK(said.status == Status::ok && said.outcome.completed && decoder.closed && patch.at_boundary());
        CHECK((said.result == Some{static_cast<uint8_t>(read ^ decoder.now.observables)}));
        all += closing;
        const auto bit = [&](int64_t i) { return all[static_cast<size_t>(i)] == '1'; };
        for (int round = 0; round <= rounds; round++) {
            Numbers expected;
            const auto &rows = round == rounds ? last : round ? steady : first;
            for (size_t d = 0; d < rows.size(); d++) {
                bool parity = false;
                for (const int64_t term : rows[d])
                    parity ^= bit(round * width + term);
                if (parity)
                    expected.push_back(static_cast<int32_t>(d));
            }
            CHECK(decoder.rounds[static_cast<size_t>(round)] == expected);
        }
    }
    CHECK(patch.stats().volumes == 3 && talk.get(0, 8).status == Status::ok);
    // Closing takes all of the last readout, and only between rounds; a gap is a gap.
    CHECK(talk.enqueue(0, 0, "000000", ask::close).status == Status::bad_request && talk.reset(0).any);
    CHECK(talk.enqueue(0, 0, std::string(13, '0'), ask::ordered).status == Status::ok);
    CHECK(talk.enqueue(0, 65536, "0", ask::ordered).status == Status::syndromes_dropped && patch.stats().lost == 65535);
    CHECK(talk.enqueue(0, 1, "0", ask::ordered).status == Status::ok);
    CHECK(talk.enqueue(0, 0, "0", ask::ordered).status == Status::ok && patch.stats().repeated == 1);
    CHECK(talk.enqueue(0, 2, "000000", ask::close).status == Status::bad_request);
    CHECK(talk.get(0, 8).status == Status::internal_error && talk.reset(0).any);
    CHECK(talk.enqueue(0, 0, std::string(13, '0')).status == Status::ok);
    CHECK(talk.enqueue(0, 1, "00000", ask::close).status == Status::bad_request);
}

// What a round lost is told before it, in whatever portions it came, as outcomes or as bits with heralds among them.
static void stream_losses() {
    std::mt19937_64 rng(8);
    for (const int64_t width : {5, 64, 131}) {
        const int64_t closing = 70;
        const std::vector<std::vector<int64_t>> rows{{0, 1}}, reaching{{0, -width}};
        const RoundShape shape{std::make_shared<Detectors>(width, rows), std::make_shared<Detectors>(width, reaching, width),
                               std::make_shared<Detectors>(closing, reaching, width)};
        Counter decoder;
        StreamPatch patch(shape, 8, decoder);
        const Heralds heralds{{0, 4}, {static_cast<int32_t>(width) - 1, 1}, {69, 3}};
        patch.losses(heralds);
        Dispatcher dispatcher;
        dispatcher.add(0, patch);
        Talk talk{dispatcher};
        uint64_t erased = 0;
        for (int lap = 0; lap < 4; lap++) {
            const int64_t rounds = 1 + static_cast<int64_t>(rng() % 300);
            std::vector<uint8_t> all(static_cast<size_t>(rounds * width + closing));
            const uint64_t seldom = lap == 3 ? 1'000'000'000 : 1 + rng() % 40;
            for (uint8_t &outcome : all)
                outcome = rng() % seldom == 0 ? 2 : static_cast<uint8_t>(rng() % 2);
            int64_t counter = 0;
            const auto send = [&](size_t from, size_t many, uint8_t flags) {
                if (rng() % 3) {
                    CHECK(talk.outcomes(0, counter++, {all.begin() + from, all.begin() + from + many}, flags).status ==
                          Status::ok);
                    return;
                }
                std::string bits;
                for (size_t i = from; i < from + many; i++) {
                    all[i] &= 1;  // a bit cannot tell
                    bits += all[i] ? '1' : '0';
                }
                CHECK(talk.enqueue(0, counter++, bits, flags).status == Status::ok);
            };
            const auto end = static_cast<size_t>(rounds * width);
            for (size_t sent = 0; sent < end;) {
                const size_t piece = std::min(end - sent, 1 + rng() % static_cast<size_t>(3 * width));
                send(sent, piece, 0);
                sent += piece;
            }
            send(end, static_cast<size_t>(closing), ask::close);
            CHECK(decoder.lost.size() == static_cast<size_t>(rounds) + 1);
            for (int64_t round = 0; round <= rounds; round++) {
                Numbers expected;
                const auto &telling = round == rounds ? heralds.last : round ? heralds.steady : heralds.first;
                for (int32_t m = 0; m < (round == rounds ? closing : width); m++) {
                    const uint8_t outcome = all[static_cast<size_t>(round * width + m)];
                    if (outcome == 2)
                        expected.push_back(2 * m);
                    if (outcome == 1 && std::count(telling.begin(), telling.end(), m))
                        expected.push_back(2 * m + 1);
                }
                erased += expected.size();
                CHECK(decoder.lost[static_cast<size_t>(round)] == expected);
            }
            CHECK(patch.stats().erased == erased);
        }
    }
    // A decoder that cannot be told, and heralds that are not there.
    class Deaf final : public StreamDecoder {
        void begin() noexcept override {}
        Committed round(std::span<const int32_t>) noexcept override { return {}; }
        Committed close(std::span<const int32_t>) noexcept override { return {}; }
    } deaf;
    Counter decoder;
    const auto detectors = std::make_shared<Detectors>(3, std::vector<std::vector<int64_t>>{{0}});
    const RoundShape shape{detectors, detectors, detectors};
    StreamPatch unheard(shape, 1, deaf), heard(shape, 1, decoder);
    const auto refused = [](StreamPatch &patch, const Heralds &heralds) {
        try {
            patch.losses(heralds);
        } catch (const std::invalid_argument &) {
            return true;
        }
        return false;
    };
    CHECK(refused(unheard, {}) && refused(heard, {{}, {3}, {}}) && refused(heard, {{-1}, {}, {}}) && !refused(heard, {}));
}

int main() {
    volumes();
    latches();
    requests();
    flags();
    losses();
    gaps();
    batches();
    streams();
    stream_losses();
}

#include "check.h"
#include "graphs.h"
#include "matching.h"
#include "parallel.h"
#include "union_find.h"

#include <numeric>
#include <stdexcept>
#include <string>

using namespace qdeck;

static std::unique_ptr<Compiled> union_find(const Model &model) { return std::make_unique<UnionFind>(model); }
static std::unique_ptr<Compiled> matching(const Model &model) { return std::make_unique<Matching>(model); }

static Answer decode(ParallelStream &stream, const graphs::Shot &shot, int32_t wide, int32_t layers) {
    const auto ranks = graphs::by_layer(shot, wide, layers);
    stream.begin();
    for (int32_t t = 0; t < layers; t++)
        while (!(t + 1 < layers ? stream.add(ranks[t]) : stream.add_last(ranks[t])))
            std::this_thread::yield();
    return stream.finish();
}

// As accurate as the whole volume; with any number of workers the same answers.
static void accuracy(const Maker &maker, Quality quality) {
    const int32_t layers = 90;
    const Model model = graphs::repetition(5, layers - 1, 0.02, 0.02, 0.005);
    const auto compiled = maker(model);
    const auto truth = compiled->decoder();
    const ParallelWindows windows(model, {5, 6, 5}, maker);
    ParallelStream alone(windows, 0, 60);
    ParallelStream one(windows, 1, 60);
    ParallelStream three(windows, 3, 200);
    std::mt19937_64 random(31);
    int wrong = 0;
    int wrong_whole = 0;
    const int shots = 3000;
    for (int i = 0; i < shots; i++) {
        const graphs::Shot shot = graphs::sample(model, random);
        const Answer answer = decode(alone, shot, 4, layers);
        CHECK(answer.quality == quality);
        if (i % 50 == 0) {
            CHECK(decode(one, shot, 4, layers).observables == answer.observables);
            CHECK(decode(three, shot, 4, layers).observables == answer.observables);
        }
        truth->begin();
        truth->add(shot.defects);
        wrong_whole += truth->finish().observables != shot.observables;
        wrong += answer.observables != shot.observables;
    }
    std::printf("parallel: %d wrong of %d, whole volume %d\n", wrong, shots, wrong_whole);
    CHECK(wrong < wrong_whole * 1.1 + 10);
    const auto shares = three.shares();
    CHECK(shares.size() == 4);  // of each shot: 8 cores, the gaps between them and the end
    CHECK(std::accumulate(shares.begin(), shares.end(), int64_t{0}) == shots / 50 * (8 + 7 + 1));
}

// Every correction together explains every defect, whatever the noise and the length of the stream.
static void consistency() {
    const Model model = graphs::ends(graphs::repetition(9, 30, 0.03, 0.2, 0.05));
    const Layers layers(model);
    std::mt19937_64 random(2);
    for (const ParallelSettings settings : {ParallelSettings{1, 1, 1}, {3, 2, 1}, {2, 4, 3}, {9, 9, 9}}) {
        const ParallelWindows windows(model, settings, union_find);
        ParallelStream stream(windows, 2, 0);
        for (int i = 0; i < 30; i++) {
            const int32_t count = windows.least() + static_cast<int32_t>(random() % 60);
            const graphs::Shot shot = graphs::sample(stretch(model, layers, count), random);
            uint64_t odd = 0;
            for (const int32_t v : shot.defects)
                odd ^= uint64_t{1} << v % 8;
            const Answer answer = decode(stream, shot, 8, count);
            CHECK(answer.quality == Quality::heuristic);
            CHECK(answer.observables == odd);
        }
    }
}

// Behind the protocol of streams: what is committed never changes any more, and in the end it is all.
static void committed() {
    const int32_t layers = 200;
    const Model model = graphs::repetition(5, layers - 1, 0.02, 0.02, 0.005);
    const ParallelWindows windows(model, {5, 5, 5}, matching);
    ParallelWindowStream alone(windows, 0, 0);
    ParallelWindowStream threads(windows, 2, 0);
    ParallelStream plain(windows, 0, 0);
    std::mt19937_64 random(41);
    for (int i = 0; i < 20; i++) {
        const graphs::Shot shot = graphs::sample(model, random);
        const auto ranks = graphs::by_layer(shot, 4, layers);
        std::vector<uint64_t> frames(layers + 1);  // by rounds that are committed, without threads
        alone.begin();
        threads.begin();
        for (int32_t t = 0; t + 1 < layers; t++) {
            const Committed so_far = alone.round(ranks[t]);
            frames[so_far.rounds] = so_far.observables;
            CHECK(so_far.rounds >= t + 1 - 25 && so_far.rounds <= t + 1 && !so_far.failed);
        }
        const Committed all = alone.close(ranks.back());
        CHECK(all.rounds == layers && !all.failed);
        CHECK(all.observables == decode(plain, shot, 4, layers).observables);
        for (int32_t t = 0; t + 1 < layers; t++) {
            const Committed so_far = threads.round(ranks[t]);
            CHECK(so_far.rounds % 10 == 0 && frames[so_far.rounds] == so_far.observables);
        }
        CHECK(threads.close(ranks.back()).observables == all.observables);
    }
}

// Streams that are handed from decoder to decoder, at any round and while workers run, answer as one that is not; what is
// committed only grows.
static void adopting() {
    const int32_t layers = 90;
    const Model model = graphs::repetition(5, layers - 1, 0.02, 0.02, 0.005);
    const ParallelWindows windows(model, {5, 6, 5}, matching), same(model, {5, 6, 5}, matching);
    ParallelStream plain(windows, 0, 60);
    std::mt19937_64 random(3);
    int swaps = 0;
    int flips = 0;
    for (int i = 0; i < 150; i++) {
        const auto ranks = graphs::by_layer(graphs::sample(model, random), 4, layers);
        plain.begin();
        for (int32_t t = 0; t < layers; t++)
            CHECK(t + 1 < layers ? plain.add(ranks[t]) : plain.add_last(ranks[t]));
        const uint64_t expected = plain.finish().observables;
        flips += expected != 0;
        const int32_t workers = i % 3;
        auto now = std::make_unique<ParallelWindowStream>(windows, workers, 60);
        std::vector<std::unique_ptr<ParallelWindowStream>> left;  // deleted later, as a host's control thread does
        now->begin();
        int64_t rounds = 0;
        for (int32_t t = 0; t + 1 < layers; t++) {
            if (random() % 12 == 0) {
                auto fresh = std::make_unique<ParallelWindowStream>(swaps % 2 ? windows : same, workers, 60);
                CHECK(fresh->adopts() && fresh->adopt(*now));
                std::swap(now, fresh);
                left.push_back(std::move(fresh));
                swaps++;
            }
            const Committed so_far = now->round(ranks[t]);
            CHECK(!so_far.failed && so_far.rounds >= rounds && so_far.rounds <= t + 1 && so_far.rounds % 11 == 0);
            rounds = so_far.rounds;
        }
        const Committed all = now->close(ranks.back());
        CHECK(!all.failed && all.rounds == layers && all.observables == expected);
        if (i % 10 == 0) {  // what was adopted can be used again
            for (auto &old : left) {
                old->begin();
                for (int32_t t = 0; t + 1 < layers; t++)
                    old->round(ranks[t]);
                CHECK(old->close(ranks.back()).observables == expected);
            }
        }
    }
    std::printf("adopted %d times, %d of 150 streams flip\n", swaps, flips);
    CHECK(swaps > 500 && flips > 5);
}

// With other weights the answers are others, and still all corrections together explain all defects.
static void adopting_others() {
    const Model model = graphs::ends(graphs::repetition(9, 30, 0.03, 0.2, 0.05));
    Model other = model;
    for (Edge &edge : other.edges)  // alike in all layers
        edge.weight = 0.3 + static_cast<double>((edge.u % 8 * 7 + edge.v % 8 * 3 + 24) % 8);
    const Layers layers(model);
    std::mt19937_64 random(6);
    for (const ParallelSettings settings : {ParallelSettings{1, 1, 1}, {3, 2, 1}, {2, 4, 3}}) {
        const ParallelWindows windows(model, settings, union_find), heavier(other, settings, union_find);
        for (int i = 0; i < 40; i++) {
            const int32_t count = windows.least() + static_cast<int32_t>(random() % 80);
            const graphs::Shot shot = graphs::sample(stretch(model, layers, count), random);
            const auto ranks = graphs::by_layer(shot, 8, count);
            uint64_t odd = 0;
            for (const int32_t v : shot.defects)
                odd ^= uint64_t{1} << v % 8;
            auto now = std::make_unique<ParallelStream>(windows, 1, 0);
            std::vector<std::unique_ptr<ParallelStream>> left;
            for (int32_t t = 0; t < count; t++) {
                if (t && random() % 10 == 0) {
                    auto fresh = std::make_unique<ParallelStream>(left.size() % 2 ? windows : heavier, 1, 0);
                    CHECK(fresh->adopt(*now));
                    CHECK(fresh->layers() == now->layers() && fresh->committed().rounds >= 0);
                    std::swap(now, fresh);
                    left.push_back(std::move(fresh));
                }
                while (!(t + 1 < count ? now->add(ranks[t]) : now->add_last(ranks[t])))
                    now->help();
            }
            CHECK(now->finish().observables == odd);
        }
    }
}

// Who may not take over says so, and nothing has changed.
static void refusals() {
    const Model model = graphs::repetition(5, 60, 0.02, 0.02);
    const ParallelWindows windows(model, {5, 6, 5}, union_find), wider(model, {6, 6, 5}, union_find);
    const ParallelWindows narrow(graphs::repetition(4, 60, 0.02, 0.02), {5, 6, 5}, union_find);
    ParallelStream now(windows, 0, 60), stranger(wider, 0, 60), small(narrow, 0, 60), longer(windows, 0, 90);
    for (int32_t t = 0; t < 40; t++)
        now.add({});
    CHECK(!stranger.adopt(now) && !small.adopt(now) && !longer.adopt(now));
    ParallelStream fresh(windows, 0, 60);
    CHECK(fresh.adopt(now) && fresh.committed().rounds == now.committed().rounds && fresh.committed().rounds > 0);
    CHECK(now.add_last({}) && now.finish().quality == Quality::heuristic);
    ParallelStream late(windows, 0, 60);
    CHECK(!late.adopt(now));  // it has ended
    ParallelWindowStream as_stream(windows, 0, 60);
    class Other final : public StreamDecoder {
        void begin() noexcept override {}
        Committed round(std::span<const int32_t>) noexcept override { return {}; }
        Committed close(std::span<const int32_t>) noexcept override { return {}; }
    } another;
    CHECK(!as_stream.adopt(another));
}

static void limits() {
    const Model model = graphs::repetition(5, 40, 0.02, 0.02);
    auto refusal = [](const Model &of, ParallelSettings settings) -> std::string {
        try {
            ParallelWindows(of, settings, union_find);
        } catch (const std::invalid_argument &error) {
            return error.what();
        }
        return "";
    };
    CHECK(refusal(model, {5, 4, 5}).find("a gap as many as a buffer") != std::string::npos);
    Model ring = model;
    std::erase_if(ring.edges, [](const Edge &edge) { return edge.v == BOUNDARY; });
    CHECK(refusal(ring, {5, 5, 5}).find("take sliding windows") != std::string::npos);
    const ParallelWindows windows(model, {5, 5, 5}, union_find);
    // Without workers nothing is late; a stream that is too short, or not ended, fails.
    ParallelStream stream(windows, 0, 0);
    for (int32_t t = 0; t < 10; t++)
        CHECK(stream.add({}));
    CHECK(stream.finish().quality == Quality::failed);
    stream.begin();
    CHECK(stream.add_last({}));
    CHECK(stream.finish().quality == Quality::failed);
    stream.begin();
    const std::vector<int32_t> bad{77};
    for (int32_t t = 0; t < windows.least(); t++)
        CHECK(t + 1 < windows.least() ? stream.add(bad) : stream.add_last({}));
    CHECK(stream.finish().quality == Quality::failed);
    stream.begin();
    for (int32_t t = 0; t < 1000; t++) {
        CHECK(t < 999 ? stream.add({}) : stream.add_last({}));
        CHECK(stream.backlog() <= windows.least() + 10);
    }
    CHECK(stream.finish().quality == Quality::heuristic);
}

int main() {
    accuracy(union_find, Quality::heuristic);
    accuracy(matching, Quality::exact);
    consistency();
    committed();
    adopting();
    adopting_others();
    refusals();
    limits();
}

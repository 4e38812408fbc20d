#include "check.h"
#include "graphs.h"
#include "matching.h"
#include "union_find.h"
#include "window.h"

#include <algorithm>
#include <array>
#include <string>

using namespace qdeck;

static std::unique_ptr<Compiled> union_find(const Model &model) { return std::make_unique<UnionFind>(model); }
static std::unique_ptr<Compiled> matching(const Model &model) { return std::make_unique<Matching>(model); }

static std::string refusal(const Model &model, WindowSettings settings) {
    try {
        Windowed(model, settings, union_find);
    } catch (const std::invalid_argument &error) {
        return error.what();
    }
    return "";
}

// A stretched volume is the volume that its generator would have made.
static void stretches() {
    auto make = [](int32_t rounds) {
        Model model = graphs::repetition(5, rounds, 0.01, 0.02, 0.005);
        for (Edge &edge : model.edges)  // the ends differ
            if (model.layer[edge.u] == 0 || model.layer[edge.u] >= rounds - 1)
                edge.weight *= 2;
        return model;
    };
    auto sorted = [](Model model) {
        std::vector<std::tuple<int32_t, int32_t, double, uint64_t>> edges;
        for (const Edge &e : model.edges)
            edges.emplace_back(e.v == BOUNDARY ? e.u : std::min(e.u, e.v), e.v == BOUNDARY ? e.v : std::max(e.u, e.v),
                               e.weight, e.observables);
        std::sort(edges.begin(), edges.end());
        return edges;
    };
    const Model model = make(8);
    const Layers layers(model);
    CHECK(layers.head == 1 && layers.tail == 2 && layers.width == 4 && layers.span == 1 && layers.count() == 9);
    for (const int32_t rounds : {3, 4, 8, 30}) {
        const Model longer = stretch(model, layers, rounds + 1);
        CHECK(longer.layer == make(rounds).layer);
        CHECK(sorted(longer) == sorted(make(rounds)));
    }
    std::vector<Exit> exits;
    const Model window = cut(stretch(model, layers, 30), 10, 15, true, true, &exits);
    CHECK(window.detectors == 20 && window.layer.front() == 0 && window.layer.back() == 4);
    CHECK(exits.size() == 4 + 3);  // straight and diagonal
    const auto future =
        std::count_if(window.edges.begin(), window.edges.end(), [](const Edge &e) { return e.observables & FUTURE; });
    const auto past =
        std::count_if(window.edges.begin(), window.edges.end(), [](const Edge &e) { return e.observables & PAST; });
    CHECK(future == 7 && past == 7);
}

static void refusals() {
    const Model model = graphs::repetition(3, 20, 0.01, 0.01);
    CHECK(refusal(model, {6, 3}).empty());
    CHECK(refusal(model, {3, 3}).find("a window of 3 layers cannot advance by 3") == 0);
    CHECK(refusal(model, {6, 0}).find("at least 1 layer to commit") != std::string::npos);
    CHECK(refusal(model, {20, 10}).find("decode it as a whole") != std::string::npos);
    CHECK(refusal(graphs::repetition(3, 1, 0.01, 0.01), {6, 3}).find("no two of the 2 layers are alike") == 0);
    Model bare = model;
    bare.layer.clear();
    CHECK(refusal(bare, {6, 3}).find("layers") != std::string::npos);
}

// As accurate as the whole volume with the same inner decoder, also for windows that are in no proportion to the
// distance.
static void accuracy(const Maker &maker, Quality quality) {
    const Model model = graphs::repetition(5, 59, 0.02, 0.02, 0.005);
    const auto whole = maker(model);
    const auto truth = whole->decoder();
    for (const WindowSettings settings : {WindowSettings{10, 5}, {12, 3}, {6, 2}}) {
        const Windowed windowed(model, settings, maker);
        const auto decoder = windowed.decoder();
        std::mt19937_64 random(11);
        int wrong = 0;
        int wrong_whole = 0;
        int differ = 0;
        const int shots = 20'000;
        for (int i = 0; i < shots; i++) {
            const graphs::Shot shot = graphs::sample(model, random);
            decoder->begin();
            const std::span<const int32_t> all(shot.defects);
            decoder->add(all.subspan(0, all.size() / 3));
            decoder->add(all.subspan(all.size() / 3));
            const Answer answer = decoder->finish();
            CHECK(answer.quality == quality);
            truth->begin();
            truth->add(shot.defects);
            const Answer other = truth->finish();
            wrong += answer.observables != shot.observables;
            wrong_whole += other.observables != shot.observables;
            differ += answer.observables != other.observables;
        }
        std::printf("window %d, commit %d: %d wrong of %d, whole volume %d; differ in %d\n", settings.window,
                    settings.commit, wrong, shots, wrong_whole, differ);
        if (settings.window >= 10)
            CHECK(wrong < wrong_whole * 1.05 + 10);
    }
}

// A million rounds in the memory of one window; every defect is resolved, once, within two windows.
static void endless() {
    const Model model = graphs::repetition(5, 20, 0.02, 0.02, 0.005);
    const WindowSettings settings{10, 5};
    const Windows windows(model, settings, union_find);
    const auto stream = windows.stream();
    stream->begin();
    std::mt19937_64 random(5);
    const int64_t rounds = 1'000'000;
    // Errors as they come: data errors toggle this layer, measurement errors this and the next one.
    std::array<char, 4> next{};
    std::array<char, 4> now{};
    std::vector<int32_t> ranks;
    int64_t defects = 0;
    for (int64_t t = 0; t < rounds; t++) {
        now = next;
        next = {};
        for (const Edge &edge : model.edges) {
            if (model.layer[edge.u] != 5 || random() % 1000 >= (edge.weight < 4.5 ? 20u : 5u))
                continue;
            const bool straddles = edge.v != BOUNDARY && model.layer[edge.v] == 6;
            if (straddles && t == rounds - 1)
                continue;
            now[edge.u % 4] ^= 1;
            if (edge.v != BOUNDARY)
                (straddles ? next : now)[edge.v % 4] ^= 1;
        }
        ranks.clear();
        for (int32_t i = 0; i < 4; i++)
            if (now[i])
                ranks.push_back(i);
        defects += static_cast<int64_t>(ranks.size());
        stream->add(ranks, t == rounds - 1);
        const Progress &progress = stream->progress();
        CHECK(progress.layers == t + 1);
        if (t < rounds - 1) {
            CHECK(progress.layers - progress.committed < settings.window + settings.commit);
            CHECK(progress.open + progress.resolved == defects);
        }
    }
    const Progress &end = stream->progress();
    CHECK(stream->answer().quality == Quality::heuristic);
    CHECK(end.open == 0 && end.resolved == defects && end.committed == rounds);
    CHECK(end.windows > rounds / settings.commit - 5);
    std::printf("%lld rounds: %lld windows, %lld deferred, %lld forced, %lld moved\n", static_cast<long long>(rounds),
                static_cast<long long>(end.windows), static_cast<long long>(end.deferred),
                static_cast<long long>(end.forced), static_cast<long long>(end.moved));
}

// Windows far too small for their noise: pairs are forced and defects moved, and still all corrections together explain
// all defects. Observable r says whether an edge flips detectors of rank r an odd number of times.
static void forced(const Maker &maker, Quality quality) {
    const Model model = graphs::ends(graphs::repetition(9, 300, 0.03, 0.2, 0.05));
    int64_t deferred = 0;
    int64_t forced = 0;
    int64_t moved = 0;
    for (const WindowSettings settings : {WindowSettings{2, 1}, {3, 2}, {3, 1}, {5, 3}}) {
        const Windows windows(model, settings, maker);
        const auto stream = windows.stream();
        std::mt19937_64 random(2);
        for (int i = 0; i < 200; i++) {
            const graphs::Shot shot = graphs::sample(model, random);
            stream->begin();
            size_t at = 0;
            uint64_t odd = 0;
            std::vector<int32_t> ranks;
            for (int32_t t = 0; t <= 300; t++) {
                ranks.clear();
                for (; at < shot.defects.size() && shot.defects[at] / 8 == t; at++)
                    ranks.push_back(shot.defects[at] % 8);
                for (const int32_t rank : ranks)
                    odd ^= uint64_t{1} << rank;
                stream->add(ranks, t == 300);
            }
            CHECK(stream->answer().quality == quality);
            CHECK(stream->answer().observables == odd);
            deferred += stream->progress().deferred;
            forced += stream->progress().forced;
            moved += stream->progress().moved;
        }
    }
    std::printf("too small: %lld deferred, %lld forced, %lld moved\n", static_cast<long long>(deferred),
                static_cast<long long>(forced), static_cast<long long>(moved));
    CHECK(deferred > 1000 && forced > 100 && moved > 10);
}

// What a caller may do wrong is an answer that says so, not a fault.
static void misuse() {
    const Windows windows(graphs::repetition(5, 20, 0.02, 0.02), {10, 5}, union_find);
    const auto stream = windows.stream();
    const std::vector<int32_t> bad{99};
    stream->begin();
    for (int i = 0; i < 40; i++)
        stream->add(bad, i == 39);
    CHECK(stream->answer().quality == Quality::failed);
    stream->begin();
    stream->add({}, true);
    CHECK(stream->answer().quality == Quality::failed);
    stream->begin(30);
    for (int i = 0; i < 30; i++)
        stream->add({});
    CHECK(stream->answer().quality == Quality::heuristic && stream->progress().committed == 30);
}

// A stream that is handed from decoder to decoder between its rounds is decoded as if by one.
static void adopting() {
    const Model model = graphs::repetition(5, 59, 0.02, 0.02, 0.005);
    const Layers layers(model);
    const Windows windows(model, {10, 5}, matching), same(model, {10, 5}, matching), other(model, {12, 3}, matching);
    std::mt19937_64 random(3);
    int flips = 0;
    for (int shot = 0; shot < 2000; shot++) {
        std::vector<std::vector<int32_t>> ranks(static_cast<size_t>(layers.count()));
        for (const int32_t defect : graphs::sample(model, random).defects) {
            const auto &members = layers.members[static_cast<size_t>(model.layer[static_cast<size_t>(defect)])];
            ranks[static_cast<size_t>(model.layer[static_cast<size_t>(defect)])].push_back(
                static_cast<int32_t>(std::find(members.begin(), members.end(), defect) - members.begin()));
        }
        auto one = windows.stream(), now = windows.stream(), next = same.stream(), stranger = other.stream();
        one->begin();
        now->begin();
        for (size_t layer = 0; layer < ranks.size(); layer++) {
            const bool last = layer + 1 == ranks.size();
            one->add(ranks[layer], last);
            now->add(ranks[layer], last);
            if (!last && random() % 8 == 0) {
                CHECK(!stranger->adopt(*now));
                CHECK(next->adopt(*now));
                CHECK(next->progress().open == now->progress().open);
                std::swap(now, next);
            }
        }
        CHECK(now->answer().quality == Quality::exact && now->answer().observables == one->answer().observables);
        CHECK(now->progress().resolved == one->progress().resolved && now->progress().open == 0);
        flips += now->answer().observables != 0;
    }
    CHECK(flips > 100);
}

int main() {
    stretches();
    adopting();
    refusals();
    accuracy(union_find, Quality::heuristic);
    accuracy(matching, Quality::exact);
    endless();
    forced(union_find, Quality::heuristic);
    forced(matching, Quality::exact);
    misuse();
}

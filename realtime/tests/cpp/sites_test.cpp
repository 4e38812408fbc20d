#include "check.h"
#include "erasure.h"
#include "graphs.h"
#include "matching.h"
#include "parallel.h"
#include "union_find.h"
#include "window_stream.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <tuple>

using namespace qdeck;

static std::unique_ptr<Compiled> union_find(const Model &model) { return std::make_unique<UnionFind>(model); }
static std::unique_ptr<Compiled> erasure(const Model &model) { return std::make_unique<Erasure>(model); }
static std::unique_ptr<Compiled> matching(const Model &model) { return std::make_unique<Matching>(model); }

constexpr int32_t WIDE = 4;  // detectors of a layer, of a repetition code of distance 5

// Sites of each round of a volume from `graphs::repetition`: 0 to 3 lose an outcome, 4 to 8 a data atom, which shows in this
// round, in the one before and in the next. At the ends there is less to erase.
static Sites sites_of(const Model &model) {
    const int32_t layers = model.layer.back() + 1;
    const auto find = [&](int32_t t, int32_t i, int32_t u, int32_t j) {
        const int32_t a = t * WIDE + i;
        const int32_t b = j == BOUNDARY ? BOUNDARY : u * WIDE + j;
        for (size_t e = 0; e < model.edges.size(); e++)
            if (model.edges[e].u == a && model.edges[e].v == b)
                return static_cast<int32_t>(e);
        return BOUNDARY;
    };
    Sites sites;
    for (int32_t t = 0; t < layers; t++) {
        auto &round = sites.emplace_back(9);
        const auto put = [&](size_t site, int32_t edge) {
            if (edge != BOUNDARY)
                round[site].push_back(edge);
        };
        for (int32_t i = 0; i < WIDE && t + 1 < layers; i++)
            put(static_cast<size_t>(i), find(t, i, t + 1, i));
        for (int32_t j = 0; j <= WIDE; j++) {
            const size_t site = static_cast<size_t>(4 + j);
            for (int32_t u = t; u <= std::min(t + 1, layers - 1); u++) {
                if (j > 0)
                    put(site, find(u, j - 1, u, j < WIDE ? j : BOUNDARY));
                if (j == 0)  // the left end flips the observable; its edge comes before the right end's
                    put(site, find(u, 0, u, BOUNDARY));
            }
            if (t > 0 && j > 0 && j < WIDE)
                put(site, find(t - 1, j - 1, t, j));
        }
    }
    return sites;
}

// A volume of `rounds` rounds whose first layer and whose last two have other weights.
static Model volume(int32_t rounds) {
    Model model = graphs::repetition(WIDE + 1, rounds, 0.02, 0.02, 0.005);
    for (Edge &edge : model.edges)
        if (model.layer[edge.u] == 0 || model.layer[edge.u] >= rounds - 1)
            edge.weight *= 1.25;
    return model;
}

// Decodes nothing, and tells which edges are erased.
struct Recorder final : Compiled {
    explicit Recorder(const Model &model_) : model(model_) {}
    struct Writer final : Decoder {
        explicit Writer(const Recorder &of_) : of(of_) {}
        void begin() noexcept override { erased.clear(); }
        void add(std::span<const int32_t>) noexcept override {}
        bool erase(std::span<const int32_t> edges) noexcept override {
            erased.insert(edges.begin(), edges.end());
            return true;
        }
        Answer finish() noexcept override { return {}; }
        const Recorder &of;
        std::set<int32_t> erased;
    };
    std::unique_ptr<Decoder> decoder() const override { return std::make_unique<Writer>(*this); }
    size_t bytes() const noexcept override { return 0; }
    Model model;
};

using Ends = std::tuple<int32_t, int32_t, uint64_t>;  // of an edge in the stream: detectors there, or BOUNDARY, and flips

// What a part erases for losses of a long stream is what the long volume's own table says, wherever the part lies.
static void tables() {
    const Model small = volume(14);
    const Layers layers(small);
    CHECK(layers.head == 1 && layers.tail == 2);
    const SiteTable table(small, layers, sites_of(small));
    CHECK(table.count() == 9 && table.words() == 1 && table.ahead() == 2 && table.least() <= 7);
    const int32_t rounds = 40;
    const Model large = volume(rounds);
    const Sites truth = sites_of(large);
    const Maker record = [](const Model &model) { return std::make_unique<Recorder>(model); };
    const int32_t span = 8, count = layers.head + 2 * span + layers.tail;
    const Model whole = stretch(small, layers, count);
    int64_t hits = 0;
    for (const bool open_past : {false, true}) {
        const Part start(whole, 1, {0, span, false, true}, record, true);
        const Part middle(whole, 1, {2, 2 + span, open_past, true}, record, true);
        const Part end(whole, 1, {count - span, count, open_past, false}, record, true);
        for (int32_t from = 0; from + span <= rounds + 1; from++) {
            const Part &part = from == 0 ? start : from + span <= rounds + 1 - layers.tail ? middle : end;
            if (&part == &end && from + span != rounds + 1)
                continue;
            const auto &model = static_cast<const Recorder &>(*part.compiled).model;
            const auto decoder = part.compiled->decoder();
            auto &writer = static_cast<Recorder::Writer &>(*decoder);
            for (int32_t round = std::max(0, from - table.ahead()); round < from + span; round++) {
                for (int32_t site = 0; site < table.count(); site++) {
                    writer.begin();
                    const uint64_t lost = uint64_t{1} << site;
                    part.erase(writer, table, from, &part == &end ? rounds + 1 : INT64_MAX, round, &lost);
                    std::set<Ends> found, expected;
                    for (const int32_t e : writer.erased) {
                        const Edge &edge = model.edges[static_cast<size_t>(e)];
                        const int32_t v = edge.v == BOUNDARY ? BOUNDARY : edge.v + from * WIDE;
                        found.insert({edge.u + from * WIDE, v, edge.observables});
                    }
                    for (const int32_t e : truth[static_cast<size_t>(round)][static_cast<size_t>(site)]) {
                        const Edge &edge = large.edges[static_cast<size_t>(e)];
                        const int32_t low = large.layer[edge.u];
                        const int32_t high = edge.v == BOUNDARY ? low : large.layer[edge.v];
                        if (low >= from && high < from + span)
                            expected.insert({edge.u, edge.v, edge.observables});
                        else if (low >= from && low < from + span && &part != &end)
                            expected.insert({edge.u, BOUNDARY, edge.observables | FUTURE});
                        else if (open_past && low < from && high >= from && from > 1)
                            expected.insert({edge.v, BOUNDARY, edge.observables | PAST});
                    }
                    if (from == 1 && open_past)  // the layer before is of another kind: its edges are left as they are
                        std::erase_if(found, [](const Ends &each) { return std::get<2>(each) & PAST; });
                    CHECK(found == expected);
                    hits += static_cast<int64_t>(found.size());
                }
            }
        }
    }
    CHECK(hits > 5000);
}

struct Lossy {
    std::vector<std::vector<int32_t>> ranks;
    std::vector<std::vector<int32_t>> lost;  // sites of each round
    std::set<int32_t> edges;                 // of the volume that are erased
    graphs::Shot shot;
};

// Errors as the model has them; what is lost flips half of the time.
static Lossy sample(const Model &model, const Sites &sites, std::mt19937_64 &random, double loss) {
    std::uniform_real_distribution<double> uniform;
    Lossy made;
    made.lost.resize(sites.size());
    for (size_t t = 0; t < sites.size(); t++)
        for (size_t site = 0; site < sites[t].size(); site++)
            if (!sites[t][site].empty() && uniform(random) < loss) {
                made.lost[t].push_back(static_cast<int32_t>(site));
                made.edges.insert(sites[t][site].begin(), sites[t][site].end());
            }
    std::vector<char> fired(static_cast<size_t>(model.detectors));
    for (size_t e = 0; e < model.edges.size(); e++) {
        const Edge &edge = model.edges[e];
        const double p = made.edges.count(static_cast<int32_t>(e)) ? 0.5 : 1 / (1 + std::exp(edge.weight));
        if (uniform(random) >= p)
            continue;
        fired[edge.u] ^= 1;
        if (edge.v != BOUNDARY)
            fired[edge.v] ^= 1;
        made.shot.observables ^= edge.observables;
    }
    for (int32_t v = 0; v < model.detectors; v++)
        if (fired[v])
            made.shot.defects.push_back(v);
    made.ranks = graphs::by_layer(made.shot, WIDE, model.layer.back() + 1);
    return made;
}

static Committed decode(StreamDecoder &stream, const Lossy &lossy, bool told) {
    stream.begin();
    for (size_t t = 0; t < lossy.ranks.size(); t++) {
        if (told)
            CHECK(stream.erase(lossy.lost[t]));
        if (t + 1 == lossy.ranks.size())
            return stream.close(lossy.ranks[t]);
        stream.round(lossy.ranks[t]);
    }
    return {};
}

// Streams that are told of losses err as the whole volume with the same erasures does, and far less than deaf ones.
static void accuracy(const Maker &maker) {
    const int32_t rounds = 60;
    const Model model = volume(rounds);
    const Sites sites = sites_of(model);
    const auto whole = maker(model);
    const auto truth = whole->decoder();
    const Windows windows(model, {10, 5}, maker, sites);
    const ParallelWindows beside(model, {5, 6, 5}, maker, sites);
    WindowStream sliding(windows);
    ParallelWindowStream alone(beside, 0, 0), threads(beside, 2, 0);
    std::mt19937_64 random(17);
    std::array<int, 4> wrong{};
    const int shots = 4000;
    int differ = 0;
    for (int i = 0; i < shots; i++) {
        const Lossy lossy = sample(model, sites, random, 0.015);
        truth->begin();
        const std::vector<int32_t> edges(lossy.edges.begin(), lossy.edges.end());
        CHECK(truth->erase(edges));
        truth->add(lossy.shot.defects);
        const uint64_t answers[] = {truth->finish().observables, decode(sliding, lossy, true).observables,
                                    decode(alone, lossy, true).observables, decode(sliding, lossy, false).observables};
        for (size_t k = 0; k < 4; k++)
            wrong[k] += answers[k] != lossy.shot.observables;
        differ += answers[0] != answers[1];
        if (i % 100 == 0)
            CHECK(decode(threads, lossy, true).observables == answers[2]);
    }
    std::printf("losses: %d wrong of %d as a whole, %d in sliding windows (%d unlike), %d in parallel ones, %d not told\n",
                wrong[0], shots, wrong[1], differ, wrong[2], wrong[3]);
    CHECK(wrong[1] < wrong[0] * 1.1 + 10 && wrong[2] < wrong[0] * 1.1 + 10);
    CHECK(wrong[3] > wrong[0] * 1.5);
}

// Losses come over with a stream that is handed on, and are forgotten when another begins.
static void adopting() {
    const int32_t rounds = 60;
    const Model model = volume(rounds);
    const Sites sites = sites_of(model);
    const Windows windows(model, {10, 5}, erasure, sites), deaf(model, {10, 5}, erasure);
    const ParallelWindows beside(model, {5, 6, 5}, erasure, sites);
    const auto sliding = [&]() -> std::unique_ptr<StreamDecoder> { return std::make_unique<WindowStream>(windows); };
    const auto parallel = [&](int32_t workers) -> std::unique_ptr<StreamDecoder> {
        return std::make_unique<ParallelWindowStream>(beside, workers, 0);
    };
    std::mt19937_64 random(23);
    for (int i = 0; i < 120; i++) {
        const Lossy lossy = sample(model, sites, random, 0.03);
        const int32_t workers = i % 4 - 1;
        const auto make = [&] { return workers < 0 ? sliding() : parallel(workers); };
        auto steady = make();
        const Lossy other = sample(model, sites, random, 0.2);
        decode(*steady, other, true);
        const uint64_t expected = decode(*steady, lossy, true).observables;
        auto now = make();
        std::vector<std::unique_ptr<StreamDecoder>> left;
        now->begin();
        for (size_t t = 0; t + 1 < lossy.ranks.size(); t++) {
            if (random() % 6 == 0) {
                auto fresh = make();
                CHECK(fresh->adopt(*now));
                left.push_back(std::move(now));
                now = std::move(fresh);
            }
            CHECK(now->erase(lossy.lost[t]));
            now->round(lossy.ranks[t]);
        }
        CHECK(now->erase(lossy.lost.back()));
        CHECK(now->close(lossy.ranks.back()).observables == expected);
    }
    WindowStream told(windows), untold(deaf);
    told.begin();
    CHECK(!untold.adopt(told) && !untold.erase({}) && told.erase({}));
}

// Every correction together explains every defect also where nearly everything is lost, and windows are far too small.
static void consistency() {
    Model model = volume(60);
    for (Edge &edge : model.edges) {
        edge.observables = uint64_t{1} << edge.u % WIDE;
        if (edge.v != BOUNDARY)
            edge.observables ^= uint64_t{1} << edge.v % WIDE;
    }
    model.observables = WIDE;
    const Sites sites = sites_of(model);
    std::mt19937_64 random(29);
    for (const Maker &maker : {Maker(union_find), Maker(erasure)}) {
        const Windows small(model, {2, 1}, maker, sites), usual(model, {8, 4}, maker, sites);
        const ParallelWindows beside(model, {3, 2, 1}, maker, sites);
        WindowStream first(small), second(usual);
        ParallelWindowStream third(beside, 1, 0);
        for (int i = 0; i < 60; i++) {
            const Lossy lossy = sample(model, sites, random, i % 3 * 0.3);
            uint64_t odd = 0;
            for (const int32_t v : lossy.shot.defects)
                odd ^= uint64_t{1} << v % WIDE;
            for (StreamDecoder *stream : {static_cast<StreamDecoder *>(&first), static_cast<StreamDecoder *>(&second),
                                          static_cast<StreamDecoder *>(&third)}) {
                const Committed all = decode(*stream, lossy, true);
                CHECK(!all.failed && all.observables == odd);
            }
        }
    }
}

static void refusals() {
    const Model model = volume(30);
    const Sites sites = sites_of(model);
    const auto refusal = [&](const Maker &maker, const Sites &of) -> std::string {
        try {
            Windows(model, {10, 5}, maker, of);
        } catch (const std::invalid_argument &error) {
            return error.what();
        }
        return "";
    };
    CHECK(refusal(erasure, sites).empty() && refusal(matching, {}).empty());
    CHECK(refusal(matching, sites).find("take 'erasure' or 'union-find'") != std::string::npos);
    Sites wrong = sites;
    wrong.pop_back();
    CHECK(refusal(erasure, wrong).find("30 rounds, and the model has 31 layers") != std::string::npos);
    wrong = sites;
    wrong[3][2] = {99999};
    CHECK(refusal(erasure, wrong).find("erases edge 99999") != std::string::npos);
    wrong = sites;
    for (size_t t = 0; t < wrong.size(); t++)
        wrong[t][0].assign(t % 3, 0);
    CHECK(refusal(erasure, wrong).find("no two rounds lose alike") != std::string::npos);
    // As many rounds as differ at the ends are the least that a stream may have.
    CHECK(Windows(model, {2, 1}, erasure).least() == 4 && Windows(model, {2, 1}, erasure, sites).least() == 5);
    CHECK(measured_sites({}, {}, {3, 3}).empty());
    const Sites measured = measured_sites({{1}, {}, {2, 3}}, {{}, {4}, {}}, {2, 1});
    CHECK(measured.size() == 2 && measured[0].size() == 4 && measured[1].size() == 2);
    CHECK(measured[0][0] == std::vector<int32_t>{1} && measured[0][3] == std::vector<int32_t>{4});
    CHECK((measured[1][0] == std::vector<int32_t>{2, 3}));
    try {
        measured_sites({{}}, {}, {2, 1});
        CHECK(false);
    } catch (const std::invalid_argument &error) {
        CHECK(std::string(error.what()).find("each of 3 measurements of the volume, not for 1") != std::string::npos);
    }
    const Windows windows(model, {10, 5}, erasure, sites);
    WindowStream stream(windows);
    stream.begin();
    const std::vector<int32_t> bad{9};
    CHECK(stream.erase(bad) && stream.round({}).failed);
}

int main() {
    tables();
    accuracy(erasure);
    accuracy(union_find);
    adopting();
    consistency();
    refusals();
}

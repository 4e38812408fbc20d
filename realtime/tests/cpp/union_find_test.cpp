#include "check.h"
#include "graphs.h"
#include "union_find.h"

#include <algorithm>
#include <cmath>

using namespace qdeck;

// The correction explains the syndrome, and all that the answer says follows from it.
static void check_answer(const Model &model, UnionFindDecoder &decoder, const graphs::Shot &shot,
                         const Answer &answer) {
    std::vector<int> fired(model.detectors);
    uint64_t observables = 0;
    double weight = 0;
    for (const int32_t e : decoder.correction()) {
        const Edge &edge = model.edges[e];
        fired[edge.u] ^= 1;
        if (edge.v != BOUNDARY)
            fired[edge.v] ^= 1;
        observables ^= edge.observables;
        weight += edge.weight;
    }
    for (const int32_t v : shot.defects)
        fired[v] ^= 1;
    CHECK(std::count(fired.begin(), fired.end(), 1) == 0);
    CHECK(observables == answer.observables);
    CHECK(std::abs(weight - answer.weight) < 1e-9);
    CHECK(answer.quality == Quality::heuristic);
    std::vector<int32_t> paired;
    for (const Pair &pair : decoder.pairs()) {
        paired.push_back(pair.a);
        if (pair.b != BOUNDARY)
            paired.push_back(pair.b);
        observables ^= pair.observables;
    }
    std::sort(paired.begin(), paired.end());
    CHECK(paired == shot.defects);
    CHECK(observables == 0);
}

static void random_graphs() {
    std::mt19937_64 random(7);
    double ours = 0;
    double best = 0;
    for (int round = 0; round < 400; round++) {
        const int32_t detectors = 1 + static_cast<int32_t>(random() % 40);
        const Model model =
            graphs::random_graph(random, detectors, static_cast<int32_t>(random() % 60),
                                 static_cast<int32_t>(random() % 4), static_cast<int32_t>(random() % 65));
        const bool boundary =
            std::any_of(model.edges.begin(), model.edges.end(), [](const Edge &e) { return e.v == BOUNDARY; });
        const UnionFind graph(model);
        UnionFindDecoder decoder(graph);
        graphs::Brute brute(model);
        for (int i = 0; i < 50; i++) {
            const bool any = i % 10 == 9;  // defects that no error need have made
            graphs::Shot shot = graphs::sample(model, random, any ? 0.5 : 0.05);
            if (any) {
                shot.defects.clear();
                for (int32_t v = 0; v < detectors; v++)
                    if (random() % 3 == 0)
                        shot.defects.push_back(v);
            }
            decoder.begin();
            const std::span<const int32_t> all(shot.defects);
            const size_t half = all.size() / 2;
            decoder.add(all.subspan(0, half));
            decoder.add(all.subspan(half));
            const Answer answer = decoder.finish();
            if (!boundary && shot.defects.size() % 2) {
                CHECK(answer.quality == Quality::failed);
                continue;
            }
            check_answer(model, decoder, shot, answer);
            if (shot.defects.size() <= 10) {
                const double least = brute.weight(shot.defects);
                CHECK(answer.weight >= least - 1e-9);
                ours += answer.weight;
                best += least;
            }
        }
    }
    CHECK(ours < 1.25 * best);
    std::printf("union-find weighs %.4f of the minimum\n", ours / best);
}

// Two defects and one path each way: growth must respect weights, also of different clusters.
static void weights_count() {
    Model model{3,
                1,
                {{0, 1, 3.0, 1}, {0, BOUNDARY, 2.0, 0}, {1, BOUNDARY, 2.0, 0}, {1, 2, 0.5, 0}, {2, BOUNDARY, 5.0, 1}},
                {}};
    const UnionFind graph(model);
    UnionFindDecoder decoder(graph);
    auto decode = [&](std::vector<int32_t> defects) {
        decoder.begin();
        decoder.add(defects);
        return decoder.finish();
    };
    CHECK(decode({}).weight == 0);
    CHECK(decode({0, 1}).observables == 1 && decode({0, 1}).weight == 3.0);
    CHECK(decode({0}).observables == 0 && decode({0}).weight == 2.0);
    CHECK(decode({2}).weight == 2.5);
    CHECK(decode({0, 1, 2}).weight == 2.5);
}

// Far fewer logical errors than without decoding (the Python tests compare with exact matching).
static void logical_errors() {
    const Model model = graphs::repetition(5, 5, 0.02, 0.02, 0.01);
    const UnionFind graph(model);
    UnionFindDecoder decoder(graph);
    std::mt19937_64 random(3);
    int wrong = 0;
    int flips = 0;
    const int shots = 100'000;
    for (int i = 0; i < shots; i++) {
        const graphs::Shot shot = graphs::sample(model, random);
        decoder.begin();
        decoder.add(shot.defects);
        const Answer answer = decoder.finish();
        check_answer(model, decoder, shot, answer);
        wrong += answer.observables != shot.observables;
        flips += shot.observables != 0;
    }
    std::printf("union-find: %d of %d wrong, %d flips\n", wrong, shots, flips);
    CHECK(wrong * 15 < flips);
}

int main() {
    weights_count();
    random_graphs();
    logical_errors();
}

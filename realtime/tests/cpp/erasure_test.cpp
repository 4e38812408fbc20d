#include "check.h"
#include "erasure.h"
#include "graphs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace qdeck;

// On any graph with any edges erased: the weight is the least, and pairs say what the answer says.
static void random_graphs(bool tables) {
    std::mt19937_64 random(13);
    int exact = 0;
    int large = 0;
    for (int round = 0; round < 400; round++) {
        const int32_t detectors = 1 + static_cast<int32_t>(random() % 40);
        const Model model =
            graphs::random_graph(random, detectors, static_cast<int32_t>(random() % 60),
                                 static_cast<int32_t>(random() % 4), static_cast<int32_t>(random() % 65));
        const Erasure compiled(model, {}, tables);
        ErasureDecoder decoder(compiled);
        for (int i = 0; i < 20; i++) {
            Model shot_model = model;
            std::vector<int32_t> erased;
            for (size_t e = 0; e < model.edges.size(); e++) {
                if (random() % 6 != 0)
                    continue;
                erased.push_back(static_cast<int32_t>(e));
                shot_model.edges[e].weight = 0;
            }
            if (i % 3 == 0) {
                erased.clear();
                shot_model = model;
            }
            std::vector<int32_t> defects;
            for (int32_t v = 0; v < detectors && defects.size() < 13; v++)
                if (random() % 3 == 0)
                    defects.push_back(v);
            decoder.begin();
            decoder.add(defects);
            CHECK(decoder.erase(erased));
            const Answer answer = decoder.finish();
            const double least = graphs::Brute(shot_model).weight(defects);
            if (std::isinf(least)) {
                CHECK(answer.quality == Quality::failed);
                continue;
            }
            CHECK(answer.quality == Quality::exact);
            // Clusters of more than 8 defects are matched by rounded distances, and tables hold such.
            const bool rounded = defects.size() > 8;
            if (tables)
                CHECK(std::abs(answer.weight - least) < 0.02 + 2e-3 * least);
            else
                CHECK(answer.weight > least - 1e-9 && answer.weight < least + (rounded ? 1e-3 * (1 + least) : 1e-9));
            large += rounded;
            exact++;
            std::vector<int32_t> paired;
            uint64_t observables = 0;
            for (const Pair &pair : decoder.pairs()) {
                paired.push_back(pair.a);
                if (pair.b != BOUNDARY)
                    paired.push_back(pair.b);
                observables ^= pair.observables;
            }
            std::sort(paired.begin(), paired.end());
            CHECK(paired == defects);
            CHECK(observables == answer.observables);
        }
    }
    CHECK(exact > 4000 && large > 1000);
}

// Errors at half of the places where an atom was lost: who knows the places makes far fewer logical errors.
static void losses(bool tables) {
    const Model model = graphs::repetition(7, 7, 0.01, 0.01);
    std::vector<std::vector<int32_t>> sites(model.edges.size());  // each place erases one edge
    for (size_t e = 0; e < sites.size(); e++)
        sites[e] = {static_cast<int32_t>(e)};
    const Erasure compiled(model, sites, tables);
    ErasureDecoder decoder(compiled);
    const UnionFind graph(model);
    UnionFindDecoder union_find(graph);
    std::mt19937_64 random(17);
    int aware = 0;
    int aware_union_find = 0;
    int blind = 0;
    int heuristic = 0;
    for (int i = 0; i < 20'000; i++) {
        std::vector<int32_t> lost;
        std::vector<char> fired(model.detectors);
        uint64_t truth = 0;
        for (size_t e = 0; e < model.edges.size(); e++) {
            const bool loss = random() % 100 < 12;
            if (loss)
                lost.push_back(static_cast<int32_t>(e));
            if (loss ? random() % 2 : random() % 100 == 0) {
                fired[model.edges[e].u] ^= 1;
                if (model.edges[e].v != BOUNDARY)
                    fired[model.edges[e].v] ^= 1;
                truth ^= model.edges[e].observables;
            }
        }
        std::vector<int32_t> defects;
        for (int32_t v = 0; v < model.detectors; v++)
            if (fired[v])
                defects.push_back(v);
        decoder.begin();
        decoder.add(defects);
        const Answer without = decoder.finish();
        decoder.begin();
        decoder.add(defects);
        decoder.lose(lost);
        const Answer with = decoder.finish();
        CHECK(with.weight <= without.weight + 1e-2 || with.quality == Quality::heuristic);
        union_find.begin();
        union_find.add(defects);
        CHECK(union_find.erase(lost));
        const Answer other = union_find.finish();
        CHECK(with.quality == Quality::heuristic || other.weight >= with.weight - 1e-2);
        aware += with.observables != truth;
        aware_union_find += other.observables != truth;
        blind += without.observables != truth;
        heuristic += with.quality == Quality::heuristic;
    }
    std::printf("losses: %d wrong with them, %d by union-find, %d without; %d heuristic\n", aware, aware_union_find,
                blind, heuristic);
    CHECK(heuristic == 0);
    CHECK(aware * 3 < blind);
    CHECK(aware_union_find < blind && aware_union_find >= aware);
}

int main() {
    random_graphs(false);
    random_graphs(true);
    losses(false);
    losses(true);
}

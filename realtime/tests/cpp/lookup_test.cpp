#include "check.h"
#include "graphs.h"
#include "lookup.h"

#include <cmath>
#include <map>
#include <stdexcept>
#include <string>

using namespace qdeck;

static Answer decode(Decoder &decoder, const std::vector<int32_t> &defects) {
    decoder.begin();
    decoder.add(defects);
    return decoder.finish();
}

// Every syndrome of small graphs: the weight is the least, and the class the likeliest of all sets of errors.
static void every_syndrome() {
    std::mt19937_64 random(23);
    for (int round = 0; round < 60; round++) {
        const int32_t detectors = 1 + static_cast<int32_t>(random() % 6);
        Model model = graphs::random_graph(random, detectors, static_cast<int32_t>(random() % 4),
                                           static_cast<int32_t>(random() % 3), static_cast<int32_t>(random() % 3));
        const Lookup errors(model);
        const Lookup classes(model, Lookup::Rule::likeliest_class);
        CHECK(errors.uncovered() == 0);
        graphs::Brute brute(model);
        std::map<std::pair<uint32_t, uint64_t>, double> chance;  // all sets of errors, one by one
        for (uint32_t set = 0; set < 1u << model.edges.size(); set++) {
            uint32_t syndrome = 0;
            uint64_t flips = 0;
            double p = 1;
            for (size_t e = 0; e < model.edges.size(); e++) {
                const Edge &edge = model.edges[e];
                const double q = 1 / (1 + std::exp(edge.weight));
                p *= set >> e & 1 ? q : 1 - q;
                if (!(set >> e & 1))
                    continue;
                syndrome ^= 1u << edge.u;
                if (edge.v != BOUNDARY)
                    syndrome ^= 1u << edge.v;
                flips ^= edge.observables;
            }
            chance[{syndrome, flips}] += p;
        }
        for (uint32_t syndrome = 0; syndrome < 1u << detectors; syndrome++) {
            std::vector<int32_t> defects;
            for (int32_t v = 0; v < detectors; v++)
                if (syndrome >> v & 1)
                    defects.push_back(v);
            const Answer answer = decode(*errors.decoder(), defects);
            const double least = brute.weight(defects);
            if (std::isinf(least)) {
                CHECK(answer.quality == Quality::failed);
                CHECK(decode(*classes.decoder(), defects).quality == Quality::failed);
                continue;
            }
            CHECK(answer.quality == Quality::exact);
            CHECK(std::abs(answer.weight - least) < 1e-4);  // tables hold floats
            double best = 0;
            for (uint64_t mask = 0; mask < 4; mask++)
                best = std::max(best, chance[{syndrome, mask}]);
            const Answer likeliest = decode(*classes.decoder(), defects);
            CHECK((chance[{syndrome, likeliest.observables}] > best * (1 - 1e-8)));
        }
    }
}

static void coverage() {
    Model model = graphs::repetition(3, 3, 0.01, 0.01);  // 8 detectors that flip observable 0
    for (int32_t v = 8; v < 30; v++)                     // and 22 that flip nothing
        model.edges.push_back({v, v + 1 < 30 ? v + 1 : BOUNDARY, 3.0, 0});
    model.detectors = 30;
    model.layer.clear();
    const Lookup some(model);
    CHECK(some.uncovered() == 0 && some.covers(29));
    CHECK(decode(*some.decoder(), {0, 29}).quality == Quality::exact);
    model.edges.back().observables = 1;  // now they matter
    const Lookup fewer(model);
    CHECK(fewer.uncovered() == 22 && fewer.covers(7) && !fewer.covers(8));
    CHECK(decode(*fewer.decoder(), {0}).quality == Quality::exact);
    CHECK(decode(*fewer.decoder(), {0, 29}).quality == Quality::failed);
    std::string refusal;
    try {
        Lookup(model, Lookup::Rule::likeliest_error, 7);
    } catch (const std::invalid_argument &error) {
        refusal = error.what();
    }
    CHECK(refusal == "no basis of the model has at most 7 detectors: take a matching decoder");
}

int main() {
    every_syndrome();
    coverage();
}

// Small matching graphs with known answers, for tests: repetition codes, random graphs, and exact matching by brute
// force.
#pragma once

#include "model.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace graphs {

using qdeck::BOUNDARY;
using qdeck::Edge;
using qdeck::Model;

inline double weight_of(double p) { return std::log((1 - p) / p); }

// A repetition code of `distance` data bits, measured `rounds` times and read out once more: distance - 1 detectors a
// layer, rounds + 1 layers. The left end's edges flip observable 0, the right end's nothing; with `diagonals`, as
// circuits have.
inline Model repetition(int32_t distance, int32_t rounds, double p_data, double p_measure, double p_diagonal = 0) {
    Model model;
    const int32_t wide = distance - 1;
    model.detectors = wide * (rounds + 1);
    model.observables = 1;
    for (int32_t t = 0; t <= rounds; t++) {
        for (int32_t i = 0; i < wide; i++) {
            const int32_t here = t * wide + i;
            model.layer.push_back(t);
            if (i == 0)
                model.edges.push_back({here, BOUNDARY, weight_of(p_data), 1});
            model.edges.push_back({here, i + 1 < wide ? here + 1 : BOUNDARY, weight_of(p_data), 0});
            if (t < rounds)
                model.edges.push_back({here, here + wide, weight_of(p_measure), 0});
            if (t < rounds && i + 1 < wide && p_diagonal > 0)
                model.edges.push_back({here, here + wide + 1, weight_of(p_diagonal), 0});
        }
    }
    return model;
}

// The same with an observable for each of 8 detectors of a layer: whether corrections end at an odd number of those.
inline Model ends(Model model) {
    for (Edge &edge : model.edges) {
        edge.observables = uint64_t{1} << edge.u % 8;
        if (edge.v != BOUNDARY)
            edge.observables ^= uint64_t{1} << edge.v % 8;
    }
    model.observables = 8;
    return model;
}

// A connected graph with random weights, some of them zero or equal, and random observables; every `boundary`th vertex
// on average touches the boundary (0: none does).
inline Model random_graph(std::mt19937_64 &random, int32_t detectors, int32_t extra, int32_t boundary,
                          int32_t observables) {
    Model model;
    model.detectors = detectors;
    model.observables = observables;
    const uint64_t known = observables == 64 ? ~uint64_t{0} : (uint64_t{1} << observables) - 1;
    auto weight = [&] { return random() % 8 == 0 ? static_cast<double>(random() % 3) : (random() % 4096) / 512.0; };
    auto put = [&](int32_t u, int32_t v) { model.edges.push_back({u, v, weight(), random() & known}); };
    for (int32_t v = 1; v < detectors; v++)
        put(static_cast<int32_t>(random() % v), v);
    for (int32_t i = 0; i < extra && detectors > 1; i++) {
        const int32_t u = static_cast<int32_t>(random() % detectors);
        const int32_t v = static_cast<int32_t>(random() % detectors);
        if (u != v)
            put(u, v);
    }
    for (int32_t v = 0; boundary > 0 && v < detectors; v++)
        if (random() % boundary == 0)
            put(v, BOUNDARY);
    return model;
}

struct Shot {
    std::vector<int32_t> defects;
    uint64_t observables = 0;
};

// Errors with the model's own probabilities, or with `p` for each edge.
inline Shot sample(const Model &model, std::mt19937_64 &random, double p = -1) {
    std::vector<char> fired(model.detectors);
    Shot shot;
    std::uniform_real_distribution<double> uniform;
    for (const Edge &edge : model.edges) {
        if (uniform(random) >= (p >= 0 ? p : 1 / (1 + std::exp(edge.weight))))
            continue;
        fired[edge.u] ^= 1;
        if (edge.v != BOUNDARY)
            fired[edge.v] ^= 1;
        shot.observables ^= edge.observables;
    }
    for (int32_t v = 0; v < model.detectors; v++)
        if (fired[v])
            shot.defects.push_back(v);
    return shot;
}

// A shot's defects layer by layer, as ranks, for a model with the same number of detectors in each layer.
inline std::vector<std::vector<int32_t>> by_layer(const Shot &shot, int32_t wide, int32_t layers) {
    std::vector<std::vector<int32_t>> ranks(static_cast<size_t>(layers));
    for (const int32_t v : shot.defects)
        ranks[static_cast<size_t>(v / wide)].push_back(v % wide);
    return ranks;
}

// The weight of a minimum-weight matching of all defects (Floyd and Warshall, then a table over subsets): infinite if
// none exists. For at most some 100 detectors and 14 defects.
class Brute {
public:
    explicit Brute(const Model &model) : n(model.detectors + 1), distance(static_cast<size_t>(n) * n, infinite) {
        for (int32_t v = 0; v < n; v++)
            at(v, v) = 0;
        for (const Edge &edge : model.edges) {
            const int32_t v = edge.v == BOUNDARY ? n - 1 : edge.v;
            at(edge.u, v) = at(v, edge.u) = std::min(at(edge.u, v), edge.weight);
        }
        for (int32_t k = 0; k < n; k++)
            for (int32_t i = 0; i < n; i++)
                for (int32_t j = 0; j < n; j++)
                    at(i, j) = std::min(at(i, j), at(i, k) + at(k, j));
    }
    double weight(const std::vector<int32_t> &defects) {
        std::vector<double> best(size_t{1} << defects.size(), infinite);
        best[0] = 0;
        for (size_t set = 1; set < best.size(); set++) {
            const int32_t low = __builtin_ctzll(set);
            const size_t rest = set & (set - 1);
            best[set] = best[rest] + at(defects[low], n - 1);
            for (size_t others = rest; others; others &= others - 1) {
                const int32_t j = __builtin_ctzll(others);
                best[set] = std::min(best[set], best[rest & ~(size_t{1} << j)] + at(defects[low], defects[j]));
            }
        }
        return best.back();
    }

private:
    static constexpr double infinite = std::numeric_limits<double>::infinity();
    double &at(int32_t i, int32_t j) { return distance[static_cast<size_t>(i) * n + j]; }
    int32_t n;
    std::vector<double> distance;
};

}  // namespace graphs

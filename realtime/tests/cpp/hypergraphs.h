// Small hypergraphs for tests, and their most likely errors by brute force.
#pragma once

#include "mechanisms.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace hypergraphs {

using qdeck::Mechanisms;

struct Shot {
    std::vector<int32_t> defects;
    uint64_t observables = 0;
};

// Each mechanism fires up to five detectors.
inline Mechanisms random_model(std::mt19937_64 &random, int32_t detectors, int32_t mechanisms, int32_t observables,
                               double rare = 0.02) {
    Mechanisms model;
    model.detectors = detectors;
    model.observables = observables;
    const uint64_t known = observables == 64 ? ~uint64_t{0} : (uint64_t{1} << observables) - 1;
    for (int32_t i = 0; i < mechanisms; i++) {
        std::vector<int32_t> fires;
        for (uint64_t many = 1 + random() % 5; many--;) {
            const auto v = static_cast<int32_t>(random() % static_cast<uint64_t>(detectors));
            bool there = false;
            for (const int32_t other : fires)
                there = there || other == v;
            if (!there)
                fires.push_back(v);
        }
        model.add(rare * static_cast<double>(1 + random() % 8) / 8, fires, random() & known);
    }
    return model;
}

// A classical code of `size` bits, each of them in three checks that are shifts of one another, whose checks are measured
// in `rounds` rounds and read out once more: detector ids are size * round + check. The first 12 bits are observables.
inline Mechanisms shifts(int32_t size, int32_t rounds, double p) {
    Mechanisms model;
    model.detectors = size * (rounds + 1);
    model.observables = 12;
    for (int32_t t = 0; t <= rounds; t++)
        for (int32_t i = 0; i < size; i++) {
            const int32_t at = t * size;
            model.add(p, std::vector<int32_t>{at + i, at + (i + 1) % size, at + (i + 3) % size},
                      i < 12 ? uint64_t{1} << i : 0);
            if (t < rounds)
                model.add(p, std::vector<int32_t>{at + i, at + size + i}, 0);
        }
    return model;
}

inline Shot sample(const Mechanisms &model, std::mt19937_64 &random) {
    std::vector<uint8_t> fired(static_cast<size_t>(model.detectors));
    Shot shot;
    for (size_t i = 0; i < model.size(); i++)
        if (static_cast<double>(random() >> 11) * 0x1p-53 < model.probability[i]) {
            for (const int32_t v : model.of(i))
                fired[static_cast<size_t>(v)] ^= 1;
            shot.observables ^= model.flips[i];
        }
    for (int32_t v = 0; v < model.detectors; v++)
        if (fired[static_cast<size_t>(v)])
            shot.defects.push_back(v);
    return shot;
}

inline double weight_of(double p) { return std::log((1 - p) / p); }

// The least weight of any error, by syndrome (bit v for detector v); up to some twenty mechanisms.
inline std::map<uint64_t, double> lightest(const Mechanisms &model) {
    std::map<uint64_t, double> least{{0, 0.0}};
    for (size_t i = 0; i < model.size(); i++) {
        uint64_t flip = 0;
        for (const int32_t v : model.of(i))
            flip ^= uint64_t{1} << v;
        std::map<uint64_t, double> after = least;
        for (const auto &[syndrome, weight] : least) {
            const double with = weight + weight_of(model.probability[i]);
            const auto [at, fresh] = after.emplace(syndrome ^ flip, with);
            if (!fresh && with < at->second)
                at->second = with;
        }
        least.swap(after);
    }
    return least;
}

}  // namespace hypergraphs

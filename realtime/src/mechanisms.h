// What a decoder of any detector error model is built from: independent error mechanisms, each with any number of
// detectors (hyperedges of the graph that model.h has).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qdeck {

// Mechanism i happens with `probability[i]` (above 0, at most 1/2), fires the detectors from `first[i]` to `first[i + 1]`
// in `touched` (one or more, each once) and flips the observables of `flips[i]`, bit k for observable k.
struct Mechanisms {
    int32_t detectors = 0;
    int32_t observables = 0;
    std::vector<double> probability;
    std::vector<uint64_t> flips;
    std::vector<int32_t> first{0};
    std::vector<int32_t> touched;

    size_t size() const noexcept { return probability.size(); }
    std::span<const int32_t> of(size_t i) const noexcept {
        return {touched.data() + first[i], static_cast<size_t>(first[i + 1] - first[i])};
    }
    void add(double p, std::span<const int32_t> fires, uint64_t mask);
    // Throws std::invalid_argument, with the first thing that is wrong.
    void check() const;
};

}  // namespace qdeck

// Decode many shots at once: what every decoder of this module offers to Python.
#pragma once

#include "decoder.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

namespace batch {

namespace nb = nanobind;

using Events = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T> nb::object array(std::vector<T> &&values) {
    auto *owned = new std::vector<T>(std::move(values));
    nb::capsule owner(owned, [](void *at) noexcept { delete static_cast<std::vector<T> *>(at); });
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(owned->data(), {owned->size()}, owner));
}

template <typename T> using Table = nb::ndarray<nb::numpy, T, nb::ndim<2>>;

template <typename T> Table<T> table(std::vector<T> &&values, size_t rows, size_t columns) {
    auto *owned = new std::vector<T>(std::move(values));
    nb::capsule owner(owned, [](void *at) noexcept { delete static_cast<std::vector<T> *>(at); });
    return Table<T>(owned->data(), {rows, columns}, owner);
}

inline constexpr const char *DOC =
    "Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: "
    "uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).";

// `before(decoder, shot)` may tell the decoder more about a shot, without holding Python's lock.
template <typename Before>
nb::tuple decode(const qdeck::Compiled &compiled, const Events &events, int32_t columns, Before before) {
    const auto detectors = static_cast<size_t>(columns);
    if (events.shape(1) != detectors)
        throw nb::value_error(("events have " + std::to_string(events.shape(1)) + " columns, the model has " +
                               std::to_string(detectors) + " detectors")
                                  .c_str());
    const size_t shots = events.shape(0);
    std::vector<uint64_t> masks(shots);
    std::vector<double> weights(shots);
    std::vector<uint8_t> qualities(shots);
    {
        nb::gil_scoped_release release;
        const auto decoder = compiled.decoder();
        std::vector<int32_t> defects;
        for (size_t i = 0; i < shots; i++) {
            const bool *row = events.data() + i * detectors;
            defects.clear();
            for (size_t v = 0; v < detectors; v++)
                if (row[v])
                    defects.push_back(static_cast<int32_t>(v));
            decoder->begin();
            decoder->add(defects);
            before(*decoder, i);
            const qdeck::Answer answer = decoder->finish();
            masks[i] = answer.observables;
            weights[i] = answer.weight;
            qualities[i] = static_cast<uint8_t>(answer.quality);
        }
    }
    return nb::make_tuple(array(std::move(masks)), array(std::move(weights)), array(std::move(qualities)));
}

inline nb::tuple decode(const qdeck::Compiled &compiled, const Events &events, int32_t columns) {
    return decode(compiled, events, columns, [](qdeck::Decoder &, size_t) {});
}

}  // namespace batch

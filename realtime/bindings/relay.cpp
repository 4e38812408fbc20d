#include "batch.h"
#include "relay.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

using namespace nanobind::literals;

namespace {

using qdeck::Mechanisms;
using qdeck::Relay;

using Found = std::tuple<uint64_t, double, std::vector<int32_t>, int64_t, int32_t>;

Found decode(const Relay &self, const std::vector<int32_t> &defects) {
    const size_t detectors = self.graph().place_of.size();
    for (const int32_t v : defects)
        if (v < 0 || static_cast<size_t>(v) >= detectors)
            throw std::invalid_argument("defects are detectors below " + std::to_string(detectors));
    qdeck::RelayDecoder decoder(self);
    decoder.begin();
    decoder.add(defects);
    const qdeck::Answer answer = decoder.finish();
    if (answer.quality == qdeck::Quality::failed)
        throw std::runtime_error("no leg converged in " + std::to_string(decoder.iterations()) + " iterations");
    std::vector<int32_t> found(decoder.correction().begin(), decoder.correction().end());
    std::sort(found.begin(), found.end());
    return {answer.observables, answer.weight, found, decoder.iterations(), decoder.legs()};
}

}  // namespace

void bind_relay(nanobind::module_ &m) {
    namespace nb = nanobind;
    nb::class_<Mechanisms>(m, "Mechanisms", "Error mechanisms of a detector error model, of any number of detectors each.")
        .def(nb::init<>())
        .def_rw("detectors", &Mechanisms::detectors)
        .def_rw("observables", &Mechanisms::observables)
        .def("add", [](Mechanisms &self, double probability, const std::vector<int32_t> &detectors, uint64_t observables) {
            self.add(probability, detectors, observables);
        }, "probability"_a, "detectors"_a, "observables"_a, "Add a mechanism; `observables` is a mask.")
        .def("check", &Mechanisms::check, "Raise ValueError, with the first thing that is wrong.")
        .def("__len__", &Mechanisms::size);
    nb::class_<Relay, qdeck::Compiled>(m, "Relay", "Relay belief propagation, for hyperedges, too.")
        .def("__init__", [](Relay *self, const Mechanisms &model, int32_t iterations, int32_t legs, int32_t leg_iterations,
                            int32_t solutions, int32_t more, double memory, std::pair<double, double> memories, double scaling,
                            uint64_t seed, bool vectors) {
            nb::gil_scoped_release release;
            new (self) Relay(model, {iterations, legs, leg_iterations, solutions, more, memory, memories.first, memories.second,
                                     scaling, seed, vectors});
        }, "model"_a, nb::kw_only(), "iterations"_a = 80, "legs"_a = 60, "leg_iterations"_a = 60, "solutions"_a = 3, "more"_a = 2,
             "memory"_a = 0.125, "memories"_a = std::pair(-0.24, 0.66), "scaling"_a = 1.0, "seed"_a = 0, "vectors"_a = true,
             "Compile a model. `iterations` of the first leg, whose `memory` all errors share; then at most `legs` legs of "
             "`leg_iterations`, with random `memories` from an interval, by `seed`. The answer is the lightest of the first "
             "`solutions` that legs converge to, in at most `more` legs after the first that does. `scaling` of check "
             "messages; 0: 1 - 2^-t in iteration t of a leg. "
             "`vectors`: AVX2 where present. Raises ValueError for a model or settings that cannot be.")
        .def("decode_batch", [](const Relay &self, const batch::Events &events) {
            return batch::decode(self, events, static_cast<int32_t>(self.graph().place_of.size()));
        }, "events"_a, batch::DOC)
        .def("decode", &decode, "defects"_a,
             "(mask of observables, weight, mechanisms in order, iterations, legs) for the detectors that fired. Raises "
             "RuntimeError if no leg converged.")
        .def("memory", &Relay::memory, "leg"_a, "mechanism"_a, "The memory of a mechanism in a leg; 0 is the first.")
        .def_prop_ro("mechanisms", [](const Relay &self) { return self.graph().mechanisms(); })
        .def_prop_ro("decoder_bytes", [](const Relay &self) { return qdeck::RelayDecoder(self).bytes(); },
                     "Bytes of each thread's decoder.");
}

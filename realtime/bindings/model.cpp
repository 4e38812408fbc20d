#include "model.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nb::literals;

void bind_model(nb::module_ &m) {
    using qdeck::Edge;
    using qdeck::Model;
    nb::class_<Model>(m, "Model", "The matching graph of a detector error model.")
        .def(nb::init<>())
        .def_rw("detectors", &Model::detectors)
        .def_rw("observables", &Model::observables)
        .def_rw("layer", &Model::layer)
        .def("add", [](Model &self, int32_t u, int32_t v, double weight, uint64_t observables) {
            self.edges.push_back({u, v, weight, observables});
        }, "u"_a, "v"_a, "weight"_a, "observables"_a, "Add a mechanism; v is -1 for the boundary.")
        .def("check", &Model::check, "Raise ValueError, with the first thing that is wrong.")
        .def_prop_ro("edges", [](const Model &self) {
            nb::list rows;
            for (const Edge &edge : self.edges)
                rows.append(nb::make_tuple(edge.u, edge.v, edge.weight, edge.observables));
            return rows;
        }, "Rows of (u, v, weight, observables).");
}

#include "batch.h"
#include "union_find.h"

using namespace nanobind::literals;

void bind_union_find(nanobind::module_ &m) {
    namespace nb = nanobind;
    using qdeck::UnionFind;
    nb::class_<UnionFind, qdeck::Compiled>(m, "UnionFind", "Weighted union-find decoder of a model.")
        .def(nb::init<const qdeck::Model &>(), "model"_a, "Raises ValueError for a model that is wrong.")
        .def("decode_batch", [](const UnionFind &self, const batch::Events &events) {
            return batch::decode(self, events, self.detectors());
        }, "events"_a, batch::DOC);
}

#include "batch.h"
#include "union_find.h"

using namespace nanobind::literals;

namespace {

struct BoundUnionFind {  // with what the check of shapes needs
    explicit BoundUnionFind(const qdeck::Model &model) : compiled(model), detectors(static_cast<size_t>(model.detectors)) {}
    qdeck::UnionFind compiled;
    size_t detectors;
};

}  // namespace

void bind_union_find(nanobind::module_ &m) {
    namespace nb = nanobind;
    nb::class_<BoundUnionFind>(m, "UnionFind", "Weighted union-find decoder of a model.")
        .def(nb::init<const qdeck::Model &>(), "model"_a)
        .def("decode_batch", [](const BoundUnionFind &self, const batch::Events &events) {
            return batch::decode(self.compiled, events, self.detectors);
        }, "events"_a, batch::DOC)
        .def_prop_ro("bytes", [](const BoundUnionFind &self) { return self.compiled.bytes(); });
}

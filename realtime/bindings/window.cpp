#include "batch.h"
#include "union_find.h"
#include "window.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <stdexcept>

using namespace nanobind::literals;

namespace {

qdeck::Maker maker(const std::string &inner) {
    if (inner == "union-find")
        return [](const qdeck::Model &model) { return std::make_unique<qdeck::UnionFind>(model); };
    throw std::invalid_argument("no decoder for windows is called '" + inner + "': take 'union-find'");
}

struct BoundWindowed {
    BoundWindowed(const qdeck::Model &model, int32_t window, int32_t commit, const std::string &inner)
        : compiled(model, {window, commit}, maker(inner)), detectors(static_cast<size_t>(model.detectors)) {}
    qdeck::Windowed compiled;
    size_t detectors;
};

}  // namespace

void bind_window(nanobind::module_ &m) {
    namespace nb = nanobind;
    nb::class_<BoundWindowed>(m, "Windowed",
                      "Sliding windows over a model with layers: window and commit in layers, and the decoder of each window.")
        .def(nb::init<const qdeck::Model &, int32_t, int32_t, const std::string &>(), "model"_a, "window"_a, "commit"_a,
             "inner"_a = "union-find")
        .def("decode_batch", [](const BoundWindowed &self, const batch::Events &events) {
            return batch::decode(self.compiled, events, self.detectors);
        }, "events"_a, batch::DOC)
        .def_prop_ro("bytes", [](const BoundWindowed &self) { return self.compiled.bytes(); });
}

#include "batch.h"
#include "inner.h"
#include "window.h"

#include <nanobind/stl/string.h>

using namespace nanobind::literals;

void bind_window(nanobind::module_ &m) {
    namespace nb = nanobind;
    using qdeck::Windowed;
    nb::class_<Windowed, qdeck::Compiled>(m, "Windowed", "Sliding windows over a model with layers.")
        .def(
            "__init__",
            [](Windowed *self, const qdeck::Model &model, int32_t window, int32_t commit, const std::string &inner) {
                nb::gil_scoped_release release;
                new (self) Windowed(model, {window, commit}, inner_decoder(inner));
            },
            "model"_a, "window"_a, "commit"_a, "inner"_a = "matching",
            "Windows of `window` layers that advance by `commit`; `inner` decodes each: 'matching', 'union-find' or 'erasure'. "
            "Raises "
            "ValueError for a model whose rounds do not repeat, or that is too short.")
        .def(
            "decode_batch",
            [](const Windowed &self, const batch::Events &events) {
                return batch::decode(self, events, self.detectors());
            },
            "events"_a, batch::DOC);
}

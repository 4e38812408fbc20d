#include "batch.h"
#include "lookup.h"

using namespace nanobind::literals;

void bind_lookup(nanobind::module_ &m) {
    namespace nb = nanobind;
    using qdeck::Lookup;
    nb::class_<Lookup, qdeck::Compiled>(m, "Lookup", "A table of the answers to all syndromes of small volumes.")
        .def(
            "__init__",
            [](Lookup *self, const qdeck::Model &model, bool classes, int32_t largest) {
                nb::gil_scoped_release release;
                new (self)
                    Lookup(model, classes ? Lookup::Rule::likeliest_class : Lookup::Rule::likeliest_error, largest);
            },
            "model"_a, nb::kw_only(), "classes"_a = false, "largest"_a = 16,
            "`classes`: answer with the likeliest set of observables instead of that of the likeliest error. "
            "`largest`: most "
            "detectors of a basis with a table, at most 24. Raises ValueError if no basis is small enough.")
        .def(
            "decode_batch",
            [](const Lookup &self, const batch::Events &events) {
                return batch::decode(self, events, self.detectors());
            },
            "events"_a, batch::DOC)
        .def(
            "covers",
            [](const Lookup &self, int32_t detector) {
                return detector >= 0 && detector < self.detectors() && self.covers(detector);
            },
            "detector"_a, "Whether shots in which this detector fires can be answered.")
        .def_prop_ro("uncovered", &Lookup::uncovered, "Detectors whose shots fail.");
}

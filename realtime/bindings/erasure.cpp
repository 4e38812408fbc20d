#include "batch.h"
#include "erasure.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

using namespace nanobind::literals;

void bind_erasure(nanobind::module_ &m) {
    namespace nb = nanobind;
    using qdeck::Erasure;
    nb::class_<Erasure, qdeck::Compiled>(
        m, "Erasure",
        "Exact matching with losses. sites: for each place that can be lost the numbers of the model's edges that "
        "its loss erases.")
        .def(nb::init<const qdeck::Model &, std::vector<std::vector<int32_t>>, bool>(), "model"_a, "sites"_a,
             nb::kw_only(), "tables"_a = true,
             "`tables`: take distances from all-pairs tables, otherwise from searches, for graphs of any size. Raises "
             "ValueError.")
        .def(
            "decode_batch",
            [](const Erasure &self, const batch::Events &events, const std::optional<batch::Events> &losses) {
                if (!losses)
                    return batch::decode(self, events, self.detectors());
                if (losses->shape(0) != events.shape(0) || losses->shape(1) != self.places())
                    throw nb::value_error(("losses must have " + std::to_string(events.shape(0)) + " rows of " +
                                           std::to_string(self.places()) + " sites")
                                              .c_str());
                std::vector<int32_t> lost;
                return batch::decode(self, events, self.detectors(), [&](qdeck::Decoder &decoder, size_t shot) {
                    lost.clear();
                    for (size_t site = 0; site < self.places(); site++)
                        if (losses->data()[shot * self.places() + site])
                            lost.push_back(static_cast<int32_t>(site));
                    static_cast<qdeck::ErasureDecoder &>(decoder).lose(lost);
                });
            },
            "events"_a, "losses"_a = nb::none(),
            "As for other decoders; losses is a bool array (shots, sites), or None.");
}

#include "batch.h"
#include "erasure.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

using namespace nanobind::literals;

namespace {

struct BoundErasure {
    BoundErasure(const qdeck::Model &model, std::vector<std::vector<int32_t>> sites_)
        : sites(sites_.size()), compiled(model, std::move(sites_)), detectors(static_cast<size_t>(model.detectors)) {}
    size_t sites;
    qdeck::Erasure compiled;
    size_t detectors;
};

}  // namespace

void bind_erasure(nanobind::module_ &m) {
    namespace nb = nanobind;
    nb::class_<BoundErasure>(m, "Erasure",
                             "Exact matching with losses. sites: for each place that can be lost the numbers of the model's edges that "
                             "its loss erases.")
        .def(nb::init<const qdeck::Model &, std::vector<std::vector<int32_t>>>(), "model"_a, "sites"_a)
        .def(
            "decode_batch",
            [](const BoundErasure &self, const batch::Events &events, const std::optional<batch::Events> &losses) {
                if (!losses)
                    return batch::decode(self.compiled, events, self.detectors);
                if (losses->shape(0) != events.shape(0) || losses->shape(1) != self.sites)
                    throw nb::value_error(("losses must have " + std::to_string(events.shape(0)) + " rows of " +
                                           std::to_string(self.sites) + " sites")
                                              .c_str());
                std::vector<int32_t> lost;
                return batch::decode(self.compiled, events, self.detectors, [&](qdeck::Decoder &decoder, size_t shot) {
                    lost.clear();
                    for (size_t site = 0; site < self.sites; site++)
                        if (losses->data()[shot * self.sites + site])
                            lost.push_back(static_cast<int32_t>(site));
                    static_cast<qdeck::ErasureDecoder &>(decoder).lose(lost);
                });
            },
            "events"_a, "losses"_a = nb::none(), "As for other decoders; losses is a bool array (shots, sites), or None.")
        .def_prop_ro("bytes", [](const BoundErasure &self) { return self.compiled.bytes(); });
}

#include "batch.h"
#include "clock.h"
#include "inner.h"
#include "parallel.h"

#include <nanobind/stl/string.h>

using namespace nanobind::literals;

namespace {

// Windows, and how detectors of a volume lie in its layers.
struct BoundParallel {
    BoundParallel(const qdeck::Model &model, qdeck::ParallelSettings settings, const std::string &inner)
        : windows(model, settings, inner_decoder(inner)), layers(model) {
        if (layers.count() < windows.least())
            throw std::invalid_argument("a volume of " + std::to_string(layers.count()) +
                                        " layers is too short for these windows: they need " +
                                        std::to_string(windows.least()) + "; decode it as a whole");
    }
    qdeck::ParallelWindows windows;
    qdeck::Layers layers;
};

nanobind::tuple decode(const BoundParallel &self, const batch::Events &events, int32_t workers) {
    size_t detectors = 0;
    for (const auto &members : self.layers.members)
        detectors += members.size();
    if (events.shape(1) != detectors)
        throw nanobind::value_error("events have another number of columns than the model has detectors");
    std::vector<uint64_t> masks(events.shape(0));
    std::vector<double> weights(events.shape(0));
    std::vector<uint8_t> qualities(events.shape(0));
    {
        nanobind::gil_scoped_release release;
        qdeck::ParallelStream stream(self.windows, workers, 0);
        std::vector<int32_t> ranks;
        for (size_t shot = 0; shot < events.shape(0); shot++) {
            const bool *row = events.data() + shot * detectors;
            stream.begin();
            for (int32_t t = 0; t < self.layers.count(); t++) {
                const auto &members = self.layers.members[static_cast<size_t>(t)];
                ranks.clear();
                for (size_t i = 0; i < members.size(); i++)
                    if (row[members[i]])
                        ranks.push_back(static_cast<int32_t>(i));
                while (!(t + 1 < self.layers.count() ? stream.add(ranks) : stream.add_last(ranks)))
                    if (!stream.help())
                        qdeck::pause_cpu();
            }
            const qdeck::Answer answer = stream.finish();
            masks[shot] = answer.observables;
            qualities[shot] = static_cast<uint8_t>(answer.quality);
        }
    }
    return nanobind::make_tuple(batch::array(std::move(masks)), batch::array(std::move(weights)),
                                batch::array(std::move(qualities)));
}

}  // namespace

void bind_parallel(nanobind::module_ &m) {
    namespace nb = nanobind;
    nb::class_<BoundParallel>(m, "Parallel",
                              "Windows decoded side by side by worker threads, over a model with layers.")
        .def(
            "__init__",
            [](BoundParallel *self, const qdeck::Model &model, int32_t core, int32_t gap, int32_t buffer,
               const std::string &inner) {
                nb::gil_scoped_release release;
                new (self) BoundParallel(model, {core, gap, buffer}, inner);
            },
            "model"_a, "core"_a, "gap"_a, "buffer"_a, "inner"_a = "matching",
            "Cores of `core` layers with `buffer` layers on both sides are decoded first, then the gaps of `gap` "
            "layers between "
            "them. Raises ValueError for a model whose rounds do not repeat, that is too short, or that has no "
            "boundary.")
        .def("decode_batch", &decode, "events"_a, "workers"_a = 1,
             "As for other decoders (weights are 0); without workers the caller's thread decodes.")
        .def_prop_ro("bytes", [](const BoundParallel &self) { return self.windows.bytes(); });
}

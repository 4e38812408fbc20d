#include "controller.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <thread>
#include <variant>

#include "machine.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using qdeck::Controller;
using qdeck::Tally;
using Bits = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Masks = nb::ndarray<const uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T> nb::ndarray<nb::numpy, T, nb::ndim<1>> column(const std::vector<T> &values) {
    auto *kept = new std::vector<T>(values);
    return {kept->data(), {kept->size()}, nb::capsule(kept, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); })};
}

nb::dict tally_dict(const Tally &tally) {
    nb::dict told;
    told["shots"] = tally.shots;
    told["misses"] = tally.misses;
    told["told_late"] = tally.told_late;
    told["differ"] = tally.differ;
    told["logical_errors"] = tally.logical_errors;
    told["heuristic"] = tally.heuristic;
    told["failed"] = tally.failed;
    told["lost"] = tally.lost;
    told["slipped"] = tally.slipped;
    told["full"] = tally.full;
    told["idle_rounds"] = tally.idle_rounds;
    told["waited_ns"] = tally.waited_ns;
    told["most_outstanding"] = tally.most_outstanding;
    told["swaps"] = tally.swaps;
    told["epochs"] = tally.epochs;
    told["rounds"] = tally.rounds;
    told["reaction_ns"] = column(tally.reaction_ns);
    told["corrections"] = column(tally.corrections);
    told["epoch"] = column(tally.epoch);
    told["gap_ns"] = column(tally.gap_ns);
    return told;
}

// Where a feed goes: rings, or a UDP endpoint.
struct UdpEnd {
    std::string host;
    uint16_t port;
    uint32_t stride;
};
using Link = std::variant<const qdeck::RingFile *, const UdpEnd *>;

std::unique_ptr<qdeck::Wire> wire_of(const Link &link) {
    if (const auto *udp = std::get_if<const UdpEnd *>(&link))
        return std::make_unique<qdeck::UdpWire>((*udp)->host, (*udp)->port, (*udp)->stride);
    const qdeck::RingFile &rings = *std::get<const qdeck::RingFile *>(link);
    return std::make_unique<qdeck::RingWire>(rings.producer(qdeck::Way::up), rings.consumer(qdeck::Way::down));
}

}  // namespace

void bind_controller(nb::module_ &m) {
    nb::class_<UdpEnd>(m, "UdpEnd", "A host's UDP endpoint, for a controller.")
        .def("__init__", [](UdpEnd *self, std::string host, uint16_t port, uint32_t stride) {
            new (self) UdpEnd{std::move(host), port, stride};
        }, "host"_a, "port"_a, "stride"_a);
    nb::class_<Controller>(m, "Controller", "An emulated controller: publishes sampled rounds at a cadence, takes the answers.")
        .def("__init__", [](Controller *self, int64_t cycle_ns, int64_t budget_ns, int policy, bool plain, int64_t warm_shots,
                            int64_t pause_every_shots, int64_t pause_ns, int64_t swap_every_shots,
                            int64_t timeout_ns, int64_t gap_ns, int64_t nap_ns, int64_t forget_ns) {
            if (policy < 0 || policy > 2) throw std::invalid_argument("a policy is 0 (wait), 1 (idle) or 2 (defer)");
            qdeck::Pace pace;
            pace.cycle_ns = cycle_ns;
            pace.budget_ns = budget_ns;
            pace.policy = static_cast<qdeck::Policy>(policy);
            pace.dialect = plain ? qdeck::Dialect::plain : qdeck::Dialect::push;
            pace.warm_shots = warm_shots;
            pace.pause_every_shots = pause_every_shots;
            pace.pause_ns = pause_ns;
            pace.swap_every_shots = swap_every_shots;
            pace.timeout_ns = timeout_ns;
            pace.gap_ns = gap_ns;
            pace.nap_ns = nap_ns;
            pace.forget_ns = forget_ns;
            new (self) Controller(pace);
        }, nb::kw_only(), "cycle_ns"_a, "budget_ns"_a, "policy"_a = 0, "plain"_a = false, "warm_shots"_a = 200,
             "pause_every_shots"_a = 0, "pause_ns"_a = 0,
             "swap_every_shots"_a = 0, "timeout_ns"_a = 20'000'000'000, "gap_ns"_a = 2'000, "nap_ns"_a = 0, "forget_ns"_a = 0)
        .def("add", [](Controller &self, const Link &link, int64_t decoder, std::vector<uint32_t> round_bits,
                       const Bits &bits, int32_t observables, int64_t laps, int64_t phase_ns, const Masks &expected,
                       const Masks &actual, bool stream, const std::vector<uint8_t> &closing, uint32_t closing_bits,
                       bool outcomes) {
            qdeck::Feed feed;
            feed.decoder = decoder;
            feed.round_bits = std::move(round_bits);
            feed.bits.assign(bits.data(), bits.data() + bits.size());
            feed.shots = static_cast<int64_t>(bits.shape(0));
            feed.laps = laps;
            feed.observables = observables;
            feed.phase_ns = phase_ns;
            feed.expected.assign(expected.data(), expected.data() + expected.size());
            feed.stream = stream;
            feed.outcomes = outcomes;
            feed.endless = closing_bits > 0;
            feed.closing_bits = closing_bits;
            feed.bits.insert(feed.bits.end(), closing.begin(), closing.end());
            feed.actual.assign(actual.data(), actual.data() + actual.size());
            self.add(std::move(feed), wire_of(link));
        }, "link"_a, nb::kw_only(), "decoder"_a, "round_bits"_a, "bits"_a, "observables"_a, "laps"_a = 1, "phase_ns"_a = 0,
             "expected"_a, "actual"_a, "stream"_a = false, "closing"_a = std::vector<uint8_t>{}, "closing_bits"_a = 0,
             "outcomes"_a = false,
             "A logical qubit: `bits` (shots x bytes) as Experiment.frames gives them; `expected` and `actual` masks or empty. "
             "`outcomes`: a byte for each measurement instead, 2 for a lost atom. `stream`: volumes are streams; with "
             "`closing` bytes, the rows of `bits` are the rounds of a single one.")
        .def("run", [](Controller &self, const qdeck::Wishes &wishes) {
            std::exception_ptr failure;
            qdeck::Granted granted;
            {
                nb::gil_scoped_release release;
                std::thread([&] {
                    granted = qdeck::settle(wishes);
                    try {
                        self.run();
                    } catch (...) {
                        failure = std::current_exception();
                    }
                }).join();
            }
            if (failure) std::rethrow_exception(failure);
            return granted.refusals;
        }, "wishes"_a, "Until all shots are answered, on a thread of its own; what the system refused. Raises RuntimeError "
                       "when no answers come any more.")
        .def("tally", [](const Controller &self, size_t feed) {
            if (feed >= self.feeds()) throw nb::index_error("no such feed");
            return tally_dict(self.tally(feed));
        }, "feed"_a = 0, "What was counted, and arrays by shot.")
        .def("quantiles", [](const Controller &self, size_t feed, const std::vector<double> &qs) {
            std::vector<uint64_t> found;
            for (const double q : qs) found.push_back(self.tally(feed).reaction.quantile(q));
            return found;
        }, "feed"_a, "qs"_a, "Of the reactions after the warm-up, in ns.")
        .def("rounds_of", &Controller::rounds_of, "feed"_a, "Rounds of its volumes.")
        .def_prop_ro("ran_ns", &Controller::ran_ns)
        .def_prop_ro("gaps", &Controller::gaps)
        .def_prop_ro("lost_ns", &Controller::lost_ns);
}

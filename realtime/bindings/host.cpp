#include "host.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "admission.h"
#include "inner.h"
#include "busy.h"
#include "jitter.h"
#include "matching.h"
#include "null.h"
#include "ring.h"
#include "ring_transport.h"
#include "udp.h"
#include "parallel.h"
#include "window_stream.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using qdeck::Compiled;
using qdeck::Detectors;
using qdeck::Host;
using Rows = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Frames = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<nb::numpy, uint64_t, nb::ndim<1>>;

qdeck::Defects defects_of(const Rows &rows) {
    qdeck::Defects shots(rows.shape(0));
    for (size_t shot = 0; shot < rows.shape(0); shot++)
        for (size_t detector = 0; detector < rows.shape(1); detector++)
            if (rows(shot, detector)) shots[shot].push_back(static_cast<int32_t>(detector));
    return shots;
}

// How a stream is to be decoded: with which weights, in which windows, and what losses erase.
struct Plan {
    qdeck::Model model;
    int32_t window, commit, workers;
    std::string inner;
    qdeck::Sites sites;
    qdeck::Heralds heralds;

    Plan(const qdeck::Model &model_, int32_t window_, int32_t commit_, int32_t workers_, std::string inner_,
         const std::vector<std::vector<int32_t>> &lost, const std::vector<std::vector<int32_t>> &telling,
         const std::vector<uint32_t> &round_bits)
        : model(model_), window(window_), commit(commit_), workers(workers_), inner(std::move(inner_)),
          sites(qdeck::measured_sites(lost, telling, round_bits)) {
        inner_decoder(inner);
        for (size_t t = 0; t < sites.size(); t++) {
            auto &which = t == 0 ? heralds.first : t + 1 == sites.size() ? heralds.last : heralds.steady;
            for (size_t site = 1; site < sites[t].size(); site += 2)
                if (!sites[t][site].empty()) which.push_back(static_cast<int32_t>(site / 2));
        }
    }
};

std::unique_ptr<qdeck::Loaded> load_stream(const Plan &plan) {
    const qdeck::Maker inner = inner_decoder(plan.inner);
    auto loaded = std::make_unique<qdeck::Loaded>();
    if (plan.workers > 0) {
        const int32_t buffer = plan.window - plan.commit;
        auto windows = std::make_shared<qdeck::ParallelWindows>(
            plan.model, qdeck::ParallelSettings{plan.commit, std::max(plan.commit, buffer), buffer}, inner, plan.sites);
        loaded->stream = std::make_unique<qdeck::ParallelWindowStream>(*windows, plan.workers, 0);
        loaded->keeps = std::move(windows);
    } else {
        auto windows = std::make_shared<qdeck::Windows>(plan.model, qdeck::WindowSettings{plan.window, plan.commit}, inner,
                                                        plan.sites);
        loaded->stream = std::make_unique<qdeck::WindowStream>(*windows);
        loaded->keeps = std::move(windows);
    }
    qdeck::warm(*loaded->stream, plan.model, 2'000'000);
    return loaded;
}

// What a qubit's controller keeps and expects.
struct Terms {
    std::string name;
    int64_t decoder, cycle_ns, budget_ns;
    int policy;
};

// The seating is used up.
std::vector<qdeck::Seating> seated(const Terms &terms, qdeck::Seating &seating) {
    if (!seating.patch) throw std::invalid_argument("this qubit has its place already: make another seating");
    seating.name = terms.name;
    seating.decoder = terms.decoder;
    seating.cycle_ns = terms.cycle_ns;
    seating.budget_ns = terms.budget_ns;
    seating.policy = static_cast<uint64_t>(terms.policy);
    std::vector<qdeck::Seating> seats;
    seats.push_back(std::move(seating));
    return seats;
}

nb::dict granted_dict(const qdeck::Granted &granted) {
    nb::dict told;
    told["core"] = granted.core;
    told["pinned"] = granted.pinned;
    told["fifo"] = granted.fifo;
    told["locked"] = granted.locked;
    told["refusals"] = granted.refusals;
    return told;
}

}  // namespace

void bind_host(nb::module_ &m) {
    nb::class_<qdeck::Null, Compiled>(m, "Null", "No decoder: the answer is always 0. The null control.").def(nb::init<>());
    nb::class_<qdeck::Busy, Compiled>(m, "Busy", "No decoder: spins for as long as it is told. The busy control.")
        .def(nb::init<std::vector<uint32_t>>(), "times_ns"_a, "For one volume after the other, and then from the start.");

    nb::class_<qdeck::Wishes>(m, "Wishes", "What a thread asks of the operating system.")
        .def("__init__", [](qdeck::Wishes *self, int core, int fifo, bool lock, bool shallow) {
            new (self) qdeck::Wishes{core, fifo, lock, shallow};
        }, "core"_a = -1, "fifo"_a = 0, "lock"_a = false, "shallow"_a = false);

    nb::class_<Terms>(m, "Terms", "What a qubit's controller keeps and expects; `decoder` is its id in frames.")
        .def("__init__", [](Terms *self, std::string name, int64_t decoder, int64_t cycle_ns, int64_t budget_ns, int policy) {
            new (self) Terms{std::move(name), decoder, cycle_ns, budget_ns, policy};
        }, nb::kw_only(), "name"_a, "decoder"_a, "cycle_ns"_a, "budget_ns"_a, "policy"_a);

    nb::class_<qdeck::Seating>(m, "Seating", "A logical qubit with its decoder, ready to be given a place at a host.");
    m.def("seat_volumes", [](std::shared_ptr<Detectors> detectors, int32_t observables, std::shared_ptr<Compiled> compiled,
                             const Rows &shots, int64_t warm_ns, std::vector<std::vector<int32_t>> lost,
                             std::vector<std::vector<int32_t>> heralds) {
        const qdeck::Defects defects = defects_of(shots);
        nb::gil_scoped_release release;
        return qdeck::seat_volumes(std::move(detectors), observables, qdeck::load(compiled, defects, warm_ns),
                                   {std::move(lost), std::move(heralds)});
    }, "detectors"_a, "observables"_a, "compiled"_a, "shots"_a, nb::kw_only(), "warm_ns"_a = 2'000'000,
          "lost"_a = nb::list(), "heralds"_a = nb::list(),
          "A qubit of volumes; its decoder is warmed with `shots` (rows of detection events). `lost`, `heralds`: as for "
          "VolumePatch.");
    nb::class_<Plan>(m, "StreamPlan", "How a stream is to be decoded.")
        .def(nb::init<const qdeck::Model &, int32_t, int32_t, int32_t, std::string, const std::vector<std::vector<int32_t>> &,
                      const std::vector<std::vector<int32_t>> &, const std::vector<uint32_t> &>(),
             "model"_a, "window"_a, "commit"_a, nb::kw_only(), "workers"_a = 0, "inner"_a = "matching",
             "lost"_a = nb::list(), "heralds"_a = nb::list(), "round_bits"_a = nb::list(),
             "`model`: of a short stream. Sliding windows on the loop's thread, or parallel ones on `workers` threads (cores of "
             "`commit` rounds, buffers of `window` - `commit`), decoded by `inner`. `lost`, `heralds`: as for VolumePatch, for "
             "the whole of the short stream, whose rounds have `round_bits` measurements. Raises ValueError.");
    m.def("seat_stream", [](std::shared_ptr<Detectors> first, std::shared_ptr<Detectors> steady,
                            std::shared_ptr<Detectors> last, int32_t observables, const Plan &plan) {
        return qdeck::seat_stream({std::move(first), std::move(steady), std::move(last)}, observables, load_stream(plan),
                                  plan.sites.empty() ? nullptr : &plan.heralds);
    }, "first"_a, "steady"_a, "last"_a, "observables"_a, "plan"_a, nb::call_guard<nb::gil_scoped_release>(),
          "A qubit that streams rounds. Raises ValueError where the plan cannot be followed.");

    nb::class_<Host>(m, "Host", "The real-time loop.")
        .def("__init__", [](Host *self, const qdeck::Wishes &wishes, const std::string &ledger, int32_t patches,
                            int32_t records, int64_t gap_ns, int64_t spin_ns, int64_t nap_ns, int64_t wake_early_ns) {
            new (self) Host({wishes, ledger, patches, records, gap_ns, spin_ns, nap_ns, wake_early_ns, 64});
        }, nb::kw_only(), "wishes"_a = qdeck::Wishes{}, "ledger"_a = "", "patches"_a = 16, "records"_a = 4096,
             "gap_ns"_a = 2'000, "spin_ns"_a = -1, "nap_ns"_a = 50'000, "wake_early_ns"_a = 60'000)
        .def("add", [](Host &self, const qdeck::RingFile &rings, const Terms &terms, qdeck::Seating &seating) {
            return self.add(std::make_unique<qdeck::RingTransport>(rings), seated(terms, seating),
                            rings.shape(qdeck::Way::up).wakes)[0];
        }, "rings"_a, "terms"_a, "seating"_a, nb::call_guard<nb::gil_scoped_release>(),
             "Give a qubit its place, which is returned. The seating is used up.")
        .def("add_udp", [](Host &self, const std::string &host, uint16_t port, uint32_t stride, const Terms &terms,
                           qdeck::Seating &seating) {
            auto link = std::make_unique<qdeck::UdpTransport>(qdeck::UdpSettings{host, port, stride, qdeck::Padding::mirror});
            const uint16_t bound = link->port();
            return std::pair(self.add(std::move(link), seated(terms, seating))[0], bound);
        }, "host"_a, "port"_a, "stride"_a, "terms"_a, "seating"_a, nb::call_guard<nb::gil_scoped_release>(),
             "The same behind a UDP endpoint of its own. Returns its place, and the port.")
        .def("remove", &Host::remove, nb::call_guard<nb::gil_scoped_release>(), "place"_a)
        .def("start", &Host::start, nb::call_guard<nb::gil_scoped_release>())
        .def("stop", &Host::stop, nb::call_guard<nb::gil_scoped_release>())
        .def("swap", [](Host &self, int32_t place, std::shared_ptr<Compiled> compiled, const Rows &shots, int64_t warm_ns) {
            const qdeck::Defects defects = defects_of(shots);
            nb::gil_scoped_release release;
            return self.slot(place).offer(qdeck::load(compiled, defects, warm_ns));
        }, "place"_a, "compiled"_a, "shots"_a, "warm_ns"_a = 2'000'000,
             "Build and warm a decoder here, on this thread, and offer it; the epoch from which it answers.")
        .def("stage", [](Host &self, int32_t place, std::shared_ptr<Compiled> compiled, const Rows &shots, int64_t warm_ns) {
            const qdeck::Defects defects = defects_of(shots);
            nb::gil_scoped_release release;
            return self.slot(place).stage(qdeck::load(compiled, defects, warm_ns));
        }, "place"_a, "compiled"_a, "shots"_a, "warm_ns"_a = 2'000'000,
             "Like `swap`, but it takes over when the controller asks for it; False if too many wait already.")
        .def("swap_stream", [](Host &self, int32_t place, const Plan &plan) {
            return self.slot(place).offer(load_stream(plan));
        }, "place"_a, "plan"_a, nb::call_guard<nb::gil_scoped_release>(),
             "Offer other weights for a stream with the same windows, workers and losses; the epoch from which they count.")
        .def("epoch", [](Host &self, int32_t place) { return self.slot(place).epoch(); }, "place"_a)
        .def("collect", [](Host &self, int32_t place) { return self.slot(place).collect(); }, "place"_a,
             nb::call_guard<nb::gil_scoped_release>(), "Delete the decoders that the loop has let go of; how many.")
        .def_prop_ro("granted", [](const Host &self) { return granted_dict(self.granted()); });

    m.def("ledger_layout", [] {
        nb::list rows;
        for (const qdeck::Field &field : qdeck::ledger_layout())
            rows.append(nb::make_tuple(field.structure, field.name, field.offset, field.many, std::string(1, field.kind)));
        return rows;
    }, "Rows of (structure, field, offset, how many, kind) of the ledger; see ledger.h.");
    m.attr("LEDGER_MAGIC") = qdeck::LEDGER_MAGIC;
    m.attr("LEDGER_VERSION") = qdeck::LEDGER_VERSION;

    m.def("jitter", [](int64_t for_ns, const qdeck::Wishes &wishes) {
        auto jitter = std::make_unique<qdeck::Jitter>();
        qdeck::Granted granted;
        {
            nb::gil_scoped_release release;
            std::thread([&] {
                granted = qdeck::settle(wishes);
                qdeck::spin(*jitter, for_ns);
            }).join();
        }
        nb::dict told;
        told["spun_ns"] = jitter->spun_ns;
        told["readings"] = jitter->readings;
        told["switches"] = jitter->switches;
        told["over_2us_per_s"] = jitter->per_second(2'000);
        told["over_10us_per_s"] = jitter->per_second(10'000);
        told["share_over_2us"] = jitter->share(2'000);
        told["longest_ns"] = jitter->gaps.max.load();
        told["granted"] = granted_dict(granted);
        return told;
    }, "for_ns"_a, "wishes"_a, "Spin on a thread of its own and tell what the machine took from it.");

    m.def("measure", [](qdeck::Seating &seating, const std::vector<uint32_t> &round_bits, const Frames &frames, size_t others) {
        nb::gil_scoped_release release;
        const qdeck::Cost cost = qdeck::measure(std::move(seating), round_bits, {frames.data(), frames.size()}, others);
        return std::tuple(cost.round_ns, cost.last_ns, cost.last_p99_ns, cost.rounds);
    }, "seating"_a, "round_bits"_a, "frames"_a, "others"_a = 0,
          "(mean ns of a round, mean and p99 ns of the last one with its decoding, rounds) that a host's loop works for a "
          "qubit of volumes, tried on this thread beside tenants that work with `others` bytes. The seating is used up.");
    m.def("refusal", [](const std::vector<nb::tuple> &tenants, const nb::tuple &candidate, double share, double together,
                        double measured) {
        const auto tenant = [](const nb::tuple &row) {
            return qdeck::Tenant{{nb::cast<double>(row[0]), nb::cast<double>(row[1]), nb::cast<double>(row[2]),
                                  nb::cast<int64_t>(row[3])}, nb::cast<int64_t>(row[4]), nb::cast<int64_t>(row[5])};
        };
        std::vector<qdeck::Tenant> all;
        for (const nb::tuple &row : tenants) all.push_back(tenant(row));
        return qdeck::refusal(all, tenant(candidate), {share, together}, measured);
    }, "tenants"_a, "candidate"_a, "share"_a = 0.7, "together"_a = 0.9, "measured"_a = -1.0,
          "Why a patch does not fit beside the others, or ''. Rows of (what `measure` gives, cycle_ns, budget_ns).");
}

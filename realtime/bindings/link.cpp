// Frames, rings, UDP, patches and the server, for tests, clients and the control plane. Python is never on the hot path.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <memory>
#include <optional>
#include <system_error>
#include <tuple>

#include "clock.h"
#include "decoder.h"
#include "dispatch.h"
#include "floor.h"
#include "frame.h"
#include "ring.h"
#include "ring_transport.h"
#include "serve.h"
#include "udp.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using namespace qdeck;

Bytes view(const nb::bytes &bytes) { return {static_cast<const uint8_t *>(bytes.data()), bytes.size()}; }
nb::bytes copy(Bytes bytes) { return nb::bytes(bytes.data(), bytes.size()); }
int64_t ns(double seconds) { return static_cast<int64_t>(std::min(std::max(seconds, 0.0), 1e9) * 1e9); }

// `write` fills room and returns how much it used.
template <class Write> nb::bytes built(size_t most, Write write) {
    std::vector<uint8_t> room(most);
    const size_t bytes = write(Room(room));
    if (!bytes)
        throw std::invalid_argument("this is no frame: a length contradicts the bytes that came with it");
    return copy({room.data(), bytes});
}

struct Frames {};  // a namespace in Python

// A patch with everything that it needs to live.
struct Seat {
    std::shared_ptr<Compiled> compiled;
    std::unique_ptr<Decoder> decoder;
    std::unique_ptr<Patch> patch;
};

struct Desk {
    std::vector<std::shared_ptr<Seat>> seats;
    Dispatcher dispatcher;
};

struct Office {
    std::shared_ptr<Desk> desk;
    std::vector<std::unique_ptr<Transport>> links;
    std::unique_ptr<Server> server;
    explicit Office(std::shared_ptr<Desk> of) : desk(std::move(of)), server(new Server(desk->dispatcher)) {}
    size_t add(std::unique_ptr<Transport> link) {
        links.push_back(std::move(link));
        return server->add(*links.back());
    }
};

nb::dict stats_of(const PatchStats &stats) {
    nb::dict told;
    told["volumes"] = stats.volumes;
    told["rounds"] = stats.rounds;
    told["bits"] = stats.bits;
    told["defects"] = stats.defects;
    told["answers"] = stats.answers;
    told["failures"] = stats.failures;
    told["heuristic"] = stats.heuristic;
    told["malformed"] = stats.malformed;
    told["lost"] = stats.lost;
    told["abandoned"] = stats.abandoned;
    told["repeated"] = stats.repeated;
    told["committed"] = stats.committed;
    told["epoch"] = stats.epoch;
    told["erased"] = stats.erased;
    return told;
}

using Asked = std::tuple<uint32_t, uint32_t, uint64_t, nb::bytes, uint8_t, size_t>;
std::optional<Asked> request_of(const nb::bytes &bytes) {
    Request request;
    if (parse(view(bytes), request) != Fault::none)
        return std::nullopt;
    return Asked(request.function, request.request_id, request.ptp_ns, copy(request.payload), request.ask, request.bytes);
}

using Words = std::tuple<uint8_t, uint8_t, uint16_t>;
using Answered = std::tuple<int32_t, uint32_t, uint64_t, nb::bytes, std::optional<Words>, size_t>;
std::optional<Answered> response_of(const nb::bytes &bytes) {
    Response response;
    if (parse(view(bytes), response) != Fault::none)
        return std::nullopt;
    std::optional<Words> told;
    if (response.told)
        told = Words(response.tell.epoch, response.tell.flags, response.tell.late_us);
    return Answered(static_cast<int32_t>(response.status), response.request_id, response.ptp_ns, copy(response.result),
                    told, response.bytes);
}

using Enqueued = std::tuple<int64_t, int64_t, int64_t, int64_t, nb::bytes>;
std::optional<Enqueued> enqueue_of(const nb::bytes &payload, bool outcomes) {
    Enqueue round;
    if (!parse(view(payload), round, outcomes))
        return std::nullopt;
    return Enqueued(round.decoder, round.counter, round.mapping, round.syndromes, copy(round.bits));
}

std::pair<std::vector<nb::bytes>, bool> frames_of(const nb::bytes &payload) {
    std::vector<nb::bytes> frames;
    Batch batch(view(payload));
    for (Bytes frame; batch.next(frame);)
        frames.push_back(copy(frame));
    return {frames, batch.fault() == Fault::none};
}

void bind_frames(nb::module_ &top) {
    nb::class_<Frames> m(top, "Frames", "The frames of cudaq-realtime.");
    m.def_static("fnv1a", [](const std::string &name) { return fnv1a(name); }, "name"_a, "The function id of a name.");
    m.def_static("request", [](uint32_t function, const nb::bytes &payload, uint32_t request_id, uint64_t ptp_ns, uint8_t flags) {
        return built(HEADER_BYTES + EXTENSION_BYTES + payload.size(), [&](Room room) {
            return write_request(room, function, request_id, ptp_ns, view(payload), flags);
        });
    }, "function"_a, "payload"_a, "request_id"_a = 0, "ptp_ns"_a = 0, "flags"_a = 0, "The frame of a request.");
    m.def_static("enqueue", [](int64_t decoder, int64_t counter, const nb::bytes &bits, int64_t count, uint32_t request_id,
                        uint64_t ptp_ns, uint8_t flags, int64_t mapping, bool outcomes) {
        return built(128 + bits.size(), [&](Room room) {
            return write_enqueue(room, request_id, ptp_ns, {decoder, counter, mapping, count, view(bits)}, flags, outcomes);
        });
    }, "decoder"_a, "counter"_a, "bits"_a, "count"_a, "request_id"_a = 0, "ptp_ns"_a = 0, "flags"_a = 0, "mapping"_a = 0,
          "outcomes"_a = false,
          "The frame of an enqueue: `count` bits, lowest first in each byte; with `outcomes` a byte each. Raises ValueError.");
    m.def_static("get", [](int64_t decoder, int64_t observables, bool reset, uint32_t request_id, uint64_t ptp_ns, uint8_t flags) {
        return built(128, [&](Room room) { return write_get(room, request_id, ptp_ns, {decoder, observables, reset}, flags); });
    }, "decoder"_a, "observables"_a, "reset"_a = false, "request_id"_a = 0, "ptp_ns"_a = 0, "flags"_a = 0);
    m.def_static("reset", [](int64_t decoder, uint32_t request_id, uint64_t ptp_ns, uint8_t flags) {
        return built(128, [&](Room room) { return write_reset(room, request_id, ptp_ns, decoder, flags); });
    }, "decoder"_a, "request_id"_a = 0, "ptp_ns"_a = 0, "flags"_a = 0);
    m.def_static("response", [](int32_t status, const nb::bytes &result, uint32_t request_id, uint64_t ptp_ns) {
        return built(HEADER_BYTES + result.size(), [&](Room room) {
            return write_response(room, static_cast<Status>(status), request_id, ptp_ns, view(result));
        });
    }, "status"_a, "result"_a, "request_id"_a = 0, "ptp_ns"_a = 0);
    m.def_static("parse_request", &request_of, "frame"_a,
          "(function, request id, ptp ns, payload, flags, bytes), or None if this is not a request.");
    m.def_static("parse_response", &response_of, "frame"_a,
          "(status, request id, ptp ns, result, (epoch, flags, late us) or None, bytes), or None.");
    m.def_static("parse_enqueue", &enqueue_of, "payload"_a, "outcomes"_a = false,
                 "(decoder, counter, mapping, count, bits), or None.");
    m.def_static("frames_of", &frames_of, "payload"_a, "The frames of a batch, and whether its end was one.");
    nb::dict functions;
    functions["enqueue_syndromes"] = static_cast<uint32_t>(Function::enqueue_syndromes);
    functions["get_corrections"] = static_cast<uint32_t>(Function::get_corrections);
    functions["reset_decoder"] = static_cast<uint32_t>(Function::reset_decoder);
    functions["enqueue_outcomes"] = static_cast<uint32_t>(Function::enqueue_outcomes);
    functions["swap_decoder"] = static_cast<uint32_t>(Function::swap_decoder);
    functions["heartbeat"] = static_cast<uint32_t>(Function::heartbeat);
    functions["stats"] = static_cast<uint32_t>(Function::stats);
    functions["batch"] = static_cast<uint32_t>(Function::batch);
    m.attr("FUNCTIONS") = functions;
    m.attr("ASK_TELL") = ask::tell;
    m.attr("ASK_PUSH") = ask::push;
    m.attr("ASK_QUIET") = ask::quiet;
    m.attr("ASK_ORDERED") = ask::ordered;
    m.attr("ASK_CLOSE") = ask::close;
    m.attr("TELL_LATE") = tell::late;
    m.attr("TELL_HEURISTIC") = tell::heuristic;
    m.attr("TELL_LOST") = tell::lost;
}

template <class End> nb::class_<End> bind_end(nb::module_ &m, const char *name, const char *about) {
    return nb::class_<End>(m, name, about)
        .def_prop_ro("capacity", &End::capacity, "Bytes of the largest frame.")
        .def_prop_ro("slots", &End::slots)
        .def("beat", [](End &self) { self.beat(now_ns()); }, "Give a sign of life.")
        .def_prop_ro("peer_silent_s", [](const End &self) {
            const int64_t beat = self.peer_beat_ns();
            return beat ? static_cast<double>(now_ns() - beat) * 1e-9 : std::numeric_limits<double>::infinity();
        }, "Seconds since the peer's last sign of life; infinite if there never was one.")
        .def_prop_ro("peer_alive", &End::peer_holds, "Whether a live process holds the other end.")
        .def_prop_ro("peer_epoch", &End::peer_epoch, "How often the other end was taken.")
        .def_prop_ro("peer_pid", &End::peer_pid);
}

void bind_rings(nb::module_ &m) {
    nb::enum_<Way>(m, "Way", "The direction of a ring.").value("up", Way::up).value("down", Way::down);
    nb::class_<RingFile>(m, "Rings", "Shared memory with one ring to the host (up) and one back (down).")
        .def("__init__", [](RingFile *self, uint32_t slots, uint32_t stride, bool wakes, bool wakes_down) {
            new (self) RingFile(RingFile::create({slots, stride, wakes}, {slots, stride, wakes_down}));
        }, "slots"_a = 1024, "stride"_a = 128, "wakes"_a = false, "wakes_down"_a = false,
             "In sealed memory. `slots`: a power of two; `stride`: bytes, a multiple of 64; `wakes`: the host may sleep, "
             "`wakes_down`: the controller may. Raises ValueError, OSError.")
        .def_static("create_at", [](const std::string &path, uint32_t slots, uint32_t stride, bool wakes) {
            return RingFile::create_at(path, {slots, stride, wakes}, {slots, stride, wakes});
        }, "path"_a, "slots"_a = 1024, "stride"_a = 128, "wakes"_a = false, "In a new file, for tests.")
        .def_static("attach", &RingFile::attach, "fd"_a, "To a descriptor that stays the caller's.")
        .def_static("attach_at", &RingFile::attach_at, "path"_a)
        .def("producer", &RingFile::producer, "way"_a, "Raises OSError (EBUSY) while a live process holds this end.")
        .def("consumer", &RingFile::consumer, "way"_a, "Raises OSError (EBUSY) while a live process holds this end.")
        .def("fileno", &RingFile::fd, "The descriptor to pass to a peer.")
        .def("shape", [](const RingFile &self, Way way) {
            const RingShape shape = self.shape(way);
            return std::tuple(shape.slots, shape.stride, shape.wakes);
        }, "way"_a, "(slots, stride, wakes)");
    bind_end<Producer>(m, "Producer", "The writing end of a ring.")
        .def("push", [](Producer &self, const nb::bytes &frame) { return self.push(view(frame)); }, "frame"_a,
             "False if the ring is full or the frame too long.")
        .def_prop_ro("published", &Producer::published)
        .def_prop_ro("popped", &Producer::popped);
    bind_end<Consumer>(m, "Consumer", "The reading end of a ring.")
        .def("take", [](Consumer &self, double timeout_s, double spin_s) -> std::optional<nb::bytes> {
            bool there = false;
            {
                nb::gil_scoped_release release;
                if (!self.ready())
                    self.wait(ns(spin_s), ns(timeout_s));
            }
            const Bytes frame = self.peek(there);
            if (!there)
                return std::nullopt;
            nb::bytes taken = copy(frame);
            self.pop();
            return taken;
        }, "timeout_s"_a = 0.0, "spin_s"_a = 0.0, "The next frame, or None.")
        .def_prop_ro("backlog", &Consumer::backlog);
    m.def("send_fd", &send_fd, "socket"_a, "fd"_a, "Pass a descriptor over a connected Unix socket (given as its fileno).");
    m.def("receive_fd", &receive_fd, "socket"_a, nb::call_guard<nb::gil_scoped_release>());
}

void bind_server(nb::module_ &m) {
    nb::class_<Detectors>(m, "Detectors", "The D matrix, compiled: which measurements make each detector.")
        .def(nb::init<int64_t, const std::vector<std::vector<int64_t>> &, int64_t, const std::vector<int64_t> &>(),
             "measurements"_a, "rows"_a, "reach"_a = 0, "odd"_a = std::vector<int64_t>(),
             "`odd`: detectors that are odd without noise. Raises ValueError for rows that name other measurements.")
        .def_prop_ro("measurements", &Detectors::measurements)
        .def_prop_ro("groups", &Detectors::groups, "How many groups of detectors are computed together.")
        .def("__len__", &Detectors::size)
        .def("defects", [](const Detectors &self, const nb::bytes &bits) {
            if (self.reach() || bits.size() != static_cast<size_t>(self.measurements() + 7) / 8)
                throw std::invalid_argument("a volume of this code has " + std::to_string(self.measurements()) + " bits");
            std::vector<uint8_t> room(bits.size() + 8);
            append_bits(room.data(), 0, view(bits), static_cast<uint64_t>(self.measurements()));
            Detectors::Pass pass(self);
            std::vector<int32_t> fired(self.size());
            fired.resize(pass.advance(room.data(), 0, self.measurements(), fired.data()));
            return fired;
        }, "bits"_a, "The detectors that fire for a volume's measurements.");
    nb::class_<Seat>(m, "VolumePatch", "One logical qubit that is decoded volume by volume.")
        .def("__init__", [](Seat *self, std::shared_ptr<Detectors> detectors, int32_t observables,
                            std::shared_ptr<Compiled> compiled, bool ordered, std::vector<std::vector<int32_t>> lost,
                            std::vector<std::vector<int32_t>> heralds) {
            auto decoder = compiled->decoder();
            auto patch = std::make_unique<VolumePatch>(std::move(detectors), observables, *decoder);
            patch->order(ordered);
            patch->losses({std::move(lost), std::move(heralds)});
            new (self) Seat{std::move(compiled), std::move(decoder), std::move(patch)};
        }, "detectors"_a, "observables"_a, "compiled"_a, "ordered"_a = false, "lost"_a = nb::list(), "heralds"_a = nb::list(),
             "`ordered`: find gaps in the counters of all clients, also of those that do not ask for it. `lost`, `heralds`: "
             "for each measurement the edges of the model that are erased by its outcome 2 (a lost atom), or by a 1 where it "
             "only tells of losses; empty for none. Raises ValueError.")
        .def_prop_ro("stats", [](const Seat &self) { return stats_of(self.patch->stats()); });
    nb::class_<Desk>(m, "Dispatcher", "Answers frames.")
        .def(nb::init<>())
        .def("add", [](Desk &self, int64_t decoder, std::shared_ptr<Seat> seat) {
            self.dispatcher.add(decoder, *seat->patch);
            self.seats.push_back(std::move(seat));
        }, "decoder"_a, "patch"_a, "Raises ValueError for an id that is taken or out of range.")
        .def("handle", [](Desk &self, const nb::bytes &frame, size_t room) -> std::optional<nb::bytes> {
            std::vector<uint8_t> out(room);
            const Outcome outcome = self.dispatcher.handle(view(frame), out);
            return outcome.bytes ? std::optional(copy({out.data(), outcome.bytes})) : std::nullopt;
        }, "frame"_a, "room"_a = 1024, "The response, or None.")
        .def_prop_ro("handled", [](const Desk &self) { return self.dispatcher.handled(); })
        .def_prop_ro("dropped", [](const Desk &self) { return self.dispatcher.dropped(); });
    nb::class_<Office>(m, "Server", "A dispatcher's links, and the loop that serves them.")
        .def(nb::init<std::shared_ptr<Desk>>(), "dispatcher"_a)
        .def("add_udp", [](Office &self, const std::string &host, uint16_t port, uint32_t stride, const std::string &padding) {
            const Padding kind = padding == "always" ? Padding::always : padding == "never" ? Padding::never : Padding::mirror;
            auto link = std::make_unique<UdpTransport>(UdpSettings{host, port, stride, kind});
            const uint16_t bound = link->port();
            return std::make_pair(self.add(std::move(link)), bound);
        }, "host"_a = "127.0.0.1", "port"_a = 0, "stride"_a = 256, "padding"_a = "mirror",
             "An endpoint for one client; (number of the link, port). Raises OSError, ValueError.")
        .def("add_rings", [](Office &self, const RingFile &rings) { return self.add(std::make_unique<RingTransport>(rings)); },
             "rings"_a, "The host's ends of a pair of rings; the number of the link.")
        .def("run", [](Office &self, double for_s, double spin_s) { return self.server->run(ns(for_s), ns(spin_s)); },
             nb::call_guard<nb::gil_scoped_release>(), "for_s"_a, "spin_s"_a = 0.0,
             "Answer frames for a time; look for them for `spin_s` after each before sleeping. How many there were.")
        .def("stop", [](Office &self) { self.server->stop(); }, "From any thread, for good.")
        .def_prop_ro("stopped", [](const Office &self) { return self.server->stopped(); })
        .def("dispatched", [](const Office &self, size_t link) {
            if (link >= self.links.size())
                throw nb::index_error("no such link");
            return self.server->dispatched(link);
        }, "link"_a, "Frames that came over a link.");
    nb::class_<UdpClient>(m, "UdpClient", "A controller's UDP socket.")
        .def(nb::init<const std::string &, uint16_t, uint32_t, bool>(), "host"_a, "port"_a, "stride"_a = 256, "pad"_a = false)
        .def("send", [](UdpClient &self, const nb::bytes &frame) { return self.send(view(frame)); }, "frame"_a)
        .def("receive", [](UdpClient &self, double timeout_s, double spin_s) -> std::optional<nb::bytes> {
            Bytes frame;
            {
                nb::gil_scoped_release release;
                frame = self.receive(ns(spin_s), ns(timeout_s));
            }
            return frame.empty() ? std::nullopt : std::optional(copy(frame));
        }, "timeout_s"_a, "spin_s"_a = 0.0, "The next datagram, or None.");
}

}  // namespace

void bind_link(nb::module_ &top) {
    nb::register_exception_translator([](const std::exception_ptr &pointer, void *) {
        try {
            std::rethrow_exception(pointer);
        } catch (const std::system_error &error) {
            PyErr_SetObject(PyExc_OSError, nb::make_tuple(error.code().value(), error.what()).ptr());
        }
    });
    bind_frames(top);
    bind_rings(top);
    bind_server(top);
    const auto floor = [](auto measure) {
        return [measure](size_t trips, size_t bytes, int here, int there, bool spin) {
            std::vector<int64_t> took;
            {
                nb::gil_scoped_release release;
                took = measure(FloorSettings{trips, bytes, here, there, spin});
            }
            auto *kept = new std::vector<int64_t>(std::move(took));
            return nb::ndarray<nb::numpy, int64_t, nb::ndim<1>>(
                kept->data(), {kept->size()},
                nb::capsule(kept, [](void *at) noexcept { delete static_cast<std::vector<int64_t> *>(at); }));
        };
    };
    top.def("ring_floor", floor(&ring_floor), "trips"_a = 100'000, "bytes"_a = 64, "here"_a = -1, "there"_a = -1,
            "spin"_a = true, "Nanoseconds of each round trip of a frame over shared memory between two threads.");
    top.def("udp_floor", floor(&udp_floor), "trips"_a = 100'000, "bytes"_a = 64, "here"_a = -1, "there"_a = -1,
            "spin"_a = true, "The same over UDP on loopback. `here`, `there`: cores to pin to; `spin` false: both sides sleep.");
}

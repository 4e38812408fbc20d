#include "batch.h"
#include "clock.h"
#include "matching.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using qdeck::Answer;
using qdeck::Matching;
using Rows = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bools = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Detection events as numpy rows: a bool each, or bits packed into bytes, the first in the lowest bit.
struct Events {
    const uint8_t *data;
    size_t shots, stride, detectors;
    bool packed;

    static Events of(const Rows &rows, size_t detectors) {
        if (rows.shape(1) != (detectors + 7) / 8)
            throw std::invalid_argument("packed rows have " + std::to_string((detectors + 7) / 8) + " bytes for " +
                                        std::to_string(detectors) + " detectors, not " + std::to_string(rows.shape(1)));
        return {rows.data(), rows.shape(0), rows.shape(1), detectors, true};
    }
    static Events of(const Bools &rows, size_t detectors) {
        if (rows.shape(1) != detectors)
            throw std::invalid_argument("rows have a bool for each of " + std::to_string(detectors) + " detectors, not " +
                                        std::to_string(rows.shape(1)));
        return {reinterpret_cast<const uint8_t *>(rows.data()), rows.shape(0), rows.shape(1), detectors, false};
    }

    // The bits of a shot, as words; `words` has room for them. False if there is none.
    bool bits(size_t shot, uint64_t *words) const noexcept {
        const uint8_t *row = data + shot * stride;
        uint64_t any = 0;
        for (size_t at = 0; at < detectors; at += 64) {
            uint64_t word = 0;
            if (packed) {
                word = bytes(row + at / 8, stride - at / 8);
            } else {
                for (size_t eight = at; eight < at + 64 && eight < detectors; eight += 8)  // 0 or 1 in each byte
                    word |= (bytes(row + eight, detectors - eight) * 0x0102040810204080u) >> 56 << (eight - at);
            }
            words[at / 64] = word;
            any |= word;
        }
        return any != 0;
    }

private:
    // Eight bytes, or as many as are left. No call for a few: they are the end of a row, or all of a small one.
    static uint64_t bytes(const uint8_t *from, size_t left) noexcept {
        uint64_t word = 0;
        if (left >= 8) {
            std::memcpy(&word, from, 8);
            return word;
        }
        for (size_t i = 0; i < left; i++)
            word |= uint64_t{from[i]} << 8 * i;
        return word;
    }
};

// A decoder with its memory, for one caller at a time.
struct Bench {
    explicit Bench(const Matching &compiled)
        : decoder(compiled), room(compiled.table().places.size() + 64), words(room.size() / 64 + 1) {}
    qdeck::MatchingDecoder decoder;
    std::vector<int32_t> room;
    std::vector<uint64_t> words;

    std::span<const int32_t> defects(const Events &events, size_t shot) {
        if (!events.bits(shot, words.data()))
            return {};
        return {room.data(), decoder.unpack(words.data(), events.detectors, room.data())};
    }
    Answer decode(std::span<const int32_t> fired) {
        decoder.begin();
        decoder.add(fired);
        return decoder.finish();
    }
};

// What Python holds: the decoders that its calls made are kept for the next ones.
class Held final : public Matching {
public:
    using Matching::Matching;

    class Loan {
    public:
        explicit Loan(const Held &from) : from_(from) {
            const std::lock_guard guard(from.lock_);
            if (!from.idle_.empty()) {
                bench_ = std::move(from.idle_.back());
                from.idle_.pop_back();
            }
            if (!bench_)
                bench_ = std::make_unique<Bench>(from);
        }
        ~Loan() {
            const std::lock_guard guard(from_.lock_);
            from_.idle_.push_back(std::move(bench_));
        }
        Loan(const Loan &) = delete;
        Loan &operator=(const Loan &) = delete;
        Bench *operator->() const { return bench_.get(); }

    private:
        const Held &from_;
        std::unique_ptr<Bench> bench_;
    };

private:
    mutable std::mutex lock_;
    mutable std::vector<std::unique_ptr<Bench>> idle_;
};

void check(const Matching &compiled, std::vector<int32_t> &defects) {
    std::sort(defects.begin(), defects.end());
    const int32_t detectors = int32_t(compiled.table().places.size());
    for (size_t i = 0; i < defects.size(); i++)
        if (defects[i] < 0 || defects[i] >= detectors || (i && defects[i] == defects[i - 1]))
            throw std::invalid_argument("defects are different detectors below " + std::to_string(detectors));
}

Answer whole(const Answer &answer) {
    if (answer.quality == qdeck::Quality::failed)
        throw std::invalid_argument("no perfect matching: an odd number of defects in a part of the graph without boundary");
    return answer;
}

template <class Array> nb::tuple decode_batch(const Held &self, const Array &rows) {
    const Events events = Events::of(rows, self.table().places.size());
    std::vector<uint64_t> masks(events.shots);
    std::vector<double> weights(events.shots);
    std::vector<uint8_t> qualities(events.shots);
    {
        nb::gil_scoped_release release;
        const Held::Loan bench(self);
        for (size_t shot = 0; shot < events.shots; shot++) {
            const std::span<const int32_t> defects = bench->defects(events, shot);
            if (defects.empty())
                continue;
            const Answer answer = bench->decode(defects);
            masks[shot] = answer.observables;
            weights[shot] = answer.weight;
            qualities[shot] = uint8_t(answer.quality);
        }
    }
    return nb::make_tuple(batch::array(std::move(masks)), batch::array(std::move(weights)), batch::array(std::move(qualities)));
}

// Nanoseconds of each shot, begin to finish; before each shot `flush` bytes of memory are written, to cool the caches.
template <class Array> nb::object time_batch(const Held &self, const Array &rows, size_t flush) {
    const Events events = Events::of(rows, self.table().places.size());
    std::vector<int32_t> times(events.shots);
    {
        nb::gil_scoped_release release;
        const Held::Loan bench(self);
        std::vector<uint8_t> cold(flush);
        for (size_t shot = 0; shot < events.shots; shot++) {
            const std::span<const int32_t> defects = bench->defects(events, shot);
            for (size_t at = 0; at < flush; at += 64)
                const_cast<volatile uint8_t &>(cold[at])++;
            const int64_t start = qdeck::now_ns();
            bench->decode(defects);
            times[shot] = int32_t(std::min<int64_t>(qdeck::now_ns() - start, INT32_MAX));
        }
    }
    return batch::array(std::move(times));
}

}  // namespace

void bind_decoder(nb::module_ &m) {
    nb::class_<qdeck::Compiled>(m, "Compiled", "A decoder for one model, compiled; shared by threads.")
        .def_prop_ro("bytes", &qdeck::Compiled::bytes, "Bytes of memory that all users of this decoder share.");
    nb::class_<Held, qdeck::Compiled>(m, "Matching", "Exact minimum-weight perfect matching.")
        .def("__init__", [](Held *self, const qdeck::Model &model, int direct, int small, bool vectors, bool prove) {
            nb::gil_scoped_release release;
            new (self) Held(model, qdeck::MatchingOptions{direct, small, vectors, prove});
        }, "model"_a, nb::kw_only(), "direct"_a = 8, "small"_a = 300, "vectors"_a = true, "prove"_a = false,
             "Compile a model. `direct`: most defects that subset programs solve. `small`: bases of more detectors are solved so only up to 4 defects. "
             "`vectors`: AVX2 where present. `prove`, for "
             "tests: fail unless the duals prove a solution. Raises ValueError for a model that cannot be.")
        .def("decode", [](const Held &self, std::vector<int32_t> defects) {
            check(self, defects);
            const Held::Loan bench(self);
            const Answer answer = whole(bench->decode(defects));
            return std::make_pair(answer.observables, answer.weight);
        }, "defects"_a, "(mask of observables, weight) for the detectors that fired.")
        .def("pairs", [](const Held &self, std::vector<int32_t> defects) {
            check(self, defects);
            const Held::Loan bench(self);
            whole(bench->decode(defects));
            std::vector<std::tuple<int32_t, int32_t, uint64_t>> pairs;
            for (const qdeck::Pair pair : bench->decoder.pairs())
                pairs.emplace_back(pair.a, pair.b, pair.observables);
            return pairs;
        }, "defects"_a, "The matched pairs: (detector, detector or -1 for the boundary, mask that the path between flips).")
        .def("decode_batch", &decode_batch<Bools>, "events"_a,
             "Decode shots: rows of detection events, bool, or uint8 with bits packed lowest first. Returns (masks, weights, "
             "qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 2 failed: no "
             "perfect matching, the mask says nothing).")
        .def("decode_batch", &decode_batch<Rows>, "events"_a)
        .def("time_batch", &time_batch<Bools>, "events"_a, "flush"_a = 0,
             "Nanoseconds of each shot, with `flush` bytes written before each to cool the caches.")
        .def("time_batch", &time_batch<Rows>, "events"_a, "flush"_a = 0)
        .def_prop_ro("units", [](const Held &self) {
            std::vector<double> units;
            for (const qdeck::Basis &basis : self.table().bases)
                units.push_back(basis.unit);
            return units;
        }, "The quantum of weight of each basis.")
        .def_prop_ro("decoder_bytes", [](const Held &self) { return qdeck::MatchingDecoder(self).bytes(); },
                     "Bytes of address space of each thread's decoder.");
}

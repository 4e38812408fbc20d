#include "batch.h"
#include "clock.h"
#include "gather_core.h"
#include "lanes.h"
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

    size_t words() const noexcept { return (detectors + 63) / 64; }

    // Bits 64 * at and on of a shot.
    uint64_t word(size_t shot, size_t at) const noexcept {
        const size_t left = std::min<size_t>(detectors - 64 * at, 64);
        const uint8_t *row = data + shot * stride;
        if (packed)
            return bytes(row + 8 * at, 8) & ~uint64_t{0} >> (64 - left);
        uint64_t word = 0;
        for (size_t eight = 0; eight < left; eight += 8) {  // 0 or 1 in each byte
            const uint64_t bools = bytes(row + 64 * at + eight, left - eight);
            word |= (bools * 0x0102040810204080u) >> 56 << eight;
        }
        return word;
    }
    // Its bits in eights, if they lie there as Kernel::unpack takes them.
    const uint8_t *in_place(size_t shot) const noexcept {
        return packed && shot * stride + 8 * words() <= shots * stride ? data + shot * stride : nullptr;
    }
    bool any(size_t shot) const noexcept {
        if (packed && stride <= 8)
            return word(shot, 0) != 0;
        if (stride > 128)
            return true;  // most likely
        const uint8_t *row = data + shot * stride;
        uint64_t any = 0;
        for (size_t at = 0; at < stride; at += 8)
            any |= bytes(row + at, stride - at);
        return any != 0;
    }

private:
    // Eight bytes, the first `left` of them; beyond the last row they are 0.
    uint64_t bytes(const uint8_t *from, size_t left) const noexcept {
        uint64_t word = 0;
        if (const size_t there = size_t(data + shots * stride - from); there >= 8)
            std::memcpy(&word, from, 8);
        else
            for (size_t i = 0; i < there; i++)
                word |= uint64_t{from[i]} << 8 * i;
        return left < 8 ? word & ((uint64_t{1} << 8 * left) - 1) : word;
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
        int32_t *const first = room.data(), *next = first;
        const size_t count = events.words();
        if (count > FEW_WORDS) {
            const uint8_t *row = events.in_place(shot);
            if (!row) {
                for (size_t at = 0; at < count; at++)
                    words[at] = events.word(shot, at);
                row = reinterpret_cast<const uint8_t *>(words.data());
            }
            return {first, decoder.unpack(row, events.detectors, first)};
        }
        for (size_t at = 0; at < count; at++)
            next = qdeck::numbers<qdeck::PlainLanes>(events.word(shot, at), int32_t(64 * at), next);
        return {first, next};
    }

    // Calls `each` for every shot that may have defects. These are found first, a block of shots at a time, for which ones have
    // any cannot be predicted.
    template <class Each> void decode(const Events &events, Each each) {
        constexpr size_t BLOCK = 64;
        for (size_t first = 0; first < events.shots; first += BLOCK) {
            const size_t end = std::min(first + BLOCK, events.shots);
            size_t busy[BLOCK + 1], count = 0;
            for (size_t shot = first; shot < end; shot++) {
                busy[count] = shot;
                count += events.any(shot);
            }
            for (size_t i = 0; i < count; i++)
                each(busy[i], decoder.decode(defects(events, busy[i])));
        }
    }

private:
    static constexpr size_t FEW_WORDS = 2;  // their bits are counted here, without the kernel
};

// What Python holds: the decoders that its calls made are kept for the next ones.
class Held final : public Matching {
public:
    Held(const qdeck::Model &model, qdeck::MatchingOptions options)
        : Matching(model, options), observables(size_t(model.observables)) {}
    const size_t observables;

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
        bench->decode(events, [&](size_t shot, const Answer &answer) {
            masks[shot] = answer.observables;
            weights[shot] = answer.weight;
            qualities[shot] = uint8_t(answer.quality);
        });
    }
    return nb::make_tuple(batch::array(std::move(masks)), batch::array(std::move(weights)), batch::array(std::move(qualities)));
}

// Flips only, as bits packed into bytes.
template <class Array> batch::Table<uint8_t> predict_batch(const Held &self, const Array &rows) {
    const Events events = Events::of(rows, self.table().places.size());
    const size_t stride = (self.observables + 7) / 8;
    std::vector<uint8_t> flips(events.shots * stride);
    bool failed = false;
    {
        nb::gil_scoped_release release;
        const Held::Loan bench(self);
        bench->decode(events, [&](size_t shot, const Answer &answer) {
            for (size_t i = 0; i < stride; i++)
                flips[shot * stride + i] = uint8_t(answer.observables >> 8 * i);
            failed |= answer.quality == qdeck::Quality::failed;
        });
    }
    if (failed)
        throw std::invalid_argument("no perfect matching in some of the shots; decode_batch tells which");
    return batch::table(std::move(flips), events.shots, stride);
}

// Nanoseconds of each shot; before each shot `flush` bytes of memory are written, to cool the caches.
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
            bench->decoder.decode(defects);
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
            const Answer answer = whole(bench->decoder.decode(defects));
            return std::make_pair(answer.observables, answer.weight);
        }, "defects"_a, "(mask of observables, weight) for the detectors that fired.")
        .def("pairs", [](const Held &self, std::vector<int32_t> defects) {
            check(self, defects);
            const Held::Loan bench(self);
            bench->decoder.begin();
            bench->decoder.add(defects);
            whole(bench->decoder.finish());
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
        .def("predict_batch", &predict_batch<Bools>, "events"_a,
             "As decode_batch, but the flips only: uint8 of shape (shots, bytes), observable 0 in the lowest bit of the first "
             "byte. Raises ValueError if a shot has no perfect matching.")
        .def("predict_batch", &predict_batch<Rows>, "events"_a)
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

#include "matching.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace qdeck {
Matching::Matching(const Model &model, MatchingOptions options) : table_(model), options_(options) {
    if (options.direct < 0 || options.direct > Program::WIDEST)
        throw std::invalid_argument("direct is 0 to 16 defects");
    for (int nodes = 0; nodes <= options.direct + 1 && nodes <= Program::WIDEST; nodes += 2)
        programs_.emplace_back(nodes);
}

std::unique_ptr<Decoder> Matching::decoder() const {
    return std::make_unique<MatchingDecoder>(*this);
}

size_t Matching::bytes() const noexcept {
    size_t total = table_.bytes();
    for (const Program &program : programs_)
        total += program.bytes();
    return total;
}

MatchingDecoder::MatchingDecoder(const Matching &compiled)
    : quick_(compiled.table_, compiled.programs_.data(), compiled.options_.direct, compiled.options_.small),
      table_(compiled.table_), options_(compiled.options_), programs_(compiled.programs_) {
    int32_t largest = 1, detectors = 0, span = 0;
    const size_t parts = table_.bases.size();
    shot_.places = table_.places.data();
    shot_.parts = arena_.array<Gathered>(parts);
    shot_.active = arena_.array<int32_t>(parts);
    for (size_t b = 0; b < parts; b++) {
        const Basis &basis = table_.bases[b];
        const size_t tiles = size_t(basis.size + LANES - 1) / LANES, rows = tiles * LANES;
        const size_t bits = size_t(basis.size) / 64 + size_t(basis.span) + 1;
        Gathered part;
        part.basis = &basis;
        part.rows = int32_t(rows);
        part.dense = basis.size <= options_.small ? options_.direct : 0;
        part.direct = part.dense ? part.dense : std::min(options_.direct, 4);
        part.few = arena_.array<uint16_t>(LANES * LANES);
        part.words = arena_.array<uint16_t>(tiles * rows * LANES);
        part.known = arena_.array<Known>(size_t(basis.near_count) + LANES * LANES);
        part.bounds = arena_.array<uint16_t>(rows);
        part.best = arena_.array<uint32_t>(rows);
        part.mate = arena_.array<int32_t>(rows);
        part.locals = arena_.array<int32_t>(rows);
        part.fired = arena_.array<uint64_t>(bits);
        part.arrived = arena_.array<uint16_t>(rows);
        std::fill_n(part.bounds, rows, NO_BOUNDARY);
        std::fill_n(part.fired, bits, uint64_t{0});
        shot_.parts[b] = part;
        largest = std::max(largest, basis.size);
        detectors += basis.size;
        span = std::max(span, basis.span);
    }
    shot_.queue = arena_.array<Found>(size_t(QUEUE + span) + 1);
    pairs_ = arena_.array<Pair>(size_t(detectors) + 1);
    kernel_.reset(options_.vectors ? vector_kernel(largest) : nullptr);
    if (!kernel_)
        kernel_.reset(plain_kernel(largest));
}

size_t MatchingDecoder::bytes() const noexcept {
    return arena_.bytes() + kernel_->arena.bytes() + sizeof(*this);
}

void MatchingDecoder::begin() noexcept {
    for (int32_t a = 0; a < shot_.active_count; a++) {
        Gathered &part = shot_.parts[shot_.active[a]];
        for (int32_t i = 0; i < part.count; i++)
            part.fired[part.locals[i] / 64] = 0;
        part.count = 0;
        part.last = -1;
        part.gathered = 0;
        part.known_count = 0;
    }
    shot_.active_count = 0;
    shot_.whole = true;
    pair_count_ = -1;
}

void MatchingDecoder::add(std::span<const int32_t> defects) noexcept {
    kernel_->add(shot_, defects.data(), defects.size());
}

Answer MatchingDecoder::finish() noexcept {
    Answer answer;
    for (int32_t a = 0; a < shot_.active_count; a++) {
        Gathered &part = shot_.parts[shot_.active[a]];
        const Basis &basis = *part.basis;
        const Solved solved = solve(part);
        if (!solved.good)
            answer.quality = Quality::failed;
        answer.observables ^= solved.flips;
        answer.weight += basis.unit * std::max(0.0, 0.5 * double(solved.cost) - basis.bias * part.count);
    }
    if (!shot_.whole)
        answer.quality = Quality::failed;
    if (answer.quality == Quality::failed)
        pair_count_ = 0;
    return answer;
}

Answer MatchingDecoder::decode(std::span<const int32_t> defects) noexcept {
    Answer answer;
    int32_t left[Quick::MOST];
    if (defects.size() <= quick_.most()) {
        const int32_t count = quick_.solve(defects.data(), int32_t(defects.size()), answer, left);
        if (count == 0)
            return answer;
        defects = {left, size_t(count)};
    }
    begin();
    add(defects);
    const Answer others = finish();
    begin();  // clears while it is at hand
    return {answer.observables ^ others.observables, answer.weight + others.weight, others.quality};
}

MatchingDecoder::Solved MatchingDecoder::solve(Gathered &part) noexcept {
    const Basis &basis = *part.basis;
    const int32_t k = part.count;
    if (k % 2 && !basis.open)
        return {0, 0, false};
    if (k <= part.direct) {
        if (!part.dense)
            fill(part);
        const uint32_t sum = few(part, k);
        if (!basis.masked)
            return {sum >> 4, sum & 1 ? basis.flip : 0, true};
        mates(part);
        return {sum >> 4, flips(part), true};
    }
    int64_t sum = 0;
    uint32_t parity = 0;
    if (!kernel_->solve(part, sum, parity) || (options_.prove && !kernel_->proven()))
        return {0, 0, false};
    return {sum / 2, basis.masked ? flips(part) : parity ? basis.flip : 0, true};
}

// The words of all pairs of a few defects.
void MatchingDecoder::fill(Gathered &part) noexcept {
    for (int32_t i = 1; i < part.count; i++)
        for (int32_t j = 0; j < i; j++)
            part.few[i * LANES + j] = part.word(i, j);
}

// The least sum of spread words that pairs up all defects, and the boundary if they are odd.
uint32_t MatchingDecoder::few(const Gathered &part, int k) noexcept {
    if (k == 1)
        return spread(part.bounds[0]);
    if (k == 2)
        return spread(part.few[LANES]);
    uint32_t *w = weight_;
    for (int i = 1; i < k; i++)
        for (int j = 0; j < LANES; j++)
            w[16 * i + j] = spread(part.few[i * LANES + j]);
    int nodes = k;
    if (k % 2) {
        for (int j = 0; j < k; j++)
            w[16 * k + j] = spread(part.bounds[j]);
        nodes++;
    }
    if (nodes == 4)
        return four(w, 0, 1, 2, 3);
    if (nodes == 6)
        return six(w);
    return programs_[size_t(nodes) / 2].run(w, best_);
}

// The pairs behind `few`: the whole program again, and back through its least sums.
void MatchingDecoder::mates(Gathered &part) noexcept {
    const int k = part.count, nodes = k + k % 2;
    uint32_t *w = weight_;
    for (int i = 0; i < nodes; i++)
        for (int j = 0; j < i; j++)
            w[16 * i + j] = spread(i < k ? part.few[i * LANES + j] : part.bounds[j]);
    const Program &program = programs_[size_t(nodes) / 2];
    program.run(w, best_);
    size_t at = program.pair.size();
    size_t subset = program.steps.size() - 1;
    for (size_t s = subset; s > 0; s--) {
        at -= program.steps[s];
        if (s != subset)
            continue;
        size_t t = at;
        while (w[program.pair[t]] + best_[program.rest[t]] != best_[s])
            t++;
        const int high = program.pair[t] / 16, low = program.pair[t] % 16;
        part.mate[low] = high < k ? high : OUTSIDE;
        if (high < k)
            part.mate[high] = low;
        subset = program.rest[t];
    }
}

uint64_t MatchingDecoder::flips(const Gathered &part) const noexcept {
    const Basis &basis = *part.basis;
    uint64_t flips = 0;
    for (int32_t i = 0; i < part.count; i++) {
        const int32_t mate = part.mate[i];
        if (mate < i)
            flips ^= mate == OUTSIDE ? basis.bound_masks[size_t(part.locals[i])]
                                     : basis.mask(part.locals[i], part.locals[mate]);
    }
    return flips;
}

std::span<const Pair> MatchingDecoder::pairs() noexcept {
    if (pair_count_ >= 0)
        return {pairs_, size_t(pair_count_)};
    pair_count_ = 0;
    for (int32_t a = 0; a < shot_.active_count; a++) {
        Gathered &part = shot_.parts[shot_.active[a]];
        const Basis &basis = *part.basis;
        if (part.count <= part.direct)
            mates(part);
        const auto outward = [&](int32_t i) {  // what the path to the boundary flips
            if (basis.masked)
                return basis.bound_masks[size_t(part.locals[i])];
            return part.bounds[i] & 1 ? basis.flip : uint64_t{0};
        };
        for (int32_t i = 0; i < part.count; i++) {
            const int32_t mate = part.mate[i];
            if (mate > i)
                continue;
            const int32_t detector = basis.detectors[size_t(part.locals[i])];
            if (mate >= 0) {
                const int32_t other = basis.detectors[size_t(part.locals[mate])];
                const uint16_t word = part.word(i, mate);
                if ((word | 1) < (part.bounds[i] & ~1) + (part.bounds[mate] & ~1)) {
                    const uint64_t parity = word & 1 ? basis.flip : 0;
                    const uint64_t path = basis.masked ? basis.mask(part.locals[i], part.locals[mate]) : parity;
                    pairs_[pair_count_++] = {other, detector, path};
                    continue;
                }
                pairs_[pair_count_++] = {other, BOUNDARY, outward(mate)};
            }
            pairs_[pair_count_++] = {detector, BOUNDARY, outward(i)};
        }
    }
    return {pairs_, size_t(pair_count_)};
}

}  // namespace qdeck

#include "matching.h"

#include <algorithm>
#include <stdexcept>

namespace qdeck {
namespace {

// A word with room under its weight: the low bits of up to eight words add up without touching the weight.
inline uint32_t spread(uint16_t word) noexcept {
    return (word & ~1u) << 4 | (word & 1u);
}

inline uint32_t four(const uint32_t *w, int a, int b, int c, int d) noexcept {
    return std::min({w[16 * d + c] + w[16 * b + a], w[16 * d + b] + w[16 * c + a], w[16 * d + a] + w[16 * c + b]});
}

}  // namespace

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
    : table_(compiled.table_), options_(compiled.options_), programs_(compiled.programs_) {
    int32_t largest = 1, detectors = 0;
    const size_t parts = table_.bases.size();
    parts_ = arena_.array<Part>(parts);
    active_ = arena_.array<int32_t>(parts);
    for (size_t b = 0; b < parts; b++) {
        const Basis &basis = table_.bases[b];
        const size_t tiles = size_t(basis.size + LANES - 1) / LANES, rows = tiles * LANES;
        Part &part = parts_[b];
        part.basis = &basis;
        part.locals = arena_.array<int32_t>(rows);
        part.tiles = Tiles{};
        part.tiles.rows = int32_t(rows);
        part.tiles.words = arena_.array<uint16_t>(tiles * rows * LANES);
        part.tiles.bounds = arena_.array<uint16_t>(rows);
        part.tiles.near = arena_.array<uint16_t>(rows);
        std::fill_n(part.tiles.bounds, rows, NO_BOUNDARY);
        std::fill_n(part.tiles.near, rows, uint16_t{0xffff});
        part.tiles.mate = arena_.array<int32_t>(rows);
        largest = std::max(largest, basis.size);
        detectors += basis.size;
    }
    pairs_ = arena_.array<Pair>(size_t(detectors) + 1);
    solver_.reset(options_.vectors ? vector_solver(largest) : nullptr);
    if (!solver_)
        solver_.reset(plain_solver(largest));
}

size_t MatchingDecoder::bytes() const noexcept {
    return arena_.bytes() + solver_->arena.bytes() + sizeof(*this);
}

void MatchingDecoder::begin() noexcept {
    for (int32_t a = 0; a < active_count_; a++)
        parts_[active_[a]].tiles.count = 0;
    active_count_ = 0;
    pair_count_ = -1;
    whole_ = true;
}

void MatchingDecoder::add(std::span<const int32_t> defects) noexcept {
    for (const int32_t defect : defects) {
        const int32_t b = table_.basis_of[size_t(defect)], local = table_.local_of[size_t(defect)];
        Part &part = parts_[b];
        Tiles &tiles = part.tiles;
        const Basis &basis = *part.basis;
        const int32_t k = tiles.count;
        if (k == 0)
            active_[active_count_++] = b;
        if (k == basis.size) {
            whole_ = false;
            continue;
        }
        const uint16_t *words = basis.words.data() + size_t(local) * size_t(basis.size);
        uint16_t least = 0xffff;
        const int32_t lane = k % LANES, last = k / LANES;
        if (lane == 0)
            for (int32_t i = 0; i < k; i++)
                std::fill_n(tiles.row(i, last), LANES, uint16_t{0xffff});
        uint16_t *column = tiles.row(0, last) + lane;
        for (int32_t tile = 0; tile <= last; tile++) {
            uint16_t *row = tiles.row(k, tile);
            const int32_t first = tile * LANES, end = tile == last ? lane : LANES;
            for (int32_t j = 0; j < end; j++) {
                const int32_t i = first + j;
                const uint16_t word = words[part.locals[i]];
                row[j] = word;
                column[i * LANES] = word;
                tiles.near[i] = std::min(tiles.near[i], word);
                least = std::min(least, word);
            }
            for (int32_t j = end; j < LANES; j++)
                row[j] = 0xffff;
        }
        tiles.near[k] = least;
        tiles.bounds[k] = basis.bounds[size_t(local)];
        part.locals[k] = local;
        tiles.count = k + 1;
    }
}

Answer MatchingDecoder::finish() noexcept {
    Answer answer;
    for (int32_t a = 0; a < active_count_; a++) {
        Part &part = parts_[active_[a]];
        const Basis &basis = *part.basis;
        const Solved solved = solve(part);
        if (!solved.good)
            answer.quality = Quality::failed;
        answer.observables ^= solved.flips;
        answer.weight += basis.unit * std::max(0.0, 0.5 * double(solved.cost) - basis.bias * part.tiles.count);
    }
    if (!whole_)
        answer.quality = Quality::failed;
    if (answer.quality == Quality::failed)
        pair_count_ = 0;
    return answer;
}

MatchingDecoder::Solved MatchingDecoder::solve(Part &part) noexcept {
    const Tiles &tiles = part.tiles;
    const Basis &basis = *part.basis;
    const int32_t k = tiles.count;
    if (k % 2 && !basis.open)
        return {0, 0, false};
    if (k <= options_.direct) {
        const uint32_t sum = few(tiles, k);
        if (!basis.masked())
            return {sum >> 4, sum & 1 ? basis.flip : 0, true};
        mates(part);
        return {sum >> 4, flips(part), true};
    }
    if (!solver_->solve(tiles) || (options_.prove && !solver_->proven()))
        return {0, 0, false};
    int64_t cost = 0;
    uint32_t parity = 0;
    for (int32_t i = 0; i < k; i++) {
        const int32_t mate = tiles.mate[i];
        if (mate < i) {
            const uint16_t word = mate == OUTSIDE ? tiles.bounds[i] : tiles.word(i, mate);
            cost += word & ~1;
            parity ^= word;
        }
    }
    return {cost, basis.masked() ? flips(part) : parity & 1 ? basis.flip : 0, true};
}

// The least sum of spread words that pairs up all defects, and the boundary if they are odd.
uint32_t MatchingDecoder::few(const Tiles &tiles, int k) noexcept {
    if (k == 1)
        return spread(tiles.bounds[0]);
    if (k == 2)
        return spread(tiles.words[LANES]);
    uint32_t *w = weight_;
    for (int i = 1; i < k; i++)
        for (int j = 0; j < LANES; j++)
            w[16 * i + j] = spread(tiles.words[i * LANES + j]);
    int nodes = k;
    if (k % 2) {
        for (int j = 0; j < k; j++)
            w[16 * k + j] = spread(tiles.bounds[j]);
        nodes++;
    }
    if (nodes == 4)
        return four(w, 0, 1, 2, 3);
    if (nodes == 6)
        return std::min({w[84] + four(w, 0, 1, 2, 3), w[83] + four(w, 0, 1, 2, 4), w[82] + four(w, 0, 1, 3, 4),
                         w[81] + four(w, 0, 2, 3, 4), w[80] + four(w, 1, 2, 3, 4)});
    const Program &program = programs_[size_t(nodes) / 2];
    const uint16_t *pair = program.pair.data(), *rest = program.rest.data();
    const size_t subsets = program.steps.size();
    best_[0] = 0;
    for (size_t s = 1; s < subsets; s++) {
        uint32_t best = ~0u;
        const int steps = program.steps[s];
        for (int t = 0; t < steps; t++)
            best = std::min(best, w[pair[t]] + best_[rest[t]]);
        pair += steps;
        rest += steps;
        best_[s] = best;
    }
    return best_[subsets - 1];
}

// The pairs behind `few`: the whole program again, and back through its least sums.
void MatchingDecoder::mates(Part &part) noexcept {
    Tiles &tiles = part.tiles;
    const int k = tiles.count, nodes = k + k % 2;
    uint32_t *w = weight_;
    for (int i = 0; i < nodes; i++)
        for (int j = 0; j < i; j++)
            w[16 * i + j] = spread(i < k ? tiles.words[i * LANES + j] : tiles.bounds[j]);
    const Program &program = programs_[size_t(nodes) / 2];
    best_[0] = 0;
    size_t at = 0;
    for (size_t s = 1; s < program.steps.size(); s++) {
        best_[s] = ~0u;
        for (int t = program.steps[s]; t > 0; t--, at++)
            best_[s] = std::min(best_[s], w[program.pair[at]] + best_[program.rest[at]]);
    }
    size_t subset = program.steps.size() - 1;
    for (size_t s = subset; s > 0; s--) {
        at -= program.steps[s];
        if (s != subset)
            continue;
        size_t t = at;
        while (w[program.pair[t]] + best_[program.rest[t]] != best_[s])
            t++;
        const int high = program.pair[t] / 16, low = program.pair[t] % 16;
        tiles.mate[low] = high < k ? high : OUTSIDE;
        if (high < k)
            tiles.mate[high] = low;
        subset = program.rest[t];
    }
}

uint64_t MatchingDecoder::flips(const Part &part) const noexcept {
    const Basis &basis = *part.basis;
    uint64_t flips = 0;
    for (int32_t i = 0; i < part.tiles.count; i++) {
        const int32_t mate = part.tiles.mate[i];
        if (mate < i)
            flips ^= mate == OUTSIDE ? basis.bound_masks[size_t(part.locals[i])] : basis.mask(part.locals[i], part.locals[mate]);
    }
    return flips;
}

std::span<const Pair> MatchingDecoder::pairs() noexcept {
    if (pair_count_ >= 0)
        return {pairs_, size_t(pair_count_)};
    pair_count_ = 0;
    for (int32_t a = 0; a < active_count_; a++) {
        Part &part = parts_[active_[a]];
        const Tiles &tiles = part.tiles;
        const Basis &basis = *part.basis;
        if (tiles.count <= options_.direct)
            mates(part);
        auto outward = [&](int32_t i) {  // what the path to the boundary flips
            if (basis.masked())
                return basis.bound_masks[size_t(part.locals[i])];
            return tiles.bounds[i] & 1 ? basis.flip : uint64_t{0};
        };
        for (int32_t i = 0; i < tiles.count; i++) {
            const int32_t mate = tiles.mate[i];
            if (mate > i)
                continue;
            const int32_t detector = basis.detectors[size_t(part.locals[i])];
            if (mate >= 0) {
                const int32_t other = basis.detectors[size_t(part.locals[mate])];
                if ((tiles.word(i, mate) | 1) < (tiles.bounds[i] & ~1) + (tiles.bounds[mate] & ~1)) {
                    const uint64_t path = tiles.word(i, mate) & 1 ? basis.flip : 0;
                    pairs_[pair_count_++] = {other, detector,
                                             basis.masked() ? basis.mask(part.locals[i], part.locals[mate]) : path};
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

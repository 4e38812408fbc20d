#include "detectors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace qdeck {
namespace {

uint64_t load(const uint8_t *bits, uint64_t at) noexcept {
    uint64_t word;
    std::memcpy(&word, bits + at / 8, sizeof word);
    return word >> at % 8;
}

bool follows(const std::vector<int64_t> &row, const std::vector<int64_t> &before) noexcept {
    return row.size() == before.size() &&
           std::equal(row.begin(), row.end(), before.begin(), [](int64_t a, int64_t b) { return a == b + 1; });
}

}  // namespace

Detectors::Detectors(int64_t measurements, const std::vector<std::vector<int64_t>> &rows, int64_t reach)
    : measurements_(measurements), reach_(reach), size_(rows.size()) {
    constexpr int64_t MOST = int64_t{1} << 40;
    if (measurements < 1 || measurements > MOST || reach < 0 || reach > MOST)
        throw std::invalid_argument("detectors are made of at least 1 measurement");
    if (size_ > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
        throw std::invalid_argument("there are more than 2^31 - 1 detectors");
    std::vector<int64_t> before, row;
    for (size_t i = 0; i < rows.size(); i++, before = row) {
        row = rows[i];
        if (row.empty())
            continue;  // it never fires
        std::sort(row.begin(), row.end());
        if (row.front() < -reach || row.back() >= measurements)
            throw std::invalid_argument("detector " + std::to_string(i) + " contains a measurement beyond " +
                                        std::to_string(-reach) + " to " + std::to_string(measurements - 1));
        if (std::adjacent_find(row.begin(), row.end()) != row.end())
            throw std::invalid_argument("detector " + std::to_string(i) + " contains a measurement twice");
        if (!runs_.empty() && runs_.back().count < LONGEST && i && follows(row, before)) {
            runs_.back().count++;
            continue;
        }
        runs_.push_back({static_cast<int32_t>(i), 1, row.back() + 1, static_cast<uint32_t>(terms_.size()),
                         static_cast<uint32_t>(row.size())});
        terms_.insert(terms_.end(), row.begin(), row.end());
    }
    std::stable_sort(runs_.begin(), runs_.end(), [](const Run &a, const Run &b) { return a.complete < b.complete; });
}

Detectors::Pass::Pass(const Detectors &detectors) : of_(&detectors), opened_(detectors.runs_.size()) {}

size_t Detectors::Pass::advance(const uint8_t *bits, uint64_t base, int64_t come, int32_t *fired) noexcept {
    size_t many = 0;
    const auto ready = [&](const Run &run) {
        return static_cast<uint32_t>(std::min<int64_t>(run.count, come - run.complete + 1));
    };
    const auto emit = [&](const Run &run, uint32_t from, uint32_t to) {
        uint64_t parity = 0;
        const int64_t *term = of_->terms_.data() + run.term;
        for (uint32_t i = 0; i < run.terms; i++)
            parity ^= load(bits, base + static_cast<uint64_t>(term[i] + from));
        parity &= (uint64_t{1} << (to - from)) - 1;
        for (; parity; parity &= parity - 1)
            fired[many++] = run.first + static_cast<int32_t>(from) + std::countr_zero(parity);
    };
    // Runs of which an earlier frame brought a part.
    size_t kept = 0;
    for (size_t i = 0; i < open_; i++) {
        Open open = opened_[i];
        const Run &run = of_->runs_[open.run];
        const uint32_t to = ready(run);
        if (to > open.done)
            emit(run, open.done, to);
        open.done = to;
        if (to < run.count)
            opened_[kept++] = open;
    }
    open_ = kept;
    for (; next_ < of_->runs_.size() && of_->runs_[next_].complete <= come; next_++) {
        const Run &run = of_->runs_[next_];
        const uint32_t to = ready(run);
        emit(run, 0, to);
        if (to < run.count)
            opened_[open_++] = {static_cast<uint32_t>(next_), to};
    }
    return many;
}

void append_bits(uint8_t *to, uint64_t at, std::span<const uint8_t> from, uint64_t count) noexcept {
    uint8_t *out = to + at / 8;
    const unsigned shift = at % 8;
    // 56 bits a step, so that a step's bits and its shift fit into one word.
    for (; count >= 64; count -= 56, from = from.subspan(7), out += 7) {
        uint64_t word, there;
        std::memcpy(&word, from.data(), sizeof word);
        std::memcpy(&there, out, sizeof there);
        there |= (word & ((uint64_t{1} << 56) - 1)) << shift;
        std::memcpy(out, &there, sizeof there);
    }
    uint64_t word = 0;
    std::memcpy(&word, from.data(), (count + 7) / 8);
    if (count < 64)
        word &= (uint64_t{1} << count) - 1;
    uint64_t low;
    std::memcpy(&low, out, sizeof low);
    low |= word << shift;
    std::memcpy(out, &low, sizeof low);
    if (shift && count > 64 - shift)
        out[8] |= static_cast<uint8_t>(word >> (64 - shift));
}

}  // namespace qdeck

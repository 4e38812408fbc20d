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

Detectors::Detectors(int64_t measurements, const std::vector<std::vector<int64_t>> &rows, int64_t reach,
                     const std::vector<int64_t> &odd)
    : measurements_(measurements), reach_(reach), size_(rows.size()) {
    constexpr int64_t MOST = int64_t{1} << 40;
    if (measurements < 1 || measurements > MOST || reach < 0 || reach > MOST)
        throw std::invalid_argument("detectors are made of at least 1 measurement");
    if (size_ > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
        throw std::invalid_argument("there are more than 2^31 - 1 detectors");
    std::vector<std::vector<int64_t>> sorted = rows;
    for (size_t i = 0; i < size_; i++) {
        std::vector<int64_t> &row = sorted[i];
        std::sort(row.begin(), row.end());
        if (row.empty())
            continue;  // it never fires
        if (row.front() < -reach || row.back() >= measurements)
            throw std::invalid_argument("detector " + std::to_string(i) + " contains a measurement beyond " +
                                        std::to_string(-reach) + " to " + std::to_string(measurements - 1));
        if (std::adjacent_find(row.begin(), row.end()) != row.end())
            throw std::invalid_argument("detector " + std::to_string(i) + " contains a measurement twice");
    }
    std::vector<uint8_t> is_odd(size_);
    for (const int64_t i : odd) {
        if (i < 0 || i >= static_cast<int64_t>(size_) || sorted[static_cast<size_t>(i)].empty())
            throw std::invalid_argument("detector " + std::to_string(i) + " cannot be odd: it has no measurements");
        is_odd[static_cast<size_t>(i)] = 1;
    }
    std::vector<Single> singles;
    for (size_t i = 0, count = 1; i < size_; i += count) {
        const std::vector<int64_t> &row = sorted[i];
        for (count = 1; count < LONGEST && i + count < size_ && follows(sorted[i + count], sorted[i + count - 1]); count++) {
        }
        if (row.empty())
            continue;
        if (count < SHORT) {
            for (size_t j = i; j < i + count; j++)
                singles.push_back({{sorted[j].back() + 1, static_cast<int32_t>(j)}, &sorted[j], is_odd[j] != 0});
            continue;
        }
        groups_.push_back({row.back() + 1, static_cast<uint32_t>(i), static_cast<uint32_t>(count),
                           static_cast<uint32_t>(terms_.size()), static_cast<uint32_t>(row.size()), true, 0});
        for (size_t j = 0; j < count; j++)
            groups_.back().odd |= uint64_t{is_odd[i + j]} << j;
        terms_.insert(terms_.end(), row.begin(), row.end());
    }
    std::stable_sort(singles.begin(), singles.end(),
                     [](const Single &a, const Single &b) { return a.member.complete < b.member.complete; });
    for (size_t from = 0, to = 0; from < singles.size(); from = to) {
        for (to = from + 1; to < singles.size() && to - from < WIDEST &&
                            singles[to].member.complete - singles[to - 1].member.complete <= NEAR; to++) {
        }
        look_up(std::span(singles).subspan(from, to - from));
    }
    std::stable_sort(groups_.begin(), groups_.end(), [](const Group &a, const Group &b) { return a.complete < b.complete; });
}

void Detectors::look_up(std::span<const Single> singles) {
    Group group{singles[0].member.complete, static_cast<uint32_t>(members_.size()), static_cast<uint32_t>(singles.size()),
                static_cast<uint32_t>(windows_.size()), 0, false, 0};
    std::vector<std::pair<int64_t, uint64_t>> flips;  // a measurement, and which member it flips
    for (size_t i = 0; i < singles.size(); i++) {
        members_.push_back(singles[i].member);
        group.odd |= uint64_t{singles[i].odd} << i;
        for (const int64_t term : *singles[i].row)
            flips.emplace_back(term, uint64_t{1} << i);
    }
    std::sort(flips.begin(), flips.end());
    for (size_t i = 0; i < flips.size();) {
        Window window{flips[i].first, {}};
        for (; i < flips.size() && flips[i].first < window.first + 4; i++)
            for (size_t outcome = 0; outcome < window.flips.size(); outcome++)
                if (outcome >> (flips[i].first - window.first) & 1)
                    window.flips[outcome] ^= flips[i].second;
        windows_.push_back(window);
        group.many++;
    }
    groups_.push_back(group);
}

// How many of the group's detectors are complete.
uint32_t Detectors::ready(const Group &group, int64_t come) const noexcept {
    if (group.run)
        return static_cast<uint32_t>(std::min<int64_t>(group.count, come - group.complete + 1));
    const Member *members = members_.data() + group.first;
    uint32_t count = group.count;
    while (count && members[count - 1].complete > come)
        count--;
    return count;
}

// Of all detectors of the group, as far as their measurements have come: the others are 0.
uint64_t Detectors::parities(const Group &group, const uint8_t *bits, uint64_t base) const noexcept {
    uint64_t parity = group.odd;
    if (group.run) {
        const int64_t *term = terms_.data() + group.at;
        for (uint32_t i = 0; i < group.many; i++)
            parity ^= load(bits, base + static_cast<uint64_t>(term[i]));
    } else {
        const Window *window = windows_.data() + group.at;
        for (uint32_t i = 0; i < group.many; i++)
            parity ^= window[i].flips[load(bits, base + static_cast<uint64_t>(window[i].first)) & 15];
    }
    return parity;
}

Detectors::Pass::Pass(const Detectors &detectors) : of_(&detectors), opened_(detectors.groups_.size()) {}

size_t Detectors::Pass::advance(const uint8_t *bits, uint64_t base, int64_t come, int32_t *fired) noexcept {
    size_t many = 0;
    const auto emit = [&](const Group &group, uint32_t from, uint32_t to) {
        uint64_t parity = of_->parities(group, bits, base) >> from;
        if (to - from < 64)
            parity &= (uint64_t{1} << (to - from)) - 1;
        for (; parity; parity &= parity - 1) {
            const uint32_t which = group.first + from + static_cast<uint32_t>(std::countr_zero(parity));
            fired[many++] = group.run ? static_cast<int32_t>(which) : of_->members_[which].detector;
        }
    };
    // Groups of which an earlier frame brought a part.
    size_t kept = 0;
    for (size_t i = 0; i < open_; i++) {
        Open open = opened_[i];
        const Group &group = of_->groups_[open.group];
        const uint32_t to = of_->ready(group, come);
        if (to > open.done)
            emit(group, open.done, to);
        open.done = to;
        if (to < group.count)
            opened_[kept++] = open;
    }
    open_ = kept;
    for (; next_ < of_->groups_.size() && of_->groups_[next_].complete <= come; next_++) {
        const Group &group = of_->groups_[next_];
        const uint32_t to = of_->ready(group, come);
        emit(group, 0, to);
        if (to < group.count)
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

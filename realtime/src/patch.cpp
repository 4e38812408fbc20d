#include "patch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

namespace qdeck {
namespace {

constexpr uint64_t round_of(int64_t counter) noexcept { return static_cast<uint64_t>(counter) & 0xffff; }
constexpr int64_t shot_of(int64_t counter) noexcept { return counter >> 16; }

bool known_outcomes(Bytes outcomes) noexcept {
    return std::all_of(outcomes.begin(), outcomes.end(), [](uint8_t outcome) { return outcome <= 2; });
}

// Like append_bits, from one byte for each measurement; returns how many are lost, which count as 0.
uint64_t append_outcomes(uint8_t *to, uint64_t at, Bytes outcomes) noexcept {
    uint64_t lost = 0;
    for (const uint8_t outcome : outcomes) {
        to[at / 8] |= static_cast<uint8_t>((outcome & 1) << at % 8);
        lost += outcome >> 1;
        at++;
    }
    return lost;
}

// 64 bits from any bit on; eight bytes behind them are readable.
uint64_t bits_from(const uint8_t *bits, uint64_t at) noexcept {
    uint64_t low;
    std::memcpy(&low, bits + at / 8, sizeof low);
    return at % 8 ? low >> at % 8 | static_cast<uint64_t>(bits[at / 8 + 8]) << (64 - at % 8) : low;
}

}  // namespace

Patch::Patch(int32_t observables) : observables_(observables) {
    if (observables < 1 || observables > 64)
        throw std::invalid_argument("a patch has 1 to 64 observables");
}

Patch::Place Patch::place(int64_t counter) noexcept {
    if (!counting_)
        return round_of(counter) == 0 || under_way() ? Place::next : Place::gap;
    if (counter == expected_)
        return Place::next;
    if (endless())
        return counter < expected_ ? Place::repeated : Place::gap;
    if (shot_of(counter) > shot_of(expected_) && round_of(counter) == 0) {
        if (under_way()) {
            stats_.abandoned++;
            restart();
        }
        return Place::next;
    }
    if (shot_of(counter) < shot_of(expected_))
        return Place::stale;
    return counter < expected_ ? Place::repeated : Place::gap;
}

Taken Patch::enqueue(const Enqueue &enqueue, uint8_t flags, bool outcomes) noexcept {
    if (enqueue.mapping != 0 || enqueue.syndromes < 1 || enqueue.syndromes > MOST_SYNDROMES)
        return {malformed()};
    if (failed_)
        return {};
    const bool ordered = always_ordered_ || (flags & ask::ordered);
    if (ordered) {
        switch (place(enqueue.counter)) {
        case Place::next:
            break;
        case Place::repeated:
            stats_.repeated++;
            return {.status = Status::ok, .repeated = true};
        case Place::gap:
            if (!dropped_)
                stats_.lost += counting_ && (endless() || shot_of(enqueue.counter) == shot_of(expected_))
                                   ? static_cast<uint64_t>(enqueue.counter) - static_cast<uint64_t>(expected_)
                                   : round_of(enqueue.counter);
            dropped_ = true;
            [[fallthrough]];
        case Place::stale:
            return {.status = Status::syndromes_dropped};
        }
    }
    counting_ = ordered;
    expected_ = static_cast<int64_t>(static_cast<uint64_t>(enqueue.counter) + 1);
    Taken taken;
    if (!take(enqueue, flags, outcomes, taken.completed))
        return {malformed()};
    dropped_ = false;
    stats_.rounds++;
    stats_.bits += static_cast<uint64_t>(enqueue.syndromes);
    return taken;
}

Status Patch::malformed() noexcept {
    stats_.malformed++;
    fail();
    return Status::bad_request;
}

void Patch::fail() noexcept {
    if (!failed_)
        stats_.failures++;
    failed_ = true;
    restart();
}

Status Patch::corrections(const Get &get, uint8_t *out, size_t &bytes) noexcept {
    bytes = 0;
    if (get.return_size != observables_)
        return Status::bad_request;
    if (failed_)
        return Status::internal_error;
    if (!ready())
        return dropped_ ? Status::syndromes_dropped : Status::not_ready;
    const uint64_t bits = answer();
    bytes = static_cast<size_t>(observables_ + 7) / 8;
    std::memcpy(out, &bits, bytes);
    stats_.answers++;
    if (get.reset)
        clear();
    return Status::ok;
}

void Patch::reset() noexcept {
    failed_ = dropped_ = counting_ = false;
    tell_ = 0;
    restart();
}

VolumePatch::VolumePatch(std::shared_ptr<const Detectors> detectors, int32_t observables, Decoder &decoder)
    : Patch(observables), detectors_(std::move(detectors)), decoder_(&decoder), pass_(*detectors_),
      bits_(static_cast<size_t>(detectors_->measurements()) / 8 + 1 + 2 * sizeof(uint64_t)), fired_(detectors_->size()) {
    if (detectors_->reach())
        throw std::invalid_argument("a volume's detectors cannot reach back to earlier rounds");
}

void VolumePatch::use(Decoder &decoder, uint64_t epoch) noexcept {
    decoder_ = &decoder;
    stats_.epoch = epoch;
}

void VolumePatch::losses(Losses losses) {
    const auto measurements = static_cast<size_t>(detectors_->measurements());
    for (const auto *table : {&losses.lost, &losses.heralds})
        if (!table->empty() && table->size() != measurements)
            throw std::invalid_argument("losses are told for each of " + std::to_string(measurements) +
                                        " measurements, not for " + std::to_string(table->size()));
    losses_ = std::move(losses);
    heralding_.assign(losses_.heralds.empty() ? 0 : (measurements + 63) / 64, 0);
    for (size_t i = 0; i < losses_.heralds.size(); i++)
        if (!losses_.heralds[i].empty())
            heralding_[i / 64] |= uint64_t{1} << i % 64;
}

void VolumePatch::lose(const std::vector<int32_t> &edges) noexcept {
    stats_.erased++;
    tell_ |= tell::lost;
    if (!edges.empty())
        decoder_->erase(edges);
}

// What the measurements from `from` up to `to` tell of losses.
void VolumePatch::herald(int64_t from, int64_t to) noexcept {
    for (auto word = static_cast<size_t>(from / 64); word < static_cast<size_t>((to + 63) / 64); word++) {
        uint64_t bits;
        std::memcpy(&bits, bits_.data() + word * 8, sizeof bits);
        for (bits &= heralding_[word]; bits; bits &= bits - 1) {
            const auto which = static_cast<int64_t>(word * 64) + std::countr_zero(bits);
            if (which >= from && which < to)
                lose(losses_.heralds[static_cast<size_t>(which)]);
        }
    }
}

void VolumePatch::restart() noexcept {
    come_ = 0;
    finished_ = false;
    observables_now_ = 0;
}

bool VolumePatch::take(const Enqueue &enqueue, uint8_t flags, bool outcomes, bool &completed) noexcept {
    if (enqueue.syndromes > detectors_->measurements() - come_ || (flags & ask::close) ||
        (outcomes && !known_outcomes(enqueue.bits)))
        return false;
    if (come_ == 0) {
        finished_ = false;
        observables_now_ = 0;
        tell_ = 0;
        std::memset(bits_.data(), 0, bits_.size());
        pass_.begin();
        decoder_->begin();
    }
    const int64_t before = come_;
    come_ += enqueue.syndromes;
    if (outcomes) {
        append_outcomes(bits_.data(), static_cast<uint64_t>(before), enqueue.bits);
        for (int64_t i = 0; i < enqueue.syndromes; i++)
            if (enqueue.bits[static_cast<size_t>(i)] == 2)
                lose(losses_.lost.empty() ? nothing_ : losses_.lost[static_cast<size_t>(before + i)]);
    } else {
        append_bits(bits_.data(), static_cast<uint64_t>(before), enqueue.bits, static_cast<uint64_t>(enqueue.syndromes));
    }
    if (!heralding_.empty())
        herald(before, come_);
    if (const size_t many = pass_.advance(bits_.data(), 0, come_, fired_.data())) {
        stats_.defects += many;
        decoder_->add({fired_.data(), many});
    }
    completed = come_ == detectors_->measurements();
    if (!completed)
        return true;
    const Answer answer = decoder_->finish();
    come_ = 0;
    stats_.volumes++;
    if (answer.quality == Quality::failed) {
        fail();
        return true;
    }
    finished_ = true;
    observables_now_ = answer.observables;
    if (answer.quality == Quality::heuristic) {
        stats_.heuristic++;
        tell_ |= tell::heuristic;
    }
    return true;
}

StreamPatch::StreamPatch(RoundShape shape, int32_t observables, StreamDecoder &stream)
    : Patch(observables), shape_(std::move(shape)), stream_(&stream), first_(*shape_.first), steady_(*shape_.steady),
      last_(*shape_.last) {
    const auto width = static_cast<uint64_t>(shape_.steady->measurements());
    if (shape_.first->measurements() != shape_.steady->measurements())
        throw std::invalid_argument("the first round of a stream has as many measurements as the others");
    if (shape_.first->reach())
        throw std::invalid_argument("the first round of a stream has none before it");
    constexpr uint64_t ROUNDS = 64;  // between two moves of the buffer
    keep_ = (static_cast<uint64_t>(std::max(shape_.steady->reach(), shape_.last->reach())) + 7) / 8 * 8;
    most_ = keep_ + ROUNDS * width + static_cast<uint64_t>(shape_.last->measurements()) + 64;
    bits_.resize(most_ / 8 + 2 * sizeof(uint64_t));
    fired_.resize(std::max({shape_.first->size(), shape_.steady->size(), shape_.last->size()}));
}

void StreamPatch::use(StreamDecoder &stream, uint64_t epoch) noexcept {
    stream_ = &stream;
    stats_.epoch = epoch;
}

void StreamPatch::losses(const Heralds &heralds) {
    if (!stream_->erase({}))
        throw std::invalid_argument("the stream's decoder cannot take account of losses, or was made without their table");
    const auto marked = [](const std::vector<int32_t> &which, int64_t measurements) {
        std::vector<uint64_t> bits(static_cast<size_t>(measurements + 63) / 64);
        for (const int32_t m : which) {
            if (m < 0 || m >= measurements)
                throw std::invalid_argument("measurement " + std::to_string(m) + " tells of losses, and the round has " +
                                            std::to_string(measurements));
            bits[static_cast<size_t>(m) / 64] |= uint64_t{1} << m % 64;
        }
        return bits;
    };
    heralding_first_ = marked(heralds.first, shape_.first->measurements());
    heralding_ = marked(heralds.steady, shape_.steady->measurements());
    heralding_last_ = marked(heralds.last, shape_.last->measurements());
    heralded_ = !heralds.first.empty() || !heralds.steady.empty() || !heralds.last.empty();
    lost_.assign(bits_.size(), 0);
    sites_.resize(2 * static_cast<size_t>(std::max(shape_.steady->measurements(), shape_.last->measurements())));
}

// Tells the decoder what the round from `base_` on lost.
void StreamPatch::lose(uint64_t width, const std::vector<uint64_t> &heralding) noexcept {
    size_t many = 0;
    for (uint64_t from = 0; from < width; from += 64) {
        const uint64_t inside = width - from < 64 ? (uint64_t{1} << (width - from)) - 1 : ~uint64_t{0};
        for (uint64_t lost = bits_from(lost_.data(), base_ + from) & inside; lost; lost &= lost - 1)
            sites_[many++] = static_cast<int32_t>(2 * (from + static_cast<uint64_t>(std::countr_zero(lost))));
        if (!heralded_)
            continue;
        for (uint64_t told = bits_from(bits_.data(), base_ + from) & heralding[from / 64]; told; told &= told - 1) {
            sites_[many++] = static_cast<int32_t>(2 * (from + static_cast<uint64_t>(std::countr_zero(told))) + 1);
            stats_.erased++;
            tell_ |= tell::lost;
        }
    }
    if (many)
        stream_->erase({sites_.data(), many});
}

void StreamPatch::restart() noexcept {
    running_ = false;
    committed_ = {};
    taken_ = 0;
}

void StreamPatch::start() noexcept {
    restart();
    running_ = true;
    rounds_ = 0;
    stats_.committed = 0;
    tell_ = 0;
    base_ = end_ = keep_;  // measurements before the first are 0
    std::memset(bits_.data(), 0, bits_.size());
    std::fill(lost_.begin(), lost_.end(), 0);
    some_lost_ = false;
    stream_->begin();
}

void StreamPatch::settle(Committed committed) noexcept {
    committed_ = committed;
    stats_.committed = static_cast<uint64_t>(committed.rounds);
    if (committed.failed)
        fail();
}

// What detectors still reach, to the start of the buffer.
void StreamPatch::slide() noexcept {
    const uint64_t bytes = (base_ - keep_) / 8;
    const uint64_t used = (end_ + 7) / 8;
    std::memmove(bits_.data(), bits_.data() + bytes, used - bytes);
    std::memset(bits_.data() + (used - bytes), 0, bytes);
    if (!lost_.empty()) {
        std::memmove(lost_.data(), lost_.data() + bytes, used - bytes);
        std::memset(lost_.data() + (used - bytes), 0, bytes);
    }
    base_ -= bytes * 8;
    end_ -= bytes * 8;
}

bool StreamPatch::take(const Enqueue &enqueue, uint8_t flags, bool outcomes, bool &completed) noexcept {
    const bool close = flags & ask::close;
    const auto width = static_cast<uint64_t>(shape_.steady->measurements());
    if (close && (!running_ || end_ != base_ || rounds_ == 0 || enqueue.syndromes != shape_.last->measurements()))
        return false;
    if (outcomes && !known_outcomes(enqueue.bits))
        return false;
    if (!running_)
        start();
    Bytes rest = enqueue.bits;
    for (auto left = static_cast<uint64_t>(enqueue.syndromes); left;) {
        if (base_ - keep_ > (most_ - keep_) / 2)
            slide();
        const uint64_t count = std::min(left, (most_ - end_) / 8 * 8);
        if (outcomes) {
            const uint64_t lost = append_outcomes(bits_.data(), end_, rest.first(count));
            stats_.erased += lost;
            tell_ |= lost ? tell::lost : 0;
            if (lost && !lost_.empty()) {
                some_lost_ = true;
                for (uint64_t i = 0; i < count; i++)
                    if (rest[i] == 2)
                        lost_[(end_ + i) / 8] |= static_cast<uint8_t>(1 << (end_ + i) % 8);
            }
        } else {
            append_bits(bits_.data(), end_, rest, count);
        }
        end_ += count;
        left -= count;
        rest = rest.subspan(outcomes ? count : (count + 7) / 8);
        for (; !close && end_ - base_ >= width; base_ += width, rounds_++) {
            Detectors::Pass &pass = rounds_ ? steady_ : first_;
            pass.begin();
            const size_t many = pass.advance(bits_.data(), base_, static_cast<int64_t>(width), fired_.data());
            stats_.defects += many;
            if (heralded_ || some_lost_)
                lose(width, rounds_ ? heralding_ : heralding_first_);
            settle(stream_->round({fired_.data(), many}));
            completed = true;
            if (failed())
                return true;
        }
        some_lost_ = some_lost_ && end_ != base_;
    }
    if (close) {
        last_.begin();
        const size_t many = last_.advance(bits_.data(), base_, enqueue.syndromes, fired_.data());
        stats_.defects += many;
        completed = true;
        if (heralded_ || some_lost_)
            lose(static_cast<uint64_t>(enqueue.syndromes), heralding_last_);
        settle(stream_->close({fired_.data(), many}));
        running_ = false;
        stats_.volumes++;
        recount();
    }
    return true;
}

}  // namespace qdeck

#include "probe.h"

#include <cstring>

#include "clock.h"

namespace qdeck {

static void run(Decoder &decoder, std::span<const int32_t> defects) noexcept {
    decoder.begin();
    decoder.add(defects);
    decoder.finish();
}

VolumeProbe::VolumeProbe(std::unique_ptr<Loaded> first, size_t most_defects)
    : Probe(std::move(first)), live_(slot_.current().decoder.get()), defects_(most_defects) {}

void VolumeProbe::begin() noexcept {
    live_->begin();
    many_ = 0;
    fits_ = true;
}

void VolumeProbe::add(std::span<const int32_t> defects) noexcept {
    live_->add(defects);
    fits_ = fits_ && defects.size() <= defects_.size() - many_;
    if (!fits_ || defects.empty()) return;
    std::memcpy(defects_.data() + many_, defects.data(), defects.size_bytes());
    many_ += defects.size();
}

Answer VolumeProbe::finish() noexcept {
    started_ns_ = now_ns();
    const Answer answer = live_->finish();
    ended_ns_ = now_ns();
    heuristic_ = answer.quality == Quality::heuristic;
    return answer;
}

void VolumeProbe::swap(Patch &patch) noexcept {
    if (!slot_.take()) return;
    live_ = slot_.current().decoder.get();
    static_cast<VolumePatch &>(patch).use(*this, epoch());
    // Its memory was warm in another core's caches. This round ends no volume: there is time to bring some of it here.
    const Loaded &fresh = slot_.current();
    if (fresh.rehearsed == 0)
        for (size_t part : {size_t{1}, size_t{2}, size_t{4}})
            if (const size_t many = fresh.samples.size() / part) run(*live_, fresh.samples[many - 1].defects);
}

void VolumeProbe::rehearse(int64_t most_ns) noexcept {
    Loaded *const next = slot_.next();
    if (!next || next->rehearsed >= next->samples.size()) return;
    const Loaded::Sample &sample = next->samples[next->rehearsed++];
    if (sample.warm_ns <= most_ns) run(*next->decoder, sample.defects);
}

int64_t VolumeProbe::time_again(std::span<const int32_t> defects) noexcept {
    run(*live_, defects);  // for the caches
    const int64_t start = now_ns();
    run(*live_, defects);
    return now_ns() - start;
}

StreamProbe::StreamProbe(std::unique_ptr<Loaded> first) noexcept
    : Probe(std::move(first)), live_(slot_.current().stream.get()) {}

Committed StreamProbe::round(std::span<const int32_t> defects) noexcept {
    started_ns_ = now_ns();
    const Committed committed = live_->round(defects);
    ended_ns_ = now_ns();
    return committed;
}

Committed StreamProbe::close(std::span<const int32_t> defects) noexcept {
    started_ns_ = now_ns();
    const Committed committed = live_->close(defects);
    ended_ns_ = now_ns();
    return committed;
}

void StreamProbe::swap(Patch &patch) noexcept {
    auto &stream = static_cast<StreamPatch &>(patch);
    const bool running = !stream.at_boundary();
    if (!slot_.take([&](Loaded &old, Loaded &fresh) { return !running || fresh.stream->adopt(*old.stream); })) return;
    live_ = slot_.current().stream.get();
    stream.use(*this, epoch());
}

}  // namespace qdeck

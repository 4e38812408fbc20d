#include "parallel.h"

#include "clock.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace qdeck {

namespace {

ParallelSettings checked(ParallelSettings settings, const Layers &layers) {
    const auto &[core, gap, buffer] = settings;
    if (core < 1 || buffer < std::max(layers.span, 1) || gap < buffer)
        throw std::invalid_argument("windows of " + std::to_string(core) + " layers with buffers of " +
                                    std::to_string(buffer) + " and gaps of " + std::to_string(gap) +
                                    " cannot be: a core has at least 1 layer, a buffer " +
                                    std::to_string(std::max(layers.span, 1)) + ", and a gap as many as a buffer");
    if (core + gap - buffer < layers.head)
        throw std::invalid_argument("the first " + std::to_string(layers.head) +
                                    " layers differ from the others: the first core must have as many");
    check_end(layers);
    return settings;
}

// A gap must be decodable whatever its neighbours leave to it, also an odd number of defects.
void check_boundary(const Model &window) {
    std::vector<int32_t> root(static_cast<size_t>(window.detectors) + 1);
    for (int32_t v = 0; v <= window.detectors; v++)
        root[v] = v;
    auto find = [&](int32_t v) {
        while (root[v] != v)
            v = root[v] = root[root[v]];
        return v;
    };
    for (const Edge &edge : window.edges)
        root[find(edge.u)] = find(edge.v == BOUNDARY ? window.detectors : edge.v);
    for (const Edge &edge : window.edges)
        if (find(edge.u) != find(window.detectors))
            throw std::invalid_argument(
                "a part of the graph, such as detector " + std::to_string(edge.u) +
                " of a window, has no boundary: parallel windows could leave it an odd number of "
                "defects; take sliding windows");
}

}  // namespace

ParallelWindows::ParallelWindows(const Model &volume, ParallelSettings wanted, const Maker &maker, const Sites &sites)
    : settings(checked(wanted, Layers(volume))), losses(volume, Layers(volume), sites) {
    const Layers layers(volume);
    const auto &[core_layers, gap_layers, buffer] = settings;
    head = layers.head;
    layer_width = layers.width;
    widest = 0;
    for (const auto &members : layers.members)
        widest = std::max(widest, static_cast<int32_t>(members.size()));
    const int32_t both = period() + core_layers;
    const int32_t last = both + buffer;
    const int32_t inner = head + layers.span;  // behind it all that reaches into a window repeats
    const int32_t count = inner + std::max(last, core_layers + 2 * buffer) + layers.tail + layers.span;
    const Model whole = stretch(volume, layers, count);
    Model closed;
    auto part = [&](Cut where, Model *made = nullptr) {
        return Part(whole, layers.span, where, maker, !losses.empty(), made);
    };
    gap = part({inner, inner + both, false, false}, &closed);
    check_boundary(closed);
    first_core = part({0, core_layers + buffer, false, true});
    core = part({inner, inner + core_layers + 2 * buffer, true, true});
    first_gap = part({0, both, false, false});
    end = part({count - last, count, false, false});
}

bool ParallelWindows::alike(const ParallelWindows &other) const noexcept {
    return settings.core == other.settings.core && settings.gap == other.settings.gap &&
           settings.buffer == other.settings.buffer && head == other.head && layer_width == other.layer_width &&
           widest == other.widest && losses.alike(other.losses);
}

size_t ParallelWindows::bytes() const noexcept {
    return first_core.bytes() + core.bytes() + first_gap.bytes() + gap.bytes() + end.bytes();
}

ParallelStream::ParallelStream(const ParallelWindows &windows_, int32_t count, int32_t ahead) : windows(windows_) {
    const int32_t most = std::max(ahead, 2 * windows.least());
    room = static_cast<size_t>(most);
    stride = (static_cast<size_t>(windows.widest) + 16) / 16 * 16;  // whole cache lines
    ring.resize(room * stride);
    lost_words = windows.losses.words();
    lost.resize(room * lost_words);
    coming.resize(lost_words);
    std::vector<Slot> made(static_cast<size_t>(most / windows.period() + 2));
    slots.swap(made);
    const auto core_defects = static_cast<size_t>(windows.settings.core) * static_cast<size_t>(windows.widest);
    for (Slot &each : slots) {
        each.left.resize(core_defects);
        each.right.resize(core_defects);
    }
    ending = windows.end.compiled->decoder();
    size_t widest = 0;
    for (const Part *part : {&windows.first_core, &windows.core, &windows.first_gap, &windows.gap, &windows.end})
        widest = std::max(widest, part->layer.size());
    for (int32_t i = 0; i <= count; i++) {
        auto worker = std::make_unique<Worker>();
        worker->first_core = windows.first_core.compiled->decoder();
        worker->core = windows.core.compiled->decoder();
        worker->first_gap = windows.first_gap.compiled->decoder();
        worker->gap = windows.gap.compiled->decoder();
        worker->ids.resize(widest);
        workers.push_back(std::move(worker));
    }
    for (int32_t i = 0; i < count; i++)
        threads.emplace_back([this, i] { work(*workers[static_cast<size_t>(i)]); });
}

ParallelStream::~ParallelStream() {
    stopping.store(true);
    published.fetch_add(1);  // sleepers look again; no core of this number is ever decoded
    published.notify_all();
    for (std::thread &thread : threads)
        thread.join();
}

void ParallelStream::work(Worker &worker) noexcept {
    int32_t idle = 0;
    while (!stopping.load(std::memory_order_relaxed)) {
        if (take(worker)) {
            idle = 0;
        } else if (++idle < 4000) {  // some 100 us
            pause_cpu();
        } else {
            const int64_t seen = published.load(std::memory_order_acquire);
            const bool done = taken.load(std::memory_order_relaxed) >= seen || succeeded.load(std::memory_order_relaxed);
            if (done && !stopping.load())
                published.wait(seen);
            idle = 0;
        }
    }
}

// Decode one core if any waits, and gaps that it completes.
bool ParallelStream::take(Worker &worker) noexcept {
    int64_t number = taken.load(std::memory_order_relaxed);
    do {
        if (number >= published.load(std::memory_order_acquire) || stopping.load(std::memory_order_relaxed) ||
            succeeded.load(std::memory_order_relaxed))
            return false;
    } while (!taken.compare_exchange_weak(number, number + 1, std::memory_order_acq_rel));
    decode_core(worker, number);
    return true;
}

void ParallelStream::note(Quality worse) noexcept {
    const auto mine = static_cast<uint8_t>(worse);
    uint8_t before = quality.load(std::memory_order_relaxed);
    while (before < mine && !quality.compare_exchange_weak(before, mine, std::memory_order_relaxed)) {
    }
}

// Detectors of raw defects of layers [begin, end) in a part that begins at layer `from` (counted in this stream).
void ParallelStream::collect(Worker &worker, const Part &part, int64_t from, int64_t begin, int64_t end,
                             size_t &count) noexcept {
    for (int64_t t = begin; t < end; t++) {
        const int32_t *each = &ring[place_of(t) * stride];
        for (int32_t i = 1; i <= each[0]; i++) {
            const int32_t detector = part.at(t - from, each[i]);
            if (detector == BOUNDARY)
                note(Quality::failed);  // a rank that no detector has
            else
                worker.ids[count++] = detector;
        }
    }
}

void ParallelStream::place(Worker &worker, const Part &part, int64_t from, const std::vector<Defect> &defects,
                           int32_t number, size_t &count) noexcept {
    for (int32_t i = 0; i < number; i++) {
        const Defect &each = defects[static_cast<size_t>(i)];
        worker.ids[count++] = part.at(each.layer - from, each.rank);
    }
}

Answer ParallelStream::decode(Decoder &decoder, Worker &worker, const Part &part, int64_t from, size_t count) noexcept {
    decoder.begin();
    decoder.add({worker.ids.data(), count});
    // Only what the window's own rounds and those before tell: the same, whenever it is decoded.
    const int64_t until = lost_words ? from + part.layers() : 0;
    for (int64_t round = std::max<int64_t>(0, from - windows.losses.ahead()); round < until; round++)
        part.erase(decoder, windows.losses, from, &part == &windows.end ? until : INT64_MAX, round,
                   &lost[place_of(round) * lost_words]);
    worker.decoded.fetch_add(1, std::memory_order_relaxed);
    return decoder.finish();
}

void ParallelStream::decode_core(Worker &worker, int64_t number) noexcept {
    const auto &[core, gap, buffer] = windows.settings;
    const int64_t k = number - base;
    const int64_t begin = k * windows.period();
    const int64_t end = begin + core;
    const int64_t from = k == 0 ? 0 : begin - buffer;
    const Part &part = k == 0 ? windows.first_core : windows.core;
    Decoder &decoder = k == 0 ? *worker.first_core : *worker.core;
    size_t count = 0;
    collect(worker, part, from, from, end + buffer, count);
    note(decode(decoder, worker, part, from, count).quality);
    Slot &mine = slot(number);
    mine.core_flips = 0;
    mine.left_count = mine.right_count = 0;
    auto leave = [&](int32_t detector, bool right) {
        const int64_t at = from + part.layer[detector];
        if (at < begin || at >= end)
            return;
        const Defect defect{at, detector - part.first[at - from]};
        if (right)
            mine.right[static_cast<size_t>(mine.right_count++)] = defect;
        else
            mine.left[static_cast<size_t>(mine.left_count++)] = defect;
    };
    for (const Pair &pair : decoder.pairs()) {
        const int64_t a = from + part.layer[pair.a];
        const int64_t b = pair.b == BOUNDARY ? a : from + part.layer[pair.b];
        const auto [low, high] = std::minmax(a, b);
        if (pair.observables & (FUTURE | PAST)) {
            leave(pair.a, (pair.observables & FUTURE) != 0);
        } else if (low >= begin && high < end) {
            mine.core_flips ^= pair.observables;
        } else {
            leave(pair.a, high >= end);
            if (pair.b != BOUNDARY)
                leave(pair.b, high >= end);
        }
    }
    if (k > 0 && slot(number - 1).ready.fetch_add(1, std::memory_order_acq_rel) == 1)
        decode_gap(worker, number - 1);
    if (mine.ready.fetch_add(1, std::memory_order_acq_rel) == 1)
        decode_gap(worker, number);
    cores_done.fetch_add(1, std::memory_order_release);
}

// The gap after a core, with what both neighbours left to it.
void ParallelStream::decode_gap(Worker &worker, int64_t number) noexcept {
    const int64_t k = number - base;
    const int64_t from = k * windows.period();
    const Part &part = k == 0 ? windows.first_gap : windows.gap;
    const Slot &before = slot(number);
    const Slot &after = slot(number + 1);
    size_t count = 0;
    place(worker, part, from, before.right, before.right_count, count);
    collect(worker, part, from, from + windows.settings.core, from + windows.period(), count);
    place(worker, part, from, after.left, after.left_count, count);
    const Answer answer = decode(k == 0 ? *worker.first_gap : *worker.gap, worker, part, from, count);
    note(answer.quality);
    Slot &mine = slot(number);
    mine.gap_flips = answer.observables;
    mine.ready.store(0, std::memory_order_relaxed);
    mine.done.store(number, std::memory_order_release);
}

void ParallelStream::retire() noexcept {
    while (slot(base + retired).done.load(std::memory_order_acquire) == base + retired) {
        frame ^= slot(base + retired).core_flips ^ slot(base + retired).gap_flips;
        retired++;
    }
}

Committed ParallelStream::committed() noexcept {
    const bool failed = quality.load(std::memory_order_relaxed) == static_cast<uint8_t>(Quality::failed);
    if (ended)
        return {frame, arrived, failed};
    retire();
    return {frame, retired * windows.period(), failed};
}

int64_t ParallelStream::backlog() noexcept {
    retire();
    return arrived - retired * windows.period();
}

// Until all published cores are done, with what they complete. Helps; a core that others hold for long gets the
// processor.
void ParallelStream::wait_for(int64_t next) noexcept {
    succeeded.store(false, std::memory_order_relaxed);
    for (int32_t idle = 0; cores_done.load(std::memory_order_acquire) < next;) {
        if (help())
            idle = 0;
        else if (++idle < 4000)
            pause_cpu();
        else
            std::this_thread::yield();
    }
}

void ParallelStream::begin() noexcept {
    const int64_t next = published.load(std::memory_order_relaxed);
    wait_for(next);
    for (Slot &each : slots)
        each.ready.store(0, std::memory_order_relaxed);
    base = next;
    arrived = retired = 0;
    ended = false;
    frame = 0;
    quality.store(0, std::memory_order_relaxed);
    std::fill(coming.begin(), coming.end(), 0);
}

bool ParallelStream::erase(std::span<const int32_t> sites) noexcept {
    if (windows.losses.empty())
        return false;
    for (const int32_t site : sites) {
        if (site < 0 || site >= windows.losses.count())
            note(Quality::failed);  // a site that no round has
        else
            coming[static_cast<size_t>(site / 64)] |= uint64_t{1} << site % 64;
    }
    return true;
}

// A gap that is retired has both its cores behind it, and nobody writes to the later one's slot any more: what that
// core left to the gap after it is all that goes over beside raw layers.
bool ParallelStream::adopt(const ParallelStream &old) noexcept {
    const auto &[core, gap, buffer] = windows.settings;
    const int64_t next = published.load(std::memory_order_relaxed);
    if (!windows.alike(old.windows) || room != old.room || old.ended || arrived > 0 ||
        cores_done.load(std::memory_order_acquire) != next)
        return false;
    old.succeeded.store(true, std::memory_order_relaxed);
    succeeded.store(false, std::memory_order_relaxed);
    arrived = old.arrived;
    ended = false;
    quality.store(old.quality.load(std::memory_order_relaxed), std::memory_order_relaxed);
    frame = old.frame;
    for (retired = old.retired; old.slot(old.base + retired).done.load(std::memory_order_acquire) == old.base + retired;
         retired++)
        frame ^= old.slot(old.base + retired).core_flips ^ old.slot(old.base + retired).gap_flips;
    base = next - retired;
    int64_t from = retired * windows.period();
    int64_t first = 0;  // core that is to be decoded
    if (retired > 0) {
        const Slot &done = old.slot(old.base + retired);
        Slot &mine = slot(next);
        mine.core_flips = done.core_flips;
        mine.left_count = 0;
        mine.right_count = done.right_count;
        std::copy_n(done.right.begin(), done.right_count, mine.right.begin());
        mine.ready.store(1, std::memory_order_relaxed);
        from += core;
        first = retired + 1;
        taken.fetch_add(1, std::memory_order_relaxed);
        cores_done.fetch_add(1, std::memory_order_relaxed);
    }
    for (size_t at = place_of(from); from < arrived; from++, at = at + 1 == room ? 0 : at + 1) {
        const int32_t *there = &old.ring[at * stride];
        std::copy_n(there, 1 + there[0], &ring[at * stride]);
    }
    if (lost_words) {
        const int64_t seen = std::max<int64_t>(0, retired * windows.period() - windows.losses.ahead());
        for (int64_t t = seen; t < arrived; t++)
            std::copy_n(&old.lost[place_of(t) * lost_words], lost_words, &lost[place_of(t) * lost_words]);
        std::copy(old.coming.begin(), old.coming.end(), coming.begin());
    }
    const int64_t after = arrived - core - buffer;
    const int64_t waiting = (after < 0 ? 0 : after / windows.period() + 1) - first;
    published.fetch_add(waiting + (retired > 0), std::memory_order_release);
    if (waiting > 1)
        published.notify_all();
    else if (waiting > 0)
        published.notify_one();
    if (threads.empty())
        while (help()) {
        }
    return true;
}

bool ParallelStream::add(std::span<const int32_t> ranks) noexcept { return put(ranks, false); }

bool ParallelStream::add_last(std::span<const int32_t> ranks) noexcept { return put(ranks, true); }

bool ParallelStream::put(std::span<const int32_t> ranks, bool last) noexcept {
    const auto &[core, gap, buffer] = windows.settings;
    const int64_t most = static_cast<int64_t>(room) - windows.losses.ahead();
    if (arrived >= retired * windows.period() + most) {
        retire();
        if (arrived >= retired * windows.period() + most)
            return false;
    }
    const auto widest = static_cast<size_t>(windows.widest);
    if (ranks.size() > widest)
        note(Quality::failed);
    int32_t *each = &ring[place_of(arrived) * stride];
    each[0] = static_cast<int32_t>(std::min(ranks.size(), widest));
    std::copy_n(ranks.begin(), each[0], each + 1);
    if (lost_words) {
        std::copy(coming.begin(), coming.end(), &lost[place_of(arrived) * lost_words]);
        std::fill(coming.begin(), coming.end(), 0);
    }
    arrived++;
    ended = last;
    const int64_t after = arrived - core - buffer;
    if (last || after < 0 || after % windows.period() != 0)
        return true;
    published.fetch_add(1, std::memory_order_release);
    published.notify_one();
    if (threads.empty())
        help();
    return true;
}

Answer ParallelStream::finish() noexcept {
    const int64_t next = published.load(std::memory_order_relaxed);
    wait_for(next);
    if (!ended || arrived < windows.least()) {
        note(Quality::failed);
        return {0, 0.0, Quality::failed};
    }
    retire();
    Worker &mine = *workers.back();
    const int64_t last = next - 1 - base;  // core
    const int64_t from = arrived - static_cast<int64_t>(windows.end.first.size()) + 1;
    const Slot &before = slot(next - 1);
    size_t count = 0;
    place(mine, windows.end, from, before.right, before.right_count, count);
    collect(mine, windows.end, from, last * windows.period() + windows.settings.core, arrived, count);
    const Answer answer = decode(*ending, mine, windows.end, from, count);
    note(answer.quality);
    frame ^= before.core_flips ^ answer.observables;
    return {frame, 0.0, static_cast<Quality>(quality.load())};
}

Committed ParallelWindowStream::round(std::span<const int32_t> defects) noexcept {
    while (!stream_.add(defects))
        if (!stream_.help())
            pause_cpu();
    return stream_.committed();
}

Committed ParallelWindowStream::close(std::span<const int32_t> defects) noexcept {
    while (!stream_.add_last(defects))
        if (!stream_.help())
            pause_cpu();
    stream_.finish();
    return stream_.committed();
}

std::vector<int64_t> ParallelStream::shares() const {
    std::vector<int64_t> all;
    for (const auto &worker : workers)
        all.push_back(worker->decoded.load(std::memory_order_relaxed));
    return all;
}

}  // namespace qdeck

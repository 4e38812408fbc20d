#include "window.h"

#include <algorithm>
#include <queue>
#include <stdexcept>
#include <string>

namespace qdeck {

namespace {

WindowSettings checked(WindowSettings settings, const Layers &layers) {
    const auto &[window, commit] = settings;
    if (commit < 1 || window < commit + layers.span)
        throw std::invalid_argument("a window of " + std::to_string(window) + " layers cannot advance by " +
                                    std::to_string(commit) + ": it needs at least 1 layer to commit and " +
                                    std::to_string(layers.span) + " more after those");
    if (commit < layers.head)
        throw std::invalid_argument("windows must advance by at least " + std::to_string(layers.head) +
                                    " layers: so many at the start differ from the others");
    check_end(layers);
    return settings;
}

}  // namespace

Windows::Open Windows::opened(const Model &model, int32_t from, const Maker &maker) const {
    std::vector<Exit> exits;
    Model window;
    Open made{{model, reach, {from, from + span, false, true}, maker, !losses.empty(), &window, &exits}, {}};
    // Dijkstra from the future end, not through the boundary.
    std::vector<std::vector<const Edge *>> at(static_cast<size_t>(window.detectors));
    for (const Edge &edge : window.edges) {
        if (edge.v == BOUNDARY)
            continue;
        at[edge.u].push_back(&edge);
        at[edge.v].push_back(&edge);
    }
    made.ways.assign(static_cast<size_t>(window.detectors), {-1.0, 0, BOUNDARY});
    struct Reach {
        Way way;
        int32_t detector;
        bool operator<(const Reach &other) const { return way.weight > other.way.weight; }
    };
    std::priority_queue<Reach> queue;
    for (const Exit &exit : exits)
        queue.push({{exit.weight, 0, exit.detector}, exit.detector});
    while (!queue.empty()) {
        const Reach here = queue.top();
        queue.pop();
        Way &way = made.ways[here.detector];
        if (way.weight >= 0)
            continue;
        way = here.way;
        for (const Edge *edge : at[here.detector])
            queue.push({{way.weight + edge->weight, way.observables ^ edge->observables, way.last},
                        edge->u == here.detector ? edge->v : edge->u});
    }
    return made;
}

Windows::Windows(const Model &volume, WindowSettings wanted, const Maker &maker, const Sites &sites)
    : settings(checked(wanted, Layers(volume))), losses(volume, Layers(volume), sites),
      span(settings.window + settings.commit) {
    const Layers layers(volume);
    reach = layers.span;
    head = layers.head;
    layer_width = layers.width;
    const int32_t count = head + span + layers.tail + layers.span;
    const Model whole = stretch(volume, layers, count);
    start = opened(whole, 0, maker);
    middle = opened(whole, head, maker);
    end = Part(whole, reach, {count - span, count, false, false}, maker, !losses.empty());
}

std::unique_ptr<Stream> Windows::stream() const { return std::make_unique<Stream>(*this); }

size_t Windows::bytes() const noexcept {
    return start.bytes() + middle.bytes() + end.bytes() + (start.ways.size() + middle.ways.size()) * sizeof(Way);
}

Stream::Stream(const Windows &windows_)
    : windows(windows_), starting(windows.start.compiled->decoder()), running(windows.middle.compiled->decoder()),
      ending(windows.end.compiled->decoder()) {
    size_t most = 0;
    for (const Part *each :
         {static_cast<const Part *>(&windows.start), static_cast<const Part *>(&windows.middle), &windows.end})
        most = std::max(most, each->layer.size());
    open.resize(most);
    ids.resize(most);
    defect.resize(most);
    lost_words = windows.losses.words();
    lost_rounds = static_cast<size_t>(windows.span + windows.losses.ahead()) + 2;
    lost.resize(lost_rounds * lost_words);
    begin();
}

void Stream::begin(int64_t layers) noexcept {
    expected = layers;
    open_count = 0;
    frame = 0;
    quality = Quality::exact;
    state = {};
    std::fill(lost.begin(), lost.end(), 0);
    enter(windows.start, *starting, 0);
}

bool Stream::erase(std::span<const int32_t> sites) noexcept {
    if (windows.losses.empty())
        return false;
    for (const int32_t site : sites) {
        if (site < 0 || site >= windows.losses.count()) {  // a site that no round has
            quality = Quality::failed;
            continue;
        }
        lost_in(state.layers)[site / 64] |= uint64_t{1} << site % 64;
        part->erase(*decoder, windows.losses, from, ending_at(), state.layers, site);
    }
    return true;
}

bool Stream::adopt(const Stream &old) noexcept {
    const Windows &others = old.windows;
    if (windows.span != others.span || windows.settings.commit != others.settings.commit ||
        windows.head != others.head || windows.layer_width != others.layer_width || open.size() != old.open.size() ||
        !windows.losses.alike(others.losses))
        return false;
    expected = old.expected;
    std::copy_n(old.open.begin(), old.open_count, open.begin());
    open_count = old.open_count;
    frame = old.frame;
    quality = old.quality;
    state = old.state;
    std::copy(old.lost.begin(), old.lost.end(), lost.begin());
    if (old.part == &others.start)
        enter(windows.start, *starting, old.from);
    else if (old.part == &others.middle)
        enter(windows.middle, *running, old.from);
    else
        enter(windows.end, *ending, old.from);
    return true;
}

// Begin a part at a layer, with all defects that are open; the end instead, where it is known to be near.
void Stream::enter(const Part &next, Decoder &with, int64_t at) noexcept {
    const bool last = expected >= windows.least() && at + windows.span >= expected;
    part = last ? &windows.end : &next;
    decoder = last ? ending.get() : &with;
    from = last ? expected - windows.span : at;
    decoder->begin();
    for (size_t i = 0; i < open_count; i++) {
        ids[i] = id(open[i]);
        if (ids[i] == BOUNDARY) {  // a rank that no detector has
            quality = Quality::failed;
            open[i--] = open[--open_count];
        }
    }
    decoder->add({ids.data(), open_count});
    if (!lost_words)
        return;
    for (int64_t round = std::max<int64_t>(0, from - windows.losses.ahead()); round < state.layers; round++)
        part->erase(*decoder, windows.losses, from, ending_at(), round, lost_in(round));
}

void Stream::add(std::span<const int32_t> ranks, bool last) noexcept {
    const int64_t layer = state.layers++;
    if (lost_words)
        std::fill_n(lost_in(state.layers), lost_words, 0);
    last = last || layer + 1 == expected;
    const size_t before = open_count;
    for (const int32_t rank : ranks) {
        if (open_count == open.size()) {
            quality = Quality::failed;
            break;
        }
        open[open_count++] = {layer, rank};
    }
    state.open = static_cast<int32_t>(open_count);
    if (last) {
        expected = layer + 1;
        if (part != &windows.end || from != expected - windows.span) {
            if (expected < windows.least()) {
                quality = Quality::failed;
                return;
            }
            enter(windows.end, *ending, expected - windows.span);
            return close();
        }
    }
    for (size_t i = before; i < open_count; i++) {
        const int32_t detector = id(open[i]);
        if (detector == BOUNDARY) {
            quality = Quality::failed;
            open[i--] = open[--open_count];
            continue;
        }
        ids[i] = detector;
    }
    decoder->add({ids.data() + before, open_count - before});
    if (last)
        close();
    else if (part != &windows.end && layer - from + 1 == windows.span)
        step();
}

// Commit a pair, or leave its defects for the next window.
void Stream::settle(const Pair &pair) noexcept {
    const int32_t kept = windows.settings.commit;  // layers before this one end with this window
    const int32_t a = part->layer[pair.a];
    if (pair.b == BOUNDARY && pair.observables & FUTURE) {
        if (a >= kept) {
            state.deferred += a < 2 * kept;
            return;
        }
        const Windows::Way &way = static_cast<const Windows::Open *>(part)->ways[pair.a];  // the end has no such pairs
        frame ^= way.observables;
        defect[pair.a] = 0;
        defect[way.last] ^= 1;
        state.moved++;
        return;
    }
    const int32_t b = pair.b == BOUNDARY ? a : part->layer[pair.b];
    const auto [old, young] = std::minmax(a, b);
    if (young >= 2 * kept) {
        if (old >= kept) {
            state.deferred += old < 2 * kept;
            return;
        }
        state.forced++;
    }
    frame ^= pair.observables;
    defect[pair.a] ^= 1;
    if (pair.b != BOUNDARY)
        defect[pair.b] ^= 1;
}

void Stream::step() noexcept {
    quality = std::max(quality, decoder->finish().quality);
    for (size_t i = 0; i < open_count; i++)
        defect[ids[i]] = 1;
    for (const Pair &pair : decoder->pairs())
        settle(pair);
    // Collect what is open, also defects that were moved, in the order of detectors.
    const int64_t next = from + windows.settings.commit;
    const size_t before = open_count;
    open_count = 0;
    for (int32_t layer = 0; layer < windows.span; layer++) {
        for (int32_t v = part->first[layer]; v < part->first[layer + 1]; v++) {
            if (!defect[v])
                continue;
            defect[v] = 0;
            if (from + layer < next)  // a decoder that failed, or that did not pair all
                quality = Quality::failed;
            else
                open[open_count++] = {from + layer, v - part->first[layer]};
        }
    }
    state.resolved += static_cast<int64_t>(before) - static_cast<int64_t>(open_count);
    state.open = static_cast<int32_t>(open_count);
    state.windows++;
    state.committed = next;
    enter(windows.middle, *running, next);
}

void Stream::close() noexcept {
    quality = std::max(quality, decoder->finish().quality);
    size_t paired = 0;
    for (const Pair &pair : decoder->pairs()) {
        frame ^= pair.observables;
        paired += pair.b == BOUNDARY ? 1 : 2;
    }
    if (paired != open_count)
        quality = Quality::failed;
    state.resolved += static_cast<int64_t>(open_count);
    open_count = 0;
    state.open = 0;
    state.windows++;
    state.committed = state.layers;
}

}  // namespace qdeck

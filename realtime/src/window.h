// Sliding windows: decoding without end in bounded memory.
//
// A window holds `window` layers and, before them, `commit` layers of which only defects that an earlier window
// deferred are left. When it is full it is decoded with an open end towards the future, and pairs are committed as a
// whole, as soon as both defects lie before the buffer of the last window - commit layers. A pair that reaches into the
// buffer is deferred once, and committed in the next window wherever its other end lies; a defect that only the future
// end explains, twice, is moved to the window's last layers along the shortest way there. Each defect is thus resolved
// within two windows (semantics of the streaming decoder of PECOS-packages/PECOS#664, with pairs as components), unlike
// cuts through edges (Skoric et al., Nat. Commun. 14, 7040), which need artificial defects at each seam.
//
// As rounds are alike, one compiled window serves all, beside one for the start and one for the end of a stream.
#pragma once

#include "part.h"

#include <algorithm>

namespace qdeck {

struct WindowSettings {
    int32_t window = 0;  // layers, more than `commit`; 2 distances is usual
    int32_t commit = 0;  // layers by which windows advance; 1 distance is usual
};

class Stream;

class Windows final {
public:
    // `volume`: a model of the same experiment with enough rounds to see what repeats. `sites`: what losses erase, if
    // any can be told (sites.h); the windows' decoders must then be able to erase edges. Throws std::invalid_argument
    // for a model, settings or sites that do not fit.
    Windows(const Model &volume, WindowSettings settings, const Maker &maker, const Sites &sites = {});
    std::unique_ptr<Stream> stream() const;
    size_t bytes() const noexcept;
    // Streams shorter than this are too short for windows: decode them as one volume.
    int32_t least() const noexcept { return std::max(span + head, losses.least()); }
    int32_t width() const noexcept { return layer_width; }
    const WindowSettings settings;

private:
    friend class Stream;
    struct Way {  // of a detector to the future end, up to the last detector before it
        double weight;
        uint64_t observables;
        int32_t last;
    };
    struct Open : Part {
        std::vector<Way> ways;  // of each detector
    };
    Open opened(const Model &model, int32_t from, const Maker &maker) const;

    SiteTable losses;
    int32_t reach;  // layers that an edge reaches forward
    int32_t span;   // layers in a part: window + commit
    int32_t head;
    int32_t layer_width;
    Open start;
    Open middle;
    Part end;
};

// How far a stream is; all since `begin`.
struct Progress {
    int64_t layers = 0;     // that arrived
    int64_t committed = 0;  // before this layer nothing is open
    int64_t windows = 0;    // that were decoded
    int64_t resolved = 0;   // defects in committed pairs
    int64_t deferred = 0;   // pairs that had to wait for the next window
    int64_t forced = 0;     // pairs that were committed although they reach into the buffer
    int64_t moved = 0;      // defects that were moved towards the future end
    int32_t open = 0;       // defects that are not resolved
};

class Stream {
public:
    explicit Stream(const Windows &windows);
    // Forget all. `layers`: how many will come, where that is known: the last of them then ends the stream, and the
    // last window is prepared as rounds arrive.
    void begin(int64_t layers = 0) noexcept;
    // Sites of the next layer that were lost; false if the windows were made without sites. They count in every window
    // that sees what they erase.
    bool erase(std::span<const int32_t> sites) noexcept;
    // The next layer: its defects by rank, each once; `last` ends the stream. Decodes a window when one is full.
    void add(std::span<const int32_t> ranks, bool last = false) noexcept;
    // Go on where `old` is, with other weights: its open defects are looked at anew. False: its windows are others.
    bool adopt(const Stream &old) noexcept;
    // After the last layer the answer for the whole stream, before that what is committed. Its weight is not known (0).
    // `failed`: a window could not be decoded, or the stream was shorter than Windows::least.
    Answer answer() const noexcept { return {frame, 0.0, quality}; }
    const Progress &progress() const noexcept { return state; }

private:
    struct Defect {
        int64_t layer;
        int32_t rank;
    };
    void enter(const Part &next, Decoder &with, int64_t at) noexcept;
    int32_t id(Defect at) const noexcept { return part->at(at.layer - from, at.rank); }
    void step() noexcept;
    void close() noexcept;
    void settle(const Pair &pair) noexcept;
    // Losses of a round, as bits.
    uint64_t *lost_in(int64_t round) noexcept { return &lost[static_cast<size_t>(round) % lost_rounds * lost_words]; }
    int64_t ending_at() const noexcept { return part == &windows.end ? expected : INT64_MAX; }

    const Windows &windows;
    std::unique_ptr<Decoder> starting, running, ending;
    const Part *part = nullptr;  // what is being filled, from layer `from` on
    Decoder *decoder = nullptr;
    int64_t from = 0;
    int64_t expected = 0;
    std::vector<Defect> open;  // of fixed size; open_count are in use
    std::vector<int32_t> ids;  // scratch
    std::vector<char> defect;  // scratch, by detector of a part: open after this window
    size_t lost_rounds = 0, lost_words = 0;
    std::vector<uint64_t> lost;  // of all rounds whose losses a window may yet see
    size_t open_count = 0;
    uint64_t frame = 0;
    Quality quality = Quality::exact;
    Progress state;
};

// Windows over one volume behind the protocol of decoders: for volumes too long for tables of their own. Defects come
// layer by layer; one that comes after a later layer's makes the answer `failed`.
class Windowed final : public Compiled {
public:
    // As for Windows; the volume itself must not be shorter than Windows::least.
    Windowed(const Model &volume, WindowSettings settings, const Maker &maker);
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override { return windows.bytes() + rank.size() * 8; }
    int32_t detectors() const noexcept { return static_cast<int32_t>(rank.size()); }

private:
    friend class WindowedDecoder;
    Windows windows;
    int32_t layers;
    std::vector<int32_t> layer;
    std::vector<int32_t> rank;
};

}  // namespace qdeck

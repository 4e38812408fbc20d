// Weighted union-find: near-linear time at a logical error rate somewhat above that of matching.
//
// Clusters grow around defects (Delfosse, Nickerson, arXiv:1709.06218), here all odd ones at the same speed over integer
// weights and from event to event: edges wait in a calendar for the time at which growth covers them, and clocks of
// clusters that rest are kept as potentials of the union-find forest, so that nothing is touched while nothing meets.
// A cluster rests while it is even or touches the boundary. Edges that joined clusters form a spanning forest, and peeling
// it (Delfosse, Zemor, arXiv:1703.01517) leaves the correction and, with it, pairs of defects.
#pragma once

#include "decoder.h"
#include "model.h"

#include <array>
#include <vector>

namespace qdeck {

class UnionFind final : public Compiled {
public:
    // Throws std::invalid_argument for a model that is wrong.
    explicit UnionFind(const Model &model);
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override;
    int32_t detectors() const noexcept { return vertices; }

    // Edges grow in units such that the heaviest is LONGEST; 0.1 % of the heaviest is then the resolution of weights.
    static constexpr int32_t LONGEST = 1000;

    struct Arc {
        int32_t to;    // vertex; `vertices` is the boundary
        int32_t edge;  // of the model
        int32_t length;
    };
    struct Link {
        int32_t u;
        int32_t v;
        int32_t length;  // integer units
    };

private:
    friend class UnionFindDecoder;
    int32_t vertices = 0;
    std::vector<int32_t> first;  // arcs of vertex v: first[v] to first[v + 1]
    std::vector<Arc> arcs;
    std::vector<Link> links;     // by edge
    std::vector<double> weights;
    std::vector<uint64_t> masks;
};

class UnionFindDecoder final : public Decoder {
public:
    explicit UnionFindDecoder(const UnionFind &graph);
    void begin() noexcept override;
    void add(std::span<const int32_t> defects) noexcept override;
    bool erase(std::span<const int32_t> edges) noexcept override;
    // `failed` only if the defects have no correction at all: an odd number of them where no boundary is.
    Answer finish() noexcept override;
    std::span<const Pair> pairs() noexcept override { return {paired.data(), pair_count}; }
    // Edges of the model that the last answer flips.
    std::span<const int32_t> correction() const noexcept { return {flipped.data(), flip_count}; }

private:
    static constexpr int32_t NONE = -1;
    static constexpr int32_t SLOTS = 1024;  // of the calendar: more than LONGEST, a power of two

    struct Vertex {
        int32_t parent;   // itself for a root
        int32_t offset;   // to the parent's clock; what a root has grown is `clock` (+ now while it is active)
        int32_t next;     // member of the same cluster
        int32_t degree;   // in the forest
        int32_t through;  // exclusive or of its forest edges: for a leaf, the one that is left
        int32_t carried;  // the defect that peeling brought here, NONE without one
        uint64_t mask;    // of the way that `carried` came
        // Of roots only:
        int32_t clock;
        int32_t last;  // end of the list of members
        int32_t size;
        bool odd;
        bool grounded;
        bool active;
    };
    struct Wait {  // an edge's place in the calendar
        int32_t at;  // time, NONE when it does not wait
        int32_t before;
        int32_t after;
    };

    void touch(int32_t v) noexcept;
    int32_t find(int32_t v, int32_t &offset) noexcept;
    int32_t length(int32_t edge) const noexcept { return erased[edge] ? 0 : graph.links[edge].length; }
    int32_t grown(int32_t v, int32_t &root) noexcept;
    void wait(int32_t edge, int32_t at) noexcept;
    void unlink(int32_t edge) noexcept;
    int32_t soonest() noexcept;
    void schedule(int32_t v) noexcept;
    void schedule_all(int32_t root) noexcept;
    void set_active(int32_t root, bool active) noexcept;
    void meet(int32_t edge) noexcept;
    void join(int32_t edge, int32_t u, int32_t v) noexcept;
    void lay(int32_t edge) noexcept;
    void peel(Answer &answer) noexcept;

    const UnionFind &graph;
    std::vector<Vertex> vertex;
    std::vector<char> reached;  // by vertex: whether `vertex` says anything in this shot
    std::vector<Wait> waiting;
    std::array<int32_t, SLOTS> slot;
    std::array<uint64_t, SLOTS / 64> used;
    std::vector<int32_t> touched;  // vertices, in the order of touching: defects first
    std::vector<char> erased;  // by edge
    std::vector<int32_t> erasures;
    std::vector<int32_t> flipped;
    std::vector<Pair> paired;
    size_t touched_count = 0;
    size_t erasure_count = 0;
    size_t flip_count = 0;
    size_t pair_count = 0;
    int32_t growing = 0;  // active clusters
    int32_t now = 0;
    int32_t queued = 0;
};

}  // namespace qdeck

// Exact matching of shots in which some edges were erased, and with them all tables of distances.
//
// Distances come from searches on the shot's own graph (Dijkstra from the boundary and from each defect, no farther than a
// pair can be nearer to each other than to the boundary, and through no vertex that is nearer to the boundary than to make up
// for the way to it); the matching on them is exact. Defects fall apart into clusters of
// those that are nearer to each other than to the boundary, which are matched one by one: small ones by a table over their
// subsets, others by the kernel of the matching decoder, whose distances have 15 bits. A cluster beyond LARGEST is left to
// union-find with the same erasures (Delfosse, Zemor, arXiv:1703.01517), and the answer is then `heuristic`.
#pragma once

#include "decoder.h"
#include "kernel.h"
#include "model.h"
#include "union_find.h"

#include <vector>

namespace qdeck {

class Erasure final : public Compiled {
public:
    // `sites`: for each place that can be lost the edges that its loss erases; may be empty. Throws std::invalid_argument.
    explicit Erasure(const Model &model, std::vector<std::vector<int32_t>> sites = {});
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override;
    int32_t detectors() const noexcept { return vertices; }
    size_t places() const noexcept { return sites.size(); }

    static constexpr int32_t SMALL = 8;      // defects of a cluster that is matched by its subsets
    static constexpr int32_t LARGEST = 256;  // of one that is matched exactly

private:
    friend class ErasureDecoder;
    struct Arc {
        int32_t to;  // BOUNDARY for one
        int32_t edge;
    };
    int32_t vertices;
    std::vector<int32_t> first;
    std::vector<Arc> arcs;
    std::vector<int32_t> outward;  // edges to the boundary
    std::vector<Edge> edges;
    std::vector<std::vector<int32_t>> sites;
    UnionFind fallback;
};

class ErasureDecoder final : public Decoder {
public:
    explicit ErasureDecoder(const Erasure &compiled);
    void begin() noexcept override;
    void add(std::span<const int32_t> defects) noexcept override;
    bool erase(std::span<const int32_t> edges) noexcept override;
    // Erase the edges of places that were lost.
    void lose(std::span<const int32_t> sites) noexcept;
    Answer finish() noexcept override;
    std::span<const Pair> pairs() noexcept override { return {paired.data(), pair_count}; }

private:
    struct Reached {
        double distance;
        uint64_t mask;
        uint32_t search;  // in which this was written
        bool settled;
    };
    struct Open {  // of a search
        double distance;
        int32_t vertex;
        bool operator<(const Open &other) const noexcept { return distance > other.distance; }  // the nearest on top
    };
    void push(double distance, int32_t vertex, uint64_t mask) noexcept;
    void explore(const Open &at, double bound) noexcept;
    Open pop() noexcept;
    void expand(const Open &at) noexcept;
    double weight(int32_t edge) const noexcept { return erased[edge] ? 0.0 : compiled.edges[edge].weight; }
    void from_boundary() noexcept;
    void from_defect(int32_t i) noexcept;
    bool match(Answer &answer) noexcept;
    bool match_small(Answer &answer) noexcept;
    bool match_large(Answer &answer) noexcept;
    bool match_beyond(Answer &answer) noexcept;
    void commit(int32_t a, int32_t b, uint64_t flips, Answer &answer) noexcept;

    const Erasure &compiled;
    std::unique_ptr<UnionFindDecoder> fallback;
    std::vector<Reached> reached;
    std::vector<double> depth;     // of vertices: distance to the boundary, infinite where that is not known
    std::vector<Open> heap;
    std::vector<char> erased;
    std::vector<int32_t> erasures;
    std::vector<int32_t> defects;
    std::vector<int32_t> number;  // of the defect at a vertex, BOUNDARY without one
    // Of defects, by number:
    std::vector<double> bound;
    std::vector<uint64_t> bound_mask;
    std::vector<int32_t> order;    // by bound
    std::vector<int32_t> turn;     // place in `order`
    std::vector<int32_t> cluster;  // the smallest number of the same cluster
    struct Near {                  // defects nearer to each other than to the boundary
        int32_t a;
        int32_t b;
        double distance;
        uint64_t mask;
    };
    std::vector<Near> near;
    std::vector<int32_t> members;
    std::vector<int32_t> local;  // number within the cluster that is being matched
    Arena arena;
    std::unique_ptr<Kernel> kernel;
    Basis basis;                 // what the kernel reads of it: nothing is left out
    Gathered part;
    std::vector<uint64_t> flips;  // of pairs in a large cluster
    std::vector<double> lengths;
    std::vector<double> best;    // by subset of a cluster
    std::vector<int8_t> mate;
    std::vector<Pair> paired;
    size_t heap_count = 0, erasure_count = 0, defect_count = 0, near_count = 0, member_count = 0, pair_count = 0;
    uint32_t search = 0;
};

}  // namespace qdeck

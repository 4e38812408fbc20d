// Exact matching of shots in which some edges were erased, and with them all tables of distances.
//
// With tables, distances are those of the matching decoder's all-pairs tables (15 bits) and erasures are shortcuts:
// vertices that erased edges connect become one node, and a shortest path is a chain of table entries from node to node
// (Floyd and Warshall, with these nodes as the only pivots). Its cost does not depend on the size of the graph.
//
// Without tables, or for a shot with very many losses, distances come from searches on the shot's own graph (Dijkstra
// from the boundary and from each defect, no farther than a pair can be nearer to each other than to the boundary, and
// through no vertex that is nearer to the boundary than to make up for the way to it).
//
// The matching on these distances is exact. Defects fall apart into clusters of those that are nearer to each other
// than to the boundary, which are matched one by one: small ones by their subsets, others by the kernel of the matching
// decoder, whose distances have 15 bits. A cluster beyond LARGEST is left to union-find with the same erasures
// (Delfosse, Zemor, arXiv:1703.01517), and the answer is then `heuristic`.
#pragma once

#include "decoder.h"
#include "kernel.h"
#include "model.h"
#include "table.h"
#include "union_find.h"

#include <optional>
#include <vector>

namespace qdeck {

class Erasure final : public Compiled {
public:
    // `sites`: for each place that can be lost the edges that its loss erases; may be empty. Without `tables` there is
    // no limit to the size of the graph. Throws std::invalid_argument.
    explicit Erasure(const Model &model, std::vector<std::vector<int32_t>> sites = {}, bool tables = true);
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
    std::optional<Table> table;
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
    void from_searches() noexcept;
    bool from_tables() noexcept;
    bool link(const Basis &table, int32_t number) noexcept;
    int32_t first_of(int32_t v, uint64_t &mask) const noexcept;
    void gather_groups() noexcept;
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
    // With tables: vertices that erased edges connect are groups, numbered as they are found.
    struct Tie {
        int32_t parent;  // vertex; itself for the first of a group, NONE for one that no erased edge touches
        uint64_t mask;   // of the way to the parent
        uint64_t ground;  // of the way to the boundary, for the first of a group
        bool grounded;    //   that an erased edge connects to it
    };
    struct Member {
        int32_t local;  // number in its basis
        uint64_t mask;  // of the way to the group's first vertex
    };
    struct Group {
        int32_t basis;
        bool grounded;       // by an erased edge to the boundary
        uint64_t mask;       // of the way there
        int32_t first, end;  // members
    };
    static constexpr int32_t NONE = -2;
    static constexpr int32_t NODES = 384;  // of one basis, defects and groups
    std::vector<Tie> ties;
    std::vector<int32_t> group_of;  // of first vertices
    std::vector<int32_t> tied;      // vertices
    std::vector<Member> grouped;
    std::vector<Group> groups;
    std::vector<int32_t> node;      // numbers of a basis's defects
    std::vector<int32_t> linked;    // and of its groups
    std::vector<uint32_t> hop;      // between nodes, units; the last is the boundary
    std::vector<uint64_t> hop_mask;
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
    size_t heap_count = 0, erasure_count = 0, defect_count = 0, near_count = 0, tied_count = 0, group_count = 0,
           member_count = 0, pair_count = 0;
    uint32_t search = 0;
};

}  // namespace qdeck

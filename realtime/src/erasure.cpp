#include "erasure.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace qdeck {

namespace {
constexpr double INFINITE = std::numeric_limits<double>::infinity();
constexpr int8_t ALONE = -1;
}  // namespace

Erasure::Erasure(const Model &model, std::vector<std::vector<int32_t>> sites_, bool tables)
    : vertices(model.detectors), edges(model.edges), sites(std::move(sites_)), fallback(model) {
    for (size_t site = 0; site < sites.size(); site++)
        for (const int32_t edge : sites[site])
            if (edge < 0 || static_cast<size_t>(edge) >= edges.size())
                throw std::invalid_argument("site " + std::to_string(site) + " erases edge " + std::to_string(edge) +
                                            " of " + std::to_string(edges.size()));
    if (tables)
        table.emplace(model);
    first.assign(static_cast<size_t>(vertices) + 1, 0);
    for (const Edge &edge : edges) {
        first[static_cast<size_t>(edge.u) + 1]++;
        if (edge.v != BOUNDARY)
            first[static_cast<size_t>(edge.v) + 1]++;
    }
    for (size_t v = 0; v < static_cast<size_t>(vertices); v++)
        first[v + 1] += first[v];
    arcs.resize(static_cast<size_t>(first.back()));
    std::vector<int32_t> fill(first.begin(), first.end() - 1);
    for (size_t i = 0; i < edges.size(); i++) {
        const Edge &edge = edges[i];
        const auto e = static_cast<int32_t>(i);
        arcs[fill[edge.u]++] = {edge.v, e};
        if (edge.v != BOUNDARY)
            arcs[fill[edge.v]++] = {edge.u, e};
        else
            outward.push_back(e);
    }
}

std::unique_ptr<Decoder> Erasure::decoder() const { return std::make_unique<ErasureDecoder>(*this); }

size_t Erasure::bytes() const noexcept {
    size_t sum = (table ? table->bytes() : 0) + fallback.bytes() + first.size() * 4 + arcs.size() * sizeof(Arc) +
                 edges.size() * sizeof(Edge);
    for (const auto &site : sites)
        sum += sizeof(site) + site.size() * 4;
    return sum;
}

ErasureDecoder::ErasureDecoder(const Erasure &compiled_)
    : compiled(compiled_), fallback(std::make_unique<UnionFindDecoder>(compiled.fallback)) {
    const auto vertices = static_cast<size_t>(compiled.vertices);
    reached.assign(vertices, {0, 0, 0, false});
    heap.resize(compiled.arcs.size() + compiled.outward.size() + 1);
    erased.resize(compiled.edges.size());
    erasures.resize(compiled.edges.size());
    defects.resize(vertices);
    number.assign(vertices, BOUNDARY);
    bound.resize(vertices);
    bound_mask.resize(vertices);
    order.resize(vertices);
    turn.resize(vertices);
    depth.resize(vertices);
    cluster.resize(vertices);
    near.resize(16 * vertices + 256);
    ties.assign(vertices, {NONE, 0, 0, false});
    group_of.resize(vertices);
    tied.resize(vertices);
    grouped.resize(vertices);
    groups.resize(vertices);
    node.resize(vertices);
    linked.resize(vertices);
    const size_t nodes = compiled.table ? std::min<size_t>(NODES, 2 * vertices) : 0;
    hop.resize(nodes * (nodes + 1));
    hop_mask.resize(nodes * (nodes + 1));
    members.resize(vertices);
    local.resize(vertices);
    best.resize(size_t{1} << Erasure::SMALL);
    mate.resize(size_t{1} << Erasure::SMALL);
    paired.resize(vertices);
    const auto largest = std::min<size_t>(vertices, Erasure::LARGEST);
    const size_t tiles = (largest + LANES - 1) / LANES + 1;
    const size_t rows = tiles * LANES;
    flips.resize(largest * largest);
    lengths.resize(largest * largest);
    part.basis = &basis;
    part.rows = static_cast<int32_t>(rows);
    part.words = arena.array<uint16_t>(tiles * rows * LANES);
    part.known = arena.array<Known>(largest * largest + 1);
    part.bounds = arena.array<uint16_t>(rows);
    part.best = arena.array<uint32_t>(rows);
    part.mate = arena.array<int32_t>(rows);
    std::fill_n(part.bounds, rows, NO_BOUNDARY);
    std::fill_n(part.best, rows, 0u);
    kernel.reset(vector_kernel(static_cast<int32_t>(rows)));
    if (!kernel)
        kernel.reset(plain_kernel(static_cast<int32_t>(rows)));
}

void ErasureDecoder::begin() noexcept {
    for (size_t i = 0; i < erasure_count; i++)
        erased[erasures[i]] = 0;
    for (size_t i = 0; i < defect_count; i++)
        number[defects[i]] = BOUNDARY;
    erasure_count = defect_count = near_count = pair_count = 0;
}

void ErasureDecoder::add(std::span<const int32_t> more) noexcept {
    for (const int32_t v : more) {
        number[v] = static_cast<int32_t>(defect_count);
        defects[defect_count++] = v;
    }
}

bool ErasureDecoder::erase(std::span<const int32_t> edges) noexcept {
    for (const int32_t edge : edges) {
        if (!erased[edge])
            erasures[erasure_count++] = edge;
        erased[edge] = 1;
    }
    return true;
}

void ErasureDecoder::lose(std::span<const int32_t> sites) noexcept {
    for (const int32_t site : sites)
        erase(compiled.sites[site]);
}

void ErasureDecoder::push(double distance, int32_t vertex, uint64_t mask) noexcept {
    Reached &at = reached[vertex];
    if (at.search == search && at.distance <= distance)
        return;
    at = {distance, mask, search, false};
    heap[heap_count++] = {distance, vertex};
    std::push_heap(heap.begin(), heap.begin() + static_cast<ptrdiff_t>(heap_count));
}

ErasureDecoder::Open ErasureDecoder::pop() noexcept {
    std::pop_heap(heap.begin(), heap.begin() + static_cast<ptrdiff_t>(heap_count));
    return heap[--heap_count];
}

void ErasureDecoder::expand(const Open &at) noexcept {
    const uint64_t mask = reached[at.vertex].mask;
    for (int32_t i = compiled.first[at.vertex]; i < compiled.first[at.vertex + 1]; i++) {
        const Erasure::Arc arc = compiled.arcs[i];
        if (arc.to != BOUNDARY)
            push(at.distance + weight(arc.edge), arc.to, mask ^ compiled.edges[arc.edge].observables);
    }
}

// As `expand`, in the search of a defect with this bound: a vertex that is no nearer to it than both are to the
// boundary is on no useful path.
void ErasureDecoder::explore(const Open &at, double own) noexcept {
    const uint64_t mask = reached[at.vertex].mask;
    for (int32_t i = compiled.first[at.vertex]; i < compiled.first[at.vertex + 1]; i++) {
        const Erasure::Arc arc = compiled.arcs[i];
        if (arc.to == BOUNDARY)
            continue;
        const double distance = at.distance + weight(arc.edge);
        if (distance < own + depth[arc.to])
            push(distance, arc.to, mask ^ compiled.edges[arc.edge].observables);
    }
}

void ErasureDecoder::from_boundary() noexcept {
    search++;
    heap_count = 0;
    std::fill(depth.begin(), depth.end(), INFINITE);
    for (const int32_t e : compiled.outward)
        push(weight(e), compiled.edges[e].u, compiled.edges[e].observables);
    for (size_t i = 0; i < defect_count; i++)
        bound[i] = INFINITE;
    for (size_t missing = defect_count; missing > 0 && heap_count > 0;) {
        const Open at = pop();
        Reached &here = reached[at.vertex];
        if (here.settled)
            continue;
        here.settled = true;
        depth[at.vertex] = at.distance;
        if (const int32_t i = number[at.vertex]; i != BOUNDARY) {
            bound[i] = at.distance;
            bound_mask[i] = here.mask;
            missing--;
        }
        expand(at);
    }
}

// Find the defects that are nearer to this one than both are to the boundary, of those that have no smaller bound.
void ErasureDecoder::from_defect(int32_t i) noexcept {
    search++;
    heap_count = 0;
    push(0, defects[i], 0);
    for (auto missing = static_cast<int32_t>(defect_count) - 1 - turn[i]; missing > 0 && heap_count > 0;) {
        const Open at = pop();
        Reached &here = reached[at.vertex];
        if (here.settled)
            continue;
        here.settled = true;
        if (const int32_t j = number[at.vertex]; j != BOUNDARY && turn[j] > turn[i]) {
            missing--;
            if (at.distance < bound[i] + bound[j]) {
                if (near_count < near.size())
                    near[near_count] = {i, j, at.distance, here.mask};
                near_count++;
            }
        }
        explore(at, bound[i]);
    }
}

// Match all clusters. False if there is no matching at all.
bool ErasureDecoder::match(Answer &answer) noexcept {
    auto root = [&](int32_t i) {
        while (cluster[i] != i)
            i = cluster[i];
        return i;
    };
    for (size_t i = 0; i < defect_count; i++)
        cluster[i] = static_cast<int32_t>(i);
    for (size_t k = 0; k < near_count; k++) {
        const int32_t a = root(near[k].a);
        const int32_t b = root(near[k].b);
        cluster[std::max(a, b)] = std::min(a, b);
    }
    for (size_t i = 0; i < defect_count; i++)
        cluster[i] = cluster[cluster[i]];  // the root: smaller numbers have theirs already
    for (size_t i = 0; i < defect_count; i++) {
        if (cluster[i] != static_cast<int32_t>(i))
            continue;
        member_count = 0;
        for (size_t j = i; j < defect_count; j++) {
            if (cluster[j] != static_cast<int32_t>(i))
                continue;
            local[j] = static_cast<int32_t>(member_count);
            members[member_count++] = static_cast<int32_t>(j);
        }
        const bool matched = member_count <= Erasure::SMALL     ? match_small(answer)
                             : member_count <= Erasure::LARGEST ? match_large(answer)
                                                                : match_beyond(answer);
        if (!matched)
            return false;
    }
    return true;
}

void ErasureDecoder::commit(int32_t a, int32_t b, uint64_t mask, Answer &answer) noexcept {
    paired[pair_count++] = {defects[a], b == BOUNDARY ? BOUNDARY : defects[b], mask};
    answer.observables ^= mask;
}

bool ErasureDecoder::match_beyond(Answer &answer) noexcept {
    for (size_t i = 0; i < member_count; i++)
        members[i] = defects[members[i]];
    fallback->begin();
    fallback->erase({erasures.data(), erasure_count});
    fallback->add({members.data(), member_count});
    const Answer part_answer = fallback->finish();
    answer.observables ^= part_answer.observables;
    answer.weight += part_answer.weight;
    answer.quality = Quality::heuristic;
    for (const Pair &pair : fallback->pairs())
        paired[pair_count++] = pair;
    return part_answer.quality != Quality::failed;
}

// By the kernel: words are twice the distance in units, capped by the boundary, and rounded as in table.h, so that they
// obey the triangle inequality.
bool ErasureDecoder::match_large(Answer &answer) noexcept {
    const auto k = static_cast<int32_t>(member_count);
    const auto n = static_cast<size_t>(k);
    double farthest = 0;
    for (int32_t i = 0; i < k; i++)
        farthest = std::max(farthest, bound[members[i]]);
    basis.open = farthest < INFINITE;
    std::fill_n(lengths.begin(), n * n, INFINITE);
    double widest = basis.open ? 2 * farthest : 0;
    for (size_t e = 0; e < near_count; e++) {
        const Near &each = near[e];
        if (cluster[each.a] != members[0])
            continue;
        const auto a = static_cast<size_t>(local[each.a]);
        const auto b = static_cast<size_t>(local[each.b]);
        lengths[a * n + b] = lengths[b * n + a] = each.distance;
        flips[a * n + b] = flips[b * n + a] = each.mask;
        widest = std::max(widest, basis.open ? 0 : each.distance);
    }
    if (!basis.open && k % 2)
        return false;
    const double scale = widest > 0 ? 32'000 / widest : 1;
    auto units = [&](double length, double slack) {
        return static_cast<uint32_t>(std::max(0.0, std::ceil(length * scale - slack - 1e-6)));
    };
    part.count = part.gathered = k;
    part.known_count = 0;
    for (int32_t i = 0; i < k; i++) {
        part.bounds[i] = basis.open ? static_cast<uint16_t>(2 * units(bound[members[i]], 0.25)) : NO_BOUNDARY;
        part.best[i] = 0xffff0000u | static_cast<uint32_t>(i);
    }
    for (int32_t i = 0; i < k; i++) {
        for (int32_t j = 0; j < i; j++) {
            const double length = lengths[static_cast<size_t>(i) * n + static_cast<size_t>(j)];
            uint32_t word = basis.open ? uint32_t{part.bounds[i]} + part.bounds[j] : 0xfffe;
            if (length < INFINITE)
                word = std::min(word, 2 * units(length, 0));
            part.known[part.known_count++] = {static_cast<uint16_t>(j), static_cast<uint16_t>(i),
                                              static_cast<uint16_t>(word), 0};
            part.best[i] = std::min(part.best[i], word << 16 | static_cast<uint32_t>(j));
            part.best[j] = std::min(part.best[j], word << 16 | static_cast<uint32_t>(i));
        }
    }
    int64_t sum;
    uint32_t parity;
    if (!kernel->solve(part, sum, parity))
        return false;
    for (int32_t i = 0; i < k; i++) {
        const int32_t j = part.mate[i];
        if (j > i)
            continue;
        const size_t pair = static_cast<size_t>(i) * n + static_cast<size_t>(std::max(j, 0));
        if (j >= 0 && lengths[pair] < bound[members[i]] + bound[members[j]]) {
            answer.weight += lengths[pair];
            commit(members[j], members[i], flips[pair], answer);
            continue;
        }
        for (const int32_t end : {i, j}) {
            if (end < 0)
                continue;
            answer.weight += bound[members[end]];
            commit(members[end], BOUNDARY, bound_mask[members[end]], answer);
        }
    }
    return true;
}

// The best matching of each subset of the cluster, from smaller ones: its first defect goes to the boundary or to
// another.
bool ErasureDecoder::match_small(Answer &answer) noexcept {
    const auto k = static_cast<int32_t>(member_count);
    double distance[Erasure::SMALL][Erasure::SMALL];
    uint64_t mask[Erasure::SMALL][Erasure::SMALL];
    for (int32_t i = 0; i < k; i++)
        std::fill(distance[i], distance[i] + k, INFINITE);
    for (size_t n = 0; k > 1 && n < near_count; n++) {
        const Near &each = near[n];
        if (cluster[each.a] != members[0])
            continue;
        const int32_t a = local[each.a];
        const int32_t b = local[each.b];
        distance[a][b] = distance[b][a] = each.distance;
        mask[a][b] = mask[b][a] = each.mask;
    }
    best[0] = 0;
    for (size_t set = 1; set < size_t{1} << k; set++) {
        const int32_t i = std::countr_zero(set);
        const size_t rest = set & (set - 1);
        best[set] = best[rest] + bound[members[i]];
        mate[set] = ALONE;
        for (size_t others = rest; others; others &= others - 1) {
            const int32_t j = std::countr_zero(others);
            const double sum = best[rest ^ (size_t{1} << j)] + distance[i][j];
            if (sum < best[set]) {
                best[set] = sum;
                mate[set] = static_cast<int8_t>(j);
            }
        }
    }
    size_t set = (size_t{1} << k) - 1;
    if (best[set] == INFINITE)
        return false;
    answer.weight += best[set];
    while (set) {
        const int32_t i = std::countr_zero(set);
        const int32_t a = members[i];
        const int8_t j = mate[set];
        set &= set - 1;
        commit(a, j == ALONE ? BOUNDARY : members[j], j == ALONE ? bound_mask[a] : mask[i][j], answer);
        if (j != ALONE)
            set ^= size_t{1} << j;
    }
    return true;
}

// The distances by searches.
void ErasureDecoder::from_searches() noexcept {
    from_boundary();
    for (size_t i = 0; i < defect_count; i++)
        order[i] = static_cast<int32_t>(i);
    std::sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(defect_count),
              [this](int32_t a, int32_t b) { return bound[a] < bound[b]; });
    for (size_t i = 0; i < defect_count; i++)
        turn[order[i]] = static_cast<int32_t>(i);
    for (size_t i = 0; i + 1 < defect_count; i++)  // the small searches first
        from_defect(order[i]);
}

Answer ErasureDecoder::finish() noexcept {
    Answer answer;
    if (!compiled.table || !from_tables())
        from_searches();
    if (near_count > near.size()) {  // far more than any volume has that can be decoded at all
        near_count = 0;
        answer.quality = Quality::failed;
        return answer;
    }
    if (!match(answer)) {
        answer = {};
        answer.quality = Quality::failed;
        pair_count = 0;
    }
    return answer;
}

}  // namespace qdeck

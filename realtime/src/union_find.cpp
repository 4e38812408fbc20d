#include "union_find.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace qdeck {

UnionFind::UnionFind(const Model &model) : vertices(model.detectors) {
    model.check();
    double heaviest = 0;
    for (const Edge &edge : model.edges)
        heaviest = std::max(heaviest, edge.weight);
    const double scale = heaviest > 0 ? LONGEST / heaviest : 0;
    first.assign(static_cast<size_t>(vertices) + 1, 0);
    links.reserve(model.edges.size());
    for (const Edge &edge : model.edges) {
        const int32_t v = edge.v == BOUNDARY ? vertices : edge.v;
        links.push_back({edge.u, v, static_cast<int32_t>(std::lround(edge.weight * scale))});
        weights.push_back(edge.weight);
        masks.push_back(edge.observables);
        first[static_cast<size_t>(edge.u) + 1]++;
        if (v != vertices)
            first[static_cast<size_t>(v) + 1]++;
    }
    for (size_t v = 0; v < static_cast<size_t>(vertices); v++)
        first[v + 1] += first[v];
    arcs.resize(static_cast<size_t>(first.back()));
    std::vector<int32_t> fill(first.begin(), first.end() - 1);
    for (size_t e = 0; e < links.size(); e++) {
        const Link &link = links[e];
        arcs[fill[link.u]++] = {link.v, static_cast<int32_t>(e), link.length};
        if (link.v != vertices)
            arcs[fill[link.v]++] = {link.u, static_cast<int32_t>(e), link.length};
    }
}

std::unique_ptr<Decoder> UnionFind::decoder() const { return std::make_unique<UnionFindDecoder>(*this); }

size_t UnionFind::bytes() const noexcept {
    return first.size() * sizeof(int32_t) + arcs.size() * sizeof(Arc) + links.size() * (sizeof(Link) + 16);
}

UnionFindDecoder::UnionFindDecoder(const UnionFind &graph_)
    : graph(graph_), vertex(static_cast<size_t>(graph.vertices) + 1), reached(vertex.size()),
      waiting(graph.links.size(), Wait{NONE, 0, 0}),
      touched(static_cast<size_t>(graph.vertices)), erased(graph.links.size()), erasures(graph.links.size()),
      flipped(graph.links.size()),
      paired(static_cast<size_t>(graph.vertices)) {
    slot.fill(NONE);
    used.fill(0);
    begin();
}

void UnionFindDecoder::begin() noexcept {
    for (size_t i = 0; i < touched_count; i++)
        reached[touched[i]] = 0;
    for (size_t word = 0; queued > 0; word++) {  // edges that still wait
        for (; used[word]; used[word] &= used[word] - 1) {
            int32_t &head = slot[word * 64 + std::countr_zero(used[word])];
            for (int32_t edge = head; edge != NONE; edge = waiting[edge].after, queued--)
                waiting[edge].at = NONE;
            head = NONE;
        }
    }
    vertex.back().degree = vertex.back().through = 0;  // the boundary: no cluster, never a leaf
    for (size_t i = 0; i < erasure_count; i++)
        erased[erasures[i]] = 0;
    touched_count = erasure_count = flip_count = pair_count = 0;
    growing = now = 0;
}

void UnionFindDecoder::touch(int32_t v) noexcept {
    vertex[v] = {v, 0, NONE, 0, 0, NONE, 0, 0, v, 1, false, false, false};
    reached[v] = 1;
    touched[touched_count++] = v;
}

void UnionFindDecoder::add(std::span<const int32_t> defects) noexcept {
    for (const int32_t v : defects) {
        touch(v);
        vertex[v].odd = vertex[v].active = true;
        vertex[v].carried = v;
        growing++;
    }
}

bool UnionFindDecoder::erase(std::span<const int32_t> edges) noexcept {
    for (const int32_t edge : edges) {
        if (!erased[edge])
            erasures[erasure_count++] = edge;
        erased[edge] = 1;
    }
    return true;
}

// The root of v's cluster; `offset` is what v's clock is ahead of the root's. Halves the path on its way.
int32_t UnionFindDecoder::find(int32_t v, int32_t &offset) noexcept {
    offset = 0;
    while (vertex[v].parent != v) {
        Vertex &here = vertex[v];
        const Vertex &above = vertex[here.parent];
        if (above.parent != here.parent) {
            here.offset += above.offset;
            here.parent = above.parent;
        }
        offset += here.offset;
        v = here.parent;
    }
    return v;
}

int32_t UnionFindDecoder::grown(int32_t v, int32_t &root) noexcept {
    int32_t offset;
    root = find(v, offset);
    const Vertex &r = vertex[root];
    return r.clock + (r.active ? now : 0) + offset;
}

// Let an edge wait for a time, unless it waits for an earlier one.
void UnionFindDecoder::wait(int32_t edge, int32_t at) noexcept {
    Wait &w = waiting[edge];
    if (w.at != NONE) {
        if (w.at <= at)
            return;
        unlink(edge);
    }
    const int32_t s = at & (SLOTS - 1);
    w = {at, NONE, slot[s]};
    if (w.after != NONE)
        waiting[w.after].before = edge;
    slot[s] = edge;
    used[s >> 6] |= uint64_t{1} << (s & 63);
    queued++;
}

void UnionFindDecoder::unlink(int32_t edge) noexcept {
    Wait &w = waiting[edge];
    if (w.after != NONE)
        waiting[w.after].before = w.before;
    if (w.before != NONE) {
        waiting[w.before].after = w.after;
    } else {
        const int32_t s = w.at & (SLOTS - 1);
        slot[s] = w.after;
        if (w.after == NONE)
            used[s >> 6] &= ~(uint64_t{1} << (s & 63));
    }
    w.at = NONE;
    queued--;
}

// The edge that is due first; no edge waits longer than LONGEST, so that slots from `now` on are in the order of time.
int32_t UnionFindDecoder::soonest() noexcept {
    const int32_t from = now & (SLOTS - 1);
    size_t word = static_cast<size_t>(from >> 6);
    uint64_t bits = used[word] & (~uint64_t{0} << (from & 63));
    while (!bits) {
        word = (word + 1) & (used.size() - 1);
        bits = used[word];
    }
    return slot[word * 64 + std::countr_zero(bits)];
}

// Let all edges of a vertex that begins to grow wait for the time at which they will be covered.
void UnionFindDecoder::schedule(int32_t v) noexcept {
    int32_t root;
    const int32_t mine = grown(v, root);
    for (int32_t i = graph.first[v]; i < graph.first[v + 1]; i++) {
        const UnionFind::Arc arc = graph.arcs[i];
        int32_t slack = (erasure_count ? length(arc.edge) : arc.length) - mine;
        int32_t speed = 1;
        if (reached[arc.to]) {
            int32_t other;
            slack -= grown(arc.to, other);
            if (other == root)
                continue;
            speed += vertex[other].active;
        }
        wait(arc.edge, now + (slack > 0 ? (slack + speed - 1) / speed : 0));
    }
}

void UnionFindDecoder::schedule_all(int32_t root) noexcept {
    for (int32_t v = root; v != NONE; v = vertex[v].next)
        schedule(v);
}

void UnionFindDecoder::set_active(int32_t root, bool active) noexcept {
    Vertex &r = vertex[root];
    if (r.active == active)
        return;
    r.active = active;
    r.clock += active ? -now : now;
    growing += active ? 1 : -1;
}

// An edge is due: join what it connects, or wait on if growth was slower than expected.
void UnionFindDecoder::meet(int32_t edge) noexcept {
    const UnionFind::Link &link = graph.links[edge];
    int32_t u = link.u;
    int32_t v = link.v;
    if (!reached[u])
        std::swap(u, v);  // one that waits has an end that has grown, and the boundary has not
    int32_t ru;
    int32_t slack = length(edge) - grown(u, ru);
    int32_t speed = vertex[ru].active;
    if (!reached[v]) {
        if (slack > 0 && speed)
            return wait(edge, now + slack);
        if (speed)
            join(edge, u, v);
        return;  // while it rests nothing waits: it is scheduled anew when it wakes
    }
    int32_t rv;
    slack -= grown(v, rv);
    speed += vertex[rv].active;
    if (ru == rv || speed == 0)
        return;
    if (slack > 0)
        return wait(edge, now + (slack + speed - 1) / speed);
    join(edge, ru, rv);
}

void UnionFindDecoder::lay(int32_t edge) noexcept {
    for (const int32_t end : {graph.links[edge].u, graph.links[edge].v}) {
        vertex[end].degree++;
        vertex[end].through ^= edge;
    }
}

// Join the cluster of u with the boundary, with a vertex that nothing has reached yet, or with the cluster of root v.
void UnionFindDecoder::join(int32_t edge, int32_t u, int32_t v) noexcept {
    int32_t offset;
    int32_t root = find(u, offset);
    if (v == graph.vertices) {
        lay(edge);
        vertex[root].grounded = true;
        return set_active(root, false);
    }
    if (!reached[v]) {
        touch(v);
        lay(edge);
        Vertex &r = vertex[root];
        vertex[v].parent = root;
        vertex[v].offset = -(r.clock + now);  // the cluster is active
        vertex[r.last].next = v;
        r.last = v;
        r.size++;
        return schedule(v);
    }
    lay(edge);
    int32_t child = v;
    if (vertex[child].size > vertex[root].size)
        std::swap(child, root);
    Vertex &r = vertex[root];
    Vertex &c = vertex[child];
    const bool active = (r.odd != c.odd) && !(r.grounded || c.grounded);
    const bool wakes[2] = {active && !r.active, active && !c.active};
    set_active(root, active);
    const int32_t clock = c.clock + (c.active ? now : 0);
    if (c.active)
        growing--;
    c.active = false;
    c.parent = root;
    c.offset = clock - (r.clock + (r.active ? now : 0));
    r.odd = r.odd != c.odd;
    r.grounded = r.grounded || c.grounded;
    r.size += c.size;
    if (wakes[0])  // while the lists of members are still two
        schedule_all(root);
    if (wakes[1])
        schedule_all(child);
    vertex[r.last].next = child;
    r.last = c.last;
}

// Take leaves off the forest: one with a defect flips its edge and hands the defect on.
void UnionFindDecoder::peel(Answer &answer) noexcept {
    for (size_t i = 0; i < touched_count; i++) {
        int32_t v = touched[i];
        while (v != graph.vertices && vertex[v].degree == 1) {
            const int32_t edge = vertex[v].through;
            const UnionFind::Link &link = graph.links[edge];
            const int32_t to = link.u == v ? link.v : link.u;
            vertex[v].degree = 0;
            vertex[to].degree--;
            vertex[to].through ^= edge;
            const int32_t defect = vertex[v].carried;
            if (defect != NONE) {
                const uint64_t mask = vertex[v].mask ^ graph.masks[edge];
                answer.observables ^= graph.masks[edge];
                answer.weight += erased[edge] ? 0 : graph.weights[edge];
                flipped[flip_count++] = edge;
                vertex[v].carried = NONE;
                if (to == graph.vertices) {
                    paired[pair_count++] = {defect, BOUNDARY, mask};
                } else if (vertex[to].carried != NONE) {
                    paired[pair_count++] = {vertex[to].carried, defect, vertex[to].mask ^ mask};
                    vertex[to].carried = NONE;
                } else {
                    vertex[to].carried = defect;
                    vertex[to].mask = mask;
                }
            }
            v = to;
        }
    }
}

Answer UnionFindDecoder::finish() noexcept {
    Answer answer;
    answer.quality = Quality::heuristic;
    const size_t defects = touched_count;
    for (size_t i = 0; i < defects; i++)
        schedule(touched[i]);
    while (growing > 0) {
        if (queued == 0) {
            answer.quality = Quality::failed;
            return answer;
        }
        const int32_t edge = soonest();
        now = waiting[edge].at;
        unlink(edge);
        meet(edge);
    }
    peel(answer);
    return answer;
}

}  // namespace qdeck

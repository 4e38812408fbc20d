// Distances of a shot with erasures from the tables of the whole graph: see erasure.h.
#include "erasure.h"

#include <algorithm>
#include <limits>

namespace qdeck {

namespace {

constexpr uint32_t FAR = 1u << 29;

uint64_t outward(const Basis &basis, int32_t local) {
    if (basis.masked)
        return basis.bound_masks[static_cast<size_t>(local)];
    return basis.bounds[static_cast<size_t>(local)] & 1 ? basis.flip : 0;
}

uint64_t across(const Basis &basis, int32_t i, int32_t j) {
    if (basis.masked)
        return basis.mask(i, j);
    return basis.word(i, j) & 1 ? basis.flip : 0;
}

}  // namespace

// The first vertex of a vertex's group, and what the way there flips.
int32_t ErasureDecoder::first_of(int32_t v, uint64_t &mask) const noexcept {
    mask = 0;
    while (ties[v].parent != v) {
        mask ^= ties[v].mask;
        v = ties[v].parent;
    }
    return v;
}

// Vertices that erased edges connect, as groups with members.
void ErasureDecoder::gather_groups() noexcept {
    auto touch = [&](int32_t v) {
        if (ties[v].parent != NONE)
            return;
        ties[v] = {v, 0, 0, false};
        tied[tied_count++] = v;
    };
    for (size_t i = 0; i < erasure_count; i++) {
        const Edge &edge = compiled.edges[erasures[i]];
        uint64_t mask_u;
        touch(edge.u);
        const int32_t u = first_of(edge.u, mask_u);
        if (edge.v == BOUNDARY) {
            if (!ties[u].grounded)
                ties[u] = {u, 0, mask_u ^ edge.observables, true};
            continue;
        }
        uint64_t mask_v;
        touch(edge.v);
        const int32_t v = first_of(edge.v, mask_v);
        if (u == v)
            continue;
        const uint64_t between = mask_u ^ edge.observables ^ mask_v;
        if (ties[v].grounded && !ties[u].grounded)
            ties[u] = {u, 0, between ^ ties[v].ground, true};
        ties[v].parent = u;
        ties[v].mask = between;
    }
    group_count = 0;
    for (size_t i = 0; i < tied_count; i++) {
        const int32_t v = tied[i];
        if (ties[v].parent != v)
            continue;
        group_of[v] = static_cast<int32_t>(group_count);
        groups[group_count++] = {compiled.table->places[v].basis, ties[v].grounded, ties[v].ground, 0, 0};
    }
    uint64_t mask;
    for (size_t i = 0; i < tied_count; i++)
        groups[group_of[first_of(tied[i], mask)]].end++;
    for (size_t g = 0, sum = 0; g < group_count; g++) {
        const auto many = static_cast<size_t>(groups[g].end);
        groups[g].first = groups[g].end = static_cast<int32_t>(sum);
        sum += many;
    }
    for (size_t i = 0; i < tied_count; i++) {
        Group &group = groups[group_of[first_of(tied[i], mask)]];
        grouped[group.end++] = {compiled.table->places[tied[i]].local, mask};
    }
}

// Distances between the defects of one basis, and to the boundary. False if it has too many nodes.
bool ErasureDecoder::link(const Basis &table, int32_t number_of_basis) noexcept {
    const auto &places = compiled.table->places;
    size_t k = 0;
    for (size_t i = 0; i < defect_count; i++)
        if (places[defects[i]].basis == number_of_basis)
            node[k++] = static_cast<int32_t>(i);
    if (k == 0)
        return true;
    size_t n = k;
    for (size_t g = 0; g < group_count; g++)
        if (groups[g].basis == number_of_basis)
            linked[n++ - k] = static_cast<int32_t>(g);
    if (n > NODES)
        return false;
    const size_t stride = n + 1;
    auto shorter = [&](size_t a, size_t b, uint32_t length, uint64_t mask) {
        if (length < hop[a * stride + b]) {
            hop[a * stride + b] = length;
            hop_mask[a * stride + b] = mask;
        }
    };
    std::fill_n(hop.begin(), n * stride, FAR);
    for (size_t a = 0; a < n; a++) {
        const bool defect = a < k;
        const Member alone{defect ? places[defects[node[a]]].local : 0, 0};
        const Group whole = defect ? Group{} : groups[linked[a - k]];
        const Member *begin = defect ? &alone : grouped.data() + whole.first;
        const Member *end = defect ? &alone + 1 : grouped.data() + whole.end;
        for (const Member *from = begin; from != end; from++) {
            for (size_t b = 0; b < (defect ? a : k); b++) {
                const int32_t to = places[defects[node[b]]].local;
                shorter(a, b, table.word(from->local, to) >> 1, from->mask ^ across(table, from->local, to));
            }
            for (size_t b = k; b < a; b++)
                for (int32_t m = groups[linked[b - k]].first; m < groups[linked[b - k]].end; m++)
                    shorter(a, b, table.word(from->local, grouped[m].local) >> 1,
                            from->mask ^ across(table, from->local, grouped[m].local) ^ grouped[m].mask);
            if (table.open)
                shorter(a, n, table.bounds[static_cast<size_t>(from->local)] >> 1,
                        from->mask ^ outward(table, from->local));
        }
        if (!defect && whole.grounded)
            shorter(a, n, 0, whole.mask);
        for (size_t b = 0; b < a; b++) {
            hop[b * stride + a] = hop[a * stride + b];
            hop_mask[b * stride + a] = hop_mask[a * stride + b];
        }
    }
    for (size_t p = k; p < n; p++) {
        for (size_t a = 0; a < n; a++) {
            const uint32_t there = hop[a * stride + p];
            if (a == p || there >= FAR)
                continue;
            const uint64_t mask = hop_mask[a * stride + p];
            for (size_t b = 0; b <= n; b++)
                if (b != a)
                    shorter(a, b, there + hop[p * stride + b], mask ^ hop_mask[p * stride + b]);
        }
    }
    for (size_t a = 0; a < k; a++) {
        const uint32_t length = hop[a * stride + n];
        bound[node[a]] = length < FAR ? length * table.unit : std::numeric_limits<double>::infinity();
        bound_mask[node[a]] = hop_mask[a * stride + n];
        for (size_t b = 0; b < a; b++) {
            const uint32_t pair = hop[a * stride + b];
            if (pair >= FAR || pair >= length + hop[b * stride + n])
                continue;
            if (near_count < near.size())
                near[near_count] = {node[b], node[a], pair * table.unit, hop_mask[a * stride + b]};
            near_count++;
        }
    }
    return true;
}

// As the searches. False if the shot has too many losses for it.
bool ErasureDecoder::from_tables() noexcept {
    gather_groups();
    const auto &bases = compiled.table->bases;
    bool fits = true;
    for (size_t b = 0; b < bases.size() && fits; b++)
        fits = link(bases[b], static_cast<int32_t>(b));
    for (size_t i = 0; i < tied_count; i++)
        ties[tied[i]].parent = NONE;
    tied_count = 0;
    if (!fits)
        near_count = 0;
    return fits;
}

}  // namespace qdeck

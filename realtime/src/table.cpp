#include "table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace qdeck {
namespace {

constexpr double FAR = std::numeric_limits<double>::infinity();
constexpr double LARGEST = 32'000;  // units in the largest distance: a word has 16 bits
constexpr double NOISE = 1e-6;      // units, far above the rounding of sums of doubles

struct Arc {
    int32_t to;
    double weight;
    uint64_t mask;
};

// The edges of one basis, by local numbers.
struct Net {
    std::vector<int32_t> start;
    std::vector<Arc> arcs;
    std::vector<Arc> ends;  // to the boundary: `to` is the detector

    // Dijkstra from the `frontier`, over detectors nearer than `reach`.
    void walk(std::vector<Arc> frontier, double reach, std::vector<double> &far, std::vector<uint64_t> &mask) const {
        const auto later = [](const Arc &a, const Arc &b) { return a.weight > b.weight; };
        std::fill(far.begin(), far.end(), FAR);
        std::priority_queue<Arc, std::vector<Arc>, decltype(later)> queue(later);
        const auto reached = [&](const Arc &arc) {
            if (arc.weight < far[size_t(arc.to)] && arc.weight < reach) {
                far[size_t(arc.to)] = arc.weight;
                mask[size_t(arc.to)] = arc.mask;
                queue.push(arc);
            }
        };
        for (const Arc &arc : frontier)
            reached(arc);
        while (!queue.empty()) {
            const Arc at = queue.top();
            queue.pop();
            if (at.weight > far[size_t(at.to)])
                continue;
            for (int32_t a = start[size_t(at.to)]; a < start[size_t(at.to) + 1]; a++) {
                const Arc &arc = arcs[size_t(a)];
                reached({arc.to, at.weight + arc.weight, at.mask ^ arc.mask});
            }
        }
    }
};

// The largest weight that divides all weights, if there is one among the smallest weight's simple fractions; else 0.
double divisor(const Net &net) {
    double least = FAR;
    for (const auto *arcs : {&net.arcs, &net.ends})
        for (const Arc &arc : *arcs)
            if (arc.weight > 0)
                least = std::min(least, arc.weight);
    if (least == FAR)
        return 0;
    for (const auto *arcs : {&net.arcs, &net.ends})
        for (const Arc &arc : *arcs) {
            const double times = arc.weight / least;
            if (times > 1000 || std::abs(times - std::round(times)) > 1e-11)
                return 0;
        }
    return least;
}

uint16_t units(double distance, double scale, double slack) {
    return static_cast<uint16_t>(std::max(0.0, std::ceil(distance * scale - slack - NOISE)));
}

// Detectors are numbered in 16 bits, and a table of more would be too large for any cache.
constexpr int32_t MOST = 30'000;

void fill(Basis &basis, const Net &net) {
    if (basis.size > MOST)
        throw std::invalid_argument("a part of the graph has " + std::to_string(basis.size) + " detectors, more than " +
                                    std::to_string(MOST) + ": decode it in windows");
    const size_t n = size_t(basis.size);
    std::vector<double> bound(n, FAR), far(n);
    std::vector<uint64_t> bound_mask(n), mask(n);
    basis.open = !net.ends.empty();
    net.walk(net.ends, FAR, bound, bound_mask);

    double widest = 0;
    if (basis.open) {
        widest = *std::max_element(bound.begin(), bound.end()) * 2;
    } else {
        for (size_t i = 0; i < n; i++) {
            net.walk({{int32_t(i), 0, 0}}, FAR, far, mask);
            widest = std::max(widest, *std::max_element(far.begin(), far.end()));
        }
    }
    const double step = divisor(net);
    double scale = widest > 0 ? LARGEST / widest : 1.0;
    const bool exact = widest == 0 || (step > 0 && widest / step < LARGEST);
    if (exact && step > 0)
        scale = std::floor(LARGEST / std::max(1.0, std::round(widest / step))) / step;
    basis.unit = 1 / scale;
    basis.bias = exact ? 0.0 : 0.25;

    std::vector<uint64_t> flips;
    for (const auto *arcs : {&net.arcs, &net.ends})
        for (const Arc &arc : *arcs)
            if (arc.mask && std::find(flips.begin(), flips.end(), arc.mask) == flips.end() && flips.size() < 2)
                flips.push_back(arc.mask);
    const bool masked = basis.masked = flips.size() > 1;
    if (flips.size() == 1)
        basis.flip = flips[0];

    basis.bounds.assign(n, NO_BOUNDARY);
    if (basis.open)
        for (size_t i = 0; i < n; i++)
            basis.bounds[i] = uint16_t(2 * units(bound[i], scale, basis.bias) | (!masked && bound_mask[i] ? 1 : 0));
    basis.words.assign(n * n, 0);
    std::unordered_map<uint64_t, uint32_t> shade{{0, 0}};
    if (masked) {
        basis.palette.assign(1, 0);
        basis.shades.assign(n * n, 0);
        basis.bound_masks = bound_mask;
    }
    const double deepest = basis.open ? widest / 2 : FAR;
    for (size_t i = 0; i < n; i++) {
        net.walk({{int32_t(i), 0, 0}}, basis.open ? bound[i] + deepest : FAR, far, mask);
        for (size_t j = i + 1; j < n; j++) {
            const uint32_t cap = basis.open ? (basis.bounds[i] >> 1) + (basis.bounds[j] >> 1) : 0xffff;
            uint32_t near = far[j] < bound[i] + bound[j] || !basis.open ? units(far[j], scale, 0) : cap;
            uint64_t flip = mask[j];
            if (near >= cap) {
                near = cap;
                flip = bound_mask[i] ^ bound_mask[j];
            }
            const uint16_t word = uint16_t(2 * near | (!masked && flip ? 1 : 0));
            basis.words[i * n + j] = basis.words[j * n + i] = word;
            if (masked) {
                const auto [at, fresh] = shade.try_emplace(flip, uint32_t(basis.palette.size()));
                if (fresh)
                    basis.palette.push_back(flip);
                basis.shades[i * n + j] = basis.shades[j * n + i] = at->second;
            }
        }
    }
}

// How far `near` reaches: this many typical edges.
constexpr double NEAR_EDGES = 2.5;

void find_near(Basis &basis, const Net &net) {
    const size_t n = size_t(basis.size);
    std::vector<double> weights;
    for (const Arc &arc : net.arcs)
        if (arc.weight > 0)
            weights.push_back(arc.weight);
    if (weights.empty())
        weights.push_back(0);
    std::nth_element(weights.begin(), weights.begin() + ptrdiff_t(weights.size() / 2), weights.end());
    const double typical = weights[weights.size() / 2];
    basis.reach = uint16_t(std::min(65534.0, 2 * std::floor(typical * NEAR_EDGES / basis.unit)));
    const auto is_near = [&](size_t i, size_t j) {
        const uint32_t word = basis.words[i * n + j] & ~1u;
        return word < basis.reach && (!basis.open || word < (basis.bounds[i] & ~1u) + (basis.bounds[j] & ~1u));
    };
    std::vector<std::vector<int32_t>> found(n);
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            if (is_near(i, j))
                found[i].push_back(int32_t(j));
        if (!found[i].empty())
            basis.span = std::max(basis.span, found[i].back() / 64 - found[i].front() / 64 + 1);
        most = std::max(most, found[i].size());
        basis.near_count += int64_t(found[i].size());
    }
    constexpr size_t LINE = 8;  // words of 64 bits in a cache line
    basis.prefix = basis.span;
    const size_t used = 1 + size_t(basis.span) + (size_t(basis.prefix) + most + 3) / 4;
    basis.near_lines = int32_t((used + LINE - 1) / LINE);
    basis.near.assign(n * size_t(basis.near_lines), {});
    for (size_t i = 0; i < n; i++) {
        uint64_t *row = basis.near[i * size_t(basis.near_lines)].words;
        row[0] = found[i].empty() ? 0 : uint64_t(found[i].front() / 64);
        uint16_t *count = reinterpret_cast<uint16_t *>(row + 1 + basis.span), *word = count + basis.prefix;
        for (const int32_t j : found[i]) {
            const int32_t at = j / 64 - int32_t(row[0]);
            row[1 + at] |= uint64_t{1} << j % 64;
            for (int32_t later = at + 1; later < basis.span; later++)
                count[later]++;
            *word++ = basis.words[i * n + size_t(j)];
        }
    }
}

}  // namespace

Table::Table(const Model &model) {
    model.check();
    const size_t n = size_t(model.detectors);
    std::vector<int32_t> root(n);
    for (size_t i = 0; i < n; i++)
        root[i] = int32_t(i);
    const auto find = [&](int32_t i) {
        while (root[size_t(i)] != i)
            i = root[size_t(i)] = root[size_t(root[size_t(i)])];
        return i;
    };
    for (const Edge &edge : model.edges)
        if (edge.v != BOUNDARY) {
            const int32_t a = find(edge.u), b = find(edge.v);
            root[size_t(std::max(a, b))] = std::min(a, b);
        }
    places.resize(n);
    for (int32_t i = 0; i < model.detectors; i++)
        if (find(i) == i) {
            places[size_t(i)].basis = int32_t(bases.size());
            bases.emplace_back();
        }
    // Numbers within a basis follow the order of arrival.
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    if (!model.layer.empty())
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
            return model.layer[size_t(a)] < model.layer[size_t(b)];
        });
    for (const int32_t i : order) {
        const int32_t b = places[size_t(find(i))].basis;
        places[size_t(i)] = {b, uint16_t(bases[size_t(b)].size++), NO_BOUNDARY};  // `fill` refuses too many
        bases[size_t(b)].detectors.push_back(i);
    }
    std::vector<Net> nets(bases.size());
    for (size_t b = 0; b < bases.size(); b++)
        nets[b].start.assign(size_t(bases[b].size) + 1, 0);
    for (const Edge &edge : model.edges) {
        Net &net = nets[size_t(places[size_t(edge.u)].basis)];
        if (edge.v == BOUNDARY) {
            net.ends.push_back({places[size_t(edge.u)].local, edge.weight, edge.observables});
        } else {
            net.start[size_t(places[size_t(edge.u)].local) + 1]++;
            net.start[size_t(places[size_t(edge.v)].local) + 1]++;
        }
    }
    std::vector<std::vector<int32_t>> next(nets.size());
    for (size_t b = 0; b < nets.size(); b++) {
        Net &net = nets[b];
        for (size_t i = 1; i < net.start.size(); i++)
            net.start[i] += net.start[i - 1];
        net.arcs.resize(size_t(net.start.back()));
        next[b].assign(net.start.begin(), net.start.end() - 1);
    }
    for (const Edge &edge : model.edges)
        if (edge.v != BOUNDARY) {
            const size_t b = size_t(places[size_t(edge.u)].basis);
            const int32_t u = places[size_t(edge.u)].local, v = places[size_t(edge.v)].local;
            nets[b].arcs[size_t(next[b][size_t(u)]++)] = {v, edge.weight, edge.observables};
            nets[b].arcs[size_t(next[b][size_t(v)]++)] = {u, edge.weight, edge.observables};
        }
    for (size_t b = 0; b < bases.size(); b++) {
        fill(bases[b], nets[b]);
        find_near(bases[b], nets[b]);
    }
    for (Place &place : places)
        place.bound = bases[size_t(place.basis)].bounds[size_t(place.local)];
}

size_t Table::bytes() const noexcept {
    size_t total = places.size() * sizeof(Place);
    for (const Basis &basis : bases)
        total += basis.words.size() * sizeof(uint16_t) + basis.bounds.size() * sizeof(uint16_t) +
                 basis.shades.size() * sizeof(uint32_t) + (basis.palette.size() + basis.bound_masks.size()) * 8 +
                 basis.detectors.size() * sizeof(int32_t) + basis.near.size() * sizeof(Basis::Line);
    return total;
}

}  // namespace qdeck

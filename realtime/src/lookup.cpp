#include "lookup.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <queue>
#include <stdexcept>
#include <string>

namespace qdeck {

namespace {

constexpr float NEVER = std::numeric_limits<float>::infinity();

class Distances {  // of a basis: between its detectors and, as number n, the boundary
public:
    Distances(size_t n, const std::vector<Edge> &edges)
        : size(n + 1), length(size * size, std::numeric_limits<double>::infinity()), mask(size * size) {
        std::vector<std::vector<const Edge *>> at(size);
        for (const Edge &edge : edges) {
            at[edge.u].push_back(&edge);
            at[end(edge)].push_back(&edge);
        }
        for (size_t from = 0; from < size; from++) {
            using Entry = std::pair<double, size_t>;
            std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
            length[from * size + from] = 0;
            queue.push({0.0, from});
            while (!queue.empty()) {
                const auto [far, v] = queue.top();
                queue.pop();
                if (far > length[from * size + v] || (v == n && from != n))  // not through the boundary
                    continue;
                for (const Edge *edge : at[v]) {
                    const size_t to = static_cast<size_t>(edge->u) == v ? end(*edge) : static_cast<size_t>(edge->u);
                    if (far + edge->weight >= length[from * size + to])
                        continue;
                    length[from * size + to] = far + edge->weight;
                    mask[from * size + to] = mask[from * size + v] ^ edge->observables;
                    queue.push({far + edge->weight, to});
                }
            }
        }
    }
    size_t end(const Edge &edge) const { return edge.v == BOUNDARY ? size - 1 : static_cast<size_t>(edge.v); }
    double far(size_t a, size_t b) const { return length[a * size + b]; }
    uint64_t flips(size_t a, size_t b) const { return mask[a * size + b]; }

private:
    size_t size;
    std::vector<double> length;
    std::vector<uint64_t> mask;
};

// All exclusive ors of some masks.
std::vector<uint64_t> span_of(const std::vector<Edge> &edges) {
    std::vector<uint64_t> all{0};
    for (const Edge &edge : edges) {
        if (std::find(all.begin(), all.end(), edge.observables) != all.end())
            continue;
        const size_t half = all.size();
        if (half > 64)
            throw std::invalid_argument(
                "a basis flips more than 7 independent sets of observables: too many for lookup");
        for (size_t i = 0; i < half; i++)
            all.push_back(all[i] ^ edge.observables);
    }
    return all;
}

std::vector<Edge> inside(const Model &model, const std::vector<int32_t> &base_of, const std::vector<int32_t> &bit_of,
                         int32_t base) {
    std::vector<Edge> edges;
    for (const Edge &edge : model.edges)
        if (base_of[edge.u] == base)
            edges.push_back(
                {bit_of[edge.u], edge.v == BOUNDARY ? BOUNDARY : bit_of[edge.v], edge.weight, edge.observables});
    return edges;
}

}  // namespace

Lookup::Lookup(const Model &model, Rule rule, int32_t largest) : bit_of(static_cast<size_t>(model.detectors)) {
    model.check();
    if (largest < 1 || largest > 24)
        throw std::invalid_argument("lookup tables are for 1 to 24 detectors, not " + std::to_string(largest));
    std::vector<int32_t> root(static_cast<size_t>(model.detectors));
    for (int32_t v = 0; v < model.detectors; v++)
        root[v] = v;
    auto find = [&](int32_t v) {
        while (root[v] != v)
            v = root[v] = root[root[v]];
        return v;
    };
    for (const Edge &edge : model.edges)
        if (edge.v != BOUNDARY)
            root[find(edge.u)] = find(edge.v);
    std::vector<std::vector<int32_t>> members(root.size());
    std::vector<uint64_t> flips(root.size());
    for (int32_t v = 0; v < model.detectors; v++)
        members[find(v)].push_back(v);
    for (const Edge &edge : model.edges)
        flips[find(edge.u)] |= edge.observables;
    base_of.assign(root.size(), UNCOVERED);
    for (size_t r = 0; r < members.size(); r++) {
        const bool fits = members[r].size() <= static_cast<size_t>(largest);
        for (size_t bit = 0; bit < members[r].size(); bit++) {
            base_of[members[r][bit]] = fits ? static_cast<int32_t>(bases.size()) : flips[r] ? UNCOVERED : IGNORED;
            bit_of[members[r][bit]] = static_cast<int32_t>(bit);
        }
        if (fits && !members[r].empty())
            bases.push_back({members[r], {}, {}, {}});
    }
    if (bases.empty() && uncovered() > 0)
        throw std::invalid_argument("no basis of the model has at most " + std::to_string(largest) +
                                    " detectors: take a matching decoder");
    for (Base &base : bases) {
        likeliest_errors(base, model);
        if (rule == Rule::likeliest_class)
            likeliest_classes(base, model);
    }
}

void Lookup::likeliest_errors(Base &base, const Model &model) {
    const size_t n = base.members.size();
    const std::vector<Edge> edges = inside(model, base_of, bit_of, base_of[base.members[0]]);
    const Distances distances(n, edges);
    base.palette = span_of(edges);
    base.flips.assign(size_t{1} << n, 0);
    base.weight.assign(size_t{1} << n, 0);
    auto index = [&](uint64_t mask) {
        return static_cast<uint8_t>(std::find(base.palette.begin(), base.palette.end(), mask) - base.palette.begin());
    };
    std::vector<uint8_t> path((n + 1) * (n + 1));
    for (size_t a = 0; a <= n; a++)
        for (size_t b = 0; b <= n; b++)
            if (std::isfinite(distances.far(a, b)))
                path[a * (n + 1) + b] = index(distances.flips(a, b));
    std::vector<uint8_t> sum(base.palette.size() * base.palette.size());
    for (size_t a = 0; a < base.palette.size(); a++)
        for (size_t b = 0; b < base.palette.size(); b++)
            sum[a * base.palette.size() + b] = index(base.palette[a] ^ base.palette[b]);
    for (size_t set = 1; set < base.flips.size(); set++) {
        const auto low = static_cast<size_t>(std::countr_zero(set));
        const size_t rest = set & (set - 1);
        size_t before = rest;
        size_t to = n;
        double best = base.weight[rest] + distances.far(low, n);
        for (size_t others = rest; others; others &= others - 1) {
            const auto j = static_cast<size_t>(std::countr_zero(others));
            const size_t left = rest ^ (size_t{1} << j);
            if (const double weight = base.weight[left] + distances.far(low, j); weight < best) {
                best = weight;
                before = left;
                to = j;
            }
        }
        base.weight[set] = static_cast<float>(best);
        base.flips[set] = std::isinf(best) ? IMPOSSIBLE
                                           : sum[base.flips[before] * base.palette.size() + path[low * (n + 1) + to]];
    }
}

// The probability of each class of each syndrome: what each edge in turn moves there.
void Lookup::likeliest_classes(Base &base, const Model &model) {
    const size_t n = base.members.size();
    const size_t syndromes = size_t{1} << n;
    const size_t classes = base.palette.size();
    std::vector<double> chance(syndromes * classes);
    chance[0] = 1;
    std::vector<double> moved(chance.size());
    for (const Edge &edge : inside(model, base_of, bit_of, base_of[base.members[0]])) {
        const double p = 1 / (1 + std::exp(edge.weight));
        const size_t flip = (size_t{1} << edge.u) ^ (edge.v == BOUNDARY ? 0 : size_t{1} << edge.v);
        for (size_t c = 0; c < classes; c++) {
            const uint64_t mask = base.palette[c] ^ edge.observables;
            const auto from =
                static_cast<size_t>(std::find(base.palette.begin(), base.palette.end(), mask) - base.palette.begin());
            for (size_t s = 0; s < syndromes; s++)
                moved[c * syndromes + s] =
                    (1 - p) * chance[c * syndromes + s] + p * chance[from * syndromes + (s ^ flip)];
        }
        chance.swap(moved);
    }
    for (size_t s = 0; s < syndromes; s++) {
        if (base.flips[s] == IMPOSSIBLE)
            continue;
        for (size_t c = 0; c < classes; c++)
            if (chance[c * syndromes + s] > chance[base.flips[s] * syndromes + s] * (1 + 1e-9))
                base.flips[s] = static_cast<uint8_t>(c);
    }
}

int32_t Lookup::uncovered() const noexcept {
    return static_cast<int32_t>(std::count(base_of.begin(), base_of.end(), UNCOVERED));
}

size_t Lookup::bytes() const noexcept {
    size_t sum = base_of.size() * 8;
    for (const Base &base : bases)
        sum += base.flips.size() * (sizeof(float) + 1) + base.palette.size() * 8;
    return sum;
}

class LookupDecoder final : public Decoder {
public:
    explicit LookupDecoder(const Lookup &compiled_) : compiled(compiled_), syndrome(compiled.bases.size()) { begin(); }

    void begin() noexcept override {
        std::fill(syndrome.begin(), syndrome.end(), 0);
        covered = true;
    }

    void add(std::span<const int32_t> defects) noexcept override {
        for (const int32_t v : defects) {
            const int32_t base = compiled.base_of[v];
            if (base >= 0)
                syndrome[base] ^= uint32_t{1} << compiled.bit_of[v];
            else if (base == Lookup::UNCOVERED)
                covered = false;
        }
    }

    Answer finish() noexcept override {
        Answer answer;
        for (size_t i = 0; i < syndrome.size(); i++) {
            const Lookup::Base &base = compiled.bases[i];
            const uint8_t index = base.flips[syndrome[i]];
            covered = covered && index != Lookup::IMPOSSIBLE;
            if (!covered)
                break;
            answer.observables ^= base.palette[index];
            answer.weight += base.weight[syndrome[i]];
        }
        if (!covered)
            answer = {0, 0.0, Quality::failed};
        return answer;
    }

private:
    const Lookup &compiled;
    std::vector<uint32_t> syndrome;
    bool covered = true;
};

std::unique_ptr<Decoder> Lookup::decoder() const { return std::make_unique<LookupDecoder>(*this); }

}  // namespace qdeck

// The matching decoder against subset programs and brute force, on random graphs, with and without vectors.
#include "check.h"
#include "matching.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <random>

using namespace qdeck;

namespace {

std::mt19937_64 source(20261121);

int below(int n) {
    return int(source() % uint64_t(n));
}

// A connected graph or several; weights on a lattice (exact in the table) or not.
Model random_model(int detectors, int edges, int ends, int observables, bool lattice) {
    Model model;
    model.detectors = detectors;
    model.observables = observables;
    const auto weight = [&] { return lattice ? double(below(12)) : 0.2 + double(below(1 << 20)) / (1 << 17); };
    const auto mask = [&] { return observables ? source() & ((uint64_t{1} << observables) - 1) & source() : 0; };
    for (int e = 0; e < edges; e++) {
        const int u = below(detectors), v = below(detectors);
        if (u != v)
            model.edges.push_back({u, v, weight(), mask()});
    }
    for (int e = 0; e < ends; e++)
        model.edges.push_back({below(detectors), BOUNDARY, weight(), mask()});
    return model;
}

// A patch of a square lattice with open boundaries left and right: what codes look like.
Model patch(int width, int height, int observables, bool lattice) {
    Model model;
    model.detectors = width * height;
    model.observables = observables;
    const auto weight = [&] { return lattice ? 1.0 : 3.0 + double(below(1 << 20)) / (1 << 18); };
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int at = y * width + x;
            if (x + 1 < width)
                model.edges.push_back({at, at + 1, weight(), 0});
            if (y + 1 < height)
                model.edges.push_back({at, at + width, weight(), 0});
            if (x == 0)
                model.edges.push_back({at, BOUNDARY, weight(), observables ? uint64_t{1} << (y * observables / height) : 0});
            if (x == width - 1)
                model.edges.push_back({at, BOUNDARY, weight(), 0});
        }
    return model;
}

std::vector<int32_t> some(int detectors, int count) {
    std::vector<int32_t> all(size_t(detectors), 0);
    for (int i = 0; i < detectors; i++)
        all[size_t(i)] = i;
    std::shuffle(all.begin(), all.end(), source);
    all.resize(size_t(std::min(count, detectors)));
    if (below(4))  // as they arrive from a device
        std::sort(all.begin(), all.end());
    return all;
}

constexpr double FAR = 1e18;

// Distances by Floyd and Warshall, boundary last; then every way to pair up.
double brute_force(const Model &model, const std::vector<int32_t> &defects) {
    const size_t n = size_t(model.detectors) + 1;
    std::vector<double> far(n * n, FAR);
    for (size_t i = 0; i < n; i++)
        far[i * n + i] = 0;
    for (const Edge &edge : model.edges) {
        const size_t u = size_t(edge.u), v = edge.v == BOUNDARY ? n - 1 : size_t(edge.v);
        far[u * n + v] = far[v * n + u] = std::min(far[u * n + v], edge.weight);
    }
    for (size_t m = 0; m < n; m++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                far[i * n + j] = std::min(far[i * n + j], far[i * n + m] + far[m * n + j]);
    std::vector<double> best(size_t{1} << defects.size(), FAR);
    best[0] = 0;
    for (size_t set = 1; set < best.size(); set++) {
        const size_t i = size_t(std::countr_zero(set)), rest = set ^ (size_t{1} << i);
        best[set] = best[rest] + far[size_t(defects[i]) * n + n - 1];
        for (size_t j = i + 1; j < defects.size(); j++)
            if (rest >> j & 1)
                best[set] = std::min(best[set], best[rest ^ (size_t{1} << j)] + far[size_t(defects[i]) * n + size_t(defects[j])]);
    }
    return best.back();
}

Answer decode(Decoder &decoder, std::span<const int32_t> defects) {
    decoder.begin();
    const size_t half = defects.size() / 2;
    decoder.add(defects.first(half));
    decoder.add(defects.subspan(half));
    return decoder.finish();
}

// A whole shot in one call says what begin, add and finish do, and leaves nothing behind.
void check_whole(Decoder &decoder, const std::vector<int32_t> &defects, const Answer &answer) {
    for (int twice = 0; twice < 2; twice++) {
        const Answer whole = static_cast<MatchingDecoder &>(decoder).decode(defects);
        CHECK(whole.quality == answer.quality);
        if (whole.quality == Quality::failed)
            continue;
        CHECK(whole.observables == answer.observables);
        CHECK(std::abs(whole.weight - answer.weight) < 1e-9);
    }
}

// Each defect in exactly one pair; their paths flip what the answer says.
void check_pairs(Decoder &decoder, std::vector<int32_t> defects, uint64_t observables) {
    std::vector<int32_t> paired;
    for (const Pair pair : decoder.pairs()) {
        observables ^= pair.observables;
        paired.push_back(pair.a);
        if (pair.b != BOUNDARY)
            paired.push_back(pair.b);
    }
    std::sort(paired.begin(), paired.end());
    std::sort(defects.begin(), defects.end());
    CHECK(paired == defects);
    CHECK(observables == 0);
}

struct Trio {
    explicit Trio(const Model &model)
        : usual(model), vectors(model, {0, 300, true, true}), plain(model, {0, 300, false, true}), programs(model, {16, 300, false, true}) {
        decoders[0] = usual.decoder();
        decoders[1] = vectors.decoder();
        decoders[2] = plain.decoder();
        decoders[3] = programs.decoder();
    }
    Matching usual, vectors, plain, programs;
    std::unique_ptr<Decoder> decoders[4];
};

void small_graphs() {
    int failed = 0;
    for (int round = 0; round < 400; round++) {
        const int detectors = 4 + below(24), observables = below(3) * below(2);
        const bool lattice = below(2);
        const Model model = random_model(detectors, detectors * 3 / 2 + below(detectors), below(4), observables, lattice);
        Trio trio(model);
        double unit = 0;
        for (const Basis &basis : trio.usual.table().bases)
            unit = std::max(unit, basis.unit);
        for (int shot = 0; shot < 30; shot++) {
            const std::vector<int32_t> defects = some(detectors, below(13));
            const double weight = brute_force(model, defects);
            for (auto &decoder : trio.decoders) {
                const Answer answer = decode(*decoder, defects);
                CHECK((answer.quality == Quality::failed) == (weight >= FAR));
                if (weight >= FAR) {
                    failed++;
                    CHECK(decoder->pairs().empty());
                    check_whole(*decoder, defects, answer);
                    continue;
                }
                CHECK(std::abs(answer.weight - weight) <= 0.51 * unit * double(defects.size()) + 1e-9);
                check_pairs(*decoder, defects, answer.observables);
                check_whole(*decoder, defects, answer);
            }
        }
    }
    CHECK(failed > 0);
}

// Larger shots: all paths to the answer agree in the table's integers, and the duals prove it.
void patches() {
    Kernel::Counts seen;
    for (int round = 0; round < 40; round++) {
        const bool lattice = below(2);
        const Model model = patch(6 + below(8), 6 + below(8), 1 + below(2), lattice);
        Trio trio(model);
        for (int shot = 0; shot < 100; shot++) {
            const std::vector<int32_t> defects = some(model.detectors, below(shot % 4 ? 17 : model.detectors));
            const Answer first = decode(*trio.decoders[1], defects);
            CHECK(first.quality == Quality::exact);
            for (auto &decoder : trio.decoders) {
                const Answer answer = decode(*decoder, defects);
                CHECK(answer.quality == Quality::exact);
                CHECK(std::abs(answer.weight - first.weight) < 1e-9);
                check_pairs(*decoder, defects, answer.observables);
                check_whole(*decoder, defects, answer);
            }
            CHECK(decode(*trio.decoders[2], defects).observables == first.observables);
        }
        const auto &counts = static_cast<MatchingDecoder &>(*trio.decoders[1]).counts();
        seen.searches += counts.searches;
        seen.shrunk += counts.shrunk;
        seen.expanded += counts.expanded;
        seen.stale += counts.stale;
    }
    std::printf("searches %llu, blossoms %llu, of them expanded %llu, stale keys %llu\n", (unsigned long long)seen.searches,
                (unsigned long long)seen.shrunk, (unsigned long long)seen.expanded, (unsigned long long)seen.stale);
    CHECK(seen.shrunk > 100 && seen.expanded > 10);
}

}  // namespace

// A number as argument: another seed.
int main(int count, char **arguments) {
    if (count > 1)
        source.seed(std::strtoull(arguments[1], nullptr, 10));
    small_graphs();
    patches();
}

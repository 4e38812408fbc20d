#include "stretch.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <tuple>

namespace qdeck {

namespace {

// An edge from its earlier layer on.
struct Step {
    int32_t rank;
    int32_t ahead;  // layers
    int32_t other;  // rank there, BOUNDARY for none
    double weight;
    uint64_t observables;
    int32_t edge;  // of the model
};

std::vector<int32_t> ranks(const Layers &layers, int32_t detectors) {
    std::vector<int32_t> rank(static_cast<size_t>(detectors));
    for (const auto &members : layers.members)
        for (size_t i = 0; i < members.size(); i++)
            rank[members[i]] = static_cast<int32_t>(i);
    return rank;
}

std::vector<std::vector<Step>> steps(const Model &model, const Layers &layers) {
    const std::vector<int32_t> rank = ranks(layers, model.detectors);
    std::vector<std::vector<Step>> all(layers.members.size());
    for (size_t number = 0; number < model.edges.size(); number++) {
        const Edge &edge = model.edges[number];
        int32_t u = edge.u;
        int32_t v = edge.v;
        if (v == BOUNDARY) {
            all[model.layer[u]].push_back(
                {rank[u], 0, BOUNDARY, edge.weight, edge.observables, static_cast<int32_t>(number)});
            continue;
        }
        if (std::tuple(model.layer[v], rank[v]) < std::tuple(model.layer[u], rank[u]))
            std::swap(u, v);
        all[model.layer[u]].push_back({rank[u], model.layer[v] - model.layer[u], rank[v], edge.weight, edge.observables,
                                       static_cast<int32_t>(number)});
    }
    for (auto &layer : all)
        std::sort(layer.begin(), layer.end(), [](const Step &a, const Step &b) {
            return std::tuple(a.rank, a.ahead, a.other, a.observables, a.weight) <
                   std::tuple(b.rank, b.ahead, b.other, b.observables, b.weight);
        });
    return all;
}

bool alike(const std::vector<Step> &a, const std::vector<Step> &b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Step &x, const Step &y) {
        return std::tuple(x.rank, x.ahead, x.other, x.observables) ==
                   std::tuple(y.rank, y.ahead, y.other, y.observables) &&
               std::abs(x.weight - y.weight) <=
                   1e-6 * (1 + std::abs(x.weight));  // sums of the same terms in another order
    });
}

}  // namespace

Layers::Layers(const Model &model) {
    model.check();
    if (model.layer.empty())
        throw std::invalid_argument("windows need a model with layers: give its detectors a time as last coordinate");
    if (model.observables > 62)
        throw std::invalid_argument("windows decode at most 62 observables");
    const auto [low, high] = std::minmax_element(model.layer.begin(), model.layer.end());
    if (*low < 0)
        throw std::invalid_argument("a layer is negative: layers count from 0");
    members.resize(static_cast<size_t>(*high) + 1);
    for (int32_t v = 0; v < model.detectors; v++)
        members[model.layer[v]].push_back(v);
    const auto all = steps(model, *this);
    for (const auto &layer : all)
        for (const Step &step : layer)
            span = std::max(span, step.ahead);
    size_t best = 0;
    for (size_t from = 0, to; from < all.size(); from = to) {  // the longest run of layers that are alike
        for (to = from + 1; to < all.size() && members[to].size() == members[from].size() && alike(all[from], all[to]);)
            to++;
        if (to - from <= best)
            continue;
        best = to - from;
        head = static_cast<int32_t>(from);
        tail = count() - static_cast<int32_t>(to);
        width = static_cast<int32_t>(members[from].size());
    }
    if (best < 2)
        throw std::invalid_argument("no two of the " + std::to_string(count()) +
                                    " layers are alike: windows need a model of "
                                    "more rounds, all with the same noise");
}

std::vector<Spot> spots(const Model &model, const Layers &layers) {
    std::vector<Spot> found(model.edges.size());
    const auto all = steps(model, layers);
    for (size_t layer = 0; layer < all.size(); layer++)
        for (size_t step = 0; step < all[layer].size(); step++)
            found[all[layer][step].edge] = {static_cast<int32_t>(layer), static_cast<int32_t>(step)};
    return found;
}

Model stretch(const Model &model, const Layers &layers, int32_t count) {
    if (count < layers.least())
        throw std::invalid_argument("a volume of " + std::to_string(count) +
                                    " layers is too short: its ends alone take " + std::to_string(layers.least()));
    const auto all = steps(model, layers);
    auto source = [&](int32_t layer) {  // the layer of `model` that a layer is like
        if (layer < layers.head)
            return layer;
        return layer >= count - layers.tail ? layer - count + layers.count() : layers.head;
    };
    Model longer;
    longer.observables = model.observables;
    std::vector<int32_t> first;
    for (int32_t t = 0; t < count; t++) {
        first.push_back(longer.detectors);
        const size_t size = layers.members[source(t)].size();
        longer.detectors += static_cast<int32_t>(size);
        longer.layer.insert(longer.layer.end(), size, t);
    }
    for (int32_t t = 0; t < count; t++) {
        for (const Step &step : all[source(t)]) {
            const int32_t there = t + step.ahead;
            const int32_t v = step.other == BOUNDARY ? BOUNDARY : first[std::min(there, count - 1)] + step.other;
            if (there >= count || v >= longer.detectors || (v != BOUNDARY && longer.layer[v] != there))
                throw std::invalid_argument("layers that are alike reach beyond the end: give a model of more rounds");
            longer.edges.push_back({first[t] + step.rank, v, step.weight, step.observables});
        }
    }
    return longer;
}

Model cut(const Model &model, int32_t from, int32_t to, bool open_past, bool open_future, std::vector<Exit> *exits,
          std::vector<int32_t> *origins) {
    Model window;
    window.observables = 64;
    const auto begin = std::lower_bound(model.layer.begin(), model.layer.end(), from);
    const auto end = std::lower_bound(model.layer.begin(), model.layer.end(), to);
    const int32_t low = static_cast<int32_t>(begin - model.layer.begin());
    window.detectors = static_cast<int32_t>(end - begin);
    for (auto at = begin; at != end; ++at)
        window.layer.push_back(*at - from);
    auto inside = [&](int32_t v) { return model.layer[v] >= from && model.layer[v] < to; };
    for (size_t number = 0; number < model.edges.size(); number++) {
        const Edge &edge = model.edges[number];
        int32_t u = edge.u;
        int32_t v = edge.v;
        if (!inside(u) && v != BOUNDARY)
            std::swap(u, v);
        if (!inside(u))
            continue;
        const size_t before = window.edges.size();
        if (v == BOUNDARY || inside(v)) {
            window.edges.push_back({u - low, v == BOUNDARY ? v : v - low, edge.weight, edge.observables});
        } else if (model.layer[v] < from) {
            if (open_past)
                window.edges.push_back({u - low, BOUNDARY, edge.weight, edge.observables | PAST});
        } else if (open_future) {
            window.edges.push_back({u - low, BOUNDARY, edge.weight, edge.observables | FUTURE});
            if (exits)
                exits->push_back({u - low, edge.weight});
        }
        if (origins && window.edges.size() > before)
            origins->push_back(static_cast<int32_t>(number));
    }
    return window;
}

}  // namespace qdeck

#include "tanner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace qdeck {

namespace {

constexpr int32_t LANES = LANES_OF_BELIEF;

// Which of the members is at each place, those with many edges first.
std::vector<int32_t> by_degree(const std::vector<int32_t> &degree) {
    std::vector<int32_t> order(degree.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return degree[a] > degree[b]; });
    return order;
}

std::vector<int32_t> inverse(const std::vector<int32_t> &order) {
    std::vector<int32_t> place(order.size());
    for (size_t i = 0; i < order.size(); i++)
        place[order[i]] = static_cast<int32_t>(i);
    return place;
}

// Groups of the members in that order, with entries that are to be filled.
Rows rows_for(Arena &arena, const std::vector<int32_t> &order, const std::vector<int32_t> &degree, int32_t *&entry) {
    Rows rows;
    rows.groups = static_cast<int32_t>((order.size() + LANES - 1) / LANES);
    auto *const first = arena.array<int32_t>(static_cast<size_t>(rows.groups) + 1);
    first[0] = 0;
    for (int32_t g = 0; g < rows.groups; g++)
        first[g + 1] = first[g] + degree[order[g * LANES]];
    entry = arena.array<int32_t>(static_cast<size_t>(first[rows.groups]) * LANES);
    rows.first = first;
    rows.entry = entry;
    return rows;
}

int32_t at(const Rows &rows, int32_t place, int32_t nth) {
    return (rows.first[place / LANES] + nth) * LANES + place % LANES;
}

}  // namespace

Tanner::Tanner(const Mechanisms &model) {
    model.check();
    mechanisms_ = static_cast<int32_t>(model.size());
    std::vector<int32_t> degree(static_cast<size_t>(model.detectors)), size(model.size());
    for (size_t i = 0; i < model.size(); i++) {
        size[i] = static_cast<int32_t>(model.of(i).size());
        for (const int32_t v : model.of(i))
            degree[v]++;
    }
    for (const int32_t each : degree)
        lonely.push_back(each == 0);
    const std::vector<int32_t> checks = by_degree(degree), errors = by_degree(size);
    place_of = inverse(checks);
    const std::vector<int32_t> place_of_error = inverse(errors);

    int32_t *error_at = nullptr, *edge_at = nullptr;
    view_.checks = rows_for(arena_, checks, degree, error_at);
    view_.errors = rows_for(arena_, errors, size, edge_at);
    view_.edges = view_.checks.first[view_.checks.groups] * LANES;
    std::fill_n(error_at, view_.edges, error_places());
    std::fill_n(edge_at, view_.errors.first[view_.errors.groups] * LANES, view_.edges);
    std::vector<int32_t> come(degree.size());
    for (size_t i = 0; i < model.size(); i++) {
        const int32_t place = place_of_error[i];
        int32_t nth = 0;
        for (const int32_t v : model.of(i)) {
            const int32_t edge = at(view_.checks, place_of[v], come[v]++);
            error_at[edge] = place;
            edge_at[at(view_.errors, place, nth++)] = edge;
        }
    }

    const auto places = static_cast<size_t>(error_places());
    auto *const prior = arena_.array<float>(places + 1);
    std::fill_n(prior, places, FAR_BELIEF);
    prior[places] = std::numeric_limits<float>::infinity();
    mechanism_at.assign(places, -1);
    flips.assign(places, 0);
    weight.assign(places + 1, std::numeric_limits<double>::infinity());
    for (size_t place = 0; place < errors.size(); place++) {
        const auto i = static_cast<size_t>(errors[place]);
        mechanism_at[place] = errors[place];
        flips[place] = model.flips[i];
        weight[place] = std::log((1 - model.probability[i]) / model.probability[i]);
        prior[place] = static_cast<float>(std::min<double>(weight[place], FAR_BELIEF));
    }
    view_.prior = prior;
}

size_t Tanner::bytes() const noexcept {
    return arena_.bytes() + place_of.size() * 5 + mechanism_at.size() * 20;
}

}  // namespace qdeck

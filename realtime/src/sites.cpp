#include "sites.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>

namespace qdeck {

Sites measured_sites(const std::vector<std::vector<int32_t>> &lost, const std::vector<std::vector<int32_t>> &heralds,
                     const std::vector<uint32_t> &round_bits) {
    size_t measurements = 0;
    for (const uint32_t many : round_bits)
        measurements += many;
    for (const auto *table : {&lost, &heralds})
        if (!table->empty() && table->size() != measurements)
            throw std::invalid_argument("losses are told for each of " + std::to_string(measurements) +
                                        " measurements of the volume, not for " + std::to_string(table->size()));
    if (lost.empty() && heralds.empty())
        return {};
    Sites sites;
    size_t at = 0;
    for (const uint32_t many : round_bits) {
        auto &round = sites.emplace_back(2 * static_cast<size_t>(many));
        for (size_t m = 0; m < many; m++, at++) {
            if (!lost.empty())
                round[2 * m] = lost[at];
            if (!heralds.empty())
                round[2 * m + 1] = heralds[at];
        }
    }
    return sites;
}

SiteTable::SiteTable(const Model &volume, const Layers &layers, const Sites &given) {
    if (given.empty())
        return;
    if (given.size() != static_cast<size_t>(layers.count()))
        throw std::invalid_argument("losses are told for " + std::to_string(given.size()) +
                                    " rounds, and the model has " + std::to_string(layers.count()) + " layers");
    for (const auto &round : given)
        sites = std::max(sites, static_cast<int32_t>(round.size()));
    head_layers = layers.head;
    const std::vector<Spot> where = spots(volume, layers);
    const int32_t end = layers.count() - layers.tail;  // of the layers that repeat
    using Rows = std::vector<std::vector<Hit>>;
    std::vector<Rows> rounds;
    std::vector<char> inner;  // a round that erases edges of layers that repeat only
    for (int32_t t = 0; t < layers.count(); t++) {
        Rows &rows = rounds.emplace_back(static_cast<size_t>(sites));
        inner.push_back(t >= layers.head && t < end);
        const auto &round = given[static_cast<size_t>(t)];
        for (size_t site = 0; site < round.size(); site++) {
            for (const int32_t edge : round[site]) {
                if (edge < 0 || static_cast<size_t>(edge) >= where.size())
                    throw std::invalid_argument("a loss erases edge " + std::to_string(edge) + ", and the model has " +
                                                std::to_string(where.size()));
                const Spot spot = where[static_cast<size_t>(edge)];
                rows[site].push_back({spot.layer - t, spot.step});
                inner.back() = inner.back() && spot.layer >= layers.head && spot.layer < end;
                // An edge may end in a window that begins after its first layer.
                most_ahead = std::max(most_ahead, spot.layer - t + layers.span);
            }
            std::sort(rows[site].begin(), rows[site].end(), [](const Hit &a, const Hit &b) {
                return std::tuple(a.layer, a.step) < std::tuple(b.layer, b.step);
            });
        }
    }
    auto alike = [&](size_t a, size_t b) {
        auto same = [](const std::vector<Hit> &x, const std::vector<Hit> &y) {
            return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                              [](const Hit &p, const Hit &q) { return p.layer == q.layer && p.step == q.step; });
        };
        return inner[a] && inner[b] && std::equal(rounds[a].begin(), rounds[a].end(), rounds[b].begin(), same);
    };
    size_t best = 0;
    for (size_t from = 0, to; from < rounds.size(); from = to) {
        for (to = from + 1; to < rounds.size() && alike(from, to);)
            to++;
        if (to - from <= best)
            continue;
        best = to - from;
        first_alike = static_cast<int32_t>(from);
        last_rounds = static_cast<int32_t>(rounds.size() - to);
    }
    if (best < 2)
        throw std::invalid_argument("no two rounds lose alike: tell what losses erase for a volume of more rounds");
    auto lay = [&](const Rows &rows) {
        for (const auto &row : rows) {
            first.push_back(static_cast<int32_t>(all.size()));
            all.insert(all.end(), row.begin(), row.end());
        }
    };
    for (int32_t t = 0; t <= first_alike; t++)
        lay(rounds[static_cast<size_t>(t)]);
    for (size_t t = rounds.size() - static_cast<size_t>(last_rounds); t < rounds.size(); t++)
        lay(rounds[t]);
    first.push_back(static_cast<int32_t>(all.size()));
}

}  // namespace qdeck

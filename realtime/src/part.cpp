#include "part.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

namespace qdeck {

void check_end(const Layers &layers) {
    for (int32_t t = layers.count() - layers.tail; t < layers.count() - 1; t++)
        if (layers.members[static_cast<size_t>(t)].size() != static_cast<size_t>(layers.width))
            throw std::invalid_argument(
                "of the layers at the end only the last may have another number of detectors; layer " +
                std::to_string(t) + " has");
}

Part::Part(const Model &whole, int32_t span, Cut where, const Maker &maker, bool losses, Model *made,
           std::vector<Exit> *exits) {
    std::vector<int32_t> origins;
    const Model window = cut(whole, where.from, where.to, where.open_past, where.open_future, exits, &origins);
    compiled = maker(window);
    layer = window.layer;
    for (int32_t v = 0; v < window.detectors; v++)
        while (static_cast<int32_t>(first.size()) <= window.layer[v])
            first.push_back(v);
    first.resize(static_cast<size_t>(where.to - where.from) + 1, window.detectors);
    if (made)
        *made = window;
    if (!losses)
        return;
    if (!compiled->decoder()->erase({}))
        throw std::invalid_argument(
            "the decoder of these windows cannot take account of losses: take 'erasure' or 'union-find'");
    before = std::min(span, where.from);
    const auto layer_of = [&](const Edge &each) { return whole.layer[each.u]; };  // the earlier one, see `stretch`
    const auto begin = std::lower_bound(whole.edges.begin(), whole.edges.end(), where.from - before,
                                        [&](const Edge &each, int32_t t) { return layer_of(each) < t; });
    const auto end = std::lower_bound(begin, whole.edges.end(), where.to,
                                      [&](const Edge &each, int32_t t) { return layer_of(each) < t; });
    const auto low = static_cast<int32_t>(begin - whole.edges.begin());
    edge.assign(static_cast<size_t>(end - begin), NONE);
    for (size_t e = 0; e < origins.size(); e++)
        edge[static_cast<size_t>(origins[e] - low)] = static_cast<int32_t>(e);
    for (int32_t t = where.from - before; t <= where.to; t++)
        step.push_back(static_cast<int32_t>(std::lower_bound(begin, end, t,
                                                             [&](const Edge &each, int32_t at) {
                                                                 return layer_of(each) < at;
                                                             }) -
                                            begin));
}

void Part::erase(Decoder &decoder, const SiteTable &table, int64_t from, int64_t end, int64_t round,
                 int32_t site) const noexcept {
    for (const SiteTable::Hit hit : table.hits(round, end, site)) {
        const int64_t stream_layer = round + hit.layer;
        const int64_t at = stream_layer - from + before;
        if (at < 0 || at + 1 >= static_cast<int64_t>(step.size()))
            continue;
        if (stream_layer < table.head() && from > 0)  // such a layer has other edges than those that repeat
            continue;
        const int32_t place = step[static_cast<size_t>(at)] + hit.step;
        if (place < step[static_cast<size_t>(at) + 1] && edge[static_cast<size_t>(place)] != NONE)
            decoder.erase({&edge[static_cast<size_t>(place)], 1});
    }
}

void Part::erase(Decoder &decoder, const SiteTable &table, int64_t from, int64_t end, int64_t round,
                 const uint64_t *lost) const noexcept {
    for (size_t word = 0; word < table.words(); word++)
        for (uint64_t bits = lost[word]; bits; bits &= bits - 1)
            erase(decoder, table, from, end, round, static_cast<int32_t>(word * 64) + std::countr_zero(bits));
}

}  // namespace qdeck

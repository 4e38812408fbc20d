// Gathers the words of defects as they arrive, for one kind of lanes (lanes.h).
#pragma once

#include "kernel.h"

namespace qdeck {

template <class L> struct Gather {
    static void add(Shot &shot, const int32_t *defects, size_t count) noexcept {
        const Place *places = shot.places;
        for (size_t d = 0; d < count; d++) {
            const Place place = places[defects[d]];
            Part &part = shot.parts[place.basis];
            const Basis &basis = *part.basis;
            const int32_t k = part.count, local = place.local;
            __builtin_prefetch(basis.near_row(local));
            uint64_t &fired = part.fired[uint32_t(local) / 64];
            const uint64_t bit = uint64_t{1} << (local % 64);
            if (fired & bit) {
                shot.whole = false;
                continue;
            }
            if (k == 0)
                shot.active[shot.active_count++] = place.basis;
            fired |= bit;
            part.bounds[k] = basis.bounds[size_t(local)];
            part.locals[k] = local;
            part.arrived[local] = uint16_t(k);
            part.count = k + 1;
        }
        for (int32_t a = 0; a < shot.active_count; a++) {
            Part &part = shot.parts[shot.active[a]];
            int32_t k = part.gathered;
            for (; k < part.count && k < part.dense; k++)
                dense(part, k);
            if (k < part.count) {
                if (k == part.dense)
                    look_back(part);
                sparse(part, k);
            }
            part.gathered = part.count;
        }
    }

private:
    static void know(Part &part, int32_t i, int32_t k, uint16_t word) noexcept {
        part.known[part.known_count++] = {uint16_t(i), uint16_t(k), word};
        part.best[i] = less(part.best[i], uint32_t(word) << 16 | uint32_t(k));
        part.best[k] = less(part.best[k], uint32_t(word) << 16 | uint32_t(i));
    }

    static uint32_t less(uint32_t a, uint32_t b) noexcept { return a < b ? a : b; }

    static void dense(Part &part, int32_t k) noexcept {
        const uint16_t *words = part.basis->words.data() + size_t(part.locals[k]) * size_t(part.basis->size);
        for (int32_t i = 0; i < k; i++)
            part.few[k * LANES + i] = words[part.locals[i]];
    }

    // The first defects too are known by their pairs from now on.
    static void look_back(Part &part) noexcept {
        for (int32_t k = 0; k < part.dense; k++) {
            part.best[k] = 0xffff0000u | uint32_t(k);
            for (int32_t i = 0; i < k; i++)
                if (part.few[k * LANES + i] < part.basis->reach)
                    know(part, i, k, part.few[k * LANES + i]);
            part.last = part.locals[k] > part.last ? part.locals[k] : part.last;
        }
    }

    // Pairs of the defects from k on with those that are near and before them in the basis.
    static void sparse(Part &part, int32_t k) noexcept {
        const Basis &basis = *part.basis;
        const int32_t span = basis.span, count = part.count, before = k;
        uint32_t *best = part.best;
        const uint16_t *arrived = part.arrived;
        Known *known = part.known + part.known_count;
        int32_t last = part.last;
        for (int32_t i = k; i < count; i++)
            best[i] = 0xffff0000u | uint32_t(i);
        for (; k < count; k++) {
            const int32_t local = part.locals[k];
            const uint64_t *near = basis.near_row(local);
            const int32_t first = int32_t(near[0]);
            const uint64_t *fired = part.fired + first;
            const uint16_t *words = reinterpret_cast<const uint16_t *>(near + 1 + span);
            uint32_t mine = best[k];
            for (int32_t w = 0; w < span; w++) {
                const uint64_t mask = near[1 + w];
                for (uint64_t found = mask & fired[w]; found; found &= found - 1) {
                    const int32_t bit = __builtin_ctzll(found);
                    const uint32_t word = words[L::count(mask & ((uint64_t{1} << bit) - 1))];
                    const uint32_t i = arrived[(first + w) * 64 + bit];
                    *known++ = {uint16_t(i), uint16_t(k), uint16_t(word)};
                    mine = less(mine, word << 16 | i);
                    best[i] = less(best[i], word << 16 | uint32_t(k));
                }
                words += L::count(mask);
            }
            best[k] = mine;
            part.known_count = int32_t(known - part.known);
            if (local < last) {
                late(part, k, before);
                known = part.known + part.known_count;
            }
            last = local > last ? local : last;
        }
        part.last = last;
    }

    // Pairs with the defects before, those near and behind this one in the basis: their rows have them.
    static void late(Part &part, int32_t k, int32_t before) noexcept {
        const Basis &basis = *part.basis;
        const int32_t local = part.locals[k];
        for (int32_t i = 0; i < before; i++) {
            const uint64_t *near = basis.near_row(part.locals[i]);
            const int32_t at = local / 64 - int32_t(near[0]);
            if (part.locals[i] > local && at >= 0 && at < basis.span && (near[1 + at] >> (local % 64) & 1))
                know(part, i, k, part.word(i, k));
        }
    }
};

}  // namespace qdeck

// Gathers the words of defects as they arrive, for one kind of lanes (lanes.h).
#pragma once

#include "kernel.h"

#include <cstring>

namespace qdeck {

// The numbers of the bits that are set in a word, the lowest being `first`, are written from `next` on; beyond their end,
// which is returned, up to 4 more. Without branches but for more than four bits: which are set cannot be predicted.
template <class L> inline int32_t *numbers(uint64_t word, int32_t first, int32_t *next) noexcept {
    const int count = L::count(word);
    for (int four = 0; four == 0 || four < count; four += 4)
        for (int i = 0; i < 4; i++) {
            next[four + i] = first + L::lowest_bit(word);
            word &= word - 1;
        }
    return next + count;
}

template <class L> struct Gather {
    static size_t unpack(const uint8_t *packed, size_t bits, int32_t *all) noexcept {
        int32_t *next = all;
        size_t at = 0;
        uint64_t word;
        for (; at + 64 <= bits; at += 64) {
            std::memcpy(&word, packed + at / 8, sizeof word);
            next = numbers<L>(word, int32_t(at), next);
        }
        if (at < bits) {
            std::memcpy(&word, packed + at / 8, sizeof word);
            next = numbers<L>(word & ((uint64_t{1} << (bits - at)) - 1), int32_t(at), next);
        }
        return size_t(next - all);
    }

    static void add(Shot &shot, const int32_t *defects, size_t count) noexcept {
        const Place *places = shot.places;
        for (size_t d = 0; d < count; d++) {
            const Place place = places[defects[d]];
            Gathered &part = shot.parts[place.basis];
            const int32_t k = part.count, local = place.local;
            if (part.dense == 0)
                fetch(*part.basis, local);
            uint64_t &fired = part.fired[uint32_t(local) / 64];
            const uint64_t bit = uint64_t{1} << (local % 64);
            if (fired & bit) {
                shot.whole = false;
                continue;
            }
            if (k == 0)
                shot.active[shot.active_count++] = place.basis;
            fired |= bit;
            part.bounds[k] = place.bound;
            part.locals[k] = local;
            part.count = k + 1;
        }
        for (int32_t a = 0; a < shot.active_count; a++) {
            Gathered &part = shot.parts[shot.active[a]];
            int32_t k = part.gathered;
            const bool at_once = k == 0 && part.count > part.dense;  // more than `few` is for
            for (; !at_once && k < part.count && k < part.dense; k++)
                dense(part, k);
            if (k < part.count) {
                if (k == part.dense)
                    look_back(part);
                sparse(part, k, shot.queue);
            }
            part.gathered = part.count;
        }
    }

private:
    // The near row of a detector will be read soon.
    static void fetch(const Basis &basis, int32_t local) noexcept {
        const uint64_t *row = basis.near_row(local);
        for (int32_t line = 0; line < basis.near_lines; line++)
            __builtin_prefetch(row + 8 * line);
    }

    static void know(Gathered &part, int32_t i, int32_t k, uint16_t word) noexcept {
        part.known[part.known_count++] = {uint16_t(i), uint16_t(k), word, 0};
        part.best[i] = less(part.best[i], uint32_t(word) << 16 | uint32_t(k));
        part.best[k] = less(part.best[k], uint32_t(word) << 16 | uint32_t(i));
    }

    static uint32_t less(uint32_t a, uint32_t b) noexcept { return a < b ? a : b; }

    static void dense(Gathered &part, int32_t k) noexcept {
        const uint16_t *words = part.basis->words.data() + size_t(part.locals[k]) * size_t(part.basis->size);
        for (int32_t i = 0; i < k; i++)
            part.few[k * LANES + i] = words[part.locals[i]];
    }

    // The first defects too are known by their pairs from now on.
    static void look_back(Gathered &part) noexcept {
        for (int32_t k = 0; k < part.dense; k++) {
            part.best[k] = 0xffff0000u | uint32_t(k);
            part.arrived[part.locals[k]] = uint16_t(k);
            for (int32_t i = 0; i < k; i++)
                if (part.few[k * LANES + i] < part.basis->reach)
                    know(part, i, k, part.few[k * LANES + i]);
            part.last = part.locals[k] > part.last ? part.locals[k] : part.last;
        }
    }

    // Pairs of the defects from `begin` on with those that are near and before them in the basis. First all words of
    // bits that have such a defect, without branches, for which ones these are cannot be predicted; then the defects in
    // them.
    static void sparse(Gathered &part, int32_t begin, Found *queue) noexcept {
        const Basis &basis = *part.basis;
        const int32_t span = basis.span, end = part.count;
        for (int32_t k = begin; k < end; k++) {
            if (part.dense)
                fetch(basis, part.locals[k]);
            part.best[k] = 0xffff0000u | uint32_t(k);
            part.arrived[part.locals[k]] = uint16_t(k);
        }
        for (int32_t k = begin; k < end;) {
            Found *last = queue;
            for (; k < end && last - queue < QUEUE; k++) {
                const uint64_t *near = basis.near_row(part.locals[k]);
                const uint64_t *fired = part.fired + near[0];
                for (int32_t w = 0; w < span; w++) {
                    const uint64_t found = near[1 + w] & fired[w];
                    *last = {found, uint32_t(k), uint32_t(w)};
                    last += found != 0;
                }
            }
            look_up(part, queue, last);
        }
        int32_t highest = part.last;
        for (int32_t k = begin; k < end; k++) {
            const int32_t local = part.locals[k];
            if (local < highest)
                late(part, k, begin);
            highest = local > highest ? local : highest;
        }
        part.last = highest;
    }

    static void look_up(Gathered &part, const Found *at, const Found *last) noexcept {
        const Basis &basis = *part.basis;
        const uint16_t *arrived = part.arrived;
        uint32_t *best = part.best;
        Known *known = part.known + part.known_count;
        for (; at < last; at++) {
            const uint64_t *near = basis.near_row(part.locals[at->defect]);
            const uint64_t mask = near[1 + at->word];
            const uint16_t *before = reinterpret_cast<const uint16_t *>(near + 1 + basis.span);
            const uint16_t *words = before + basis.prefix + before[at->word];
            const uint16_t *numbers = arrived + (near[0] + at->word) * 64;
            uint64_t found = at->found;
            do {
                const int32_t bit = __builtin_ctzll(found);
                const uint32_t word = words[L::count(mask & ((uint64_t{1} << bit) - 1))];
                const uint32_t i = numbers[bit], k = at->defect;
                *known++ = {uint16_t(i), uint16_t(k), uint16_t(word), 0};
                best[i] = less(best[i], word << 16 | k);
                best[k] = less(best[k], word << 16 | i);
                found &= found - 1;
            } while (found);
        }
        part.known_count = int32_t(known - part.known);
    }

    // Pairs with the defects before, those near and behind this one in the basis: their rows have them.
    static void late(Gathered &part, int32_t k, int32_t before) noexcept {
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

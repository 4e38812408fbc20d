// Sixteen unsigned 16-bit lanes: the vector that the matching decoder computes with, for any processor. `lanes_avx2.h`
// has the same with AVX2. A mask is a vector whose lanes are 0 or 0xffff.
#pragma once

#include "kernel.h"

#include <cstdint>

namespace qdeck {

struct PlainLanes {
    struct alignas(16) V {
        uint16_t x[LANES];
    };
    template <class F> static inline V each(F f) noexcept {
        V out;
        for (int i = 0; i < LANES; i++)
            out.x[i] = f(i);
        return out;
    }
    static V load(const uint16_t *from) noexcept { return *reinterpret_cast<const V *>(from); }
    static void store(uint16_t *to, V v) noexcept { *reinterpret_cast<V *>(to) = v; }
    static V fill(uint16_t value) noexcept { return each([=](int) { return value; }); }
    // The high halves of 16 numbers.
    static V high(const uint32_t *from) noexcept { return each([=](int i) { return uint16_t(from[i] >> 16); }); }
    static V adds(V a, V b) noexcept {
        return each([&](int i) {
            const uint32_t sum = uint32_t(a.x[i]) + b.x[i];
            return uint16_t(sum > 0xffff ? 0xffff : sum);
        });
    }
    static V subs(V a, V b) noexcept {
        return each([&](int i) { return uint16_t(a.x[i] > b.x[i] ? a.x[i] - b.x[i] : 0); });
    }
    static V least(V a, V b) noexcept { return each([&](int i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; }); }
    static V equal(V a, V b) noexcept { return each([&](int i) { return uint16_t(a.x[i] == b.x[i] ? 0xffff : 0); }); }
    static V both(V a, V b) noexcept { return each([&](int i) { return uint16_t(a.x[i] & b.x[i]); }); }
    static V either(V a, V b) noexcept { return each([&](int i) { return uint16_t(a.x[i] | b.x[i]); }); }
    static V without(V a, V b) noexcept { return each([&](int i) { return uint16_t(a.x[i] & ~b.x[i]); }); }
    static V half(V a) noexcept { return each([&](int i) { return uint16_t(a.x[i] >> 1); }); }
    // b where the mask is set, else a.
    static V pick(V a, V b, V mask) noexcept {
        return each([&](int i) { return uint16_t((a.x[i] & ~mask.x[i]) | (b.x[i] & mask.x[i])); });
    }
    static int count(uint64_t bits) noexcept {
        bits -= (bits >> 1) & 0x5555555555555555u;
        bits = (bits & 0x3333333333333333u) + ((bits >> 2) & 0x3333333333333333u);
        return int(((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56);
    }
    // The number of the lowest bit; anything if there is none.
    static int lowest_bit(uint64_t bits) noexcept { return __builtin_ctzll(bits | uint64_t{1} << 63); }
    static uint16_t lowest(V a) noexcept {
        uint16_t out = a.x[0];
        for (int i = 1; i < LANES; i++)
            out = a.x[i] < out ? a.x[i] : out;
        return out;
    }
    // The first lane that is set, or -1.
    static int first(V mask) noexcept {
        for (int i = 0; i < LANES; i++)
            if (mask.x[i])
                return i;
        return -1;
    }
};

}  // namespace qdeck

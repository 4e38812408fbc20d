// The lanes of lanes.h with AVX2: include it only in files that are compiled for AVX2 and run only where it is present.
#pragma once

#include "lanes.h"

#include <immintrin.h>

namespace qdeck {

struct Avx2Lanes {
    using V = __m256i;
    static V load(const uint16_t *from) noexcept { return _mm256_load_si256(reinterpret_cast<const __m256i *>(from)); }
    static void store(uint16_t *to, V v) noexcept { _mm256_store_si256(reinterpret_cast<__m256i *>(to), v); }
    static V fill(uint16_t value) noexcept { return _mm256_set1_epi16(static_cast<short>(value)); }
    static V high(const uint32_t *from) noexcept {
        const __m256i *at = reinterpret_cast<const __m256i *>(from);
        const V low = _mm256_srli_epi32(_mm256_load_si256(at), 16);
        const V up = _mm256_srli_epi32(_mm256_load_si256(at + 1), 16);
        return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, up), 0xd8);
    }
    static V adds(V a, V b) noexcept { return _mm256_adds_epu16(a, b); }
    static V subs(V a, V b) noexcept { return _mm256_subs_epu16(a, b); }
    static V least(V a, V b) noexcept { return _mm256_min_epu16(a, b); }
    static V equal(V a, V b) noexcept { return _mm256_cmpeq_epi16(a, b); }
    static V both(V a, V b) noexcept { return _mm256_and_si256(a, b); }
    static V either(V a, V b) noexcept { return _mm256_or_si256(a, b); }
    static V without(V a, V b) noexcept { return _mm256_andnot_si256(b, a); }
    static V half(V a) noexcept { return _mm256_srli_epi16(a, 1); }
    static V pick(V a, V b, V mask) noexcept { return _mm256_blendv_epi8(a, b, mask); }
    static int count(uint64_t bits) noexcept { return __builtin_popcountll(bits); }
    static int lowest_bit(uint64_t bits) noexcept { return static_cast<int>(_tzcnt_u64(bits)); }
    static uint16_t lowest(V a) noexcept {
        const __m128i low = _mm_min_epu16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
        return static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(low)));
    }
    static int first(V mask) noexcept {
        const uint32_t bits = static_cast<uint32_t>(_mm256_movemask_epi8(mask));
        return bits ? __builtin_ctz(bits) >> 1 : -1;
    }
};

}  // namespace qdeck

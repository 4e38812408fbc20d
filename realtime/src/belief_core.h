// The arithmetic of belief.h in vectors of four floats or eight. Sources: relay.h.
//
// Compiled more than once: only templates over the vector may be functions here (see kernel_avx2.cpp).
#pragma once

#include "belief.h"

namespace qdeck {

struct FourFloats {
    typedef float Real __attribute__((vector_size(16), may_alias));
    typedef int32_t Mask __attribute__((vector_size(16), may_alias));
};
struct EightFloats {
    typedef float Real __attribute__((vector_size(32), may_alias));
    typedef int32_t Mask __attribute__((vector_size(32), may_alias));
};

template <class Vector> struct Belief {
    using Real = typename Vector::Real;
    using Mask = typename Vector::Mask;
    static constexpr int W = sizeof(Real) / sizeof(float);
    static constexpr int LANES = LANES_OF_BELIEF;

    static int32_t run(const TannerView &view, const Leg &leg) noexcept {
        for (int32_t edge = 0; edge <= view.edges; edge++)
            leg.message[edge] = 0;
        double half = 1;
        for (int32_t turn = 1; turn <= leg.iterations; turn++) {
            half *= 0.5;
            const float scaling = leg.scaling != 0 ? leg.scaling : static_cast<float>(1 - half);
            const float *const from = turn == 1 ? view.prior : leg.belief;
            if (from_checks(view, leg, from, scaling) && turn > 1)
                return turn - 1;
            at_errors(view, leg);
        }
        return explained(view, leg) ? leg.iterations : 0;
    }

private:
    // To each edge the least magnitude of the other edges of its check, with the product of their signs. Whether `from`,
    // which it comes from, explained the syndrome.
    static bool from_checks(const TannerView &view, const Leg &leg, const float *from, float scaling) noexcept {
        const Real far = Real{} + FAR_BELIEF;
        Mask open{};
        for (int32_t g = 0; g < view.checks.groups; g++) {
            const int32_t begin = view.checks.first[g], end = view.checks.first[g + 1];
            for (int half = 0; half < LANES; half += W) {
                Mask odd = *reinterpret_cast<const Mask *>(leg.syndrome + g * LANES + half);
                Mask left = odd;
                Real least = far, next = far;
                for (int32_t row = begin; row < end; row++) {
                    auto *const message = reinterpret_cast<Real *>(leg.message + row * LANES + half);
                    const Real belief = gathered(from, view.checks.entry + row * LANES + half);
                    const Real incoming = belief - *message;
                    *message = incoming;
                    left ^= belief <= 0;
                    odd ^= incoming <= 0;
                    const Real size = size_of(incoming);
                    const Real larger = size > least ? size : least;
                    next = larger < next ? larger : next;
                    least = size < least ? size : least;
                }
                open |= left;
                const Real to_others = least * scaling, to_least = next * scaling;
                for (int32_t row = begin; row < end; row++) {
                    auto *const message = reinterpret_cast<Real *>(leg.message + row * LANES + half);
                    const Real incoming = *message;
                    const Real outgoing = size_of(incoming) == least ? to_least : to_others;
                    const Mask sign = (odd ^ (incoming <= 0)) & INT32_MIN;
                    *message = as_real(as_mask(outgoing) ^ sign);
                }
            }
        }
        return !any(open);
    }

    static void at_errors(const TannerView &view, const Leg &leg) noexcept {
        for (int32_t g = 0; g < view.errors.groups; g++) {
            const int32_t begin = view.errors.first[g], end = view.errors.first[g + 1];
            for (int half = 0; half < LANES; half += W) {
                const int32_t at = g * LANES + half;
                Real sum{};
                for (int32_t row = begin; row < end; row++)
                    sum += gathered(leg.message, view.errors.entry + row * LANES + half);
                const Real prior = *reinterpret_cast<const Real *>(view.prior + at);
                const Real memory = *reinterpret_cast<const Real *>(leg.memory + at);
                auto *const belief = reinterpret_cast<Real *>(leg.belief + at);
                *belief = prior + memory * (*belief - prior) + sum;
            }
        }
    }

    static bool explained(const TannerView &view, const Leg &leg) noexcept {
        for (int32_t g = 0; g < view.checks.groups; g++)
            for (int half = 0; half < LANES; half += W) {
                Mask left = *reinterpret_cast<const Mask *>(leg.syndrome + g * LANES + half);
                for (int32_t row = view.checks.first[g]; row < view.checks.first[g + 1]; row++)
                    left ^= gathered(leg.belief, view.checks.entry + row * LANES + half) <= 0;
                if (any(left))
                    return false;
            }
        return true;
    }

    static inline Real gathered(const float *from, const int32_t *at) noexcept {
        Real out;
        for (int i = 0; i < W; i++)
            out[i] = from[at[i]];
        return out;
    }
    static inline Mask as_mask(Real x) noexcept { return reinterpret_cast<Mask &>(x); }
    static inline Real as_real(Mask x) noexcept { return reinterpret_cast<Real &>(x); }
    static inline Real size_of(Real x) noexcept {
        const Real size = as_real(as_mask(x) & INT32_MAX);
        return size < FAR_BELIEF ? size : Real{} + FAR_BELIEF;
    }
    static inline bool any(Mask x) noexcept {
        int32_t all = 0;
        for (int i = 0; i < W; i++)
            all |= x[i];
        return all != 0;
    }
};

}  // namespace qdeck

// A leg of belief propagation (min-sum with memory, flooding schedule), for the processor at hand.
#pragma once

#include "tanner.h"

namespace qdeck {

struct Leg {
    int32_t iterations = 1;
    float scaling = 0;         // of check messages; 0: 1 - 2^-t in iteration t
    const int32_t *syndrome;   // by place of the check: -1 where it fired, else 0
    const float *memory;       // by place of the error
    float *belief;             // by place and one more, infinity: of the iteration before, and of the last one
    float *message;            // view.edges and one more; what it holds does not matter
};

// The iteration in which the errors of negative (or no) belief explained the syndrome, and then it ends; 0: none did.
using RunLeg = int32_t (*)(const TannerView &view, const Leg &leg) noexcept;

RunLeg plain_leg() noexcept;
// With AVX2; nullptr where that is missing. Both give the same to the last bit.
RunLeg vector_leg() noexcept;

}  // namespace qdeck

#include "belief_core.h"

namespace qdeck {

RunLeg plain_leg() noexcept { return &Belief<FourFloats>::run; }

#ifdef QDECK_AVX2
RunLeg avx2_leg() noexcept;

RunLeg vector_leg() noexcept {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? avx2_leg() : nullptr;
}
#else
RunLeg vector_leg() noexcept { return nullptr; }
#endif

}  // namespace qdeck

#include "kernel.h"

#include "blossom_core.h"
#include "lanes.h"

namespace qdeck {

Kernel::~Kernel() = default;

Kernel *plain_kernel(int32_t capacity) {
    return new Blossom<PlainLanes>(capacity);
}

#ifdef QDECK_AVX2
Kernel *avx2_kernel(int32_t capacity);

Kernel *vector_kernel(int32_t capacity) {
    __builtin_cpu_init();
    const bool has =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
    return has ? avx2_kernel(capacity) : nullptr;
}
#else
Kernel *vector_kernel(int32_t) {
    return nullptr;
}
#endif

}  // namespace qdeck

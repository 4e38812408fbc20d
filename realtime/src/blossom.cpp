#include "blossom.h"

#include "blossom_core.h"
#include "lanes.h"

namespace qdeck {

Solver::~Solver() = default;

Solver *plain_solver(int32_t capacity) {
    return new Blossom<PlainLanes>(capacity);
}

#ifdef QDECK_AVX2
Solver *avx2_solver(int32_t capacity);

Solver *vector_solver(int32_t capacity) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") ? avx2_solver(capacity) : nullptr;
}
#else
Solver *vector_solver(int32_t) {
    return nullptr;
}
#endif

}  // namespace qdeck

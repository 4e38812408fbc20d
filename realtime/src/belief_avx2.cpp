// Compiled for AVX2 (CMakeLists.txt), and run only where it is present: see kernel_avx2.cpp.
#ifdef QDECK_AVX2
#include "belief_core.h"

namespace qdeck {

RunLeg avx2_leg() noexcept;

RunLeg avx2_leg() noexcept { return &Belief<EightFloats>::run; }

}  // namespace qdeck
#endif

// Compiled for AVX2 (CMakeLists.txt), and run only where it is present: nothing here may be an inline function that
// other files share, for the linker could take this file's.
#ifdef QDECK_AVX2
#include "blossom_core.h"
#include "lanes_avx2.h"

namespace qdeck {

Kernel *avx2_kernel(int32_t capacity);

Kernel *avx2_kernel(int32_t capacity) {
    return new Blossom<Avx2Lanes>(capacity);
}

}  // namespace qdeck
#endif

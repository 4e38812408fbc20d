// For libFuzzer, which GCC has not: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc -Itests/cpp
// tests/cpp/fuzz_link.cpp src/frame.cpp src/detectors.cpp src/patch.cpp src/dispatch.cpp
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    link_test::Target target;
    target.input({data, size});
    return 0;
}

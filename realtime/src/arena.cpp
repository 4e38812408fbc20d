#include "arena.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace qdeck {

namespace {

// The first pages are taken up now, so that the hot path does not wait for them.
constexpr size_t AT_ONCE = 256 << 10;

}  // namespace

Arena::~Arena() {
    for (void *block : blocks_)
        std::free(block);
}

void *Arena::take(size_t bytes) {
    bytes = (bytes / 64 + 1) * 64;
    blocks_.reserve(blocks_.size() + 1);
    void *block = std::aligned_alloc(64, bytes);
    if (!block)
        throw std::bad_alloc();
    blocks_.push_back(block);
    std::memset(block, 0, std::min(bytes, AT_ONCE));
    bytes_ += bytes;
    return block;
}

}  // namespace qdeck

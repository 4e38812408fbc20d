#include "arena.h"

#include <cstdlib>
#include <new>

namespace qdeck {

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
    bytes_ += bytes;
    return block;
}

}  // namespace qdeck

// Memory that an object takes once, in cache lines, and keeps. Not for the hot path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qdeck {

class Arena {
public:
    Arena() = default;
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    ~Arena();
    // Most pages of a large block are taken up only when they are written. Throws std::bad_alloc.
    void *take(size_t bytes);
    template <class T> T *array(size_t count) { return static_cast<T *>(take(count * sizeof(T))); }
    size_t bytes() const noexcept { return bytes_; }

private:
    std::vector<void *> blocks_;
    size_t bytes_ = 0;
};

}  // namespace qdeck

// Memory that processes share: a file of /dev/shm, or an anonymous one whose descriptor is handed on.
#pragma once

#include <cstddef>
#include <string>

namespace qdeck {

class Region {
public:
    Region() = default;
    // Zeroed memory. With a name, another process can open it until this object goes; an old one of that name is replaced.
    // Throws std::system_error.
    static Region create(size_t bytes, const std::string &name = "");
    // Throws std::system_error when there is none of that name.
    static Region open(const std::string &name, bool writable = false);

    Region(Region &&other) noexcept { *this = std::move(other); }
    Region &operator=(Region &&other) noexcept;
    ~Region() { release(); }

    void *data() const noexcept { return data_; }
    size_t bytes() const noexcept { return bytes_; }
    const std::string &name() const noexcept { return name_; }

private:
    void release() noexcept;
    void *data_ = nullptr;
    size_t bytes_ = 0;
    std::string name_;
    bool owner_ = false;
};

}  // namespace qdeck

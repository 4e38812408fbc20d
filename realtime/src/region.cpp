#include "region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace qdeck {

[[noreturn]] static void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

static std::string shm_name(const std::string &name) { return "/" + name; }

Region Region::create(size_t bytes, const std::string &name) {
    int file = -1;
    if (name.empty()) {
        file = memfd_create("quarterdeck", MFD_CLOEXEC);
    } else {
        shm_unlink(shm_name(name).c_str());
        file = shm_open(shm_name(name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0640);
    }
    if (file < 0) fail("shared memory " + (name.empty() ? std::string("without a name") : "'" + name + "'"));
    Region region;
    region.name_ = name;
    region.owner_ = !name.empty();
    if (ftruncate(file, static_cast<off_t>(bytes))) {
        ::close(file);
        fail("shared memory of " + std::to_string(bytes) + " bytes");
    }
    void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (data == MAP_FAILED) fail("shared memory of " + std::to_string(bytes) + " bytes");
    region.data_ = data;
    region.bytes_ = bytes;
    return region;
}

Region Region::open(const std::string &name, bool writable) {
    const int file = shm_open(shm_name(name).c_str(), writable ? O_RDWR : O_RDONLY, 0);
    if (file < 0) fail("shared memory '" + name + "'");
    struct stat found{};
    fstat(file, &found);
    Region region;
    region.name_ = name;
    region.bytes_ = static_cast<size_t>(found.st_size);
    void *data = mmap(nullptr, region.bytes_, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    ::close(file);
    if (data == MAP_FAILED) fail("shared memory '" + name + "'");
    region.data_ = data;
    return region;
}

Region &Region::operator=(Region &&other) noexcept {
    if (this != &other) {
        release();
        data_ = std::exchange(other.data_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
        name_ = std::exchange(other.name_, {});
        owner_ = std::exchange(other.owner_, false);
    }
    return *this;
}

void Region::release() noexcept {
    if (data_) munmap(data_, bytes_);
    if (owner_) shm_unlink(shm_name(name_).c_str());
    data_ = nullptr;
    owner_ = false;
}

}  // namespace qdeck

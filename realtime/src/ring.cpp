#include "ring.h"

#include "clock.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <linux/futex.h>
#include <new>
#include <sched.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace qdeck {
namespace {

constexpr uint64_t FILE_MAGIC = 0x31474e4952444451;  // "QDDRING1" in memory
constexpr uint32_t FILE_VERSION = 1;
constexpr size_t PAGE = 4096;
constexpr uint64_t LARGEST = uint64_t{1} << 32;  // bytes of a file
enum Role { PRODUCER = 0, CONSUMER = 1 };

struct FileShape {
    uint32_t slots;
    uint32_t stride;
    uint32_t wakes;
    uint32_t unused;
};

// The first page of the file.
struct FileHeader {
    std::atomic<uint64_t> magic;  // stored last by the creator
    uint32_t version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    FileShape shape[2];
    struct {
        RingEnd role[2];
    } end[2];  // of each way
};
// docs/realtime-link.md tells these to those who write controllers.
static_assert(offsetof(FileHeader, shape) == 24 && offsetof(FileHeader, end) == 128 && sizeof(RingEnd) == 128);
static_assert(offsetof(RingEnd, beat_ns) == 8 && offsetof(RingEnd, epoch) == 20 && offsetof(RingEnd, sleeping) == 64);
static_assert(sizeof(FileHeader) <= PAGE && std::atomic<uint64_t>::is_always_lock_free);

[[noreturn]] void refuse(const std::string &what) {
    throw std::invalid_argument(what);
}

[[noreturn]] void failed(const char *what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

// Closes a descriptor, and with it the locks that it holds.
struct Descriptor {
    int fd = -1;
    explicit Descriptor(int descriptor) : fd(descriptor) {}
    Descriptor(const Descriptor &) = delete;
    ~Descriptor() {
        if (fd >= 0)
            ::close(fd);
    }
    int release() { return std::exchange(fd, -1); }
};

size_t bytes_of(const FileShape &shape) {
    return size_t{shape.slots} * shape.stride;
}

void check(const FileShape &shape) {
    if (shape.slots < 2 || shape.slots > (1u << 24) || !std::has_single_bit(shape.slots))
        refuse("a ring has " + std::to_string(shape.slots) + " slots: use a power of two from 2 to 2^24");
    if (shape.stride < 64 || shape.stride > (1u << 20) || shape.stride % 64)
        refuse("a ring's slots have " + std::to_string(shape.stride) + " bytes: use a multiple of 64 up to 2^20");
    if (bytes_of(shape) > LARGEST / 2)
        refuse("a ring of " + std::to_string(bytes_of(shape)) + " bytes is too large: use at most 2^31");
}

size_t file_bytes(const FileShape *shapes) {
    const size_t bytes = PAGE + bytes_of(shapes[0]) + bytes_of(shapes[1]);
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

long futex(std::atomic<uint32_t> &word, int operation, uint32_t value, const timespec *timeout) noexcept {
    return syscall(SYS_futex, &word, operation, value, timeout, nullptr, 0);  // shared between processes: not PRIVATE
}

// One byte of the file for each end, far behind its contents: locks need no bytes to be there.
struct flock lock_of(int way, int role) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(LARGEST * 2 + static_cast<uint64_t>(way * 2 + role));
    lock.l_len = 1;
    return lock;
}

// Another open file description of the same file: locks belong to these, and a passed descriptor shares its sender's.
int reopen(int fd) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return ::open(path.c_str(), O_RDWR | O_CLOEXEC);
}

}  // namespace

struct RingMap {
    int fd;
    size_t bytes;
    uint8_t *base = nullptr;
    std::array<FileShape, 2> shape{};

    RingMap(int descriptor, size_t size) : fd(descriptor), bytes(size) {
        void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0);
        if (at == MAP_FAILED)
            failed("the ring's file cannot be mapped");
        base = static_cast<uint8_t *>(at);
    }
    RingMap(const RingMap &) = delete;
    ~RingMap() {
        if (base)
            munmap(base, bytes);
        ::close(fd);
    }
    FileHeader &header() const { return *reinterpret_cast<FileHeader *>(base); }
};

namespace {

std::shared_ptr<RingMap> build(Descriptor &file, const RingShape &up, const RingShape &down, bool seal) {
    const FileShape shapes[2] = {{up.slots, up.stride, up.wakes, 0}, {down.slots, down.stride, down.wakes, 0}};
    check(shapes[0]);
    check(shapes[1]);
    const size_t bytes = file_bytes(shapes);
    if (ftruncate(file.fd, static_cast<off_t>(bytes)))
        failed("the ring's file cannot be made large enough");
    // A file that its owner cannot shrink any more cannot kill whoever maps it.
    if (seal && fcntl(file.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        failed("the ring's file cannot be sealed");
    auto map = std::make_shared<RingMap>(file.fd, bytes);
    file.release();
    auto *header = new (map->base) FileHeader{};
    header->version = FILE_VERSION;
    header->header_bytes = PAGE;
    header->file_bytes = bytes;
    std::memcpy(header->shape, shapes, sizeof shapes);
    map->shape = {shapes[0], shapes[1]};
    header->magic.store(FILE_MAGIC, std::memory_order_release);
    return map;
}

std::shared_ptr<RingMap> validate(Descriptor &file, bool sealed) {
    struct stat status {};
    if (fstat(file.fd, &status))
        failed("the ring's file cannot be examined");
    if (!S_ISREG(status.st_mode) || status.st_size < static_cast<off_t>(PAGE))
        refuse("this is not a ring: it is no file, or shorter than a page");
    if (sealed) {
        const int seals = fcntl(file.fd, F_GET_SEALS);
        if (seals < 0 || !(seals & F_SEAL_SHRINK))
            refuse("this ring is not sealed against shrinking: take rings that RingFile.create made");
    }
    const auto size = static_cast<uint64_t>(status.st_size);
    if (size > LARGEST)
        refuse("this is not a ring: it has " + std::to_string(size) + " bytes");
    auto map = std::make_shared<RingMap>(file.fd, size);
    file.release();
    const FileHeader &header = map->header();
    if (header.magic.load(std::memory_order_acquire) != FILE_MAGIC)
        refuse("this is not a ring: its first bytes are others");
    if (header.version != FILE_VERSION || header.header_bytes != PAGE)
        refuse("this ring is of version " + std::to_string(header.version) + "; this program knows version " +
               std::to_string(FILE_VERSION) + ": use the same quarterdeck-realtime on both sides");
    std::memcpy(map->shape.data(), header.shape, sizeof header.shape);
    for (const FileShape &shape : map->shape)
        check(shape);
    if (size != header.file_bytes || size != file_bytes(map->shape.data()))
        refuse("this ring's file has " + std::to_string(size) + " bytes, its header tells of " +
               std::to_string(file_bytes(map->shape.data())));
    return map;
}

}  // namespace

RingFile RingFile::create(const RingShape &up, const RingShape &down) {
    Descriptor file(memfd_create("quarterdeck-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (file.fd < 0)
        failed("the ring's memory cannot be had");
    return RingFile(build(file, up, down, true));
}

RingFile RingFile::create_at(const std::string &path, const RingShape &up, const RingShape &down) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0)
        failed("the ring's file cannot be created");
    return RingFile(build(file, up, down, false));
}

RingFile RingFile::attach(int fd) {
    Descriptor file(reopen(fd));
    if (file.fd < 0)
        failed("the ring's descriptor cannot be opened");
    return RingFile(validate(file, true));
}

RingFile RingFile::attach_at(const std::string &path) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (file.fd < 0)
        failed("the ring's file cannot be opened");
    return RingFile(validate(file, false));
}

RingSpot RingFile::spot(Way way, int role) const {
    const int which = static_cast<int>(way);
    auto claim = std::make_shared<Descriptor>(reopen(map_->fd));
    if (claim->fd < 0)
        failed("the ring's file cannot be opened again");
    struct flock lock = lock_of(which, role);
    if (fcntl(claim->fd, F_OFD_SETLK, &lock))
        failed(role == PRODUCER ? "the ring has a producer already" : "the ring has a consumer already",
               errno == EAGAIN || errno == EACCES ? EBUSY : errno);
    auto &ends = map_->header().end[which].role;
    RingSpot spot;
    spot.map = map_;
    spot.claim = claim;
    spot.mine = &ends[role];
    spot.peer = &ends[1 - role];
    spot.slots = map_->base + PAGE + (which ? bytes_of(map_->shape[0]) : 0);
    spot.mask = map_->shape[static_cast<size_t>(which)].slots - 1;
    spot.stride = map_->shape[static_cast<size_t>(which)].stride;
    spot.wakes = map_->shape[static_cast<size_t>(which)].wakes != 0;
    spot.mine->pid.store(static_cast<uint32_t>(getpid()), std::memory_order_relaxed);
    spot.mine->beat_ns.store(now_ns(), std::memory_order_relaxed);
    spot.mine->epoch.fetch_add(1, std::memory_order_acq_rel);
    return spot;
}

Producer RingFile::producer(Way way) const { return Producer(spot(way, PRODUCER), static_cast<int>(way) * 2 + CONSUMER); }
Consumer RingFile::consumer(Way way) const { return Consumer(spot(way, CONSUMER), static_cast<int>(way) * 2 + PRODUCER); }
int RingFile::fd() const noexcept { return map_->fd; }

RingShape RingFile::shape(Way way) const {
    const FileShape &shape = map_->shape[static_cast<size_t>(way)];
    return {shape.slots, shape.stride, shape.wakes != 0};
}

bool RingBase::peer_holds() const noexcept {
    struct flock lock = lock_of(other_ / 2, other_ % 2);
    return fcntl(static_cast<const Descriptor *>(spot_.claim.get())->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

Producer::Producer(RingSpot spot, int other) : RingBase(std::move(spot), other) {
    next_ = spot_.mine->count.load(std::memory_order_acquire);
    // The producer before was killed between a message and its count.
    if (stamp(next_).load(std::memory_order_acquire) >> 32 == static_cast<uint32_t>(next_ + 1))
        spot_.mine->count.store(++next_, std::memory_order_relaxed);
    popped_ = spot_.peer->count.load(std::memory_order_acquire);
}

bool Producer::push(std::span<const uint8_t> frame) noexcept {
    const std::span<uint8_t> room = reserve();
    if (frame.size() > room.size())
        return false;
    if (!frame.empty())
        std::memcpy(room.data(), frame.data(), frame.size());
    publish(frame.size());
    return true;
}

void Producer::wake() noexcept {
    // In the one order of all seq_cst operations, either this comes after the consumer set its flag, or the consumer's
    // look at the slot, after it set the flag, comes after the stamp.
    if (spot_.peer->sleeping.load(std::memory_order_seq_cst) &&
        spot_.peer->sleeping.exchange(0, std::memory_order_acq_rel))
        futex(spot_.peer->sleeping, FUTEX_WAKE, INT_MAX, nullptr);
}

Consumer::Consumer(RingSpot spot, int other) : RingBase(std::move(spot), other) {
    next_ = spot_.mine->count.load(std::memory_order_acquire);
    spot_.mine->sleeping.store(0, std::memory_order_relaxed);
}

bool Consumer::wait(int64_t spin_ns, int64_t timeout_ns) noexcept {
    const int64_t start = now_ns();
    const int64_t spin_until = start + std::min(spin_ns, timeout_ns);
    const int64_t end = start + timeout_ns;
    for (;;) {
        for (int i = 0; i < 32; i++) {
            if (ready())
                return true;
            pause_cpu();
        }
        const int64_t now = now_ns();
        if (now >= end)
            return false;
        if (now < spin_until)
            continue;
        if (!spot_.wakes) {  // nobody would wake us; others may need the processor
            sched_yield();
            continue;
        }
        spot_.mine->sleeping.store(1, std::memory_order_seq_cst);
        if (stamp(next_).load(std::memory_order_seq_cst) >> 32 != number()) {
            const int64_t left = end - now;
            const timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
            futex(spot_.mine->sleeping, FUTEX_WAIT, 1, &timeout);
        }
        spot_.mine->sleeping.store(0, std::memory_order_relaxed);
    }
}

void send_fd(int socket, int fd) {
    char byte = 'R';
    iovec part{&byte, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    cmsghdr *control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1)
        failed("the ring's descriptor cannot be passed");
}

int receive_fd(int socket) {
    char byte = 0;
    iovec part{&byte, 1};
    int fd = -1;
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room;
    message.msg_controllen = sizeof room;
    const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        failed("no descriptor of a ring came");
    const cmsghdr *control = CMSG_FIRSTHDR(&message);
    if (got != 1 || !control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
        control->cmsg_len != CMSG_LEN(sizeof fd))
        failed("the peer closed the socket, or sent no descriptor", EPROTO);
    std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
    return fd;
}

}  // namespace qdeck

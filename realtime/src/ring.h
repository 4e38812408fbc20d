// Rings of frames in shared memory: one producer, one consumer, in one process or two.
//
// A `RingFile` is a sealed memfd with two rings, `up` (controller to host) and `down` (host to controller). A slot is
// `stride` bytes on a 64-byte boundary: one 64-bit stamp, then the frame. The stamp holds the number of the message and its
// length, is stored with release order after the frame, and is all that the consumer polls: frame and stamp arrive in the
// same cache lines. The producer looks at the consumer's counter only when it believes the ring to be full.
//
// Who may be an end is decided by the kernel: an end holds a lock on the file, which goes when its process dies. The
// counters of both ends live in the file, so a new process goes on where a killed one stopped. A message that a consumer
// had peeked at but not popped comes again; none is lost.
//
// Neither end trusts the other: geometry is validated once and kept in private memory, a length beyond the slot is clamped
// to nothing. Yet frames are parsed where they lie: a peer that changes one while it is read gets an answer to either.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace qdeck {

struct RingShape {
    uint32_t slots = 1024;  // a power of two
    uint32_t stride = 128;  // bytes, a multiple of 64, with 8 of them for the stamp
    bool wakes = false;     // the consumer may sleep: the producer then pays a full barrier for each message
};

// What one end has in the file, apart from the other's: processors fetch lines in pairs. The producer looks at `sleeping` for
// each message of a ring that wakes, so it is not beside the counter that changes with each.
struct alignas(128) RingEnd {
    std::atomic<uint64_t> count;    // messages published, or popped
    std::atomic<int64_t> beat_ns;   // CLOCK_MONOTONIC of the last sign of life
    std::atomic<uint32_t> pid;      // for messages to people only
    std::atomic<uint32_t> epoch;    // how often this end was taken
    alignas(64) std::atomic<uint32_t> sleeping;  // futex: 1 while the consumer sleeps
};

struct RingMap;  // the mapping, closed with its last user

// Where one end of a ring is in memory: private copies of what was validated.
struct RingSpot {
    std::shared_ptr<RingMap> map;
    std::shared_ptr<void> claim;  // the lock on this end
    RingEnd *mine = nullptr;
    RingEnd *peer = nullptr;
    uint8_t *slots = nullptr;
    uint64_t mask = 0;
    uint32_t stride = 0;
    bool wakes = false;
};

class RingBase {
public:
    // A sign of life, with the time of `now_ns()`. Both ends give one now and then; a store to a line of their own.
    void beat(int64_t now) noexcept { spot_.mine->beat_ns.store(now, std::memory_order_relaxed); }
    // The last sign of life of the peer; 0 if there never was one.
    int64_t peer_beat_ns() const noexcept { return spot_.peer->beat_ns.load(std::memory_order_relaxed); }
    // How often the other end was taken: it changes when a peer was replaced.
    uint32_t peer_epoch() const noexcept { return spot_.peer->epoch.load(std::memory_order_acquire); }
    uint32_t peer_pid() const noexcept { return spot_.peer->pid.load(std::memory_order_relaxed); }
    // Whether some live process holds the other end now. A system call: not for the hot path.
    bool peer_holds() const noexcept;
    size_t capacity() const noexcept { return spot_.stride - sizeof(uint64_t); }  // bytes of the largest frame
    size_t slots() const noexcept { return spot_.mask + 1; }

protected:
    explicit RingBase(RingSpot spot, int other) : spot_(std::move(spot)), other_(other) {}
    std::atomic<uint64_t> &stamp(uint64_t number) const noexcept {
        return *reinterpret_cast<std::atomic<uint64_t> *>(spot_.slots + (number & spot_.mask) * spot_.stride);
    }
    uint8_t *body(uint64_t number) const noexcept {
        return spot_.slots + (number & spot_.mask) * spot_.stride + sizeof(uint64_t);
    }
    // Message 0 has the stamp 1 << 32 | length. Numbers wrap after 2^32 messages, long after the slot was used again.
    static uint64_t stamp_of(uint64_t number, uint32_t length) noexcept { return (number + 1) << 32 | length; }

    RingSpot spot_;
    int other_;
};

class Producer : public RingBase {
public:
    explicit Producer(RingSpot spot, int other);
    // Room for the next frame, `capacity()` bytes; empty if the ring is full. The same until `publish`.
    std::span<uint8_t> reserve() noexcept {
        if (next_ - popped_ > spot_.mask) {
            popped_ = spot_.peer->count.load(std::memory_order_acquire);
            if (next_ - popped_ > spot_.mask)  // also for a counter that makes no sense: nothing is overwritten
                return {};
        }
        return {body(next_), capacity()};
    }
    // Publish the first `bytes` of what was reserved.
    void publish(size_t bytes) noexcept {
        const uint64_t made = stamp_of(next_, static_cast<uint32_t>(bytes));
        if (spot_.wakes)
            stamp(next_).store(made, std::memory_order_seq_cst);
        else
            stamp(next_).store(made, std::memory_order_release);
        spot_.mine->count.store(++next_, std::memory_order_relaxed);
        if (spot_.wakes)
            wake();
    }
    bool push(std::span<const uint8_t> frame) noexcept;  // false: full, or the frame is too long
    uint64_t published() const noexcept { return next_; }
    uint64_t popped() const noexcept { return spot_.peer->count.load(std::memory_order_acquire); }

private:
    void wake() noexcept;

    uint64_t next_ = 0;
    uint64_t popped_ = 0;
};

class Consumer : public RingBase {
public:
    explicit Consumer(RingSpot spot, int other);
    // Whether a frame is there. A peek that does not touch it.
    bool ready() const noexcept { return stamp(next_).load(std::memory_order_acquire) >> 32 == number(); }
    // The next frame, where it lies; `there` is false if none is. Valid until `pop`. A length that the slot cannot hold
    // gives an empty frame, which is popped like any other.
    std::span<const uint8_t> peek(bool &there) noexcept {
        const uint64_t found = stamp(next_).load(std::memory_order_acquire);
        there = found >> 32 == number();
        const auto length = static_cast<uint32_t>(found);
        return {body(next_), there && length <= capacity() ? length : 0};
    }
    void pop() noexcept { spot_.mine->count.store(++next_, std::memory_order_release); }
    uint64_t popped() const noexcept { return next_; }
    // Frames that wait, by the producer's word: for measuring a backlog, not for reading.
    uint64_t backlog() const noexcept { return spot_.peer->count.load(std::memory_order_relaxed) - next_; }

    // Wait for a frame: spin for `spin_ns`, then sleep until `timeout_ns` have passed since the call (on a ring that does not
    // wake: look again whenever no other thread wants the processor). False: nothing came. Calls the clock and, when it sleeps, the kernel.
    bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept;

private:
    uint32_t number() const noexcept { return static_cast<uint32_t>(next_ + 1); }

    uint64_t next_ = 0;
};

enum class Way : int { up = 0, down = 1 };

class RingFile {
public:
    // Set-up throws std::invalid_argument for shapes that make no sense and for files that are not rings,
    // std::system_error for what the kernel refuses.
    static RingFile create(const RingShape &up, const RingShape &down);
    static RingFile create_at(const std::string &path, const RingShape &up, const RingShape &down);  // no seals: for tests
    static RingFile attach(int fd);  // the descriptor stays the caller's
    static RingFile attach_at(const std::string &path);

    // Take an end; std::system_error (EBUSY) while a live process, or another object of this one, holds it.
    Producer producer(Way way) const;
    Consumer consumer(Way way) const;
    RingShape shape(Way way) const;
    int fd() const noexcept;  // to be passed to the peer; closed with the last user of the mapping

private:
    explicit RingFile(std::shared_ptr<RingMap> map) : map_(std::move(map)) {}
    RingSpot spot(Way way, int role) const;

    std::shared_ptr<RingMap> map_;
};

// Pass a descriptor over a connected Unix socket, and take one. Both throw std::system_error.
void send_fd(int socket, int fd);
int receive_fd(int socket);

}  // namespace qdeck

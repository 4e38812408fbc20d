// The real-time loop: one thread that answers the requests of any number of logical qubits, and accounts for every
// deadline.
//
// The loop owns everything that it touches while it runs. Other threads hand it patches and take them back through
// `Host::add` and `Host::remove`, swap decoders through a patch's slot, and read the ledger. From start to stop the loop
// allocates nothing and takes no lock; it calls the system only to sleep (where it may) and to count switches.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "frame.h"
#include "ledger.h"
#include "machine.h"
#include "probe.h"
#include "ring.h"

namespace qdeck {

// What one request did.
struct Handled {
    size_t bytes = 0;           // of the response; 0: none
    bool round = false;         // it was an enqueue that was taken
    bool volume = false;        // it completed a volume: the probe has its stamps
    bool answer = false;        // the response holds corrections
    bool refused = false;       // the status is not ok
    bool failed = false;        // the volume was too much for the decoder
    uint64_t shot = 0;          // of the counter
    uint64_t published_ns = 0;  // the request's time stamp; 0: not used
    uint32_t lost_rounds = 0;   // that the counters tell of
};

// One logical qubit's semantics between frames and decoder. Hot: no allocation, no exception, no lock, no system call.
class Service {
public:
    virtual ~Service() = default;
    // Answers one frame into `room`.
    virtual Handled handle(Bytes frame, Room room) noexcept = 0;
    // The decoder that this service was built with.
    virtual Probe &probe() noexcept = 0;
};

struct Seating {
    std::string name;
    int64_t decoder = 0;
    int64_t cycle_ns = 1000;
    int64_t budget_ns = 10'000;
    uint64_t policy = 0;  // of the controller, for the ledger's readers
    bool wakes = false;   // the ring to the host wakes a consumer that sleeps
};

struct HostSettings {
    Wishes wishes;
    std::string ledger;        // a name in /dev/shm; empty: only this process reads it
    int32_t patches = 16;      // at most
    int32_t records = 4096;    // of late shots
    int64_t gap_ns = 2'000;    // longer than that without a look at the clock, and the machine had the processor
    int64_t spin_ns = -1;      // look for frames that long before a nap; -1: always spin
    int64_t nap_ns = 50'000;   // the longest nap
    int64_t wake_early_ns = 60'000;  // of a nap, before the next frame is expected
    int32_t burst = 64;        // frames of one patch before the others have their turn
};

class Host {
public:
    explicit Host(const HostSettings &settings);
    ~Host();

    // Before start or while the loop runs. Returns the place of the patch in the ledger. Throws std::runtime_error if no
    // place is free, std::system_error if another process holds an end of the rings.
    int32_t add(const Seating &seating, std::unique_ptr<Service> service, Consumer up, Producer down);
    // Waits until the loop has let go of it.
    void remove(int32_t place);

    void start();
    // What was published before is answered first. Rethrows nothing; idempotent.
    void stop();
    bool running() const noexcept { return thread_.joinable(); }
    const Granted &granted() const noexcept { return granted_; }

    Ledger &ledger() noexcept { return ledger_; }
    SwapSlot &slot(int32_t place);  // throws std::out_of_range where there is no patch

private:
    struct Seat;
    struct Suspect;
    void loop() noexcept;
    bool sweep() noexcept;
    int32_t serve(Seat &seat) noexcept;
    void account(Seat &seat, const Handled &handled, const Stamps &stamps) noexcept;
    void explain(Seat &seat, uint64_t shot, uint64_t epoch, const Stamps &stamps, Lost lost) noexcept;
    bool examine() noexcept;
    void let_go(int32_t place) noexcept;
    void nap(int64_t now) noexcept;
    void lose(int64_t from, int64_t to) noexcept;
    int64_t lost_within(int64_t from, int64_t to) const noexcept;
    int64_t look() noexcept;

    HostSettings settings_;
    Ledger ledger_;
    std::vector<std::unique_ptr<Seat>> owned_;          // of the control thread
    std::vector<std::atomic<Seat *>> seats_;            // what the loop serves
    std::atomic<int32_t> used_{0};                      // places up to the highest that was ever taken
    std::thread thread_;
    std::atomic<bool> stop_{false}, ready_{false};
    std::atomic<int32_t> leaving_{-1};                  // the place that the loop is to let go of
    Granted granted_;

    // Of the loop.
    struct Interval {
        int64_t from = 0, to = 0;
    };
    static constexpr size_t INTERVALS = 64;
    Interval lost_[INTERVALS];
    size_t lost_many_ = 0;
    int64_t looked_ns_ = 0, free_ns_ = 0, idle_since_ns_ = 0, beat_ns_ = 0;
    std::vector<Suspect> suspects_;
    size_t suspects_first_ = 0, suspects_end_ = 0;
};

}  // namespace qdeck

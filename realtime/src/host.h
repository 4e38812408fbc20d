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

#include "dispatch.h"
#include "ledger.h"
#include "machine.h"
#include "probe.h"
#include "transport.h"

namespace qdeck {

// One logical qubit at the host.
struct Seating {
    std::string name;
    int64_t decoder = 0;         // its id in frames, unique on its link
    int64_t cycle_ns = 1000;
    int64_t budget_ns = 10'000;  // from the last round published to the answer
    uint64_t policy = 0;         // of the controller, for the ledger's readers
    std::unique_ptr<Probe> probe;
    std::unique_ptr<Patch> patch;  // was built on the probe
};

// A seat for volumes; `loaded` has a decoder, which is told what `losses` erase. Throws std::invalid_argument.
Seating seat_volumes(std::shared_ptr<const Detectors> detectors, int32_t observables, std::unique_ptr<Loaded> loaded,
                     Losses losses = {});
// A seat for a stream without end; `loaded` has a stream. Each round is then a shot with its own deadline. `heralds`: the
// stream is told of losses, if there are any to be told of. Throws std::invalid_argument.
Seating seat_stream(RoundShape shape, int32_t observables, std::unique_ptr<Loaded> loaded, const Heralds *heralds = nullptr);

struct HostSettings {
    Wishes wishes;
    std::string ledger;        // a name in /dev/shm; empty: only this process reads it
    int32_t patches = 16;      // at most
    int32_t records = 4096;    // of late shots
    int64_t gap_ns = 2'000;    // longer than that without a look at the clock, and the machine had the processor
    int64_t spin_ns = -1;      // look for frames that long before a nap; -1: always spin
    int64_t nap_ns = 50'000;   // the longest nap
    int64_t wake_early_ns = 60'000;  // of a nap, before the next frame is expected
    int32_t burst = 64;        // frames of one link before the others have their turn
};

// When a loop that naps looks for the next frame of a link: `early` before it is expected, and until as much after that; if
// it did not come, a cycle later. INT64_MAX for a link that never spoke or has been silent for 20 cycles.
int64_t next_look_ns(int64_t now, int64_t expected_ns, int64_t cycle_ns, int64_t early_ns) noexcept;

class Host {
public:
    explicit Host(const HostSettings &settings);
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    ~Host();

    // Before start or while the loop runs. Returns the places of the patches in the ledger. Throws std::runtime_error if
    // there are not as many free, std::invalid_argument for decoders that are twice on the link.
    // `wakes`: the link can wake a loop that naps.
    std::vector<int32_t> add(std::unique_ptr<Transport> link, std::vector<Seating> patches, bool wakes = false);
    // All patches of the link of this one. Waits until the loop has let go of them.
    void remove(int32_t place);

    void start();
    // What was published before is answered first.
    void stop();
    bool running() const noexcept { return thread_.joinable(); }
    // What the loop does without end, once, on the calling thread and not while the loop runs: look at all links and answer
    // what is there. For measuring it; true if there was something.
    bool step() noexcept { return sweep(); }
    const Granted &granted() const noexcept { return granted_; }

    Ledger &ledger() noexcept { return ledger_; }
    SwapSlot &slot(int32_t place);  // throws std::out_of_range where there is no patch

private:
    struct Seat;
    struct Channel;
    struct Suspect;
    void loop() noexcept;
    bool sweep() noexcept;
    bool serve(Channel &channel) noexcept;
    void swap(Channel &channel, Bytes frame) noexcept;
    void join(Channel &channel) noexcept;
    void account(Seat &seat, const Outcome &outcome, const Stamps &stamps) noexcept;
    void explain(Seat &seat, uint64_t shot, uint64_t epoch, const Stamps &stamps, Lost lost) noexcept;
    bool leisure(const Suspect &suspect) const noexcept;
    bool examine(bool over = false) noexcept;
    void let_go(Channel &channel) noexcept;
    void nap(int64_t now) noexcept;
    void lose(int64_t from, int64_t to) noexcept;
    int64_t lost_within(int64_t from, int64_t to) const noexcept;
    int64_t look() noexcept;
    Seat &seat_at(int32_t place);

    HostSettings settings_;
    Ledger ledger_;
    std::vector<std::unique_ptr<Channel>> owned_;        // of the control thread
    std::vector<std::atomic<Channel *>> channels_;       // what the loop serves
    std::atomic<int32_t> used_{0};                       // up to the highest that was ever taken
    std::vector<Seat *> places_;                         // of the control thread
    std::thread thread_;
    std::atomic<bool> stop_{false}, ready_{false};
    std::atomic<int32_t> leaving_{-1};  // the channel that the loop is to let go of
    Granted granted_;

    // Of the loop.
    struct Interval {
        int64_t from = 0, to = 0;
    };
    static constexpr size_t INTERVALS = 1024;
    Interval lost_[INTERVALS];
    size_t lost_many_ = 0;
    int64_t looked_ns_ = 0, free_ns_ = 0, idle_since_ns_ = 0, beat_ns_ = 0;
    std::vector<Suspect> suspects_;
    size_t suspects_first_ = 0, suspects_end_ = 0;
};

}  // namespace qdeck

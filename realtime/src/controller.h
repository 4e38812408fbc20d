// An emulated controller: publishes rounds of measurements that were sampled beforehand at a steady cadence, takes the
// answers, and measures the reaction: answer seen minus last round published, both by its own clock.
//
// One thread drives any number of logical qubits ("feeds"), each over a link of its own. It is no model of electronics: it
// is the other end of the link, with its own stalls measured.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "histogram.h"
#include "wire.h"

namespace qdeck {

// What the controller does while an answer is missing.
enum class Policy : uint8_t {
    wait,   // stop the clock of this qubit: its next round comes when the answer is there
    idle,   // keep the clock: extra rounds of idling, counted, until the answer is there
    defer,  // go on with the next volume; the correction goes into the Pauli frame when it comes
};

enum class Dialect : uint8_t {
    push,   // ours: the enqueue that completes a volume is answered with the corrections, other enqueues are not
    plain,  // cudaq-realtime alone: each enqueue is answered, get_corrections follows the last one at once
};

struct Pace {
    int64_t cycle_ns = 1000;
    int64_t budget_ns = 10'000;
    Policy policy = Policy::wait;
    Dialect dialect = Dialect::push;
    int64_t warm_shots = 200;          // of each feed, not counted in the histograms
    int64_t pause_every_shots = 0;     // of each feed; 0: never
    int64_t pause_ns = 0;              // sleep that long then, so that the kernel need not take the core
    int64_t swap_every_shots = 0;      // ask for the next staged decoder in the middle of every so-manieth volume; 0: never
    int64_t forget_ns = 0;             // a volume without an answer for that long is lost; 0: never, for links that lose none
    int64_t timeout_ns = 20'000'000'000;  // without any answer: the run ends with an error
    int64_t gap_ns = 2'000;            // a longer time between two looks at the clock was taken by the machine; the clock of
                                       // a lone feed stands still meanwhile
    int64_t nap_ns = 0;                // sleep until this long before the next round when it is further away; 0: spin
};

// The volumes of one logical qubit; all vectors but `expected` and `actual` are needed.
struct Feed {
    int64_t decoder = 0;
    std::vector<uint32_t> round_bits;  // measurements of each round of a volume
    std::vector<uint8_t> bits;         // shots x volume_bytes(): each round starts at a byte, least significant bit first
    int64_t shots = 0;
    int64_t laps = 1;                  // go through all shots this many times
    int32_t observables = 1;
    int64_t phase_ns = 0;
    // For patches that decode streams. A volume is then a whole stream, closed by its last round; or, if `endless`, shots
    // are the rounds of a single stream, each answered on its own, and the last `closing_bits` of `bits` close it.
    bool stream = false;
    bool endless = false;
    uint32_t closing_bits = 0;
    bool outcomes = false;             // `bits` has a byte for each measurement: 0, 1, or 2 for a lost atom
    std::vector<uint64_t> expected;    // what another decoder answers, by shot
    std::vector<uint64_t> actual;      // what was flipped in truth, by shot

    size_t bytes_of(uint32_t measurements) const noexcept { return outcomes ? measurements : (measurements + 7) / 8; }
    size_t volume_bytes() const noexcept;
    // Throws std::invalid_argument, with the first thing that is wrong.
    void check() const;
};

struct Tally {
    Histogram reaction;            // of the shots after the warm-up
    int64_t shots = 0;             // answered, with the warm-up
    int64_t misses = 0;            // reactions over the budget, after the warm-up
    int64_t told_late = 0;         // answers that the host marked as late, after the warm-up
    int64_t differ = 0;            // from `expected`
    int64_t logical_errors = 0;    // answers other than `actual`
    int64_t heuristic = 0;         // answers that do not claim a minimum-weight solution
    int64_t failed = 0;            // answers with a status other than ok
    int64_t lost = 0;              // volumes without an answer
    int64_t slipped = 0;           // rounds published over half a cycle late
    int64_t full = 0;              // times that the ring was full
    int64_t idle_rounds = 0;       // of policy idle
    int64_t waited_ns = 0;         // of policy wait, beyond one cycle
    int64_t most_outstanding = 0;  // volumes without an answer at one time
    int64_t swaps = 0;             // that the host agreed to
    int64_t epochs = 0;            // changes of the decoder's epoch that the answers showed
    int64_t rounds = 0;            // published

    // By shot in the order of publishing, shots x laps.
    std::vector<uint32_t> reaction_ns;     // UINT32_MAX: none
    std::vector<uint64_t> corrections;
    std::vector<uint8_t> epoch;
    std::vector<uint32_t> gap_ns;          // of the reaction, how much the machine had taken from this thread
};

class Controller {
public:
    explicit Controller(const Pace &pace);
    Controller(const Controller &) = delete;
    Controller &operator=(const Controller &) = delete;
    ~Controller();
    // Throws std::invalid_argument. A feed's phase may be longer than a cycle: its volumes then begin some rounds later.
    void add(Feed feed, std::unique_ptr<Wire> wire);
    void add(Feed feed, Producer up, Consumer down);
    // Until all shots are answered, or `stop`. Throws std::runtime_error when no answer comes any more.
    void run(const std::atomic<bool> *stop = nullptr);

    size_t feeds() const noexcept { return lines_.size(); }
    const Tally &tally(size_t feed) const noexcept;
    size_t rounds_of(size_t feed) const noexcept;
    int64_t ran_ns() const noexcept { return ran_ns_; }
    uint64_t gaps() const noexcept { return gaps_; }  // longer than `gap_ns`, in this thread
    int64_t lost_ns() const noexcept { return lost_ns_; }

private:
    struct Line;
    int64_t look() noexcept;  // at the clock, and for what the machine took
    bool due(Line &line) noexcept;
    void publish(Line &line) noexcept;
    void expect(Line &line) noexcept;
    void drain(Line &line) noexcept;
    void forget(Line &line) noexcept;
    void drain_all() noexcept;
    void greet(Line &line, bool reset) noexcept;
    void unlatch(Line &line) noexcept;
    void ask_for_swap(Line &line) noexcept;
    void pause(Line &line) noexcept;

    Pace pace_;
    std::vector<std::unique_ptr<Line>> lines_;
    std::vector<Line *> waiting_;  // for responses
    int64_t looked_ns_ = 0, answered_ns_ = 0, ran_ns_ = 0, lost_ns_ = 0, outstanding_ = 0;
    uint64_t gaps_ = 0;
};

}  // namespace qdeck

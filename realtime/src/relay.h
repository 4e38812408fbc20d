// Relay belief propagation: a decoder of any detector error model, hyperedges included, such as those of colour codes
// and of qLDPC codes.
//
// Min-sum belief propagation with memory, in legs (Mueller et al., Improved belief propagation is sufficient for real-time
// decoding of quantum memory, arXiv:2506.01779). The first leg has one strength of memory for all errors; where it does
// not converge, further legs have random strengths, one for each error, and take over the beliefs that the leg before
// ended with. Min-sum with scaled check messages: Chen, Fossorier, IEEE Trans. Commun. 50, 406 (2002).
//
// Where each defect's share in the lightest error that could explain it adds up to the weight of what was found (a dual
// solution of the covering programme), nothing is lighter: the answer is exact, and no further leg is run.
//
// A shot takes at most iterations + legs * leg_iterations iterations, of a few nanoseconds for each edge of the Tanner
// graph; most shots take some. The same seed gives the same answers, on every processor.
#pragma once

#include "arena.h"
#include "belief.h"
#include "decoder.h"

#include <vector>

namespace qdeck {

struct RelaySettings {
    int32_t iterations = 80;       // of the first leg
    int32_t legs = 60;             // after it, at most
    int32_t leg_iterations = 60;   // of each of them
    int32_t solutions = 3;         // so many legs converge before the lightest of their solutions is the answer
    int32_t more = 2;              // legs after the first that converged, at most
    double memory = 0.125;         // of the first leg: the share of an error's bias that is its belief before
    double least = -0.24;          // of the memories of the other legs
    double most = 0.66;
    double scaling = 1;            // of check messages; 0: 1 - 2^-t in iteration t of a leg
    uint64_t seed = 0;             // of their random strengths
    bool vectors = true;           // AVX2 where present

    // Throws std::invalid_argument, with the first thing that is wrong.
    void check() const;
};

class Relay final : public Compiled {
public:
    // Throws std::invalid_argument for a model or settings that are wrong.
    explicit Relay(const Mechanisms &model, const RelaySettings &settings = {});
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override { return sizeof *this + graph_.bytes(); }
    const Tanner &graph() const noexcept { return graph_; }
    const RelaySettings &settings() const noexcept { return settings_; }
    RunLeg run() const noexcept { return run_; }
    // The memory of a mechanism in a leg; 0 is the first.
    float memory(int32_t leg, int32_t mechanism) const noexcept;

private:
    Tanner graph_;
    RelaySettings settings_;
    RunLeg run_;
};

class RelayDecoder final : public Decoder {
public:
    explicit RelayDecoder(const Relay &compiled);
    void begin() noexcept override;
    void add(std::span<const int32_t> defects) noexcept override;
    // `exact` if the answer was proven to be the lightest, `failed` if no leg converged.
    Answer finish() noexcept override;
    // The mechanisms that the last answer says happened, and the iterations that it took. Valid until the next `begin`.
    std::span<const int32_t> correction() const noexcept { return {found_, found_count_}; }
    int64_t iterations() const noexcept { return iterations_; }
    int32_t legs() const noexcept { return legs_; }  // that ran
    size_t bytes() const noexcept { return sizeof *this + arena_.bytes(); }

private:
    void prepare(int32_t leg) noexcept;
    void settle(Answer &best) noexcept;
    double bound() noexcept;

    const Relay &compiled_;
    const Tanner &graph_;
    Arena arena_;
    int32_t *syndrome_;
    int32_t *fired_;  // places
    int32_t *found_;  // mechanisms
    int32_t *shared_;  // by place of an error: the defects that it fires; 0 but in `bound`
    float *memory_;
    float *belief_;
    float *message_;
    size_t fired_count_ = 0;
    size_t found_count_ = 0;
    int64_t iterations_ = 0;
    int32_t legs_ = 0;
    bool hopeless_ = false;  // a detector fired that no error fires
};

}  // namespace qdeck

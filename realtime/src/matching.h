// The exact matching decoder: all-pairs tables, closed forms and small programs for few defects, blossoms for more.
//
// The words of the defects' pairs are gathered as they arrive. A basis of up to `direct` defects is solved by sums of
// words, whose low bits add up to the parity of the observable; a larger one by that of kernel.h. Always exact in
// the table's integers; `weight` is the solution's weight but for their rounding. Quality::failed says that the defects
// have no perfect matching: an odd number in a part of the graph without boundary.
#pragma once

#include "arena.h"
#include "kernel.h"
#include "decoder.h"
#include "program.h"
#include "quick.h"
#include "table.h"

#include <memory>
#include <vector>

namespace qdeck {

struct MatchingOptions {
    int direct = 8;       // most defects of a basis that subset programs solve, 0 to 16
    int small = 300;      // bases of more detectors are solved so only up to 4 defects: their tables are not at hand
    bool vectors = true;  // take AVX2 if the processor has it
    bool prove = false;   // for tests: Quality::failed unless the duals prove each solution
};

class Matching;

class MatchingDecoder final : public Decoder {
public:
    explicit MatchingDecoder(const Matching &compiled);
    void begin() noexcept override;
    void add(std::span<const int32_t> defects) noexcept override;
    Answer finish() noexcept override;
    // A pair that is not nearer to each other than to the boundary is given as two defects at the boundary.
    std::span<const Pair> pairs() noexcept override;

    // Begin, add and finish in one, for a whole shot of which nobody asks for pairs.
    Answer decode(std::span<const int32_t> defects) noexcept;

    // As Kernel::unpack.
    size_t unpack(const uint8_t *packed, size_t bits, int32_t *numbers) const noexcept {
        return kernel_->unpack(packed, bits, numbers);
    }
    const Kernel::Counts &counts() const noexcept { return kernel_->counts; }
    size_t bytes() const noexcept;  // address space; pages beyond the largest shot so far stay untouched

private:
    struct Solved {
        int64_t cost;  // twice the distance
        uint64_t flips;
        bool good;
    };
    Solved solve(Gathered &part) noexcept;
    void fill(Gathered &part) noexcept;
    uint32_t few(const Gathered &part, int k) noexcept;
    void mates(Gathered &part) noexcept;
    uint64_t flips(const Gathered &part) const noexcept;

    const Quick quick_;
    const Table &table_;
    const MatchingOptions options_;
    const std::vector<Program> &programs_;
    Arena arena_;
    std::unique_ptr<Kernel> kernel_;
    Shot shot_;
    Pair *pairs_;
    int32_t pair_count_ = -1;  // not asked for yet
    uint32_t best_[Program::SUBSETS];
    uint32_t weight_[Program::WIDEST * Program::WIDEST];
};

class Matching : public Compiled {
public:
    // Throws what Model::check throws.
    explicit Matching(const Model &model, MatchingOptions options = {});
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override;
    const Table &table() const noexcept { return table_; }

private:
    friend class MatchingDecoder;
    Table table_;
    MatchingOptions options_;
    std::vector<Program> programs_;  // programs_[i] for 2 i nodes
};

}  // namespace qdeck

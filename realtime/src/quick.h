// Whole shots of few defects, straight from the table: with cold caches every line that is touched costs more than the
// arithmetic, so that nothing is kept or cleared here, and all words are on the stack.
#pragma once

#include "decoder.h"
#include "program.h"
#include "table.h"

namespace qdeck {

class Quick {
public:
    static constexpr int32_t MOST = 16;   // defects of a shot
    static constexpr int32_t DIRECT = 8;  // and of a basis

    // Bases are solved for up to `direct` defects, those of more than `small` detectors for up to 4. The table and the
    // programs (programs[i] for 2 i nodes, up to `direct` + 1) outlive this.
    Quick(const Table &table, const Program *programs, int direct, int small) noexcept;

    // Shots of more defects are not worth a try.
    size_t most() const noexcept { return most_; }
    // Adds to `answer` the bases of these detectors (each once, at most MOST) that it can solve; the detectors of the
    // others go to `left`. How many these are.
    int32_t solve(const int32_t *defects, int32_t count, Answer &answer, int32_t *left) const noexcept;

private:
    const Place *places_;
    const Basis *bases_;
    const Program *programs_;
    int32_t direct_, few_, small_;
    size_t most_;
};

}  // namespace qdeck

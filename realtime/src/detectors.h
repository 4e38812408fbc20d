// From measurements to detectors: the D matrix (detectors x measurements, over GF(2)), compiled.
//
// A code's detectors mostly repeat the same pattern at successive measurements. `Detectors` finds such runs: up to 56
// detectors i, i + 1, ... whose measurements are those of the first, each moved by one. Their parities are then a few
// unaligned 64-bit loads and XORs, and only detectors that fired cost more.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qdeck {

class Detectors {
public:
    // `rows[i]` are the measurements of detector i, each once, in any order, from -`reach` to `measurements` - 1. Those
    // below 0 are of earlier rounds (streams only). Throws std::invalid_argument.
    Detectors(int64_t measurements, const std::vector<std::vector<int64_t>> &rows, int64_t reach = 0);

    int64_t measurements() const noexcept { return measurements_; }
    int64_t reach() const noexcept { return reach_; }
    size_t size() const noexcept { return size_; }
    size_t runs() const noexcept { return runs_.size(); }

    // How far one pass over the measurements has come. No allocation after its construction.
    class Pass {
    public:
        explicit Pass(const Detectors &detectors);
        void begin() noexcept { next_ = open_ = 0; }
        // The detectors that fired among those that are complete with the first `come` measurements and were not
        // before: at most `size()` numbers, written to `fired`; how many. Bit `base` of `bits` is measurement 0; eight
        // bytes behind the last bit are readable, and `base` >= reach.
        size_t advance(const uint8_t *bits, uint64_t base, int64_t come, int32_t *fired) noexcept;

    private:
        struct Open {
            uint32_t run;
            uint32_t done;
        };
        const Detectors *of_;
        size_t next_ = 0;
        size_t open_ = 0;
        std::vector<Open> opened_;
    };

private:
    struct Run {
        int32_t first;    // detector
        uint32_t count;   // of detectors
        int64_t complete; // with so many measurements the first of them is complete, the next with one more, ...
        uint32_t term;    // its terms in terms_
        uint32_t terms;
    };
    static constexpr size_t LONGEST = 56;  // what one 64-bit load holds at any bit offset

    int64_t measurements_;
    int64_t reach_;
    size_t size_;
    std::vector<Run> runs_;  // by `complete`
    std::vector<int64_t> terms_;
};

// Appends `count` bits of `from` at bit `at` of `to`, in which everything from bit `at` on is 0 and stays 0 beyond the new
// bits. Eight bytes behind the last bit are writable.
void append_bits(uint8_t *to, uint64_t at, std::span<const uint8_t> from, uint64_t count) noexcept;

}  // namespace qdeck

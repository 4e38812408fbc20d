// From measurements to detectors: the D matrix (detectors x measurements, over GF(2)), compiled.
//
// A code's detectors mostly repeat the same pattern at successive measurements. `Detectors` finds such runs: up to 56
// detectors i, i + 1, ... whose measurements are those of the first, each moved by one. Their parities are then a few
// unaligned 64-bit loads and XORs. The others, up to 64 together, are looked up: for each four measurements that matter to
// them a table has the detectors that each of the 16 outcomes flips. Only detectors that fired cost more.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace qdeck {

class Detectors {
public:
    // `rows[i]` are the measurements of detector i, each once, in any order, from -`reach` to `measurements` - 1. Those
    // below 0 are of earlier rounds (streams only). Detectors in `odd` are so without noise, and fire when they are even.
    // Throws std::invalid_argument.
    Detectors(int64_t measurements, const std::vector<std::vector<int64_t>> &rows, int64_t reach = 0,
              const std::vector<int64_t> &odd = {});

    int64_t measurements() const noexcept { return measurements_; }
    int64_t reach() const noexcept { return reach_; }
    size_t size() const noexcept { return size_; }
    size_t groups() const noexcept { return groups_.size(); }  // of detectors that are computed together

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
            uint32_t group;
            uint32_t done;
        };
        const Detectors *of_;
        size_t next_ = 0;
        size_t open_ = 0;
        std::vector<Open> opened_;
    };

private:
    static constexpr size_t LONGEST = 56;  // run: what one 64-bit load holds at any bit offset
    static constexpr size_t SHORT = 6;     // runs of fewer are looked up
    static constexpr size_t WIDEST = 64;   // detectors that are looked up together
    static constexpr int64_t NEAR = 64;    // measurements between the completion of two of them
    using Table = std::array<uint64_t, 16>;

    struct Group {
        int64_t complete;  // with so many measurements the first detector is complete
        uint32_t first;    // run: its first detector; otherwise the place of the first in members_
        uint32_t count;    // of detectors
        uint32_t at;       // run: its terms in terms_; otherwise its windows in windows_
        uint32_t many;     // terms or windows
        bool run;
        uint64_t odd;      // bit i: detector i of the group
    };
    struct Member {
        int64_t complete;
        int32_t detector;
    };
    struct Window {  // four measurements
        int64_t first;
        Table flips;  // bit i: member i of the group
    };
    struct Single {
        Member member;
        const std::vector<int64_t> *row;
        bool odd;
    };
    void look_up(std::span<const Single> singles);
    uint32_t ready(const Group &group, int64_t come) const noexcept;
    uint64_t parities(const Group &group, const uint8_t *bits, uint64_t base) const noexcept;

    int64_t measurements_;
    int64_t reach_;
    size_t size_;
    std::vector<Group> groups_;  // by `complete`
    std::vector<int64_t> terms_;
    std::vector<Member> members_;
    std::vector<Window> windows_;
};

// Appends `count` bits of `from` at bit `at` of `to`, in which everything from bit `at` on is 0 and stays 0 beyond the new
// bits. Eight bytes behind the last bit are writable.
void append_bits(uint8_t *to, uint64_t at, std::span<const uint8_t> from, uint64_t count) noexcept;

}  // namespace qdeck

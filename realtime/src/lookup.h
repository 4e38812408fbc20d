// A lookup decoder for small volumes, such as distance 3 over three rounds: the answer to every syndrome, in one read
// each basis.
//
// A basis is a connected component of the graph. One of n detectors takes a table of 2^n entries, made offline in n 2^n
// steps: the first defect of a syndrome goes to the boundary or to another, and what is left is a smaller syndrome.
// With `Rule::likeliest_class` an entry is not the single most likely error but the set of observables that is most
// likely altogether, which is optimal for independent errors (the idea of a lookup table as in LILLIPUT,
// arXiv:2108.06569).
#pragma once

#include "decoder.h"
#include "model.h"

#include <vector>

namespace qdeck {

class Lookup final : public Compiled {
public:
    enum class Rule : uint8_t { likeliest_error, likeliest_class };

    // A basis of more than `largest` (at most 24) detectors gets no table: if it flips no observable nothing is lost
    // but its weight, otherwise it is not covered. Throws std::invalid_argument for a model that is wrong, or if
    // nothing is covered.
    explicit Lookup(const Model &model, Rule rule = Rule::likeliest_error, int32_t largest = 16);
    std::unique_ptr<Decoder> decoder() const override;
    size_t bytes() const noexcept override;
    int32_t detectors() const noexcept { return static_cast<int32_t>(base_of.size()); }
    // Whether shots with this defect can be answered; one with another defect is Quality::failed.
    bool covers(int32_t detector) const noexcept { return base_of[detector] != UNCOVERED; }
    int32_t uncovered() const noexcept;  // detectors

private:
    friend class LookupDecoder;
    static constexpr int32_t UNCOVERED = -1;
    static constexpr int32_t IGNORED = -2;
    struct Base {
        std::vector<int32_t> members;
        std::vector<uint64_t> palette;  // the masks that entries take
        std::vector<uint8_t> flips;     // by syndrome: index into the palette, or IMPOSSIBLE
        std::vector<float> weight;      // of the most likely error
    };
    static constexpr uint8_t IMPOSSIBLE = 255;
    void likeliest_errors(Base &base, const Model &model);
    void likeliest_classes(Base &base, const Model &model);

    std::vector<int32_t> base_of;  // by detector, or UNCOVERED or IGNORED
    std::vector<int32_t> bit_of;   // by detector
    std::vector<Base> bases;
};

}  // namespace qdeck

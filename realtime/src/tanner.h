// The Tanner graph of error mechanisms, laid out for vectors: which detectors (checks) each error fires.
//
// Checks of about the same degree go in groups of LANES side by side, and so do errors of about the same weight. A group
// has as many rows of LANES entries as its largest member has edges; what is missing points to a place that changes
// nothing. An edge's number is its entry in the rows of checks.
#pragma once

#include "arena.h"
#include "mechanisms.h"

#include <cstdint>
#include <vector>

namespace qdeck {

inline constexpr int LANES_OF_BELIEF = 8;
inline constexpr float FAR_BELIEF = 1e4f;  // the magnitude of certainty: finite, so that nothing is subtracted from infinity

struct Rows {
    int32_t groups = 0;
    const int32_t *first = nullptr;  // rows of group g: from first[g] to first[g + 1]
    const int32_t *entry = nullptr;  // LANES_OF_BELIEF a row
};

// Plain pointers, for code that is compiled for other processors.
struct TannerView {
    Rows checks;           // entries: the place of an error, `errors.groups * LANES_OF_BELIEF` where there is none
    Rows errors;           // entries: an edge, `edges` where there is none
    int32_t edges = 0;     // entries of checks
    const float *prior = nullptr;  // ln((1 - p) / p) by place; infinity at the last, which is none
};

class Tanner {
public:
    // Throws std::invalid_argument for a model that is wrong.
    explicit Tanner(const Mechanisms &model);

    const TannerView &view() const noexcept { return view_; }
    int32_t check_places() const noexcept { return view_.checks.groups * LANES_OF_BELIEF; }
    int32_t error_places() const noexcept { return view_.errors.groups * LANES_OF_BELIEF; }
    int32_t mechanisms() const noexcept { return mechanisms_; }
    size_t bytes() const noexcept;

    std::vector<int32_t> place_of;      // by detector
    std::vector<uint8_t> lonely;        // by detector: no error fires it
    std::vector<int32_t> mechanism_at;  // by place, -1 where there is none
    std::vector<uint64_t> flips;        // by place
    std::vector<double> weight;         // by place and one more, infinity where there is none

private:
    Arena arena_;
    TannerView view_;
    int32_t mechanisms_ = 0;
};

}  // namespace qdeck

#include "mechanisms.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace qdeck {

void Mechanisms::add(double p, std::span<const int32_t> fires, uint64_t mask) {
    if (touched.size() + fires.size() > size_t{1} << 27)  // edges have 32-bit numbers, padding included (tanner.h)
        throw std::invalid_argument("the mechanisms of a model fire at most 134 million detectors in all");
    probability.push_back(p);
    flips.push_back(mask);
    touched.insert(touched.end(), fires.begin(), fires.end());
    first.push_back(static_cast<int32_t>(touched.size()));
}

void Mechanisms::check() const {
    auto refuse = [](const std::string &why) { throw std::invalid_argument(why); };
    if (detectors < 0 || observables < 0 || observables > 64)
        refuse("a model has 0 to 64 observables and at least 0 detectors");
    if (probability.empty())
        refuse("the model has no errors: there is nothing to decode");
    if (flips.size() != size() || first.size() != size() + 1 || first.front() != 0 ||
        first.back() != static_cast<int32_t>(touched.size()) || !std::is_sorted(first.begin(), first.end()))
        refuse("the lists of mechanisms are not of one length");
    const uint64_t known = observables == 64 ? ~uint64_t{0} : (uint64_t{1} << observables) - 1;
    std::vector<size_t> last(static_cast<size_t>(detectors), size());  // mechanism that fired it
    for (size_t i = 0; i < size(); i++) {
        const std::string which = "mechanism " + std::to_string(i);
        if (!(probability[i] > 0 && probability[i] <= 0.5))
            refuse(which + " has the probability " + std::to_string(probability[i]) +
                   ": it is above 0 and at most 1/2 (what happens more often belongs into the noiseless reference)");
        if (of(i).empty())
            refuse(which + " fires no detector: nothing can be known of it");
        for (const int32_t v : of(i)) {
            if (v < 0 || v >= detectors)
                refuse(which + " fires detector " + std::to_string(v) + " of " + std::to_string(detectors));
            if (last[static_cast<size_t>(v)] == i)
                refuse(which + " fires detector " + std::to_string(v) + " twice, which is not at all");
            last[static_cast<size_t>(v)] = i;
        }
        if (flips[i] & ~known)
            refuse(which + " flips an observable beyond the " + std::to_string(observables) + " of the model");
    }
}

}  // namespace qdeck

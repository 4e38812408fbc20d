#include "model.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace qdeck {

void Model::check() const {
    auto refuse = [](const std::string &why) { throw std::invalid_argument(why); };
    if (detectors < 0 || observables < 0 || observables > 64)
        refuse("a model has 0 to 64 observables and at least 0 detectors");
    const uint64_t known = observables == 64 ? ~uint64_t{0} : (uint64_t{1} << observables) - 1;
    for (size_t i = 0; i < edges.size(); i++) {
        const Edge &edge = edges[i];
        const std::string which = "edge " + std::to_string(i);
        if (edge.u < 0 || edge.u >= detectors || edge.v < BOUNDARY || edge.v >= detectors || edge.u == edge.v)
            refuse(which + " joins " + std::to_string(edge.u) + " and " + std::to_string(edge.v) + " of " +
                   std::to_string(detectors) + " detectors");
        if (!std::isfinite(edge.weight) || edge.weight < 0)
            refuse(which + " has the weight " + std::to_string(edge.weight) +
                   ": weights are finite and not negative (error probabilities up to 1/2)");
        if (edge.observables & ~known)
            refuse(which + " flips an observable beyond the " + std::to_string(observables) + " of the model");
    }
    if (!layer.empty() && layer.size() != static_cast<size_t>(detectors))
        refuse("there are " + std::to_string(layer.size()) + " layers for " + std::to_string(detectors) + " detectors");
}

}  // namespace qdeck

#include "check.h"
#include "model.h"

#include <stdexcept>
#include <string>

using qdeck::Model;

static std::string refusal(const Model &model) {
    try {
        model.check();
    } catch (const std::invalid_argument &error) {
        return error.what();
    }
    return "";
}

int main() {
    Model model{3, 1, {{0, 1, 1.0, 0}, {1, 2, 1.0, 1}, {2, qdeck::BOUNDARY, 0.0, 1}}, {0, 0, 1}};
    CHECK(refusal(model).empty());
    for (const qdeck::Edge edge : {qdeck::Edge{0, 3, 1.0, 0}, {-1, 0, 1.0, 0}, {1, 1, 1.0, 0}, {0, 1, -1.0, 0},
                                   {0, 1, 1.0 / 0.0, 0}, {0, 1, 1.0, 2}}) {
        Model bad = model;
        bad.edges.push_back(edge);
        CHECK(refusal(bad).find("edge 3") == 0);
    }
    model.layer.pop_back();
    CHECK(refusal(model).find("2 layers for 3 detectors") != std::string::npos);
}

// Decoders of windows by name.
#pragma once

#include "erasure.h"
#include "matching.h"
#include "part.h"
#include "union_find.h"

#include <stdexcept>
#include <string>

inline qdeck::Maker inner_decoder(const std::string &name) {
    if (name == "matching")
        return [](const qdeck::Model &model) { return std::make_unique<qdeck::Matching>(model); };
    if (name == "union-find")
        return [](const qdeck::Model &model) { return std::make_unique<qdeck::UnionFind>(model); };
    if (name == "erasure")
        return [](const qdeck::Model &model) { return std::make_unique<qdeck::Erasure>(model); };
    throw std::invalid_argument("no decoder for windows is called '" + name +
                                "': take 'matching', 'union-find' or 'erasure'");
}

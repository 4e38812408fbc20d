// No decoder: the answer is always 0. What is left of a reaction is transport and bookkeeping, the null control.
#pragma once

#include "decoder.h"

namespace qdeck {

class NullDecoder final : public Decoder {
public:
    void begin() noexcept override {}
    void add(std::span<const int32_t>) noexcept override {}
    Answer finish() noexcept override { return {}; }
};

class Null final : public Compiled {
public:
    std::unique_ptr<Decoder> decoder() const override { return std::make_unique<NullDecoder>(); }
    size_t bytes() const noexcept override { return 0; }
};

}  // namespace qdeck

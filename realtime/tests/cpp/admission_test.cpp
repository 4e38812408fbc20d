#include "admission.h"
#include "check.h"
#include "probe.h"
#include "standin.h"

#include <stdexcept>

using namespace qdeck;

// A decoder that is staged decodes its samples one by one, unless that takes too long, and only once.
static void staged_decoders_rehearse() {
    struct Counts final : Decoder {
        std::vector<size_t> &sizes;
        size_t many = 0;
        explicit Counts(std::vector<size_t> &all) : sizes(all) {}
        void begin() noexcept override { many = 0; }
        void add(std::span<const int32_t> defects) noexcept override { many += defects.size(); }
        Answer finish() noexcept override {
            sizes.push_back(many);
            return {};
        }
    };
    struct Counting final : Compiled {
        std::vector<size_t> &sizes;
        explicit Counting(std::vector<size_t> &all) : sizes(all) {}
        std::unique_ptr<Decoder> decoder() const override { return std::make_unique<Counts>(sizes); }
        size_t bytes() const noexcept override { return 0; }
    };
    std::vector<size_t> sizes;
    Defects shots(200);
    for (size_t i = 0; i < shots.size(); i++) shots[i].resize(i * 77 % 200);
    const auto compiled = std::make_shared<Counting>(sizes);
    auto first = load(compiled, shots, 0);
    CHECK(sizes.size() == 296 && first->samples.size() == 96);
    for (size_t i = 0; i < 96; i++) CHECK(first->samples[i].defects.size() == 104 + i && first->samples[i].warm_ns >= 0);
    VolumeProbe probe(std::move(first));
    probe.rehearse(INT64_MAX);  // nothing is staged
    CHECK(sizes.size() == 296);
    for (int i = 0; i < 2; i++) probe.slot().stage(load(compiled, shots, 0));
    sizes.clear();
    for (int i = 0; i < 100; i++) probe.rehearse(INT64_MAX);
    CHECK(sizes.size() == 96 && sizes.front() == 104 && sizes.back() == 199);
    CHECK(probe.slot().promote() && probe.slot().next()->rehearsed == 0);
    for (int i = 0; i < 100; i++) probe.rehearse(-1);
    CHECK(sizes.size() == 96 && probe.slot().next()->rehearsed == 96);
}

int main() {
    staged_decoders_rehearse();
    // Costs are what was measured: a decoder that spins for 50 us costs at least that, a parity much less.
    const std::vector<uint32_t> rounds{9, 9};
    const std::vector<uint8_t> bits(40 * 4, 0x55);
    std::atomic<int64_t> busy{50'000};
    const Cost slow = measure(seat_volumes(standin::plain(18), 3, standin::load(0, &busy)), rounds, bits);
    const Cost fast = measure(seat_volumes(standin::plain(18), 3, standin::load(0)), rounds, bits, 64 << 20);
    CHECK(slow.last_ns >= 50'000 && slow.last_p99_ns >= 49'000 && slow.rounds == 2);
    CHECK(fast.round_ns > 0 && fast.last_ns > 0);
    bool refused = false;
    try {
        measure(seat_volumes(standin::plain(17), 3, standin::load(0)), rounds, bits);
    } catch (const std::invalid_argument &) {
        refused = true;
    }
    CHECK(refused);

    const Tenant patch{{100, 700, 1000, 8}, 1'000'000, 1'000'000};
    CHECK(patch.cost.share(1'000'000) > 1.7e-4 && patch.cost.share(1'000'000) < 1.8e-4);
    CHECK(refusal({}, patch).empty());
    // All at once: 700 ns each, 900 us are allowed.
    CHECK(refusal(std::vector<Tenant>(1280, patch), patch).empty());
    CHECK(refusal(std::vector<Tenant>(1290, patch), patch).find("together, the last one is answered") != std::string::npos);
    // By the core: eight rounds of 1 us cost 1400 ns of 8000.
    const Tenant hasty{{100, 700, 1000, 8}, 1'000, 100'000};
    CHECK(refusal(std::vector<Tenant>(3, hasty), hasty).find("above the bound of 70.0 %") == std::string::npos);
    CHECK(refusal(std::vector<Tenant>(4, hasty), hasty).find("17.5 % of the core, and all 5 together 87.5 %") !=
          std::string::npos);

    // The loop is twice as busy as the costs say: so will it be with the next patch.
    CHECK(refusal(std::vector<Tenant>(2, hasty), hasty, {}, 0.7).find("would take 35.0 % of the core, and all 3 together 105.0 %") !=
          std::string::npos);
    CHECK(refusal(std::vector<Tenant>(2, hasty), hasty, {}, 0.1).empty());

    {
        standin::ParityDecoder decoder(0, nullptr, nullptr);
        warm(decoder, {{1, 2}, {}, {3}}, 0);
    }
}

#include "relay.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace qdeck {

namespace {

// A random number for each of two counters, from 0 to below 1 (splitmix64's finaliser, twice).
double uniform(uint64_t seed, uint64_t leg, uint64_t mechanism) noexcept {
    const auto mixed = [](uint64_t x) {
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        return x ^ x >> 31;
    };
    return static_cast<double>(mixed(mixed(seed) ^ (leg << 32 | mechanism)) >> 11) * 0x1p-53;
}

}  // namespace

void RelaySettings::check() const {
    auto refuse = [](const std::string &why) { throw std::invalid_argument(why); };
    if (iterations < 1 || legs < 0 || leg_iterations < 1 || iterations > 1'000'000 || legs > 1'000'000 ||
        leg_iterations > 1'000'000)
        refuse("belief propagation takes 1 to 1000000 iterations in each leg, and 0 to 1000000 further legs");
    if (solutions < 1 || more < 0 || more > 1'000'000)
        refuse("the answer is the lightest of 1 solution or more, found in 0 to 1000000 more legs");
    if (!(std::abs(memory) < 1 && std::abs(least) < 1 && std::abs(most) < 1 && least <= most))
        refuse("memories are between -1 and 1, the least before the most");
    if (!(scaling >= 0 && scaling <= 1))
        refuse("check messages are scaled by 0 to 1");
}

Relay::Relay(const Mechanisms &model, const RelaySettings &settings) : graph_(model), settings_(settings) {
    settings_.check();
    run_ = settings_.vectors ? vector_leg() : nullptr;
    if (!run_)
        run_ = plain_leg();
}

std::unique_ptr<Decoder> Relay::decoder() const { return std::make_unique<RelayDecoder>(*this); }

float Relay::memory(int32_t leg, int32_t mechanism) const noexcept {
    if (leg == 0)
        return static_cast<float>(settings_.memory);
    const double random = uniform(settings_.seed, static_cast<uint64_t>(leg), static_cast<uint64_t>(mechanism));
    return static_cast<float>(settings_.least + (settings_.most - settings_.least) * random);
}

RelayDecoder::RelayDecoder(const Relay &compiled) : compiled_(compiled), graph_(compiled.graph()) {
    const auto checks = static_cast<size_t>(graph_.check_places());
    const auto errors = static_cast<size_t>(graph_.error_places());
    syndrome_ = arena_.array<int32_t>(checks);
    fired_ = arena_.array<int32_t>(checks);
    found_ = arena_.array<int32_t>(errors);
    shared_ = arena_.array<int32_t>(errors + 1);
    memory_ = arena_.array<float>(errors);
    belief_ = arena_.array<float>(errors + 1);
    message_ = arena_.array<float>(static_cast<size_t>(graph_.view().edges) + 1);
    std::fill_n(syndrome_, checks, 0);
    std::fill_n(shared_, errors + 1, 0);
    std::fill_n(memory_, errors, 0.0f);
    std::fill_n(belief_, errors, 0.0f);
    belief_[errors] = std::numeric_limits<float>::infinity();
}

void RelayDecoder::begin() noexcept {
    for (size_t i = 0; i < fired_count_; i++)
        syndrome_[fired_[i]] = 0;
    fired_count_ = 0;
    found_count_ = 0;
    iterations_ = 0;
    legs_ = 0;
    hopeless_ = false;
}

void RelayDecoder::add(std::span<const int32_t> defects) noexcept {
    for (const int32_t v : defects) {
        const int32_t place = graph_.place_of[v];
        hopeless_ = hopeless_ || graph_.lonely[v];
        if (syndrome_[place])
            continue;
        syndrome_[place] = -1;
        fired_[fired_count_++] = place;
    }
}

void RelayDecoder::prepare(int32_t leg) noexcept {
    const int32_t places = graph_.error_places();
    if (leg == 0)
        std::copy_n(graph_.view().prior, places, belief_);
    for (int32_t place = 0; place < places; place++)
        if (const int32_t mechanism = graph_.mechanism_at[place]; mechanism >= 0)
            memory_[place] = compiled_.memory(leg, mechanism);
}

// The errors of negative belief, if they are lighter than those that were found before.
void RelayDecoder::settle(Answer &best) noexcept {
    Answer answer{0, 0.0, Quality::heuristic};
    const int32_t places = graph_.error_places();
    for (int32_t place = 0; place < places; place++)
        if (belief_[place] <= 0)
            answer.weight += graph_.weight[place];
    if (best.quality != Quality::failed && answer.weight >= best.weight)
        return;
    found_count_ = 0;
    for (int32_t place = 0; place < places; place++)
        if (belief_[place] <= 0) {
            answer.observables ^= graph_.flips[place];
            found_[found_count_++] = graph_.mechanism_at[place];
        }
    best = answer;
}

// No errors that explain the syndrome are lighter: each defect is in one of them, and an error of weight w that fires k of
// the defects pays w / k for each.
double RelayDecoder::bound() noexcept {
    const Rows &checks = graph_.view().checks;
    const auto each = [&](int32_t place, auto visit) {
        const int32_t group = place / LANES_OF_BELIEF, lane = place % LANES_OF_BELIEF;
        for (int32_t row = checks.first[group]; row < checks.first[group + 1]; row++)
            visit(checks.entry[row * LANES_OF_BELIEF + lane]);
    };
    for (size_t i = 0; i < fired_count_; i++)
        each(fired_[i], [&](int32_t error) { shared_[error]++; });
    double sum = 0;
    for (size_t i = 0; i < fired_count_; i++) {
        double least = std::numeric_limits<double>::infinity();
        each(fired_[i], [&](int32_t error) { least = std::min(least, graph_.weight[error] / shared_[error]); });
        sum += least;
    }
    for (size_t i = 0; i < fired_count_; i++)
        each(fired_[i], [&](int32_t error) { shared_[error] = 0; });
    return sum;
}

Answer RelayDecoder::finish() noexcept {
    if (fired_count_ == 0)
        return {0, 0.0, Quality::exact};
    Answer best{0, 0.0, Quality::failed};
    if (hopeless_)
        return best;
    const RelaySettings &settings = compiled_.settings();
    int32_t solutions = 0;
    int32_t last = settings.legs;
    double least = 0;
    for (int32_t leg = 0; leg <= last && solutions < settings.solutions; leg++) {
        prepare(leg);
        const int32_t most = leg == 0 ? settings.iterations : settings.leg_iterations;
        const int32_t turns = compiled_.run()(
            graph_.view(), {most, static_cast<float>(settings.scaling), syndrome_, memory_, belief_, message_});
        legs_++;
        iterations_ += turns ? turns : most;
        if (!turns)
            continue;
        settle(best);
        if (solutions++ == 0) {
            least = bound();
            last = std::min(last, leg + settings.more);
        }
        if (best.weight <= least + 1e-9 * best.weight) {
            best.quality = Quality::exact;
            break;
        }
    }
    return best;
}

}  // namespace qdeck

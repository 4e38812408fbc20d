#include "check.h"
#include "hypergraphs.h"
#include "relay.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

using namespace qdeck;

// Between begin and finish nothing allocates. (Sanitizers have an operator new of their own.)
static thread_local bool hot = false;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *operator new(size_t bytes) {
    CHECK(!hot);
    if (void *const at = std::malloc(bytes))
        return at;
    throw std::bad_alloc();
}
void operator delete(void *at) noexcept { std::free(at); }
void operator delete(void *at, size_t) noexcept { std::free(at); }
#endif

static Answer decode(RelayDecoder &decoder, const std::vector<int32_t> &defects) {
    hot = true;
    decoder.begin();
    const std::span<const int32_t> all(defects);
    decoder.add(all.subspan(0, all.size() / 2));
    decoder.add(all.subspan(all.size() / 2));
    const Answer answer = decoder.finish();
    hot = false;
    return answer;
}

// The mechanisms explain the syndrome, and all that the answer says follows from them.
static void check_answer(const Mechanisms &model, const RelayDecoder &decoder, const std::vector<int32_t> &defects,
                         const Answer &answer) {
    CHECK(answer.quality != Quality::failed);
    std::vector<int> fired(static_cast<size_t>(model.detectors));
    uint64_t observables = 0;
    double weight = 0;
    for (const int32_t i : decoder.correction()) {
        for (const int32_t v : model.of(static_cast<size_t>(i)))
            fired[static_cast<size_t>(v)] ^= 1;
        observables ^= model.flips[static_cast<size_t>(i)];
        weight += hypergraphs::weight_of(model.probability[static_cast<size_t>(i)]);
    }
    for (const int32_t v : defects)
        fired[static_cast<size_t>(v)] ^= 1;
    CHECK(std::count(fired.begin(), fired.end(), 1) == 0);
    CHECK(observables == answer.observables);
    CHECK(std::abs(weight - answer.weight) < 1e-9);
}

static bool same(const Answer &a, const Answer &b) {
    return a.observables == b.observables && a.weight == b.weight && a.quality == b.quality;
}

// Random hypergraphs, with defects that some error made and with any: answers explain them, with vectors and without the
// same, and are rarely heavier than the lightest error.
static void random_models() {
    std::mt19937_64 random(11);
    int failed = 0, impossible = 0, heavier = 0, proven = 0, all = 0;
    for (int round = 0; round < 150; round++) {
        const auto detectors = static_cast<int32_t>(1 + random() % 14);
        const auto many = static_cast<int32_t>(1 + random() % 18);
        const Mechanisms model =
            hypergraphs::random_model(random, detectors, many, static_cast<int32_t>(random() % 65), 0.2);
        RelaySettings settings{.iterations = 30, .legs = 20, .leg_iterations = 20, .solutions = 1 + round % 3};
        settings.scaling = round % 2 ? 1 : 0;
        settings.seed = random();
        const Relay fast(model, settings);
        settings.vectors = false;
        const Relay plain(model, settings);
        RelayDecoder decoder(fast), again(plain);
        const auto lightest = hypergraphs::lightest(model);
        for (int i = 0; i < 60; i++) {
            std::vector<int32_t> defects = hypergraphs::sample(model, random).defects;
            if (i % 6 == 0) {
                defects.clear();
                for (int32_t v = 0; v < detectors; v++)
                    if (random() % 3 == 0)
                        defects.push_back(v);
            }
            uint64_t syndrome = 0;
            for (const int32_t v : defects)
                syndrome |= uint64_t{1} << v;
            const auto best = lightest.find(syndrome);
            const Answer answer = decode(decoder, defects);
            CHECK(same(answer, decode(again, defects)) && decoder.iterations() == again.iterations());
            CHECK(decoder.iterations() <= 30 + 20 * 20 && decoder.legs() <= 21);
            if (best == lightest.end()) {
                CHECK(answer.quality == Quality::failed);
                impossible++;
                continue;
            }
            all++;
            if (answer.quality == Quality::failed) {
                failed++;
                continue;
            }
            check_answer(model, decoder, defects, answer);
            CHECK(answer.weight >= best->second - 1e-9);
            heavier += answer.weight > best->second + 1e-9;
            if (answer.quality == Quality::exact) {
                CHECK(answer.weight <= best->second + 1e-9);
                proven++;
            }
        }
    }
    std::printf("relay: %d of %d failed, %d are not the lightest, %d are proven to be, %d impossible\n", failed, all,
                heavier, proven, impossible);
    CHECK(proven * 2 > all && all > 5000 && impossible > 100 && failed * 100 < all && heavier * 10 < all);
}

// A code of some size: nearly all shots are right, and the lightest of several solutions is not worse.
static void a_code() {
    const Mechanisms model = hypergraphs::shifts(31, 3, 0.03);
    std::mt19937_64 random(5);
    const Relay one(model, {.legs = 20, .solutions = 1}), five(model, {.legs = 20, .solutions = 5, .more = 20}),
        short_one(model, {.iterations = 2, .legs = 0, .solutions = 1});
    RelayDecoder first(one), lightest(five), brief(short_one);
    int wrong = 0, flips = 0, failed = 0, gave_up = 0;
    double weight = 0, least = 0;
    for (int i = 0; i < 2000; i++) {
        const hypergraphs::Shot shot = hypergraphs::sample(model, random);
        const Answer answer = decode(first, shot.defects);
        failed += answer.quality == Quality::failed;
        wrong += answer.observables != shot.observables;
        flips += shot.observables != 0;
        if (answer.quality != Quality::failed)
            check_answer(model, first, shot.defects, answer);
        const Answer best = decode(lightest, shot.defects);
        if (answer.quality != Quality::failed) {
            CHECK(best.weight <= answer.weight);
            weight += answer.weight;
            least += best.weight;
        }
        const Answer hasty = decode(brief, shot.defects);
        gave_up += hasty.quality == Quality::failed;
        CHECK(hasty.quality != Quality::failed || (hasty.observables == 0 && brief.correction().empty()));
    }
    std::printf("relay on shifts: %d failed, %d wrong, %d flips; %d with two iterations; weight %.4f of the first\n",
                failed, wrong, flips, gave_up, least / weight);
    CHECK(failed == 0 && wrong * 20 < flips && gave_up > 100 && least <= weight);
}

// Nothing fired: nothing happened. A detector that nothing fires: no answer. And a shot leaves nothing behind.
static void edges_of_use() {
    Mechanisms model;
    model.detectors = 4;
    model.observables = 64;
    model.add(0.1, std::vector<int32_t>{0, 1, 2}, uint64_t{1} << 63);
    model.add(0.01, std::vector<int32_t>{2}, 1);
    model.add(0.5, std::vector<int32_t>{1}, 2);
    model.check();
    const Relay compiled(model);
    CHECK(compiled.bytes() > 0);
    RelayDecoder decoder(compiled);
    CHECK(same(decode(decoder, {}), {0, 0.0, Quality::exact}) && decoder.iterations() == 0);
    CHECK(decode(decoder, {3}).quality == Quality::failed && decoder.iterations() == 0);
    const Answer hyper = decode(decoder, {2, 0, 1});
    CHECK(hyper.observables == uint64_t{1} << 63 && decoder.correction().size() == 1 && decoder.correction()[0] == 0);
    CHECK(decode(decoder, {0, 2}).observables == ((uint64_t{1} << 63) | 2));
    CHECK(decode(decoder, {2}).observables == 1);
    CHECK(same(decode(decoder, {2, 0, 1}), hyper));
    CHECK(!decoder.erase({}) && decoder.pairs().empty());
}

static void memories() {
    const Mechanisms model = hypergraphs::shifts(31, 1, 0.01);
    const Relay one(model, {.seed = 1}), other(model, {.seed = 2});
    CHECK(one.memory(0, 3) == 0.125f && one.memory(1, 3) != other.memory(1, 3) && one.memory(1, 3) != one.memory(2, 3));
    double sum = 0;
    float low = 1, high = -1;
    for (int32_t leg = 1; leg <= 60; leg++)
        for (int32_t i = 0; i < static_cast<int32_t>(model.size()); i++) {
            sum += one.memory(leg, i);
            low = std::min(low, one.memory(leg, i));
            high = std::max(high, one.memory(leg, i));
        }
    CHECK(low >= -0.24f && low < -0.23f && high <= 0.66f && high > 0.65f);
    CHECK(std::abs(sum / 60 / static_cast<double>(model.size()) - 0.21) < 0.02);
}

static void threads() {
    const Mechanisms model = hypergraphs::shifts(31, 2, 0.02);
    const Relay compiled(model, {.legs = 10});
    std::vector<std::vector<Answer>> answers(3);
    std::vector<std::thread> running;
    for (auto &mine : answers)
        running.emplace_back([&] {
            std::mt19937_64 random(9);
            RelayDecoder decoder(compiled);
            for (int i = 0; i < 200; i++)
                mine.push_back(decode(decoder, hypergraphs::sample(model, random).defects));
        });
    for (std::thread &thread : running)
        thread.join();
    for (size_t i = 0; i < 200; i++)
        CHECK(same(answers[0][i], answers[1][i]) && same(answers[0][i], answers[2][i]));
}

template <class Try> static bool refused(const char *why, Try attempt) {
    try {
        attempt();
    } catch (const std::invalid_argument &error) {
        if (std::string(error.what()).find(why) != std::string::npos)
            return true;
        std::fprintf(stderr, "%s\n", error.what());
    }
    return false;
}

static void refusals() {
    const auto model = [](double p, std::vector<int32_t> fires, uint64_t mask) {
        Mechanisms made;
        made.detectors = 3;
        made.observables = 2;
        made.add(0.1, std::vector<int32_t>{0, 1, 2}, 3);
        made.add(p, fires, mask);
        return made;
    };
    const auto bad = [&](const char *why, const Mechanisms &made) { return refused(why, [&] { Relay compiled(made); }); };
    CHECK(bad("mechanism 1 has the probability 0.6", model(0.6, {0}, 0)));
    CHECK(bad("mechanism 1 has the probability 0.0", model(0, {0}, 0)));
    CHECK(bad("has the probability nan", model(std::numeric_limits<double>::quiet_NaN(), {0}, 0)));
    CHECK(bad("fires no detector", model(0.1, {}, 1)));
    CHECK(bad("fires detector 3 of 3", model(0.1, {1, 3}, 0)));
    CHECK(bad("fires detector -1 of 3", model(0.1, {-1}, 0)));
    CHECK(bad("fires detector 2 twice", model(0.1, {2, 1, 2}, 0)));
    CHECK(bad("an observable beyond the 2", model(0.1, {1}, 4)));
    CHECK(bad("no errors", Mechanisms()));
    Mechanisms wide = model(0.1, {0}, 0);
    wide.observables = 65;
    CHECK(bad("0 to 64 observables", wide));
    Mechanisms torn = model(0.1, {0}, 0);
    torn.flips.pop_back();
    CHECK(bad("not of one length", torn));
    const auto settings = [&](const char *why, RelaySettings given) {
        return refused(why, [&] { Relay compiled(model(0.1, {0}, 0), given); });
    };
    CHECK(settings("1 to 1000000 iterations", {.iterations = 0}));
    CHECK(settings("1 to 1000000 iterations", {.legs = -1}));
    CHECK(settings("1 to 1000000 iterations", {.leg_iterations = 0}));
    CHECK(settings("1 solution or more", {.solutions = 0}) && settings("1 solution or more", {.more = -1}));
    CHECK(settings("memories are between", {.memory = 1}));
    CHECK(settings("memories are between", {.least = 0.5, .most = 0.4}));
    CHECK(settings("scaled by 0 to 1", {.scaling = 1.5}));
}

int main() {
    random_models();
    a_code();
    edges_of_use();
    memories();
    threads();
    refusals();
}

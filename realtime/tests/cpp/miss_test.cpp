#include "check.h"
#include "miss.h"

#include <cstring>
#include <random>

using qdeck::attribute;
using qdeck::Cause;
using qdeck::divide;
using qdeck::Lost;
using qdeck::Parts;
using qdeck::Stamps;

static constexpr int64_t BUDGET = 10'000;

static void in_time() {
    const Parts parts = divide({1000, 1200, 1250, 1900, 2000}, {});
    CHECK(parts.reaction == 1000 && parts.decode == 650 && parts.transport == 350);
    CHECK(parts.backlog == 0 && parts.preempted == 0);
    CHECK(attribute(parts, BUDGET) == Cause::none && attribute(parts, 999) == Cause::decode);
    CHECK(attribute(parts, 1000) == Cause::none);  // the budget itself is in time
}

static void each_cause() {
    CHECK(attribute(divide({0 + 1, 30'000, 30'050, 30'600, 30'700}, {}), BUDGET) == Cause::transport);
    CHECK(attribute(divide({1, 30'000, 30'050, 30'600, 30'700}, {29'990, 0, 0}), BUDGET) == Cause::backlog);
    CHECK(attribute(divide({1, 30'000, 30'050, 30'600, 30'700}, {0, 25'000, 0}), BUDGET) == Cause::preempted);
    CHECK(attribute(divide({1, 200, 250, 15'000, 15'100}, {}), BUDGET) == Cause::decode);
    CHECK(attribute(divide({1, 200, 250, 15'000, 15'100}, {0, 0, 14'000}), BUDGET) == Cause::preempted);
    // Behind a backlog that itself came from time that the machine took.
    CHECK(attribute(divide({1, 30'000, 30'050, 30'600, 30'700}, {29'990, 20'000, 0}), BUDGET) == Cause::preempted);
    // The largest part, even where two would do.
    CHECK(attribute(divide({1, 12'001, 12'001, 30'000, 30'000}, {}), BUDGET) == Cause::decode);
    CHECK(attribute(divide({1, 20'001, 20'001, 31'000, 31'000}, {}), BUDGET) == Cause::transport);
}

static void clocks_that_disagree() {
    Parts parts = divide({5000, 1000, 1100, 1200, 1300}, {9000, 100, 5000});  // published "after" it was seen
    CHECK(parts.reaction == 300 && parts.preempted == 300 && parts.backlog == 0 && parts.decode == 0);
    parts = divide({0, 1000, 1100, 1200, 1300}, {});  // a controller that does not stamp
    CHECK(parts.reaction == 300 && parts.decode == 100 && parts.transport == 200);
    parts = divide({1, 1000, 900, 800, 700}, {});
    CHECK(parts.reaction == 999 && parts.decode == 0);
}

static void the_parts_add_up() {
    std::mt19937_64 random(3);
    auto any = [&](int64_t most) { return static_cast<int64_t>(random() % static_cast<uint64_t>(most)); };
    for (int i = 0; i < 200'000; i++) {
        const Stamps stamps{any(40'000), any(40'000), any(40'000), any(40'000), any(60'000)};
        const Lost lost{any(50'000), any(30'000) - 1000, any(30'000) - 1000};
        const Parts parts = divide(stamps, lost);
        CHECK(parts.transport >= 0 && parts.backlog >= 0 && parts.decode >= 0 && parts.preempted >= 0);
        CHECK(parts.transport + parts.backlog + parts.decode + parts.preempted == parts.reaction);
        const Cause cause = attribute(parts, BUDGET);
        CHECK((cause == Cause::none) == (parts.reaction <= BUDGET));
        // Whatever single part would have saved the deadline, the one that is named would have.
        const int64_t by[] = {0, parts.transport, parts.backlog, parts.decode, parts.preempted};
        for (const int64_t part : by)
            if (cause != Cause::none && parts.reaction - part <= BUDGET)
                CHECK(parts.reaction - by[static_cast<int>(cause)] <= BUDGET);
    }
}

int main() {
    in_time();
    each_cause();
    clocks_that_disagree();
    the_parts_add_up();
    CHECK(!std::strcmp(qdeck::name_of(Cause::preempted), "preempted"));
    CHECK(qdeck::overlap_ns(10, 20, 15, 30) == 5 && qdeck::overlap_ns(10, 20, 20, 30) == 0);
}

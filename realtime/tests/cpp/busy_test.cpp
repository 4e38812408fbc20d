#include "busy.h"
#include "check.h"

using namespace qdeck;

int main() {
    const Busy busy({0, 200'000, 100'000});
    const auto decoder = busy.decoder();
    for (int lap = 0; lap < 2; lap++)
        for (const int64_t time_ns : {0, 200'000, 100'000}) {
            decoder->begin();
            const int64_t start = now_ns();
            CHECK(decoder->finish().observables == 0);
            CHECK(now_ns() - start >= time_ns);
        }
    bool refused = false;
    try {
        Busy none({});
    } catch (const std::invalid_argument &) {
        refused = true;
    }
    CHECK(refused);
}

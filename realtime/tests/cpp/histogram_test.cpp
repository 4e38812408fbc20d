#include "check.h"
#include "histogram.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using qdeck::Histogram;

static void buckets_cover_the_line() {
    uint64_t last = 0;
    for (size_t i = 0; i < Histogram::BUCKETS; i++) {
        const uint64_t low = Histogram::lower(i), high = Histogram::lower(i + 1);
        CHECK(low == last && high > low);
        CHECK(Histogram::index(low) == i && Histogram::index(high - 1) == i);
        CHECK(low < 32 ? high == low + 1 : (high - low) * 32 <= low);
        last = high;
    }
    CHECK(last == uint64_t{1} << Histogram::TOP_BITS);
    CHECK(Histogram::index(~uint64_t{0}) == Histogram::BUCKETS - 1);
}

static void quantiles_are_within_a_64th() {
    std::mt19937_64 random(11);
    std::lognormal_distribution<double> spread(7.0, 1.5);
    std::vector<uint64_t> values;
    auto whole = std::make_unique<Histogram>(), first = std::make_unique<Histogram>(), second = std::make_unique<Histogram>();
    for (int i = 0; i < 50'000; i++) {
        values.push_back(static_cast<uint64_t>(spread(random)));
        whole->record(static_cast<int64_t>(values.back()));
        (i % 3 ? first : second)->record(static_cast<int64_t>(values.back()));
    }
    std::sort(values.begin(), values.end());
    for (const double q : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        const size_t rank = std::max<size_t>(1, static_cast<size_t>(std::ceil(q * static_cast<double>(values.size()))));
        const double exact = static_cast<double>(values[rank - 1]), told = static_cast<double>(whole->quantile(q));
        CHECK(std::abs(told - exact) <= exact / 64 + 1);
    }
    first->merge(*second);
    for (size_t i = 0; i < Histogram::BUCKETS; i++) CHECK(first->buckets[i] == whole->buckets[i]);
    CHECK(first->count == whole->count && first->sum == whole->sum && first->min == whole->min && first->max == whole->max);
    CHECK(whole->max == values.back() && whole->min == values.front());
    const uint64_t bound = Histogram::lower(400) - 1;  // where a bucket ends
    CHECK(whole->above(bound) ==
          static_cast<uint64_t>(values.end() - std::upper_bound(values.begin(), values.end(), bound)));
    first->clear();
    CHECK(first->quantile(0.5) == 0 && first->mean() == 0.0 && first->above(0) == 0);
}

static void odd_values() {
    auto histogram = std::make_unique<Histogram>();
    histogram->record(-5);
    CHECK(histogram->quantile(1.0) == 0 && histogram->count == 1);
    histogram->record(INT64_MAX);
    CHECK(histogram->quantile(1.0) >= (uint64_t{1} << 35) && histogram->max == static_cast<uint64_t>(INT64_MAX));
}

static void a_reader_beside_the_writer() {
    auto histogram = std::make_unique<Histogram>();
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done.load()) CHECK(histogram->quantile(0.5) <= 1000);
    });
    for (int i = 0; i < 100'000; i++) histogram->record(i % 1000);
    done.store(true);
    reader.join();
    CHECK(histogram->count == 100'000);
}

int main() {
    buckets_cover_the_line();
    quantiles_are_within_a_64th();
    odd_values();
    a_reader_beside_the_writer();
}

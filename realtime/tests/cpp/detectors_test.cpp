#include "check.h"
#include "detectors.h"

#include <algorithm>
#include <random>
#include <stdexcept>

using namespace qdeck;
using Rows = std::vector<std::vector<int64_t>>;

static std::mt19937_64 rng(1);

// Feeds `bits` in pieces of random size; after each piece exactly the detectors that it completes and that fired.
static void compare(const Detectors &detectors, const Rows &rows, uint64_t base, size_t longest,
                    const std::vector<int64_t> &odd = {}) {
    const auto measurements = static_cast<size_t>(detectors.measurements());
    std::vector<uint8_t> truth(base + measurements), bits((base + measurements) / 8 + 16);
    for (size_t i = 0; i < truth.size(); i++)
        truth[i] = rng() & 1;
    for (size_t i = 0; i < base; i++)
        bits[i / 8] |= static_cast<uint8_t>(truth[i] << i % 8);
    Detectors::Pass pass(detectors);
    std::vector<int32_t> fired(rows.size() + 1, -7);
    for (int lap = 0; lap < 2; lap++) {  // a pass that was cut short does not disturb the next
        pass.begin();
        for (size_t come = 0; come < measurements;) {
            if (lap == 0 && come > measurements / 2)
                break;
            const size_t piece = std::min(measurements - come, 1 + rng() % longest);
            std::vector<uint8_t> packed(piece / 8 + 1, 0xff);  // beyond its bits a frame may hold anything
            for (size_t i = 0; i < piece; i++)
                packed[i / 8] &= static_cast<uint8_t>(~((1 - truth[base + come + i]) << i % 8));
            if (lap == 1)
                append_bits(bits.data(), base + come, {packed.data(), (piece + 7) / 8}, piece);
            else
                for (size_t i = 0; i < piece; i++)
                    bits[(base + come + i) / 8] |= static_cast<uint8_t>(truth[base + come + i] << (base + come + i) % 8);
            const size_t many = pass.advance(bits.data(), base, static_cast<int64_t>(come + piece), fired.data());
            CHECK(many <= rows.size() && fired[rows.size()] == -7);
            std::vector<int32_t> expected;
            for (size_t d = 0; d < rows.size(); d++) {
                if (rows[d].empty())
                    continue;
                const int64_t done = std::max<int64_t>(*std::max_element(rows[d].begin(), rows[d].end()) + 1, 1);
                int parity = std::count(odd.begin(), odd.end(), static_cast<int64_t>(d)) != 0;
                for (const int64_t term : rows[d])
                    parity ^= truth[base + static_cast<size_t>(term)];
                if (parity && done > static_cast<int64_t>(come) && done <= static_cast<int64_t>(come + piece))
                    expected.push_back(static_cast<int32_t>(d));
            }
            std::vector<int32_t> got(fired.begin(), fired.begin() + static_cast<long>(many));
            std::sort(got.begin(), got.end());
            CHECK(got == expected);
            come += piece;
        }
        if (lap == 0)
            for (size_t i = base; i < base + measurements; i++)
                bits[i / 8] &= static_cast<uint8_t>(~(1 << i % 8));
    }
}

static void rounds() {
    // A code of 70 ancillas for 5 rounds, then 81 data qubits: long runs.
    Rows rows;
    for (int64_t round = 0; round < 5; round++)
        for (int64_t i = 0; i < 70; i++)
            if (round)
                rows.push_back({round * 70 + i, (round - 1) * 70 + i});
            else if (i % 3 == 0)
                rows.push_back({i});
    for (int64_t i = 0; i < 35; i++)
        rows.push_back({350 + i * 2, 350 + i * 2 + 9, 350 + i * 2 + 1, 350 + i * 2 + 10, 280 + i * 2});
    const Detectors detectors(431, rows);
    CHECK(detectors.size() == 24 + 4 * 70 + 35 && detectors.groups() == 2 + 5);
    for (int i = 0; i < 20; i++)
        compare(detectors, rows, 0, i % 2 ? 431 : 90);
}

static void mixtures() {
    for (int trial = 0; trial < 300; trial++) {
        const auto measurements = static_cast<int64_t>(1 + rng() % 300);
        const auto reach = static_cast<int64_t>(trial % 2 ? rng() % 100 : 0);
        Rows rows(rng() % 200);
        for (size_t d = 0; d < rows.size(); d++) {
            if (d && rng() % 4 && !rows[d - 1].empty()) {  // often like the one before, moved by one
                rows[d] = rows[d - 1];
                for (int64_t &term : rows[d])
                    term++;
                if (*std::max_element(rows[d].begin(), rows[d].end()) < measurements)
                    continue;
            }
            rows[d].clear();
            for (size_t terms = rng() % 6; terms--;)
                rows[d].push_back(static_cast<int64_t>(rng() % static_cast<uint64_t>(measurements + reach)) - reach);
            std::sort(rows[d].begin(), rows[d].end());
            rows[d].erase(std::unique(rows[d].begin(), rows[d].end()), rows[d].end());
        }
        std::vector<int64_t> odd;
        for (size_t d = 0; d < rows.size(); d++)
            if (!rows[d].empty() && rng() % 3 == 0 && trial % 3 == 0)
                odd.push_back(static_cast<int64_t>(d));
        compare(Detectors(measurements, rows, reach, odd), rows, static_cast<uint64_t>(reach) + rng() % 9, 1 + rng() % 100,
                odd);
    }
}

static void refusals() {
    const auto refused = [](int64_t measurements, const Rows &rows, int64_t reach, std::vector<int64_t> odd = {}) {
        try {
            Detectors detectors(measurements, rows, reach, odd);
        } catch (const std::invalid_argument &) {
            return true;
        }
        return false;
    };
    CHECK(!refused(3, {{0}, {}}, 0, {0}) && refused(3, {{0}, {}}, 0, {1}) && refused(3, {{0}}, 0, {1}) && refused(3, {{0}}, 0, {-1}));
    CHECK(!refused(3, {{0, 1}, {}, {2}}, 0) && !refused(3, {{-2, 1}}, 2));
    CHECK(refused(0, {}, 0) && refused(-1, {}, 0) && refused(3, {{3}}, 0) && refused(3, {{-1}}, 0));
    CHECK(refused(3, {{-3}}, 2) && refused(3, {{1, 0, 1}}, 0) && refused(3, {}, -1) && refused(INT64_MAX, {}, 0));
    CHECK(refused(3, {{INT64_MIN}}, 0) && refused(3, {{INT64_MAX}}, 0));
}

int main() {
    rounds();
    mixtures();
    refusals();
}

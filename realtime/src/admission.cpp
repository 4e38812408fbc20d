#include "admission.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "clock.h"
#include "controller.h"
#include "host.h"

namespace qdeck {

void warm(Decoder &decoder, const Defects &shots, int64_t for_ns) noexcept {
    if (shots.empty()) return;
    const int64_t until = now_ns() + for_ns;
    do {
        for (const auto &shot : shots) {
            decoder.begin();
            decoder.add(shot);
            decoder.finish();
        }
    } while (now_ns() < until);
}

std::unique_ptr<Loaded> load(std::shared_ptr<const Compiled> compiled, Defects shots, int64_t warm_ns) {
    constexpr size_t SAMPLES = 96;
    auto loaded = std::make_unique<Loaded>();
    loaded->decoder = compiled->decoder();
    loaded->keeps = std::move(compiled);
    warm(*loaded->decoder, shots, warm_ns);
    std::sort(shots.begin(), shots.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
    for (size_t i = shots.size() - std::min(SAMPLES, shots.size()); i < shots.size(); i++) {
        const int64_t start = now_ns();
        warm(*loaded->decoder, {shots[i]}, 0);
        loaded->samples.push_back({std::move(shots[i]), now_ns() - start});
    }
    return loaded;
}

Cost measure(std::shared_ptr<const Detectors> detectors, int32_t observables, std::unique_ptr<Loaded> loaded,
             const std::vector<uint32_t> &round_bits, std::span<const uint8_t> bits, size_t flush) {
    Feed feed;
    feed.round_bits = round_bits;
    feed.bits.assign(bits.begin(), bits.end());
    feed.shots = static_cast<int64_t>(bits.size() / std::max<size_t>(1, feed.volume_bytes()));
    feed.check();
    int64_t measurements = 0;
    for (const uint32_t many : round_bits) measurements += many;
    if (measurements != detectors->measurements())
        throw std::invalid_argument("the rounds have " + std::to_string(measurements) + " measurements, the detectors " +
                                    std::to_string(detectors->measurements()));
    const Seating seat = seat_volumes(std::move(detectors), observables, std::move(loaded));
    Dispatcher dispatcher;
    dispatcher.add(0, *seat.patch);
    std::vector<uint8_t> in(1 << 16), out(1 << 16), other(flush);
    auto last = std::make_unique<Histogram>();
    int64_t rounds_ns = 0, frames = 0;
    size_t at = 0;
    const int64_t kept = feed.shots / 10;  // the first tenth warms up
    for (int64_t shot = 0; shot < feed.shots; shot++)
        for (size_t round = 0; round < round_bits.size(); round++) {
            const size_t bytes = (round_bits[round] + 7) / 8;
            const bool ends = round + 1 == round_bits.size();
            const Enqueue enqueue{0, (shot << 16) | static_cast<int64_t>(round), 0, round_bits[round],
                                  {feed.bits.data() + at, bytes}};
            at += bytes;
            const uint8_t flags = ends ? ask::push | ask::tell | ask::ordered : ask::quiet | ask::ordered;
            const size_t length = write_enqueue(in, 0, 1, enqueue, flags);
            for (size_t i = 0; i < flush; i += 64) other[i]++;
            const int64_t start = now_ns();
            dispatcher.handle(Bytes(in).first(length), out);
            const int64_t took = now_ns() - start;
            if (shot < kept) continue;
            if (ends)
                last->record(took);
            else
                rounds_ns += took, frames++;
        }
    Cost cost;
    cost.rounds = static_cast<int64_t>(round_bits.size());
    cost.round_ns = frames ? static_cast<double>(rounds_ns) / static_cast<double>(frames) : 0.0;
    cost.last_ns = last->mean();
    cost.last_p99_ns = static_cast<double>(last->quantile(0.99));
    return cost;
}

static std::string text(const char *format, auto... values) {
    char line[400];
    std::snprintf(line, sizeof line, format, values...);
    return line;
}

std::string refusal(const std::vector<Tenant> &tenants, const Tenant &candidate, const Bounds &bounds, double measured) {
    double share = 0, together = candidate.cost.last_ns;
    double slowest = candidate.cost.last_p99_ns - candidate.cost.last_ns;
    int64_t budget = candidate.budget_ns;
    for (const Tenant &tenant : tenants) {
        share += tenant.cost.share(tenant.cycle_ns);
        together += tenant.cost.last_ns;
        slowest = std::max(slowest, tenant.cost.last_p99_ns - tenant.cost.last_ns);
        budget = std::min(budget, tenant.budget_ns);
    }
    const double more = share > 0 ? std::max(1.0, measured / share) : 1.0;
    const double own = more * candidate.cost.share(candidate.cycle_ns);
    share = more * share + own;
    together = more * together + std::max(0.0, slowest);
    if (share > bounds.share)
        return text("The patch would take %.1f %% of the core, and all %zu together %.1f %%, above the bound of %.1f %%: "
                    "use another host or a cheaper decoder.",
                    100 * own, tenants.size() + 1, 100 * share, 100 * bounds.share);
    if (together > bounds.together * static_cast<double>(budget))
        return text("If all %zu patches end a volume together, the last one is answered after about %.1f us, above %.0f %% of "
                    "the shortest budget of %.1f us: use another host, a larger budget or a cheaper decoder.",
                    tenants.size() + 1, together / 1e3, 100 * bounds.together, static_cast<double>(budget) / 1e3);
    return {};
}

}  // namespace qdeck

#include "admission.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <stdexcept>

#include "clock.h"
#include "controller.h"
#include "ring_transport.h"
#include "stretch.h"

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

void warm(StreamDecoder &stream, const Model &volume, int64_t for_ns) {
    const Layers layers(volume);
    std::vector<int32_t> rank(static_cast<size_t>(volume.detectors));
    for (const auto &members : layers.members)
        for (size_t i = 0; i < members.size(); i++) rank[static_cast<size_t>(members[i])] = static_cast<int32_t>(i);
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> uniform;
    std::vector<std::vector<int32_t>> rounds(layers.members.size());
    std::vector<char> fired;
    const int64_t until = now_ns() + for_ns;
    do {
        fired.assign(static_cast<size_t>(volume.detectors), 0);
        for (const Edge &edge : volume.edges) {
            if (uniform(random) * (1 + std::exp(edge.weight)) >= 1) continue;
            fired[static_cast<size_t>(edge.u)] ^= 1;
            if (edge.v != BOUNDARY) fired[static_cast<size_t>(edge.v)] ^= 1;
        }
        for (auto &round : rounds) round.clear();
        for (size_t v = 0; v < fired.size(); v++)
            if (fired[v]) rounds[static_cast<size_t>(volume.layer[v])].push_back(rank[v]);
        stream.begin();
        for (size_t t = 0; t + 1 < rounds.size(); t++) stream.round(rounds[t]);
        stream.close(rounds.back());
    } while (now_ns() < until);
    stream.begin();
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

namespace {

// Of the lowest 99 %: a longer time had the machine in it.
double usual(std::vector<uint64_t> &times) {
    std::sort(times.begin(), times.end());
    const size_t many = times.size() - times.size() / 100;
    return many ? static_cast<double>(std::accumulate(times.begin(), times.begin() + static_cast<ptrdiff_t>(many), uint64_t{0})) /
                      static_cast<double>(many)
                : 0.0;
}

// Other tenants' data: touched line by line, on as many pages as there would be.
class Others {
public:
    explicit Others(size_t bytes) : lines_(std::min(bytes, ENOUGH) / 64), stride_(lines_ ? bytes / lines_ / 64 * 64 : 0) {
        data_.resize(lines_ * stride_);
    }
    void work() noexcept {
        for (size_t i = 0; i < lines_; i++) data_[i * stride_ + i * 64 % stride_]++;
    }

private:
    static constexpr size_t ENOUGH = 2 << 20;  // no core's own cache is larger
    size_t lines_, stride_;
    std::vector<uint8_t> data_;
};

}  // namespace

Cost measure(Seating seating, const std::vector<uint32_t> &round_bits, std::span<const uint8_t> bits, size_t others) {
    Feed feed;
    feed.round_bits = round_bits;
    feed.bits.assign(bits.begin(), bits.end());
    feed.shots = static_cast<int64_t>(bits.size() / std::max<size_t>(1, feed.volume_bytes()));
    feed.check();
    const size_t widest = *std::max_element(round_bits.begin(), round_bits.end()) / 8 + 1;
    const RingFile rings = RingFile::create({4, static_cast<uint32_t>((widest + 80 + 63) / 64 * 64), false}, {4, 256, false});
    Producer up = rings.producer(Way::up);
    Consumer down = rings.consumer(Way::down);
    HostSettings small;
    small.patches = 1;
    small.records = 16;
    Host host(small);
    seating.decoder = 0;
    seating.budget_ns = INT64_MAX / 4;  // nobody waits: nothing is late
    std::vector<Seating> seats;
    seats.push_back(std::move(seating));
    const PatchLedger &page = host.ledger().patch(host.add(std::make_unique<RingTransport>(rings), std::move(seats))[0]);
    Others tenants(others);
    std::vector<uint64_t> rounds_ns, lasts_ns;
    const int64_t kept = feed.shots / 10;  // the first tenth warms up
    size_t at = 0;
    for (int64_t shot = 0; shot < feed.shots; shot++)
        for (size_t round = 0; round < round_bits.size(); round++) {
            const size_t bytes = feed.bytes_of(round_bits[round]);
            const bool ends = round + 1 == round_bits.size();
            const Enqueue enqueue{0, shot << 16 | static_cast<int64_t>(round), 0, round_bits[round],
                                  {feed.bits.data() + at, bytes}};
            at += bytes;
            const uint8_t flags = ends ? ask::push | ask::tell | ask::ordered : ask::quiet | ask::ordered;
            up.publish(write_enqueue(up.reserve(), 0, static_cast<uint64_t>(now_ns()), enqueue, flags));
            tenants.work();
            const uint64_t before = page.work_ns;
            host.step();
            if (shot >= kept) (ends ? lasts_ns : rounds_ns).push_back(page.work_ns - before);
            bool there = false;
            Response response;
            const bool failed = parse(down.peek(there), response) == Fault::none && response.status != Status::ok;
            if (there) down.pop();
            if (!failed) continue;
            const uint8_t zero[8] = {};  // too hard for its decoder: that is forgotten
            up.publish(write_request(up.reserve(), static_cast<uint32_t>(Function::reset_decoder), 1, 0, zero));
            host.step();
            down.peek(there);
            if (there) down.pop();
        }
    if (page.shots != static_cast<uint64_t>(feed.shots))
        throw std::invalid_argument("these rounds are not the volumes of this qubit: of " + std::to_string(feed.shots) +
                                    " volumes " + std::to_string(page.shots) + " were decoded");
    Cost cost;
    cost.rounds = static_cast<int64_t>(round_bits.size());
    cost.round_ns = usual(rounds_ns);
    cost.last_ns = usual(lasts_ns);
    cost.last_p99_ns = static_cast<double>(lasts_ns[lasts_ns.size() - 1 - lasts_ns.size() / 100]);
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

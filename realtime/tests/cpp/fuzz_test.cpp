// A deterministic fuzzer: good frames, mutated ones and noise, in long conversations. `fuzz_test SEED CONVERSATIONS` for
// more of it.
#include "fuzz.h"

#include <random>

using namespace link_test;

static std::mt19937_64 rng;
static bool calm;  // no deliberate mistakes in what `good` makes

static uint64_t below(uint64_t end) { return rng() % end; }

static int64_t odd_number() {
    static const int64_t odd[] = {0, 1, -1, 2, 5, 8, 64, 100, 255, 256, 65535, 65536, 1 << 20, (1 << 20) + 1, INT32_MAX,
                                  INT64_MAX, INT64_MIN, INT64_MAX - 7, int64_t{1} << 61};
    return below(2) ? odd[below(std::size(odd))] : static_cast<int64_t>(rng());
}

// A frame as a controller would send it, mostly.
static size_t good(Room out, int64_t (&counters)[3], bool nested = false) {
    const auto decoder = static_cast<int64_t>(below(16) ? below(3) : below(5));
    const auto flags = static_cast<uint8_t>(below(3) ? 0 : calm || below(4) ? below(16) : rng());
    const auto id = static_cast<uint32_t>(rng());
    static const int64_t sizes[] = {0, 3, 5, 8};
    switch (below(nested ? 9 : 11)) {
    case 0:
    case 1: {
        const int64_t want = decoder == 0 ? 5 : decoder == 1 ? 8 : 64;
        return write_get(out, id, rng(), {decoder, below(8) ? want : sizes[below(4)], below(2) == 1}, flags);
    }
    case 2:
        return below(6) ? 0 : write_reset(out, id, rng(), decoder, flags);
    case 3: {
        uint8_t payload[24] = {static_cast<uint8_t>(decoder)};
        static const Function others[] = {Function::heartbeat, Function::stats, Function::swap_decoder};
        return write_request(out, static_cast<uint32_t>(others[below(3)]), id, 0, Bytes(payload, below(25)), flags);
    }
    case 9:
    case 10: {
        uint8_t frames[600];
        size_t used = 0;
        for (uint64_t many = below(6); many--;)
            used += good(Room(frames).subspan(used), counters, true);
        return write_request(out, static_cast<uint32_t>(Function::batch), id, 0, Bytes(frames, used), flags);
    }
    default: {
        const bool outcomes = below(8) == 0;
        uint8_t bits[128];
        for (uint8_t &byte : bits)
            byte = static_cast<uint8_t>(outcomes ? calm || below(64) ? below(3) : below(256) : rng());
        static const int64_t widths[] = {10, 20, 25, 50, 100, 1, 60};
        const int64_t width = calm ? 10 : widths[below(7)];
        int64_t &counter = counters[decoder % 3];
        const auto next = static_cast<uint64_t>(counter) + 1;
        counter = static_cast<int64_t>(below(40) ? next : calm || below(4) ? (next | 0xffff) + 1 : odd_number());
        const int64_t told = below(30) ? counter : counter ^ static_cast<int64_t>(below(4));
        return write_enqueue(out, id, rng(), {decoder, told, !calm && below(200) == 0, width, bits}, flags, outcomes);
    }
    }
}

static size_t mutate(uint8_t *frame, size_t bytes, size_t room) {
    for (uint64_t many = 1 + below(3); many--;) {
        if (bytes == 0)
            return below(64);
        switch (below(6)) {
        case 0:
            frame[below(bytes)] ^= static_cast<uint8_t>(1 << below(8));
            break;
        case 1:
            frame[below(bytes)] = static_cast<uint8_t>(rng());
            break;
        case 2: {  // a number where a number is
            static const size_t places[] = {8, 12, 16, 24, 32, 40, 48};
            const size_t at = places[below(7)];
            const int64_t number = odd_number();
            if (at + 8 <= bytes)
                std::memcpy(frame + at, &number, at == 8 ? 4 : 8);
            break;
        }
        case 3:
            bytes = below(bytes + 1);
            break;
        case 4:
            bytes = std::min(room, bytes + below(64));
            break;
        default:
            std::memmove(frame + below(bytes), frame, bytes / 2 > room - bytes ? 0 : bytes / 2);
        }
    }
    return bytes;
}

int main(int count, char **arguments) {
    const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 0) : 1;
    const uint64_t conversations = count > 2 ? std::strtoull(arguments[2], nullptr, 0) : 400;
    uint64_t volumes = 0, rounds = 0, failures = 0, lost = 0, answers = 0, frames = 0, dropped = 0;
    for (uint64_t i = 0; i < conversations; i++) {
        rng.seed(seed * 1'000'003 + i);
        Target target;
        int64_t counters[3] = {-1, -1, -1};
        calm = below(2);
        const uint64_t spoiled = below(2) ? 4 + below(60) : 400;
        for (int turn = 0; turn < 400; turn++) {
            uint8_t frame[1400];
            size_t bytes = good(Room(frame, 1000), counters);
            if (rng() % spoiled == 0)
                bytes = below(4) ? mutate(frame, bytes, 1000) : below(900);
            // A copy of its exact length, so that the sanitizer sees every byte beyond it.
            const std::vector<uint8_t> exact(frame, frame + bytes);
            target.frame(exact, below(5) ? 1000 : below(80));
        }
        std::vector<uint8_t> noise(below(600));
        for (uint8_t &byte : noise)
            byte = static_cast<uint8_t>(rng());
        target.input(noise);
        for (int which = 0; which < 3; which++) {
            const PatchStats &stats = target.stats(which);
            volumes += stats.volumes;
            rounds += stats.rounds;
            failures += stats.failures;
            lost += stats.lost > 0;
            answers += stats.answers;
        }
        frames += target.dispatcher().handled();
        dropped += target.dispatcher().dropped();
    }
    if (count > 1)
        std::printf("%llu frames, %llu dropped, %llu rounds, %llu volumes, %llu answers, %llu failures, %llu with gaps\n",
                    (unsigned long long)frames, (unsigned long long)dropped, (unsigned long long)rounds,
                    (unsigned long long)volumes, (unsigned long long)answers, (unsigned long long)failures,
                    (unsigned long long)lost);
    // It reached what it is for.
    CHECK(rounds > 10 * conversations && volumes > conversations && answers > conversations);
    CHECK(failures > conversations / 2 && lost > conversations / 50 && dropped > conversations / 4);
}

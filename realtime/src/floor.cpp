#include "floor.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <pthread.h>
#include <sched.h>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "clock.h"
#include "ring_transport.h"
#include "udp.h"

namespace qdeck {
namespace {

constexpr int64_t SECOND = 1'000'000'000;

void pin(int core) {
    if (core < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(core), &set);
    if (const int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set))
        throw std::system_error(error, std::generic_category(), "core " + std::to_string(core) + " cannot be had");
}

// Runs both sides, each on a thread; the first failure of either ends both.
template <class Echo, class Ask> void together(const FloorSettings &settings, Echo echo, Ask ask) {
    std::atomic<bool> over{false};
    std::exception_ptr failures[2];
    const auto side = [&](int which, int core, auto work) {
        return std::thread([&over, &failures, which, core, work] {
            try {
                pin(core);
                work(over);
            } catch (...) {
                failures[which] = std::current_exception();
            }
            over.store(true);
        });
    };
    std::thread answering = side(0, settings.there, echo);
    std::thread asking = side(1, settings.here, ask);
    asking.join();
    answering.join();
    for (const std::exception_ptr &failure : failures)
        if (failure)
            std::rethrow_exception(failure);
}

template <class Trip> std::vector<int64_t> measure(size_t trips, std::atomic<bool> &over, Trip trip) {
    std::vector<int64_t> took(trips);
    for (size_t i = 0; i < trips / 10 && !over.load(std::memory_order_relaxed); i++)
        trip();
    int64_t before = now_ns();
    for (size_t i = 0; i < trips && !over.load(std::memory_order_relaxed); i++) {
        trip();
        const int64_t after = now_ns();  // one reading of the clock belongs to each trip
        took[i] = after - before;
        before = after;
    }
    return took;
}

void echo(Transport &host, const FloorSettings &settings, std::atomic<bool> &over) {
    bool there = false;
    while (!over.load(std::memory_order_relaxed)) {
        if (!settings.spin && !host.wait(0, SECOND / 10))
            continue;
        const auto frame = host.receive(there);
        if (!there) {
            pause_cpu();
            continue;
        }
        const auto room = host.reserve();
        std::copy(frame.begin(), frame.end(), room.begin());
        host.send(frame.size());
        host.release();
    }
}

}  // namespace

std::vector<int64_t> ring_floor(const FloorSettings &settings) {
    const auto stride = static_cast<uint32_t>((settings.bytes + 8 + 63) / 64 * 64);
    const RingFile file = RingFile::create({1024, stride, !settings.spin}, {1024, stride, !settings.spin});
    RingTransport host(file);
    Producer up = file.producer(Way::up);
    Consumer down = file.consumer(Way::down);
    std::vector<int64_t> took;
    together(settings, [&](std::atomic<bool> &over) { echo(host, settings, over); }, [&](std::atomic<bool> &over) {
        took = measure(settings.trips, over, [&] {
            up.reserve()[0] = 1;
            up.publish(settings.bytes);
            if (!settings.spin)
                while (!down.wait(0, SECOND / 10) && !over.load(std::memory_order_relaxed)) {
                }
            while (!down.ready() && !over.load(std::memory_order_relaxed))
                pause_cpu();
            down.pop();
        });
    });
    return took;
}

std::vector<int64_t> udp_floor(const FloorSettings &settings) {
    const auto stride = static_cast<uint32_t>(settings.bytes < 64 ? 64 : settings.bytes);
    UdpTransport host({.stride = stride});
    UdpClient client("127.0.0.1", host.port(), stride);
    const std::vector<uint8_t> frame(settings.bytes);
    std::vector<int64_t> took;
    together(settings, [&](std::atomic<bool> &over) { echo(host, settings, over); }, [&](std::atomic<bool> &over) {
        took = measure(settings.trips, over, [&] {
            if (!client.send(frame) || client.receive(settings.spin ? SECOND : 0, SECOND).size() != frame.size())
                throw std::runtime_error("a datagram over loopback was lost");
        });
    });
    return took;
}

}  // namespace qdeck

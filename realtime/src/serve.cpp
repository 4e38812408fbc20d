#include "serve.h"

#include <algorithm>
#include <ctime>
#include <poll.h>

#include "clock.h"

namespace qdeck {

constexpr int64_t NAP_NS = 50'000;            // between looks at links that cannot be slept on
constexpr int64_t SLEEP_NS = 100'000'000;     // the longest, so that `stop` is noticed
constexpr int64_t BEAT_NS = 1'000'000;
constexpr size_t POLLABLE = 1024;

size_t Server::add(Transport &transport) {
    Link link;
    link.transport = &transport;
    links_.push_back(link);
    return links_.size() - 1;
}

bool Server::poll(Link &link) noexcept {
    bool there = false;
    const Bytes frame = link.transport->receive(there);
    if (!there)
        return false;
    const Room room = link.transport->reserve();
    if (room.empty())
        return false;  // the peer does not take its answers: it has to, before it gets more
    const Outcome outcome = dispatcher_->handle(frame, room);
    if (outcome.bytes)
        link.transport->send(outcome.bytes);
    link.transport->release();
    link.frames.store(link.frames.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
}

void Server::sleep(int64_t most_ns) noexcept {
    if (links_.size() == 1) {
        links_[0].transport->wait(0, most_ns);
        return;
    }
    pollfd entries[POLLABLE];
    size_t many = 0;
    for (const Link &link : links_) {
        if (link.transport->pollable() < 0 || many == POLLABLE) {
            most_ns = std::min(most_ns, NAP_NS);
            continue;
        }
        entries[many++] = {link.transport->pollable(), POLLIN, 0};
    }
    const timespec timeout{static_cast<time_t>(most_ns / 1'000'000'000), static_cast<long>(most_ns % 1'000'000'000)};
    ppoll(entries, many, &timeout, nullptr);
}

uint64_t Server::run(int64_t for_ns, int64_t spin_ns) noexcept {
    const int64_t end = now_ns() + for_ns;
    int64_t busy = now_ns();
    int64_t beat = 0;
    uint64_t frames = 0;
    while (!stopped()) {
        uint64_t here = 0;
        for (Link &link : links_)
            for (int burst = 0; burst < 64 && poll(link); burst++)
                here++;
        frames += here;
        const int64_t now = now_ns();
        if (now - beat >= BEAT_NS) {
            beat = now;
            for (Link &link : links_)
                link.transport->beat(now);
        }
        if (now >= end)
            break;
        if (here)
            busy = now;
        else if (now - busy >= spin_ns)
            sleep(std::min(end - now, SLEEP_NS));
        else
            pause_cpu();
    }
    return frames;
}

}  // namespace qdeck

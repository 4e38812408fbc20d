// What a link costs when nobody decodes: round trips of one frame between two threads, the floor under every reaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qdeck {

struct FloorSettings {
    size_t trips = 100'000;  // that are measured, after a tenth as many
    size_t bytes = 64;       // of a frame
    int here = -1;           // cores to pin the asking thread and the answering one to; -1: the system's choice
    int there = -1;
    bool spin = true;        // false: both sides sleep until a frame comes
};

// Nanoseconds of each round trip, in order. Both run on threads of their own; they throw std::system_error for cores that
// are not to be had, std::runtime_error when a datagram is lost for a second.
std::vector<int64_t> ring_floor(const FloorSettings &settings);
std::vector<int64_t> udp_floor(const FloorSettings &settings);  // over loopback

}  // namespace qdeck

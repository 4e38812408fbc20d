// Frames over UDP, as CUDA-Q speaks it: a datagram is a slot. Its sender ships full strides and takes any length up to its
// own; so do we. For budgets of 10 us and more, or with several rounds in a `qdeck_batch`: on loopback one round trip is
// some 5 us, and the sender's share of it alone is beyond a cycle of 1 us.
//
// UDP loses and reorders; gaps are found by the counters of the rounds (`ask::ordered`, `Patch::order`).
// Set-up throws std::system_error for what the system refuses, std::invalid_argument for what makes no sense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <sys/socket.h>
#include <vector>

#include "transport.h"

namespace qdeck {

enum class Padding : uint8_t {
    mirror,  // a request with padding, as CUDA-Q's are, is answered with as many bytes; others with what is needed
    always,
    never,
};

struct UdpSettings {
    std::string host = "127.0.0.1";  // to bind: loopback unless told otherwise, for nothing here is authenticated
    uint16_t port = 0;               // 0: any that is free
    uint32_t stride = 256;           // bytes of the largest frame, at most 65,507
    Padding padding = Padding::mirror;
};

// Closes its descriptor.
class Socket {
public:
    Socket() = default;
    explicit Socket(int fd) noexcept : fd_(fd) {}
    Socket(Socket &&other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Socket &operator=(Socket &&) = delete;
    ~Socket();
    int fd() const noexcept { return fd_; }

private:
    int fd_ = -1;
};

// The host's side: answers go to the source of the latest datagram, so each client needs an endpoint of its own.
class UdpTransport final : public Transport {
public:
    explicit UdpTransport(const UdpSettings &settings);

    std::span<const uint8_t> receive(bool &there) noexcept override;
    void release() noexcept override { held_ = false; }
    std::span<uint8_t> reserve() noexcept override { return out_; }
    bool send(size_t bytes) noexcept override;
    bool wait(int64_t spin_ns, int64_t timeout_ns) noexcept override;
    int pollable() const noexcept override { return socket_.fd(); }

    uint16_t port() const noexcept { return port_; }
    uint64_t received() const noexcept { return received_; }
    uint64_t too_long() const noexcept { return too_long_; }  // datagrams beyond the stride: dropped, as upstream does
    uint64_t unsent() const noexcept { return unsent_; }      // answers that the system did not take

private:
    UdpSettings settings_;
    Socket socket_;
    uint16_t port_ = 0;
    std::vector<uint8_t> in_, out_;
    size_t length_ = 0;
    bool held_ = false;  // a datagram is in `in_`
    sockaddr_storage source_{};
    socklen_t source_bytes_ = 0;
    uint64_t received_ = 0, too_long_ = 0, unsent_ = 0;
};

// The controller's side. Not thread-safe.
class UdpClient {
public:
    // `pad`: send full strides, as CUDA-Q does.
    UdpClient(const std::string &host, uint16_t port, uint32_t stride = 256, bool pad = false);

    // False: the system did not take it now (its buffer is full, or nobody listens on the port).
    bool send(std::span<const uint8_t> frame) noexcept;
    // The next datagram; empty if none came. Valid until the next call.
    std::span<const uint8_t> receive(int64_t spin_ns, int64_t timeout_ns) noexcept;
    uint32_t stride() const noexcept { return stride_; }
    int fd() const noexcept { return socket_.fd(); }

private:
    Socket socket_;
    uint32_t stride_;
    bool pad_;
    std::vector<uint8_t> in_, out_;
};

}  // namespace qdeck

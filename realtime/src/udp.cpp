#include "udp.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

#include "clock.h"
#include "frame.h"

namespace qdeck {
namespace {

constexpr uint32_t LARGEST = 65507;        // bytes of a datagram
constexpr uint32_t SMALLEST = 64;
constexpr int ATTEMPTS = 16;               // of one look for a frame: a flood of what is too long must not hold the loop
constexpr int BUFFER = 4 * 1024 * 1024;    // bytes that we would like the system to hold for us

[[noreturn]] void failed(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void check(uint32_t stride) {
    if (stride < SMALLEST || stride > LARGEST)
        throw std::invalid_argument("a datagram of " + std::to_string(stride) + " bytes is not possible: use 64 to 65507");
}

struct Resolved {
    std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list{nullptr, freeaddrinfo};
    Resolved(const std::string &host, uint16_t port, bool passive) {
        addrinfo hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_DGRAM;
        hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
        addrinfo *found = nullptr;
        const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
        if (error)
            throw std::invalid_argument("the host " + host + " is not known: " + gai_strerror(error));
        list.reset(found);
    }
};

Socket open(const addrinfo &at) {
    Socket socket(::socket(at.ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.fd() < 0)
        failed("no UDP socket can be had");
    for (const int which : {SO_RCVBUF, SO_SNDBUF})
        setsockopt(socket.fd(), SOL_SOCKET, which, &BUFFER, sizeof BUFFER);  // less is fine, too
    return socket;
}

// Until `attempt` is true: as often as possible for `spin_ns`, then after poll(2), until `timeout_ns` after the call.
template <class Attempt> bool wait_for(int fd, Attempt attempt, int64_t spin_ns, int64_t timeout_ns) noexcept {
    if (attempt())
        return true;
    const int64_t start = now_ns();
    for (;;) {
        const int64_t passed = now_ns() - start;
        if (passed >= timeout_ns)
            return false;
        if (passed >= spin_ns) {
            const int64_t left = timeout_ns - passed;
            const timespec timeout{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
            pollfd entry{fd, POLLIN, 0};
            ppoll(&entry, 1, &timeout, nullptr);
        }
        if (attempt())
            return true;
    }
}

}  // namespace

Socket::~Socket() {
    if (fd_ >= 0)
        ::close(fd_);
}

UdpTransport::UdpTransport(const UdpSettings &settings)
    : settings_(settings), socket_([&] {
          check(settings.stride);
          const Resolved at(settings.host, settings.port, true);
          Socket made = open(*at.list);
          if (bind(made.fd(), at.list->ai_addr, at.list->ai_addrlen))
              failed("UDP port " + std::to_string(settings.port) + " of " + settings.host + " cannot be bound");
          return made;
      }()),
      in_(settings.stride), out_(settings.stride) {
    sockaddr_storage bound{};
    socklen_t bytes = sizeof bound;
    if (getsockname(socket_.fd(), reinterpret_cast<sockaddr *>(&bound), &bytes))
        failed("the UDP port is not known");
    port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 &>(bound).sin6_port
                                              : reinterpret_cast<sockaddr_in &>(bound).sin_port);
}

std::span<const uint8_t> UdpTransport::receive(bool &there) noexcept {
    for (int attempt = 0; !held_ && attempt < ATTEMPTS; attempt++) {
        source_bytes_ = sizeof source_;
        const ssize_t got = recvfrom(socket_.fd(), in_.data(), in_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                     reinterpret_cast<sockaddr *>(&source_), &source_bytes_);
        if (got < 0) {
            if (errno == EINTR || errno == ECONNREFUSED)  // refused: an earlier answer found nobody
                continue;
            break;
        }
        if (static_cast<size_t>(got) > in_.size()) {
            too_long_++;
            continue;
        }
        received_++;
        length_ = static_cast<size_t>(got);
        held_ = true;
    }
    there = held_;
    return {in_.data(), held_ ? length_ : 0};
}

bool UdpTransport::send(size_t bytes) noexcept {
    bytes = std::min(bytes, out_.size());
    size_t least = settings_.padding == Padding::always ? out_.size() : 0;
    Request request;
    if (settings_.padding == Padding::mirror && parse(Bytes(in_.data(), length_), request) == Fault::none &&
        (request.bytes < length_ || length_ == in_.size()))
        least = length_;
    if (bytes < least) {
        std::memset(out_.data() + bytes, 0, least - bytes);
        bytes = least;
    }
    const bool sent = sendto(socket_.fd(), out_.data(), bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr *>(&source_), source_bytes_) == static_cast<ssize_t>(bytes);
    unsent_ += !sent;
    return sent;
}

bool UdpTransport::wait(int64_t spin_ns, int64_t timeout_ns) noexcept {
    return wait_for(socket_.fd(), [this] {
        bool there = false;
        receive(there);
        return there;
    }, spin_ns, timeout_ns);
}

UdpClient::UdpClient(const std::string &host, uint16_t port, uint32_t stride, bool pad)
    : socket_([&] {
          check(stride);
          const Resolved at(host, port, false);
          Socket made = open(*at.list);
          if (connect(made.fd(), at.list->ai_addr, at.list->ai_addrlen))
              failed("UDP port " + std::to_string(port) + " of " + host + " cannot be reached");
          return made;
      }()),
      stride_(stride), pad_(pad), in_(stride), out_(stride) {}

bool UdpClient::send(std::span<const uint8_t> frame) noexcept {
    if (frame.size() > stride_)
        return false;
    if (pad_) {
        std::memset(out_.data(), 0, out_.size());
        if (!frame.empty())
            std::memcpy(out_.data(), frame.data(), frame.size());
        frame = out_;
    }
    return ::send(socket_.fd(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(frame.size());
}

std::span<const uint8_t> UdpClient::receive(int64_t spin_ns, int64_t timeout_ns) noexcept {
    ssize_t got = -1;
    const bool came = wait_for(socket_.fd(), [&] {
        got = recv(socket_.fd(), in_.data(), in_.size(), MSG_DONTWAIT | MSG_TRUNC);
        return got >= 0 && static_cast<size_t>(got) <= in_.size();
    }, spin_ns, timeout_ns);
    return {in_.data(), came ? static_cast<size_t>(got) : 0};
}

}  // namespace qdeck

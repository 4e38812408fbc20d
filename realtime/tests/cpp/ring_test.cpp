#include "check.h"
#include "clock.h"
#include "ring.h"

#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

using namespace qdeck;

#if defined(__SANITIZE_THREAD__)
constexpr bool THREAD_SANITIZER = true;
#else
constexpr bool THREAD_SANITIZER = false;
#endif

static uint64_t scramble(uint64_t number) {
    number *= 0x9E3779B97F4A7C15;
    return number ^ number >> 29;
}

// Message `number`: its length and every byte follow from the number.
static size_t fill(std::span<uint8_t> room, uint64_t number) {
    const size_t bytes = 8 + scramble(number) % (room.size() - 7);
    std::memcpy(room.data(), &number, 8);
    std::memset(room.data() + 8, static_cast<int>(number & 0xff), bytes - 8);
    return bytes;
}

static void verify(std::span<const uint8_t> frame, uint64_t number, size_t capacity) {
    uint64_t found;
    CHECK(frame.size() == 8 + scramble(number) % (capacity - 7));
    std::memcpy(&found, frame.data(), 8);
    CHECK(found == number);
    for (size_t i = 8; i < frame.size(); i++)
        CHECK(frame[i] == static_cast<uint8_t>(number));
}

static void order() {
    const RingFile file = RingFile::create({4, 64, false}, {8, 192, true});
    Producer up = file.producer(Way::up);
    Consumer host = file.consumer(Way::up);
    CHECK(up.capacity() == 56 && file.producer(Way::down).capacity() == 184 && file.shape(Way::down).wakes);
    bool there = true;
    for (int lap = 0; lap < 5; lap++) {
        CHECK(!host.ready() && host.peek(there).empty() && !there && host.backlog() == 0);
        uint8_t frame[57] = {};
        for (uint8_t i = 0; i < 4; i++) {
            frame[0] = i;
            CHECK(up.push({frame, 10u + i}));
        }
        CHECK(!up.push({frame, 1}) && up.reserve().empty() && host.backlog() == 4);
        CHECK(up.popped() == host.popped());
        for (uint8_t i = 0; i < 4; i++) {
            CHECK(host.ready());
            const auto got = host.peek(there);
            CHECK(there && got.size() == 10u + i && got[0] == i);
            host.pop();
        }
        CHECK(up.reserve().size() == 56 && !up.push({frame, 57}) && !host.ready());
    }
    // An empty frame is a frame, and a length beyond the slot gives one.
    CHECK(up.push({}) && host.peek(there).empty() && there);
    host.pop();
    CHECK(!up.reserve().empty());
    up.publish(57);
    CHECK(host.peek(there).empty() && there);
    host.pop();
}

// One thread sends numbers, the other one checks that each comes, in order.
static void one_way(uint64_t messages) {
    const RingFile file = RingFile::create({256, 64, false}, {2, 64, false});
    Producer out = file.producer(Way::up);
    std::thread reader([&] {
        Consumer in = file.consumer(Way::up);
        for (uint64_t i = 0; i < messages; in.pop(), i++) {
            bool there = false;
            std::span<const uint8_t> frame;
            while (frame = in.peek(there), !there)
                std::this_thread::yield();
            uint64_t number;
            CHECK(frame.size() == sizeof number);
            std::memcpy(&number, frame.data(), sizeof number);
            CHECK(number == scramble(i));
        }
    });
    for (uint64_t i = 0; i < messages; i++) {
        const uint64_t number = scramble(i);
        std::span<uint8_t> room;
        while (room = out.reserve(), room.empty())
            std::this_thread::yield();
        std::memcpy(room.data(), &number, sizeof number);
        out.publish(sizeof number);
    }
    reader.join();
}

// And back again, with frames of every length.
static void two_threads(bool wakes, uint64_t messages, uint32_t slots) {
    const RingFile file = RingFile::create({slots, 128, wakes}, {slots, 128, wakes});
    Producer controller = file.producer(Way::up);
    Consumer answers = file.consumer(Way::down);
    std::thread host([&] {
        Consumer in = file.consumer(Way::up);
        Producer out = file.producer(Way::down);
        bool there = false;
        for (uint64_t i = 0; i < messages; i++) {
            while (!in.wait(1000, 1'000'000'000)) {}
            const auto frame = in.peek(there);
            verify(frame, i, in.capacity());
            while (!out.push(frame))
                std::this_thread::yield();
            in.pop();
        }
    });
    uint64_t sent = 0, got = 0;
    bool there = false;
    while (got < messages) {
        const auto room = sent < messages ? controller.reserve() : std::span<uint8_t>();
        if (!room.empty())
            controller.publish(fill(room, sent++));
        const auto frame = answers.peek(there);
        if (there) {
            verify(frame, got++, answers.capacity());
            answers.pop();
        } else if (room.empty()) {
            answers.wait(1000, 1'000'000);
        }
    }
    host.join();
    CHECK(!answers.ready() && controller.popped() == messages);
}

static void waiting() {
    const RingFile file = RingFile::create({2, 64, true}, {2, 64, false});
    Producer producer = file.producer(Way::up);
    Consumer consumer = file.consumer(Way::up);
    Consumer spinning = file.consumer(Way::down);
    CHECK(!consumer.wait(0, 2'000'000) && !spinning.wait(0, 2'000'000));
    CHECK(producer.push({}) && consumer.wait(0, 0));
}

template <class Error, class Call> static std::string refusal(Call call) {
    try {
        call();
    } catch (const Error &error) {
        return error.what();
    }
    return "";
}

static void ends() {
    const RingFile file = RingFile::create({2, 64, false}, {2, 64, false});
    {
        const Producer first = file.producer(Way::up);
        CHECK(!first.peer_holds() && first.peer_beat_ns() == 0 && first.peer_epoch() == 0);
        CHECK(refusal<std::system_error>([&] { file.producer(Way::up); }).find("has a producer already") == 9);
        Consumer second = RingFile::attach(file.fd()).consumer(Way::up);
        CHECK(first.peer_holds() && second.peer_holds() && first.peer_epoch() == 1);
        CHECK(first.peer_pid() == static_cast<uint32_t>(getpid()));
        second.beat(77);
        CHECK(first.peer_beat_ns() == 77);
    }
    CHECK(file.producer(Way::up).peer_epoch() == 1);
}

static void files() {
    using std::invalid_argument;
    for (const RingShape bad : {RingShape{3, 64}, {1, 64}, {1u << 25, 64}, {4, 0}, {4, 96}, {4, 32}, {1u << 24, 1u << 20}})
        CHECK(!refusal<invalid_argument>([&] { RingFile::create(bad, {4, 64}); }).empty());
    const std::string path = "ring_test." + std::to_string(getpid());
    {
        const RingFile made = RingFile::create_at(path, {4, 64, false}, {8, 128, true});
        CHECK(!refusal<std::system_error>([&] { RingFile::create_at(path, {4, 64}, {4, 64}); }).empty());
        CHECK(!refusal<invalid_argument>([&] { RingFile::attach(made.fd()); }).empty());  // without seals
        const RingFile other = RingFile::attach_at(path);
        CHECK(other.shape(Way::down).slots == 8 && other.shape(Way::down).stride == 128 && other.shape(Way::down).wakes);
        Producer up = made.producer(Way::up);
        CHECK(up.push({}) && other.consumer(Way::up).ready());
    }
    // Every byte of the header that is validated, one after the other; then sizes.
    const int fd = ::open(path.c_str(), O_RDWR);
    for (const off_t at : {0, 7, 8, 12, 16, 24, 28, 30, 40, 44}) {
        uint8_t byte, other;
        CHECK(pread(fd, &byte, 1, at) == 1);
        other = static_cast<uint8_t>(byte ^ 0x81);
        CHECK(pwrite(fd, &other, 1, at) == 1);
        CHECK(!refusal<invalid_argument>([&] { RingFile::attach_at(path); }).empty());
        CHECK(pwrite(fd, &byte, 1, at) == 1);
    }
    RingFile::attach_at(path);
    for (const off_t size : {0, 100, 4096, 8192 + 4096}) {
        CHECK(ftruncate(fd, size) == 0);
        CHECK(!refusal<invalid_argument>([&] { RingFile::attach_at(path); }).empty());
    }
    ::close(fd);
    ::unlink(path.c_str());
    CHECK(!refusal<std::system_error>([&] { RingFile::attach_at(path); }).empty());
}

// Any bytes in the first page: the file is refused, or it is a ring whose ends stay within it.
static void mutated() {
    const std::string path = "ring_test.mutated." + std::to_string(getpid());
    { RingFile::create_at(path, {4, 64, false}, {2, 128, false}); }
    const int fd = ::open(path.c_str(), O_RDWR);
    uint8_t good[640], page[640];
    CHECK(pread(fd, good, sizeof good, 0) == sizeof good);
    int taken = 0;
    for (uint64_t trial = 0; trial < 400; trial++) {
        std::memcpy(page, good, sizeof page);
        for (uint64_t i = 0; i <= scramble(trial) % 5; i++) {
            const uint64_t chance = scramble(trial * 977 + i);
            const size_t at = chance % 3 ? 128 + chance / 7 % 512 : chance / 7 % 128;  // mostly the ends
            page[at] = static_cast<uint8_t>(chance >> 40);
        }
        CHECK(pwrite(fd, page, sizeof page, 0) == sizeof page);
        try {
            const RingFile file = RingFile::attach_at(path);
            taken++;
            for (const Way way : {Way::up, Way::down}) {
                Producer producer = file.producer(way);
                Consumer consumer = file.consumer(way);
                bool there = false;
                for (int i = 0; i < 9; i++) {
                    const uint8_t byte = 1;
                    producer.push({&byte, 1});
                    CHECK(consumer.peek(there).size() <= consumer.capacity());
                    if (there)
                        consumer.pop();
                }
                consumer.wait(0, 1);
            }
        } catch (const std::invalid_argument &) {
        }
    }
    CHECK(taken > 100 && taken < 400);
    ::close(fd);
    ::unlink(path.c_str());
}

// A producer that was killed between a message and its count, and one that was killed before it was published.
static void interrupted() {
    const std::string path = "ring_test.count." + std::to_string(getpid());
    const RingFile file = RingFile::create_at(path, {4, 64, false}, {2, 64, false});
    const off_t count = 128;  // of the first ring's producer
    uint64_t published = 0;
    {
        Producer first = file.producer(Way::up);
        for (uint8_t i = 0; i < 3; i++)
            CHECK(first.push({&i, 1}));
        first.reserve()[0] = 77;
        CHECK(first.published() == 3);
    }
    const int fd = ::open(path.c_str(), O_RDWR);
    CHECK(pread(fd, &published, sizeof published, count) == 8 && published == 3);
    published = 2;
    CHECK(pwrite(fd, &published, sizeof published, count) == 8);
    ::close(fd);
    ::unlink(path.c_str());
    Producer second = file.producer(Way::up);
    CHECK(second.published() == 3);
    const uint8_t last = 3;
    CHECK(second.push({&last, 1}) && second.reserve().empty());
    Consumer consumer = file.consumer(Way::up);
    bool there = false;
    for (uint8_t i = 0; i < 4; i++) {
        const auto frame = consumer.peek(there);
        CHECK(there && frame.size() == 1 && frame[0] == i);
        consumer.pop();
    }
    CHECK(!consumer.ready());
}

// A peer in another process takes the descriptor from a socket, echoes, and is killed; another one goes on.
static void killed() {
    const RingFile file = RingFile::create({16, 64, true}, {16, 64, true});
    Producer out = file.producer(Way::up);
    Consumer in = file.consumer(Way::down);
    uint64_t sent = 0, got = 0;
    bool there = false;
    for (uint32_t life = 1; life <= 3; life++) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        const pid_t child = fork();
        if (child == 0) {
            const RingFile mine = RingFile::attach(receive_fd(pair[1]));
            Consumer work = mine.consumer(Way::up);
            Producer answer = mine.producer(Way::down);
            for (;;) {
                if (!work.wait(1000, 100'000'000))
                    continue;
                while (!answer.push(work.peek(there)))
                    std::this_thread::yield();
                work.pop();
            }
        }
        send_fd(pair[0], file.fd());
        const uint64_t until = got + 2000;
        while (got < until) {
            const auto room = out.reserve();
            if (!room.empty())
                out.publish(fill(room, sent++));
            const auto frame = in.peek(there);
            if (!there) {
                std::this_thread::yield();
                continue;
            }
            uint64_t number;
            CHECK(frame.size() >= 8);
            std::memcpy(&number, frame.data(), 8);
            // What the killed one had answered but not popped comes twice; nothing is missing.
            CHECK(number == got || (life > 1 && number + 1 == got));
            got = number + 1;
            in.pop();
        }
        CHECK(out.peer_holds() && out.peer_epoch() == life && out.peer_pid() == static_cast<uint32_t>(child));
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, nullptr, 0) == child);
        CHECK(!out.peer_holds() && !in.peer_holds());
        // Alone it goes on: to a full ring, and no further.
        while (!out.reserve().empty())
            out.publish(fill(out.reserve(), sent++));
        CHECK(out.published() - out.popped() == 16);
        ::close(pair[0]);
        ::close(pair[1]);
    }
}

int main() {
    order();
    waiting();
    ends();
    files();
    mutated();
    interrupted();
    const uint64_t many = THREAD_SANITIZER ? 100'000 : 200'000;
    one_way(2'000'000);
    two_threads(false, many, 1024);
    two_threads(false, many / 10, 2);
    two_threads(true, many, 4);
    killed();
}

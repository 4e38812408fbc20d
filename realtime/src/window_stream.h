// Sliding windows (window.h) behind the protocol of streams (stream.h): a layer is a round.
#pragma once

#include <memory>

#include "stream.h"
#include "window.h"

namespace qdeck {

class WindowStream final : public StreamDecoder {
public:
    // `windows` must outlive it.
    explicit WindowStream(const Windows &windows) : stream_(windows) {}
    void begin() noexcept override { stream_.begin(); }
    bool erase(std::span<const int32_t> sites) noexcept override { return stream_.erase(sites); }
    Committed round(std::span<const int32_t> defects) noexcept override {
        stream_.add(defects);
        return committed();
    }
    Committed close(std::span<const int32_t> defects) noexcept override {
        stream_.add(defects, true);
        return committed();
    }

    bool adopts() const noexcept override { return true; }
    bool adopt(const StreamDecoder &old) noexcept override {
        return old.kind() == kind() && stream_.adopt(static_cast<const WindowStream &>(old).stream_);
    }
    const void *kind() const noexcept override { return &KIND; }

private:
    static constexpr char KIND = 0;
    Committed committed() const noexcept {
        const Answer answer = stream_.answer();
        return {answer.observables, stream_.progress().committed, answer.quality == Quality::failed};
    }
    Stream stream_;
};

}  // namespace qdeck

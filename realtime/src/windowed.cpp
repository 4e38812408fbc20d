#include "window.h"

#include <stdexcept>
#include <string>

namespace qdeck {

class WindowedDecoder final : public Decoder {
public:
    explicit WindowedDecoder(const Windowed &compiled_)
        : compiled(compiled_), stream(compiled.windows.stream()), ranks(compiled.layer.size()) {}

    void begin() noexcept override {
        stream->begin(compiled.layers);
        now = 0;
        count = 0;
        late = false;
    }

    void add(std::span<const int32_t> defects) noexcept override {
        for (const int32_t v : defects) {
            late = late || compiled.layer[v] < now;
            while (now < compiled.layer[v])
                flush();
            ranks[count++] = compiled.rank[v];
        }
    }

    Answer finish() noexcept override {
        while (now < compiled.layers)
            flush();
        Answer answer = stream->answer();
        if (late)
            answer.quality = Quality::failed;
        return answer;
    }

private:
    void flush() noexcept {
        stream->add({ranks.data(), count});
        now++;
        count = 0;
    }

    const Windowed &compiled;
    std::unique_ptr<Stream> stream;
    std::vector<int32_t> ranks;
    size_t count = 0;
    int32_t now = 0;
    bool late = false;
};

Windowed::Windowed(const Model &volume, WindowSettings settings, const Maker &maker)
    : windows(volume, settings, maker), layers(Layers(volume).count()), layer(volume.layer), rank(layer.size()) {
    if (layers < windows.least())
        throw std::invalid_argument("a volume of " + std::to_string(layers) + " layers is too short for windows of " +
                                    std::to_string(settings.window) + " that advance by " +
                                    std::to_string(settings.commit) + ": they need " + std::to_string(windows.least()) +
                                    "; decode it as a whole");
    const Layers all(volume);
    for (const auto &members : all.members)
        for (size_t i = 0; i < members.size(); i++)
            rank[members[i]] = static_cast<int32_t>(i);
}

std::unique_ptr<Decoder> Windowed::decoder() const { return std::make_unique<WindowedDecoder>(*this); }

}  // namespace qdeck

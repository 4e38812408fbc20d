#include "dispatch.h"

#include <stdexcept>
#include <string>

namespace qdeck {
namespace {

// The bytes of a response in `out`; a header alone that tells of the trouble if the result does not fit.
size_t respond(const Request &request, Status status, Bytes result, const Patch *patch, Room out) noexcept {
    Tell tell;
    if (patch)
        tell = {patch->epoch(), patch->tell_flags(), 0};
    const Tell *told = request.ask & ask::tell ? &tell : nullptr;
    const size_t bytes = write_response(out, status, request.request_id, request.ptp_ns, result, told);
    return bytes ? bytes
                 : write_response(out, status == Status::ok ? Status::internal_error : status, request.request_id,
                                  request.ptp_ns, {});
}

}  // namespace

void Dispatcher::add(int64_t decoder, Patch &patch) {
    if (decoder < 0 || decoder >= MOST_DECODERS)
        throw std::invalid_argument("decoder " + std::to_string(decoder) + " is out of range: use ids from 0 to " +
                                    std::to_string(MOST_DECODERS - 1));
    if (find(decoder))
        throw std::invalid_argument("there are two decoders " + std::to_string(decoder) + ": each needs an id of its own");
    if (static_cast<size_t>(decoder) >= patches_.size())
        patches_.resize(static_cast<size_t>(decoder) + 1);
    patches_[static_cast<size_t>(decoder)] = &patch;
}

void Dispatcher::remove(int64_t decoder) noexcept {
    if (find(decoder))
        patches_[static_cast<size_t>(decoder)] = nullptr;
}

Outcome Dispatcher::handle(Bytes in, Room out) noexcept {
    Outcome outcome;
    Request request;
    handled_++;
    if (parse(in, request) != Fault::none)
        dropped_++;
    else if (request.function == static_cast<uint32_t>(Function::batch))
        outcome.bytes = batch(request, out, outcome);
    else
        outcome.bytes = one(request, out, outcome);
    return outcome;
}

size_t Dispatcher::batch(const Request &request, Room out, Outcome &outcome) noexcept {
    if (out.size() < HEADER_BYTES)
        return 0;
    const size_t tail = request.ask & ask::tell ? EXTENSION_BYTES : 0;
    const size_t room = out.size() - HEADER_BYTES;
    Room results = out.subspan(HEADER_BYTES, room > tail ? room - tail : 0);
    size_t used = 0;
    Status status = Status::ok;
    Batch batch(request.payload);
    Bytes frame;
    while (batch.next(frame)) {
        Request inner;
        parse(frame, inner);
        if (inner.function == static_cast<uint32_t>(Function::batch)) {  // no batches in batches
            status = Status::bad_request;
            continue;
        }
        uint8_t spare[HEADER_BYTES];  // when the responses before have taken all the room, the work is still done
        const bool fits = results.size() - used >= HEADER_BYTES;
        const size_t bytes = one(inner, fits ? results.subspan(used) : Room(spare), outcome);
        if (fits)
            used += bytes;
        else if (bytes)
            status = Status::internal_error;
    }
    if (batch.fault() != Fault::none)
        status = Status::bad_request;
    outcome.refused += status != Status::ok;
    if (used == 0 && status == Status::ok && (request.ask & ask::quiet))
        return 0;
    return respond(request, status, results.first(used), nullptr, out);
}

size_t Dispatcher::one(const Request &request, Room out, Outcome &outcome) noexcept {
    const auto function = static_cast<Function>(request.function);
    switch (function) {
    case Function::enqueue_syndromes:
    case Function::enqueue_outcomes:
    case Function::get_corrections:
    case Function::reset_decoder:
    case Function::swap_decoder:
    case Function::heartbeat:
    case Function::stats:
        break;
    default:
        dropped_++;
        return 0;
    }
    outcome.requests++;
    outcome.ptp_ns = request.ptp_ns;
    int64_t decoder = -1;
    const auto refuse = [&](Status status, const Patch *patch = nullptr) {
        outcome.refused++;
        return respond(request, status, {}, patch, out);
    };
    if (!decoder_of(request.payload, decoder))
        return refuse(Status::bad_request);
    Patch *patch = find(decoder);
    if (!patch)
        return refuse(Status::invalid_decoder);
    outcome.patch = patch;
    outcome.decoder = decoder;

    switch (function) {
    case Function::enqueue_syndromes:
        return enqueue(request, out, outcome, false);
    case Function::enqueue_outcomes:
        return enqueue(request, out, outcome, true);
    case Function::get_corrections: {
        Get get;
        uint8_t bits[8];
        size_t bytes = 0;
        const Status status = parse(request.payload, get) ? patch->corrections(get, bits, bytes) : Status::bad_request;
        if (status != Status::ok)
            return refuse(status, patch);
        outcome.answered = true;
        return respond(request, status, Bytes(bits, bytes), patch, out);
    }
    case Function::reset_decoder:
        patch->reset();
        return respond(request, Status::ok, {}, patch, out);
    case Function::swap_decoder: {
        int64_t version = 0;
        const Status status = !swapper_ || !decoder_of(request.payload.subspan(sizeof decoder), version)
                                  ? Status::bad_request
                                  : swapper_->swap(decoder, version);
        return status == Status::ok ? respond(request, status, {}, patch, out) : refuse(status, patch);
    }
    case Function::heartbeat:
        return respond(request, Status::ok, request.payload, patch, out);
    default: {  // stats
        const PatchStats &stats = patch->stats();
        return respond(request, Status::ok, {reinterpret_cast<const uint8_t *>(&stats), sizeof stats}, patch, out);
    }
    }
}

size_t Dispatcher::enqueue(const Request &request, Room out, Outcome &outcome, bool outcomes) noexcept {
    Patch &patch = *outcome.patch;
    Enqueue round;
    Taken taken;
    const uint64_t lost = patch.stats().lost;
    if (parse(request.payload, round, outcomes))
        taken = patch.enqueue(round, request.ask, outcomes);
    else
        taken.status = patch.malformed();
    outcome.enqueued = true;
    outcome.counter = round.counter;
    outcome.completed |= taken.completed;
    outcome.failed |= taken.completed && !patch.ready();
    outcome.lost += static_cast<uint32_t>(patch.stats().lost - lost);
    Status status = taken.status;
    uint8_t bits[8];
    size_t bytes = 0;
    const bool push = (request.ask & ask::push) && (taken.completed || (taken.repeated && patch.ready()));
    if (status == Status::ok && push) {
        status = patch.corrections({outcome.decoder, patch.observables(), false}, bits, bytes);
        outcome.answered |= status == Status::ok;
    }
    if (status != Status::ok)
        outcome.refused++;
    else if ((request.ask & ask::quiet) && !push)
        return 0;
    return respond(request, status, Bytes(bits, bytes), &patch, out);
}

}  // namespace qdeck

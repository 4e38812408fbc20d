// The search of blossom_core.h: one alternating tree, from an exposed defect to a larger match.
//
// Duals of outer defects grow with the time of the search, those of inner ones shrink. Keys are times: when a defect
// outside of the tree becomes tight with an outer one, or two outer ones with each other (kept at the one that was
// outer first). A pair that has come to lie within one blossom is found stale when its key comes up.
#pragma once

#include "blossom_core.h"

namespace qdeck {

// Grows the tree of an exposed defect until the match is larger by one.
template <class L> bool Blossom<L>::search(int32_t root) noexcept {
    counts.searches++;
    time_ = 0;
    bound_key_ = reach_key_ = 0x10000;
    labelled_count_ = 0;
    const V never = L::fill(0xffff), zero = L::fill(0);
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        L::store(key_ + at, never);
        L::store(outer_ + at, zero);
        L::store(shut_ + at, L::load(pad_ + at));
    }
    label(root, OUTER);
    enter(root, root);
    bool found = true;
    for (;;) {
        V least = never;
        for (int32_t q = 0; q < vectors_; q++)
            least = L::least(least, L::either(L::load(key_ + q * LANES), L::load(shut_ + q * LANES)));
        const int32_t key = L::lowest(least);
        int32_t empty = -1, empty_key = 0x10000;
        for (int32_t l = 0; l < live_count_; l++) {
            const Node &node = nodes_[live_[l]];
            if (node.label == INNER && time_ + node.dual / 2 < empty_key) {
                empty_key = time_ + node.dual / 2;
                empty = live_[l];
            }
        }
        int32_t next = key < bound_key_ ? key : bound_key_;
        next = next < empty_key ? next : empty_key;
        next = next < reach_key_ ? next : reach_key_;
        if (next >= 0xffff) {
            found = false;
            break;
        }
        if (next > time_)
            advance(next - time_);
        if (next == bound_key_) {
            augment(bound_from_, OUTSIDE);
            break;
        }
        if (next == empty_key) {
            expand(empty);
            continue;
        }
        if (next < key) {
            complete(reach_from_);
            continue;
        }
        int32_t into = 0;
        for (int32_t q = 0; q < vectors_; q++) {
            const V now = L::either(L::load(key_ + q * LANES), L::load(shut_ + q * LANES));
            const int lane = L::first(L::equal(now, L::fill(uint16_t(key))));
            if (lane >= 0) {
                into = q * LANES + lane;
                break;
            }
        }
        const int32_t node = top_[into], from = from_[into];
        if (nodes_[node].label == OUTER) {
            if (top_[from] == node)
                refresh(into);
            else
                shrink(from, into);
            continue;
        }
        if (mate_[nodes_[node].base] < 0) {
            augment(from, into);
            break;
        }
        grow(from, into);
    }
    for (int32_t l = 0; l < labelled_count_; l++)
        nodes_[labelled_[l]].label = NONE;
    return found;
}

// All duals of the tree by `by`.
template <class L> void Blossom<L>::advance(int32_t by) noexcept {
    time_ += by;
    const V step = L::fill(uint16_t(by));
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        const V up = L::adds(L::load(y_ + at), L::both(L::load(outer_ + at), step));
        L::store(y_ + at, L::subs(up, L::both(L::load(shut_ + at), step)));
    }
    for (int32_t l = 0; l < live_count_; l++) {
        Node &node = nodes_[live_[l]];
        if (node.label == OUTER)
            node.dual += 2 * by;
        else if (node.label == INNER)
            node.dual -= 2 * by;
    }
}

template <class L> void Blossom<L>::bound(int32_t defect) noexcept {
    const int32_t key = time_ + bound_[defect] - y_[defect];
    if (open_ && key < bound_key_) {
        bound_key_ = key;
        bound_from_ = defect;
    }
    if (partial_[defect] && time_ + half_reach_ - y_[defect] < reach_key_) {
        reach_key_ = time_ + half_reach_ - y_[defect];
        reach_from_ = defect;
    }
}

// Looks up the words of an outer defect that were left out.
template <class L> void Blossom<L>::complete(int32_t defect) noexcept {
    counts.completed++;
    partial_[defect] = 0;
    for (int32_t i = 0; i < count_; i++) {
        uint16_t &word = part_->row(defect, i / LANES)[i % LANES];
        if (word == 0xffff && i != defect)
            word = part_->row(i, defect / LANES)[defect % LANES] = part_->word(defect, i);
    }
    const int32_t own = collect(top_[defect], list_);
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0xffff;
    relax(defect);
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0;
    // The next one.
    const V half = L::fill(uint16_t(half_reach_));
    V least = L::fill(0xffff);
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        const V wanted = L::both(L::load(outer_ + at), L::load(partial_ + at));
        least = L::least(least, L::either(L::subs(half, L::load(y_ + at)), L::without(L::fill(0xffff), wanted)));
    }
    const int32_t wait = L::lowest(least);
    reach_key_ = wait == 0xffff ? 0x10000 : time_ + wait;
    for (int32_t q = 0; q < vectors_ && wait < 0xffff; q++) {
        const int32_t at = q * LANES;
        const V wanted = L::both(L::load(outer_ + at), L::load(partial_ + at));
        const int lane = L::first(L::both(wanted, L::equal(L::subs(half, L::load(y_ + at)), L::fill(uint16_t(wait)))));
        if (lane >= 0) {
            reach_from_ = at + lane;
            break;
        }
    }
}

// The keys of all pairs of an outer defect; not those within its node, which `own_` has.
template <class L> void Blossom<L>::relax(int32_t defect) noexcept {
    const V y = L::fill(y_[defect]), time = L::fill(uint16_t(time_)), self = L::fill(uint16_t(defect));
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        const V slack = L::subs(L::subs(twice(defect, q), L::load(y_ + at)), y);
        const V wait = L::pick(slack, L::half(slack), L::load(outer_ + at));
        const V key = L::either(L::adds(wait, time), L::load(own_ + at));
        const V old = L::load(key_ + at), now = L::least(old, key);
        L::store(from_ + at, L::pick(self, L::load(from_ + at), L::equal(old, now)));
        L::store(key_ + at, now);
    }
}

// A defect that is no blossom becomes outer, and `shut`, its mate, inner: the same, with the lanes set on the way.
template <class L> void Blossom<L>::enter(int32_t defect, int32_t shut) noexcept {
    const V y = L::fill(y_[defect]), time = L::fill(uint16_t(time_));
    const V self = L::fill(uint16_t(defect)), inner = L::fill(uint16_t(shut));
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        const V number = L::load(number_ + at), own = L::equal(number, self);
        const V outer = L::load(outer_ + at);
        const V slack = L::subs(L::subs(twice(defect, q), L::load(y_ + at)), y);
        const V wait = L::pick(slack, L::half(slack), outer);
        const V old = L::either(L::load(key_ + at), own), now = L::either(L::least(old, L::adds(wait, time)), own);
        L::store(from_ + at, L::pick(self, L::load(from_ + at), L::equal(old, now)));
        L::store(key_ + at, now);
        L::store(outer_ + at, L::either(outer, own));
        L::store(shut_ + at, L::either(L::load(shut_ + at), L::without(L::equal(number, inner), own)));
    }
    bound(defect);
}

// The key of one defect anew: of an outer one against outer ones of other nodes, else against all outer ones.
template <class L> void Blossom<L>::refresh(int32_t defect) noexcept {
    counts.stale++;
    const bool outer = nodes_[top_[defect]].label == OUTER;
    const int32_t own = outer ? collect(top_[defect], list_) : 0;
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0xffff;
    const V y = L::fill(y_[defect]);
    V least = L::fill(0xffff);
    for (int pass = 0;; pass++) {
        const V wanted = L::fill(L::lowest(least));
        for (int32_t q = 0; q < vectors_; q++) {
            const int32_t at = q * LANES;
            const V other = L::without(L::load(outer_ + at), L::load(own_ + at));
            const V slack = L::subs(L::subs(twice(defect, q), L::load(y_ + at)), y);
            const V open = L::either(slack, L::without(L::fill(0xffff), other));
            if (pass == 0) {
                least = L::least(least, open);
            } else if (const int lane = L::first(L::both(L::equal(open, wanted), other)); lane >= 0) {
                from_[defect] = uint16_t(at + lane);
                break;
            }
        }
        if (pass == 1)
            break;
    }
    const int32_t slack = L::lowest(least);
    const int32_t key = slack == 0xffff ? 0xffff : time_ + (outer ? slack / 2 : slack);
    key_[defect] = uint16_t(key < 0xffff ? key : 0xffff);
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0;
}

// Defects of an outer node become outer, all at this time.
template <class L> void Blossom<L>::join(const int32_t *defects, int32_t count, int32_t node) noexcept {
    for (int32_t i = 0; i < count; i++) {
        const int32_t defect = defects[i];
        outer_[defect] = 0xffff;
        shut_[defect] = 0;
        key_[defect] = 0xffff;
        bound(defect);
    }
    const int32_t own = collect(node, list_);
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0xffff;
    for (int32_t i = 0; i < count; i++)
        relax(defects[i]);
    for (int32_t i = 0; i < own; i++)
        own_[list_[i]] = 0;
}

}  // namespace qdeck

// The tree of search_core.h: it takes in nodes, rings of odd length become blossoms, empty inner blossoms fall apart,
// and the matches along a path are swapped.
#pragma once

#include "blossom_core.h"

namespace qdeck {

// The tree takes in a matched node through a tight pair, and its partner.
template <class L> void Blossom<L>::grow(int32_t from, int32_t into) noexcept {
    const int32_t inner = top_[into], outer = top_[mate_[nodes_[inner].base]];
    label(inner, INNER);
    label(outer, OUTER);
    nodes_[inner].from = from;
    nodes_[inner].into = into;
    if (inner < capacity_ && outer < capacity_) {
        enter(outer, inner);
        return;
    }
    for (int32_t i = collect(inner, list_); i-- > 0;)
        shut_[list_[i]] = 0xffff;
    const int32_t count = collect(outer, fresh_);
    join(fresh_, count, outer);
}

// The pair (a, b) of outer defects closes an odd ring: a blossom, outer.
template <class L> void Blossom<L>::shrink(int32_t a, int32_t b) noexcept {
    counts.shrunk++;
    const int32_t left = top_[a], right = top_[b];
    // Where the two paths to the root meet.
    stamp_++;
    int32_t meet = -1;
    for (int32_t l = left, r = right; meet < 0;) {
        for (int32_t *side : {&l, &r}) {
            if (*side < 0)
                continue;
            if (nodes_[*side].seen == stamp_) {
                meet = *side;
                break;
            }
            nodes_[*side].seen = stamp_;
            *side = above(*side);
        }
    }
    const int32_t blossom = unused_count_ ? unused_[--unused_count_] : next_++;
    Node &whole = nodes_[blossom];
    whole.parent = -1;
    whole.base = nodes_[meet].base;
    whole.first = meet;
    whole.dual = 0;
    whole.seen = 0;
    // The ring: from `meet` down to `left`, over the pair (a, b) to `right`, and up again.
    int32_t count = 0;
    const auto tie = [&](int32_t node, int32_t next, int32_t out, int32_t in) {
        nodes_[node].next = next;
        nodes_[next].prev = node;
        nodes_[node].out = out;
        nodes_[node].in = in;
    };
    const auto take = [&](int32_t node) {
        if (nodes_[node].label == INNER)
            count += collect(node, fresh_ + count);
        nodes_[node].parent = blossom;
    };
    tie(left, right, a, b);
    for (int32_t side = 0; side < 2; side++)
        for (int32_t node = side ? right : left; node != meet;) {
            const int32_t base = nodes_[node].base, inner = top_[mate_[base]];
            const int32_t outer = top_[nodes_[inner].from];
            if (side) {
                tie(node, inner, base, mate_[base]);
                tie(inner, outer, nodes_[inner].into, nodes_[inner].from);
            } else {
                tie(inner, node, mate_[base], base);
                tie(outer, inner, nodes_[inner].from, nodes_[inner].into);
            }
            take(node);
            take(inner);
            node = outer;
        }
    take(meet);
    label(blossom, OUTER);
    int32_t kept = 0;
    for (int32_t l = 0; l < live_count_; l++)
        if (nodes_[live_[l]].parent < 0)
            live_[kept++] = live_[l];
    live_count_ = kept;
    live_[live_count_++] = blossom;
    for (int32_t i = collect(blossom, list_); i-- > 0;)
        top_[list_[i]] = blossom;
    join(fresh_, count, blossom);
}

// An inner blossom whose dual is 0 falls apart: the even side of its ring stays in the tree, the rest is free.
template <class L> void Blossom<L>::expand(int32_t node) noexcept {
    counts.expanded++;
    const Node whole = nodes_[node];
    const int32_t entry = child(node, whole.into);
    int32_t kept = 0;
    for (int32_t l = 0; l < live_count_; l++)
        if (live_[l] != node)
            live_[kept++] = live_[l];
    live_count_ = kept;
    unused_[unused_count_++] = node;
    nodes_[node].label = NONE;

    int32_t steps = 0;
    int32_t at = whole.first;
    do {
        if (at >= capacity_)
            live_[live_count_++] = at;
        nodes_[at].label = NONE;
        nodes_[at].parent = -1;
        for (int32_t i = collect(at, list_); i-- > 0;)
            top_[list_[i]] = at;
        at = nodes_[at].next;
    } while (at != whole.first);
    for (at = entry; at != whole.first; at = nodes_[at].next)
        steps++;
    const bool forward = steps % 2 == 0;
    // Labels along the even side, from the entry to the base.
    label(entry, INNER);
    nodes_[entry].from = whole.from;
    nodes_[entry].into = whole.into;
    for (at = entry; at != whole.first;) {
        const int32_t middle = forward ? nodes_[at].next : nodes_[at].prev;
        const int32_t last = forward ? nodes_[middle].next : nodes_[middle].prev;
        label(middle, OUTER);
        label(last, INNER);
        nodes_[last].from = forward ? nodes_[middle].out : nodes_[last].in;
        nodes_[last].into = forward ? nodes_[middle].in : nodes_[last].out;
        at = last;
    }
    at = whole.first;
    do {
        if (nodes_[at].label == OUTER)
            join(fresh_, collect(at, fresh_), at);
        at = nodes_[at].next;
    } while (at != whole.first);
    do {
        if (nodes_[at].label == NONE) {
            const int32_t count = collect(at, fresh_);
            for (int32_t i = 0; i < count; i++) {
                shut_[fresh_[i]] = 0;
                refresh(fresh_[i]);
            }
        }
        at = nodes_[at].next;
    } while (at != whole.first);
}

// The match within a node, changed so that `defect` is the one that is matched outside.
template <class L> void Blossom<L>::rebase(int32_t node, int32_t defect) noexcept {
    if (node < capacity_)
        return;
    Node &whole = nodes_[node];
    const int32_t last = whole.first, start = child(node, defect);
    rebase(start, defect);
    int32_t steps = 0;
    for (int32_t at = start; at != last; at = nodes_[at].next)
        steps++;
    const bool forward = steps % 2 == 0;
    for (int32_t at = start; at != last;) {
        const int32_t one = forward ? nodes_[at].next : nodes_[at].prev;
        const int32_t two = forward ? nodes_[one].next : nodes_[one].prev;
        const int32_t a = forward ? nodes_[one].out : nodes_[two].in, b = forward ? nodes_[one].in : nodes_[two].out;
        rebase(one, a);
        rebase(two, b);
        mate_[a] = b;
        mate_[b] = a;
        at = two;
    }
    whole.first = start;
    whole.base = defect;
}

// Swaps the matches along the tree from an outer defect to the root; the outer one is matched to the target.
template <class L> void Blossom<L>::augment(int32_t outer, int32_t target) noexcept {
    if (target >= 0) {
        rebase(top_[target], target);
        mate_[target] = outer;
    }
    for (;;) {
        const int32_t node = top_[outer], before = mate_[nodes_[node].base];
        rebase(node, outer);
        mate_[outer] = target;
        if (before < 0)
            return;
        const int32_t inner = top_[before], from = nodes_[inner].from, into = nodes_[inner].into;
        rebase(inner, into);
        mate_[into] = from;
        target = into;
        outer = from;
    }
}

template <class L> int32_t Blossom<L>::collect(int32_t node, int32_t *defects) noexcept {
    if (node < capacity_) {
        defects[0] = node;
        return 1;
    }
    int32_t count = 0, depth = 0;
    stack_[depth++] = node;
    while (depth) {
        const int32_t at = stack_[--depth];
        if (at < capacity_) {
            defects[count++] = at;
            continue;
        }
        int32_t next = nodes_[at].first;
        do {
            stack_[depth++] = next;
            next = nodes_[next].next;
        } while (next != nodes_[at].first);
    }
    return count;
}

// The child of a blossom that holds a defect.
template <class L> int32_t Blossom<L>::child(int32_t node, int32_t defect) const noexcept {
    int32_t at = defect;
    while (nodes_[at].parent != node)
        at = nodes_[at].parent;
    return at;
}

}  // namespace qdeck

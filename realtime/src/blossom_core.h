// A minimum-weight matching with boundary of any number of defects, exact: the primal-dual method with blossoms (Edmonds
// 1965; the single-tree search on dense graphs after Galil, ACM Computing Surveys 18, 1986) on the complete graph of the
// defects' capped distances, in 16-bit integers. For one kind of lanes (lanes.h).
//
// Duals y start at min(B(i), min_j V(i, j) / 2): mutual nearest neighbours are tight at once, and most defects are
// matched before the first search. Each defect that is left grows one alternating tree until it meets the boundary or a
// match that can give way. The boundary is a node that takes any number of partners, with dual 0.
//
// Far pairs are looked up late: a word that is left out is at least `reach`, and as long as all duals are at most half of
// that, it cannot be tight. A defect whose dual would grow beyond has its row completed first.
//
//
// V is twice a distance, so that all events of a search fall on integers: all duals in a tree have the same parity. The
// distances obey the triangle inequality, so that no dual becomes negative, and unsigned saturating arithmetic is exact.
// Keys are absolute times of a search: when a defect outside of the tree becomes tight with an outer one, or two outer
// ones with each other (kept at the one that was outer first). A pair that has come to lie within one blossom is found
// stale when its key comes up.
#pragma once

#include "gather_core.h"

namespace qdeck {

template <class L> class Blossom final : public Kernel {
public:
    explicit Blossom(int32_t capacity) : capacity_(capacity) {
        const size_t defects = size_t(capacity) + LANES, nodes = 2 * defects;
        for (uint16_t **lanes : {&y_, &key_, &from_, &shut_, &outer_, &own_, &number_, &bound_, &pad_, &partial_})
            *lanes = arena.array<uint16_t>(defects);
        for (size_t i = 0; i < defects; i++) {
            number_[i] = uint16_t(i);
            own_[i] = 0;
        }
        nodes_ = arena.array<Node>(nodes);
        for (size_t i = 0; i < nodes; i++)
            nodes_[i].label = NONE, nodes_[i].seen = 0;
        for (int32_t **list : {&top_, &unused_, &live_, &labelled_, &list_, &fresh_, &stack_})
            *list = arena.array<int32_t>(nodes);
    }

    size_t unpack(const uint64_t *words, size_t bits, int32_t *numbers) const noexcept override {
        return Gather<L>::unpack(words, bits, numbers);
    }
    void add(Shot &shot, const int32_t *defects, size_t count) noexcept override { Gather<L>::add(shot, defects, count); }

    bool solve(Gathered &part, int64_t &sum, uint32_t &parity) noexcept override {
        counts.solved++;
        part_ = &part;
        count_ = part.count;
        vectors_ = (count_ + LANES - 1) / LANES;
        mate_ = part.mate;
        open_ = part.basis->open;
        next_ = capacity_;
        built_ = !start(sum, parity);
        if (built_) {
            build();
            for (int32_t i = 0; i < count_; i++)
                if (mate_[i] == EXPOSED && !pick(i) && !search(i))
                    return false;
            add_up(sum, parity);
        }
        return true;
    }

    bool proven() const noexcept override;

private:
    using V = typename L::V;
    enum Label : uint8_t { NONE, OUTER, INNER };

    // A defect (its number) or a blossom (from capacity_): a ring of an odd number of nodes.
    struct Node {
        int32_t parent;      // the blossom around it, or -1
        int32_t base;        // the defect that is matched outside of the node
        int32_t first;       // blossom: the child that holds the base
        int32_t next, prev;  // in the ring of its blossom,
        int32_t out, in;     //   with the tight pair: `out` in this node, `in` in the next one
        int32_t from, into;  // inner: the tight pair by which the tree came in, `into` in this node
        int32_t dual;        // blossom: z
        uint32_t seen;
        Label label;
    };

    bool start(int64_t &sum, uint32_t &parity) noexcept;
    void build() noexcept;
    bool pick(int32_t defect) noexcept;
    void add_up(int64_t &sum, uint32_t &parity) const noexcept;
    bool search(int32_t root) noexcept;
    void advance(int32_t by) noexcept;
    void relax(int32_t defect) noexcept;
    void enter(int32_t defect, int32_t shut) noexcept;
    void refresh(int32_t defect) noexcept;
    void bound(int32_t defect) noexcept;
    void complete(int32_t defect) noexcept;
    void join(const int32_t *defects, int32_t count, int32_t node) noexcept;
    void grow(int32_t from, int32_t into) noexcept;
    void shrink(int32_t a, int32_t b) noexcept;
    void expand(int32_t node) noexcept;
    void rebase(int32_t node, int32_t defect) noexcept;
    void augment(int32_t outer, int32_t target) noexcept;
    int32_t collect(int32_t node, int32_t *defects) noexcept;
    int32_t child(int32_t node, int32_t defect) const noexcept;

    void label(int32_t node, Label label) noexcept {
        nodes_[node].label = label;
        labelled_[labelled_count_++] = node;
    }
    // The outer node above an outer node, or -1 at the root.
    int32_t above(int32_t node) const noexcept {
        const int32_t mate = mate_[nodes_[node].base];
        return mate < 0 ? -1 : top_[nodes_[top_[mate]].from];
    }
    V twice(int32_t row, int32_t vector) const noexcept {
        return L::both(L::load(part_->row(row, vector)), L::fill(0xfffe));
    }

    Gathered *part_ = nullptr;
    int32_t capacity_, count_ = 0, vectors_ = 0, time_ = 0, next_ = 0;
    int32_t *mate_ = nullptr;
    bool open_ = false, built_ = false;
    uint16_t *y_, *key_, *from_, *shut_, *outer_, *own_, *number_, *bound_, *pad_, *partial_;
    int32_t bound_key_ = 0, bound_from_ = 0;
    int32_t half_reach_ = 0, reach_key_ = 0, reach_from_ = 0;  // when an outer defect must be completed
    uint32_t stamp_ = 0;
    Node *nodes_;
    int32_t *top_, *unused_, *live_, *labelled_, *list_, *fresh_, *stack_;
    int32_t unused_count_ = 0, live_count_ = 0, labelled_count_ = 0;
};

// The first duals, and the matches of nearest neighbours and at the boundary that are tight with them. True if they are
// all matches.
template <class L> bool Blossom<L>::start(int64_t &sum, uint32_t &parity) noexcept {
    half_reach_ = part_->basis->reach / 2;
    const V reach = L::fill(uint16_t(half_reach_)), last = L::fill(uint16_t(count_ - 1)), all = L::fill(0xffff);
    for (int32_t q = 0; q < vectors_; q++) {
        const int32_t at = q * LANES;
        const V bound = L::both(L::load(part_->bounds + at), L::fill(0xfffe));
        const V number = L::load(number_ + at), inside = L::equal(L::least(number, last), number);
        const V half = L::half(L::high(part_->best + at));
        L::store(bound_ + at, bound);
        // Lanes beyond the last defect have the dual 0 and stay shut.
        L::store(y_ + at, L::both(L::least(L::least(bound, reach), half), inside));
        L::store(pad_ + at, L::without(all, inside));
    }
    // No branches: which defects are matched here cannot be predicted.
    const int32_t count = count_;
    int32_t *mate = mate_;
    const uint16_t *y = y_;
    for (int32_t i = 0; i < count; i++)
        mate[i] = EXPOSED;
    uint32_t total = 0, odd = 0, exposed = 0;
    const uint32_t *best = part_->best;
    for (int32_t i = 0; i < count; i++) {
        const uint32_t word = best[i] >> 16, half = word >> 1;
        const int32_t j = int32_t(best[i] & 0xffff), mi = mate[i], mj = mate[j];
        // Both duals are held down by this pair, and both defects are free.
        const uint32_t differ = (y[i] ^ half) | (y[j] ^ half) | uint32_t(mi ^ EXPOSED) | uint32_t(mj ^ EXPOSED);
        const int32_t held = -int32_t((differ == 0) & (i != j));
        mate[i] = mi ^ ((mi ^ j) & held);
        mate[j] = (mj ^ ((mj ^ i) & held));
        total += word & 0xfffe & uint32_t(held);
        odd ^= word & uint32_t(held);
    }
    const uint16_t *bounds = part_->bounds;
    for (int32_t i = 0; i < count; i++) {
        const uint32_t bound = bounds[i];
        const int32_t out = int32_t(open_) & ((uint32_t(mate[i] ^ EXPOSED) | (y[i] ^ (bound & 0xfffe))) == 0);
        mate[i] += out;  // EXPOSED + 1 is OUTSIDE
        total += bound & 0xfffe & uint32_t(-out);
        odd ^= bound & uint32_t(-out);
        exposed += mate[i] == EXPOSED;
    }
    sum = 2 * int64_t(total);
    parity = odd & 1;
    return !exposed;
}

// What searches need: rows of words, and nodes.
template <class L> void Blossom<L>::build() noexcept {
    const V never = L::fill(0xffff);
    for (int32_t q = 0; q < vectors_; q++) {
        uint16_t *row = part_->row(0, q);
        for (int32_t i = 0; i < count_; i++)
            L::store(row + i * LANES, never);
        L::store(partial_ + q * LANES, never);
    }
    for (int32_t p = 0; p < part_->known_count; p++) {
        const Known known = part_->known[p];
        part_->row(known.a, known.b / LANES)[known.b % LANES] = known.word;
        part_->row(known.b, known.a / LANES)[known.a % LANES] = known.word;
    }
    for (int32_t i = 0; i < count_; i++) {
        top_[i] = i;
        nodes_[i].parent = -1;
        nodes_[i].base = i;
    }
    unused_count_ = 0;
    live_count_ = 0;
}

// Matches an exposed defect with another one, if a pair is tight.
template <class L> bool Blossom<L>::pick(int32_t defect) noexcept {
    const V y = L::fill(y_[defect]), zero = L::fill(0);
    for (int32_t q = 0; q < vectors_; q++) {
        V tight = L::equal(L::subs(L::subs(twice(defect, q), L::load(y_ + q * LANES)), y), zero);
        for (int lane = L::first(tight); lane >= 0; lane = L::first(tight)) {
            const int32_t other = q * LANES + lane;
            if (other < count_ && other != defect && mate_[other] == EXPOSED) {
                mate_[defect] = other;
                mate_[other] = defect;
                return true;
            }
            tight = L::without(tight, L::equal(L::load(number_), L::fill(uint16_t(lane))));
        }
    }
    return false;
}

template <class L> void Blossom<L>::add_up(int64_t &sum, uint32_t &parity) const noexcept {
    int64_t total = 0;
    uint32_t odd = 0;
    for (int32_t i = 0; i < count_; i++) {
        const int32_t mate = mate_[i];
        const uint16_t *pair = part_->row(i, mate / LANES) + mate % LANES;
        const uint16_t word = *(mate < 0 ? part_->bounds + i : pair);
        total += mate < 0 ? 2 * (word & 0xfffe) : word & 0xfffe;
        odd ^= mate < i ? word : 0;
    }
    sum = total;
    parity = odd & 1;
}

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

template <class L> bool Blossom<L>::proven() const noexcept {
    int64_t primal = 0, dual = 0;
    for (int32_t i = 0; i < count_; i++) {
        const int32_t mate = mate_[i];
        if (mate == EXPOSED || (mate >= 0 && mate_[mate] != i) || (open_ && y_[i] > bound_[i]))
            return false;
        primal += 2 * (mate == OUTSIDE ? bound_[i] : mate > i ? part_->word(i, mate) & 0xfffe : 0);
        dual += 2 * y_[i];
    }
    for (int32_t i = 0; i < count_; i++)
        for (int32_t j = 0; j < i; j++) {
            int64_t slack = int64_t(part_->word(i, j) & 0xfffe) - y_[i] - y_[j];
            for (int32_t a = built_ ? nodes_[i].parent : -1; a >= 0; a = nodes_[a].parent)
                for (int32_t b = nodes_[j].parent; b >= 0; b = nodes_[b].parent)
                    slack += a == b ? nodes_[a].dual : 0;
            if (slack < 0)
                return false;
        }
    // A blossom of 2m + 1 defects takes m times its dual: half of it for each defect but one.
    for (int32_t i = 0; i < count_; i++)
        for (int32_t a = built_ ? nodes_[i].parent : -1; a >= 0; a = nodes_[a].parent)
            dual -= nodes_[a].base == i ? 0 : nodes_[a].dual;
    return primal == dual;
}

}  // namespace qdeck

// A minimum-weight matching with boundary of any number of defects, exact: the primal-dual method with blossoms
// (Edmonds 1965; the single-tree search on dense graphs after Galil, ACM Computing Surveys 18, 1986) on the complete
// graph of the defects' capped distances, in 16-bit integers. For one kind of lanes (lanes.h).
//
// Duals y start at min(B(i), min_j V(i, j) / 2): mutual nearest neighbours are tight at once, and most defects are
// matched before the first search. Each defect that is left grows one alternating tree until it meets the boundary or a
// match that can give way. The boundary is a node that takes any number of partners, with dual 0.
//
// Far pairs are looked up late: a word that is left out is at least `reach`, and as long as all duals are at most half
// of that, it cannot be tight. A defect whose dual would grow beyond has its row completed first.
//
// V is twice a distance, so that all events of a search fall on integers: all duals in a tree have the same parity. The
// distances obey the triangle inequality, so that no dual becomes negative, and unsigned saturating arithmetic is
// exact.
//
// This file has the state, the first matches and the sums; search_core.h the search, tree_core.h what happens to its
// tree.
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

    size_t unpack(const uint8_t *packed, size_t bits, int32_t *numbers) const noexcept override {
        return Gather<L>::unpack(packed, bits, numbers);
    }
    void add(Shot &shot, const int32_t *defects, size_t count) noexcept override {
        Gather<L>::add(shot, defects, count);
    }

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

#include "search_core.h"
#include "tree_core.h"

#include "quick.h"

#include <algorithm>

namespace qdeck {

Quick::Quick(const Table &table, const Program *programs, int direct, int small) noexcept
    : places_(table.places.data()), bases_(table.bases.data()), programs_(programs), direct_(std::min(direct, DIRECT)),
      few_(std::min(direct, 4)), small_(small), most_(0) {
    for (const Basis &basis : table.bases)
        most_ = std::min(most_ + size_t(basis.size <= small ? direct_ : few_), size_t(MOST));
}

int32_t Quick::solve(const int32_t *defects, int32_t count, Answer &answer, int32_t *left) const noexcept {
    struct Here {
        Place place;
        int32_t detector;
    };
    Here all[MOST + 1], mine[MOST + 1];  // one more: the copies below have no branches
    for (int32_t i = 0; i < count; i++)
        all[i] = {places_[defects[i]], defects[i]};
    int32_t left_count = 0;
    while (count > 0) {
        const int32_t number = all[0].place.basis;
        int32_t k = 0, others = 0;
        for (int32_t i = 0; i < count; i++) {
            const Here here = all[i];
            const bool same = here.place.basis == number;
            mine[k] = here;
            k += same;
            all[others] = here;
            others += !same;
        }
        count = others;
        const Basis &basis = bases_[number];
        const uint16_t *words = basis.words.data();
        const size_t stride = size_t(basis.size);
        const auto word = [&](int32_t i, int32_t j) {
            return spread(words[mine[i].place.local * stride + mine[j].place.local]);
        };
        const auto bound = [&](int32_t i) { return spread(mine[i].place.bound); };
        uint32_t sum;
        if (k > (basis.size <= small_ ? direct_ : few_) || basis.masked || (k % 2 && !basis.open)) {
            for (int32_t i = 0; i < k; i++)
                left[left_count++] = mine[i].detector;
            continue;
        }
        if (k == 1) {
            sum = bound(0);
        } else if (k == 2) {
            sum = word(1, 0);
        } else if (k == 3) {
            sum = least(bound(0) + word(2, 1), least(bound(1) + word(2, 0), bound(2) + word(1, 0)));
        } else if (k == 4) {
            sum = least(word(1, 0) + word(3, 2), least(word(2, 0) + word(3, 1), word(3, 0) + word(2, 1)));
        } else {
            uint32_t w[16 * (DIRECT + 1)], best[64];
            for (int32_t i = 1; i < k; i++)
                for (int32_t j = 0; j < i; j++)
                    w[16 * i + j] = word(i, j);
            if (k % 2)
                for (int32_t i = 0; i < k; i++)
                    w[16 * k + i] = bound(i);
            sum = k <= 6 ? six(w) : programs_[(k + 1) / 2].run(w, best);
        }
        answer.observables ^= sum & 1 ? basis.flip : 0;
        answer.weight += basis.unit * std::max(0.0, 0.5 * double(sum >> 4) - basis.bias * k);
    }
    return left_count;
}

}  // namespace qdeck

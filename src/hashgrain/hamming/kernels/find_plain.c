/* Any processor. */
#include "find.h"

/* Distances of up to 64 rows. */
INLINE void measure(const Ask *ask, const uint64_t *const *planes, int64_t row, int here, int64_t *sums) {
    const int last = ask->words - 1;
    for (int w = 0; w <= last; w++) {
        const uint64_t *plane = planes[w] + row, word = ask->query[w], mask = w == last ? ask->tail : ~0ULL;
        for (int i = 0; i < here; i++) sums[i] += COUNT((plane[i] ^ word) & mask);
    }
}

INLINE void measure_weighted(const Ask *ask, const uint64_t *const *planes, int64_t row, int here, int64_t *sums) {
    for (int p = 0; p < ask->n_weighted; p++) {
        const Weighted part = ask->weighted[p];
        const uint64_t *plane = planes[part.word] + row, word = ask->query[part.word];
        for (int i = 0; i < here; i++) sums[i] += (int64_t)part.weight * COUNT((plane[i] ^ word) & part.mask);
    }
}

INLINE int64_t find(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                    int64_t limit, Matches *matches, const int weighted) {
    matches->n = 0;
    for (int64_t row = from; row < n; row += BLOCK) {
        if (matches->n > MATCHES_ROOM - BLOCK) return row;
        const uint64_t rows = rows_of_block(alive, row, n);
        if (!rows) continue;
        const int here = n - row < BLOCK ? (int)(n - row) : BLOCK;
        int64_t sums[BLOCK] = {0}, least = INT64_MAX;
        if (weighted)
            measure_weighted(ask, planes, row, here, sums);
        else
            measure(ask, planes, row, here, sums);
        for (int i = 0; i < here; i++) least = sums[i] < least ? sums[i] : least;
        if (least > limit) continue;
        for (int i = 0; i < here; i++) {
            matches->rows[matches->n] = row + i;
            matches->near[matches->n] = sums[i];
            matches->n += sums[i] <= limit && ((rows >> i) & 1);
        }
    }
    return n;
}

int64_t find_plain(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                   int64_t limit, Matches *matches) {
    return find(ask, planes, alive, from, n, limit, matches, 0);
}

int64_t find_weighted(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                      int64_t limit, Matches *matches) {
    return find(ask, planes, alive, from, n, limit, matches, 1);
}

/* 64-bit ARM: every such processor counts the bits of sixteen bytes at once; two rows a vector. */
#include "find.h"
#if defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

#define FORCED static inline __attribute__((always_inline))
enum { STEP = 8, BYTES_FULL = 31 }; /* a byte holds the counts of 31 words, 8 at most each */

/* Distances of 4 vectors of 2 rows. */
FORCED void measure(const Ask *ask, const uint64_t *const *planes, int64_t row, uint64x2_t sums[4], const int words) {
    for (int v = 0; v < 4; v++) sums[v] = vdupq_n_u64(0);
    for (int start = 0; start < words; start += BYTES_FULL) {
        const int end = start + BYTES_FULL < words ? start + BYTES_FULL : words;
        uint8x16_t bytes[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
        for (int w = start; w < end; w++) {
            const uint64x2_t query = vdupq_n_u64(ask->query[w]);
            const uint64x2_t mask = vdupq_n_u64(w == words - 1 ? ask->tail : ~0ULL);
            for (int v = 0; v < 4; v++) {
                const uint64x2_t bits = vandq_u64(veorq_u64(vld1q_u64(planes[w] + row + 2 * v), query), mask);
                bytes[v] = vaddq_u8(bytes[v], vcntq_u8(vreinterpretq_u8_u64(bits)));
            }
        }
        for (int v = 0; v < 4; v++)
            sums[v] = vaddq_u64(sums[v], vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes[v]))));
    }
}

FORCED int any_at_most(const uint64x2_t sums[4], uint64x2_t limit) {
    uint64x2_t near = vcleq_u64(sums[0], limit);
    for (int v = 1; v < 4; v++) near = vorrq_u64(near, vcleq_u64(sums[v], limit));
    return vmaxvq_u32(vreinterpretq_u32_u64(near)) != 0;
}

/* Appends the valid rows of a step within the limit. */
FORCED void keep(const uint64x2_t sums[4], int64_t limit, int64_t row, uint64_t rows, Matches *matches) {
    uint64_t distances[STEP];
    for (int v = 0; v < 4; v++) vst1q_u64(distances + 2 * v, sums[v]);
    for (int i = 0; i < STEP; i++) {
        if ((int64_t)distances[i] > limit || !((rows >> i) & 1)) continue;
        matches->rows[matches->n] = row + i;
        matches->near[matches->n++] = (int64_t)distances[i];
    }
}

FORCED int64_t distance_of(const Ask *ask, const uint64_t *const *planes, int64_t row) {
    int64_t distance = 0;
    for (int w = 0; w < ask->words; w++)
        distance += COUNT((planes[w][row] ^ ask->query[w]) & (w == ask->words - 1 ? ask->tail : ~0ULL));
    return distance;
}

/* Processes a stretch of rows; returns where to continue. */
FORCED int64_t find_in(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t row, int64_t n,
                       int64_t limit, Matches *matches, const int words) {
    const uint64x2_t limits = vdupq_n_u64((uint64_t)limit);
    for (; row < n; row += BLOCK) {
        if (matches->n > MATCHES_ROOM - BLOCK) return row;
        uint64_t rows = rows_of_block(alive, row, n);
        if (n - row < BLOCK) { /* the rest, fewer than a block */
            for (; rows; rows &= rows - 1) {
                const int64_t here = row + LOWEST(rows), distance = distance_of(ask, planes, here);
                if (distance > limit) continue;
                matches->rows[matches->n] = here;
                matches->near[matches->n++] = distance;
            }
            return n;
        }
        for (int step = 0; step < BLOCK; step += STEP) {
            uint64x2_t sums[4];
            measure(ask, planes, row + step, sums, words);
            if (UNLIKELY(any_at_most(sums, limits))) keep(sums, limit, row + step, rows >> step, matches);
        }
    }
    return n;
}

FORCED int64_t find(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t row, int64_t n,
                    int64_t limit, Matches *matches, const int words) {
    int64_t end;
    matches->n = 0;
    if (limit < 0) return n; /* distances are compared without a sign */
    while ((row = next_alive(alive, row, n, &end)) < n) {
        row = find_in(ask, planes, alive, row, end, limit, matches, words);
        if (row < end) return row;
    }
    return n;
}

int64_t find_neon(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                  int64_t limit, Matches *matches) {
    switch (ask->words) {
    case 1: return find(ask, planes, alive, from, n, limit, matches, 1);
    case 2: return find(ask, planes, alive, from, n, limit, matches, 2);
    case 4: return find(ask, planes, alive, from, n, limit, matches, 4);
    default: return find(ask, planes, alive, from, n, limit, matches, ask->words);
    }
}
#endif

/* x86 with AVX2: counts by looking up half bytes, four rows a vector (Mula, Kurz, Lemire, 2018). */
#include "find.h"
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,popcnt")))
#define FORCED static inline __attribute__((always_inline)) TARGET
enum { STEP = 16, BYTES_FULL = 31 }; /* a byte holds the counts of 31 words, 8 at most each */

FORCED __m256i byte_counts(__m256i bits) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2,
                                           2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i lower = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, low));
    return _mm256_add_epi8(lower, _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low)));
}

/* Distances of 4 vectors of 4 rows. */
FORCED void measure(const Ask *ask, const uint64_t *const *planes, int64_t row, __m256i sums[4], const int words) {
    const __m256i zero = _mm256_setzero_si256();
    for (int v = 0; v < 4; v++) sums[v] = zero;
    for (int start = 0; start < words; start += BYTES_FULL) {
        const int end = start + BYTES_FULL < words ? start + BYTES_FULL : words;
        __m256i bytes[4] = {zero, zero, zero, zero};
        for (int w = start; w < end; w++) {
            const __m256i query = _mm256_set1_epi64x((int64_t)ask->query[w]);
            const __m256i mask = _mm256_set1_epi64x(w == words - 1 ? (int64_t)ask->tail : -1);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) {
                __m256i bits = _mm256_loadu_si256((const __m256i *)(planes[w] + row + 4 * v));
                bits = _mm256_xor_si256(bits, query);
                if (w == words - 1) bits = _mm256_and_si256(bits, mask);
                bytes[v] = _mm256_add_epi8(bytes[v], byte_counts(bits));
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) sums[v] = _mm256_add_epi64(sums[v], _mm256_sad_epu8(bytes[v], zero));
    }
}

/* Appends the valid rows of a step within the limit. */
FORCED void keep(const __m256i sums[4], uint32_t near, int64_t row, Matches *matches) {
    int64_t distances[STEP];
    for (int v = 0; v < 4; v++) _mm256_storeu_si256((__m256i *)(distances + 4 * v), sums[v]);
    for (; near; near &= near - 1, matches->n++) {
        const int i = LOWEST(near);
        matches->rows[matches->n] = row + i;
        matches->near[matches->n] = distances[i];
    }
}

FORCED uint32_t at_most(const __m256i sums[4], __m256i beyond) {
    uint32_t near = 0;
    for (int v = 0; v < 4; v++)
        near |= (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(beyond, sums[v]))) << 4 * v;
    return near;
}

/* The rest of the rows, fewer than a block. */
FORCED void find_last(const Ask *ask, const uint64_t *const *planes, uint64_t rows, int64_t row, int64_t limit,
                      Matches *matches) {
    for (; rows; rows &= rows - 1) {
        const int64_t here = row + LOWEST(rows);
        int64_t distance = 0;
        for (int w = 0; w < ask->words; w++)
            distance += COUNT((planes[w][here] ^ ask->query[w]) & (w == ask->words - 1 ? ask->tail : ~0ULL));
        if (distance > limit) continue;
        matches->rows[matches->n] = here;
        matches->near[matches->n++] = distance;
    }
}

/* Processes a stretch of rows; returns where to continue. */
FORCED int64_t find_in(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t row, int64_t n,
                       int64_t limit, Matches *matches, const int words) {
    const __m256i beyond = _mm256_set1_epi64x(limit + 1);
    for (; row + BLOCK <= n; row += BLOCK) {
        const uint64_t rows = rows_of_block(alive, row, n);
        if (__builtin_expect(matches->n > MATCHES_ROOM - BLOCK, 0)) return row;
        for (int step = 0; step < BLOCK; step += STEP) {
            __m256i sums[4];
            measure(ask, planes, row + step, sums, words);
            const uint32_t near = at_most(sums, beyond);
            if (__builtin_expect(near & (uint32_t)(rows >> step) & 0xFFFF, 0))
                keep(sums, near & (uint32_t)(rows >> step) & 0xFFFF, row + step, matches);
        }
    }
    if (row >= n) return n;
    if (matches->n > MATCHES_ROOM - BLOCK) return row;
    find_last(ask, planes, rows_of_block(alive, row, n), row, limit, matches);
    return n;
}

FORCED int64_t find(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t row, int64_t n,
                    int64_t limit, Matches *matches, const int words) {
    int64_t end;
    matches->n = 0;
    while ((row = next_alive(alive, row, n, &end)) < n) {
        row = find_in(ask, planes, alive, row, end, limit, matches, words);
        if (row < end) return row;
    }
    return n;
}

TARGET int64_t find_avx2(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                         int64_t limit, Matches *matches) {
    switch (ask->words) {
    case 1: return find(ask, planes, alive, from, n, limit, matches, 1);
    case 2: return find(ask, planes, alive, from, n, limit, matches, 2);
    case 4: return find(ask, planes, alive, from, n, limit, matches, 4);
    case 8: return find(ask, planes, alive, from, n, limit, matches, 8);
    default: return find(ask, planes, alive, from, n, limit, matches, ask->words);
    }
}
#endif

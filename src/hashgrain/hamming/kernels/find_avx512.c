/* x86 with AVX-512 and its vector popcount: eight rows an instruction. */
#include "find.h"
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512vpopcntdq,popcnt")))
#define FORCED static inline __attribute__((always_inline)) TARGET
enum { XOR_AND = 0x28 }; /* (a ^ b) & c, as a ternary logic table */

/* Distances of 8 vectors of 8 rows; words beyond the block are not read (`present`). */
FORCED void measure(const Ask *ask, const uint64_t *const *planes, int64_t row, uint64_t present, __m512i sums[8],
                    const int words) {
    const __m512i tail = _mm512_set1_epi64((int64_t)ask->tail), ones = _mm512_set1_epi64(-1);
    for (int v = 0; v < 8; v++) sums[v] = _mm512_setzero_si512();
    for (int w = 0; w < words; w++) {
        const __m512i query = _mm512_set1_epi64((int64_t)ask->query[w]), mask = w == words - 1 ? tail : ones;
        const uint64_t *plane = planes[w] + row;
#pragma GCC unroll 8
        for (int v = 0; v < 8; v++) {
            const __m512i some = present == ~0ULL ? _mm512_loadu_si512(plane + 8 * v)
                                                  : _mm512_maskz_loadu_epi64((__mmask8)(present >> 8 * v), plane + 8 * v);
            const __m512i count = _mm512_popcnt_epi64(_mm512_ternarylogic_epi64(some, query, mask, XOR_AND));
            sums[v] = _mm512_add_epi64(sums[v], count);
        }
    }
}

/* Appends the valid rows of a block within the limit. */
FORCED void keep(const __m512i sums[8], __m512i limit, int64_t row, uint64_t counting, Matches *matches) {
    const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    for (int v = 0; v < 8; v++) {
        const __mmask8 near = _mm512_mask_cmple_epi64_mask((__mmask8)(counting >> 8 * v), sums[v], limit);
        if (!near) continue;
        const __m512i rows = _mm512_add_epi64(lanes, _mm512_set1_epi64(row + 8 * v));
        _mm512_storeu_si512(matches->rows + matches->n, _mm512_maskz_compress_epi64(near, rows));
        _mm512_storeu_si512(matches->near + matches->n, _mm512_maskz_compress_epi64(near, sums[v]));
        matches->n += COUNT(near);
    }
}

FORCED __m512i least_of(const __m512i s[8]) {
    return _mm512_min_epi64(_mm512_min_epi64(_mm512_min_epi64(s[0], s[1]), _mm512_min_epi64(s[2], s[3])),
                            _mm512_min_epi64(_mm512_min_epi64(s[4], s[5]), _mm512_min_epi64(s[6], s[7])));
}

/* Processes a stretch of rows; returns where to continue. */
FORCED int64_t find_in(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t row, int64_t n,
                       int64_t limit, Matches *matches, const int words) {
    const __m512i limits = _mm512_set1_epi64(limit);
    __m512i sums[8];
    for (; row + BLOCK <= n; row += BLOCK) {
        measure(ask, planes, row, ~0ULL, sums, words);
        if (__builtin_expect(!_mm512_cmple_epi64_mask(least_of(sums), limits), 1)) continue;
        if (matches->n > MATCHES_ROOM - BLOCK) return row;
        keep(sums, limits, row, rows_of_block(alive, row, n), matches);
    }
    if (row >= n) return n;
    if (matches->n > MATCHES_ROOM - BLOCK) return row;
    measure(ask, planes, row, (1ULL << (n - row)) - 1, sums, words);
    keep(sums, limits, row, rows_of_block(alive, row, n), matches);
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

TARGET int64_t find_avx512(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from,
                           int64_t n, int64_t limit, Matches *matches) {
    switch (ask->words) {
    case 1: return find(ask, planes, alive, from, n, limit, matches, 1);
    case 2: return find(ask, planes, alive, from, n, limit, matches, 2);
    case 4: return find(ask, planes, alive, from, n, limit, matches, 4);
    case 8: return find(ask, planes, alive, from, n, limit, matches, 8);
    default: return find(ask, planes, alive, from, n, limit, matches, ask->words);
    }
}
#endif

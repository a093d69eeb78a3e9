/* The inner loop, one file for each kind of processor: which rows are at most so far from the query?
 *
 * Rows lie as planes: plane w holds word w of every row. They are looked at 64 at a time. */
#ifndef HASHGRAIN_FIND_H
#define HASHGRAIN_FIND_H
#include "bits.h"

enum { BLOCK = 64 };

typedef struct {
    uint64_t mask;
    int32_t word, weight;
} Weighted;

typedef struct {
    const uint64_t *query;
    int words;                /* how many words the grain reaches into */
    uint64_t tail;            /* its bits in the last of them */
    const Weighted *weighted; /* or NULL: every bit counts one */
    int n_weighted;
} Ask;

/* Rows that were found, with their distances. */
enum { FOUND_ROOM = 256 };
typedef struct {
    int64_t n;
    int64_t rows[FOUND_ROOM + 8], near[FOUND_ROOM + 8]; /* whole vectors are stored past the last */
} Found;

/* Collects the rows from `from` (a multiple of 64) to before n that are alive and at most `limit` away, block by
 * block, until there is no room for another block; returns where to go on, or n when done. */
typedef int64_t (*Find)(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                        int64_t limit, Found *found);

int64_t find_plain(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Found *);
int64_t find_avx2(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Found *);
int64_t find_neon(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Found *);
int64_t find_avx512(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Found *);
int64_t find_weighted(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Found *);

/* So many rows are looked at after one that is alive, before it is asked again whether any are. */
enum { STRETCH = 16 * BLOCK };

/* The next stretch of rows with some that are alive: where it begins, or n; and where it ends. */
INLINE int64_t next_alive(const uint64_t *alive, int64_t row, int64_t n, int64_t *end) {
    *end = n;
    if (alive == NULL) return row;
    while (row < n && !alive[row / BLOCK]) row += BLOCK;
    if (row < n && row + STRETCH < n) *end = row + STRETCH;
    return row < n ? row : n;
}

/* The block's rows that count: the alive ones, as far as there are rows. */
INLINE uint64_t rows_of_block(const uint64_t *alive, int64_t row, int64_t n) {
    uint64_t rows = alive == NULL ? ~0ULL : alive[row / BLOCK];
    return n - row >= BLOCK ? rows : rows & ((1ULL << (n - row)) - 1);
}
#endif

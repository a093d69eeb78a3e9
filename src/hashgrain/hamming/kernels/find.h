/* The inner loop, one file for each kind of processor: finds the rows within a limit of the query.
 *
 * Rows are stored as planes: plane w holds word w of every row. Blocks of 64 rows are processed at a time. */
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
    int words;                /* the number of words of the grain */
    uint64_t tail;            /* mask of its bits in the last word */
    const Weighted *weighted; /* NULL if every bit counts 1 */
    int n_weighted;
} Ask;

/* Matching rows with their distances. */
enum { MATCHES_ROOM = 256 };
typedef struct {
    int64_t n;
    int64_t rows[MATCHES_ROOM + 8], near[MATCHES_ROOM + 8]; /* whole vectors are stored past the last */
} Matches;

/* Collects the rows from `from` (a multiple of 64) to before n that are valid and at most `limit` away, block by
 * block, until there is no room for another block; returns where to continue, or n when done. */
typedef int64_t (*Find)(const Ask *ask, const uint64_t *const *planes, const uint64_t *alive, int64_t from, int64_t n,
                        int64_t limit, Matches *matches);

int64_t find_plain(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Matches *);
int64_t find_avx2(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Matches *);
int64_t find_neon(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Matches *);
int64_t find_avx512(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Matches *);
int64_t find_weighted(const Ask *, const uint64_t *const *, const uint64_t *, int64_t, int64_t, int64_t, Matches *);

/* So many rows are processed from a valid one on before the mask is checked again. */
enum { STRETCH = 16 * BLOCK };

/* The next stretch with valid rows: where it begins, or n; and where it ends. */
INLINE int64_t next_alive(const uint64_t *alive, int64_t row, int64_t n, int64_t *end) {
    *end = n;
    if (alive == NULL) return row;
    while (row < n && !alive[row / BLOCK]) row += BLOCK;
    if (row < n && row + STRETCH < n) *end = row + STRETCH;
    return row < n ? row : n;
}

/* The valid rows of a block. */
INLINE uint64_t rows_of_block(const uint64_t *alive, int64_t row, int64_t n) {
    uint64_t rows = alive == NULL ? ~0ULL : alive[row / BLOCK];
    return n - row >= BLOCK ? rows : rows & ((1ULL << (n - row)) - 1);
}
#endif

/* The rows of a library, and the scan over them. */
#ifndef HASHGRAIN_SCAN_H
#define HASHGRAIN_SCAN_H
#include "find.h"
#include "hits.h"

enum { MAX_WORDS = 64 };

/* A run of rows with consecutive numbers. */
typedef struct {
    int64_t first, n;
    const uint64_t *planes[MAX_WORDS];
    const int64_t *ids;
    const uint64_t *alive; /* one bit per row, 1 for valid rows; NULL if all are valid */
    int ascending;         /* ids increase from row to row */
} Part;

typedef struct {
    Find find;
    int words, bits;        /* of a whole code; of the grain */
    int grain_words, whole; /* whole: the grain is the whole code, both distances are one */
    uint64_t tail;
    const Weighted *weighted;
    int n_weighted;
    int counting; /* find every hit within the radius, not only those that can be among the first k */
    int share, shares; /* search only every `shares`-th bucket or list of an index: other threads do the rest */
} Search;

INLINE Ask ask_for(const Search *s, const uint64_t *query) {
    return (Ask){query, s->grain_words, s->tail, s->weighted, s->n_weighted};
}

/* The largest distance that is still of interest. */
INLINE int64_t limit_of(const Search *s, const Selector *selector) {
    return s->counting ? selector->radius : selector_limit(selector);
}

/* Offers a row within the limit to the selector. */
INLINE void offer_row(const Search *s, const Ask *ask, const Part *part, int64_t row, uint64_t near,
                      Selector *selector) {
    uint64_t full = near;
    if (!s->whole) {
        full = 0;
        for (int w = 0; w < s->words; w++) full += (uint64_t)COUNT(part->planes[w][row] ^ ask->query[w]);
    }
    offer(selector, (Hit){near << 32 | full, part->ids[row]});
}

/* Rows lo (a multiple of 64) to hi of a part; hi is one too, or the end of the part. */
void scan_rows(const Search *s, const Ask *ask, const Part *part, int64_t lo, int64_t hi, Selector *selector);

/* All rows of all parts, for each of several queries, a tile of rows at a time. */
void scan_tiles(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *parts, int64_t n_parts,
                Selector *selectors);
#endif

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
    const uint64_t *alive; /* one bit a row; NULL: every row */
    int ascending;         /* ids only grow from row to row */
} Part;

typedef struct {
    Find find;
    int words, bits;        /* of a whole code; of the grain */
    int grain_words, whole; /* whole: the grain is the whole code, both distances are one */
    uint64_t tail;
    const Weighted *weighted;
    int n_weighted;
    int counting; /* every hit within the radius must be seen, not only those that can be among the k first */
    int share, shares; /* of an index, look only at every so manieth bucket or list: others do the rest */
} Search;

INLINE Ask ask_for(const Search *s, const uint64_t *query) {
    return (Ask){query, s->grain_words, s->tail, s->weighted, s->n_weighted};
}

/* How far a row may be and still matter. */
INLINE int64_t limit_of(const Search *s, const Selector *kept) {
    return s->counting ? kept->radius : selector_limit(kept);
}

/* Offers a row that was found near enough. */
INLINE void offer_row(const Search *s, const Ask *ask, const Part *part, int64_t row, uint64_t near, Selector *kept) {
    uint64_t full = near;
    if (!s->whole) {
        full = 0;
        for (int w = 0; w < s->words; w++) full += (uint64_t)COUNT(part->planes[w][row] ^ ask->query[w]);
    }
    offer(kept, (Hit){near << 32 | full, part->ids[row]});
}

/* Rows lo (a multiple of 64) to hi of a part; hi is one too, or the end of the part. */
void scan_rows(const Search *s, const Ask *ask, const Part *part, int64_t lo, int64_t hi, Selector *kept);

/* All rows of all parts, for each of several queries, a tile of rows at a time. */
void scan_tiles(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *parts, int64_t n_parts,
                Selector *kept);
#endif

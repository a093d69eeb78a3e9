/* Lists of rows around centres, for codes too long for tables. Exact by the triangle inequality: a row at
 * distance x from its centre is at least |x - d(query, centre)| away from the query. */
#ifndef HASHGRAIN_LISTS_H
#define HASHGRAIN_LISTS_H
#include "tables.h"

typedef struct {
    int64_t n, first; /* it covers the rows first to first + n */
    int64_t n_lists;
    int words, bits;
    const uint64_t *centres; /* n_lists rows of `words` */
    const uint32_t *starts;  /* [list][x]: where its rows at distance x or more begin; bits + 2 of them a list */
    const uint64_t *planes[MAX_WORDS];
    const uint32_t *rows; /* counted from `first` */
} Lists;

/* As tables_search. The grain is the one the lists were made for. */
int lists_search(const Search *s, const uint64_t *query, const Covered *covered, const Lists *lists, int64_t n_lists,
                 Selector *selector, int64_t *looked);
#endif

/* Multi-index hashing (Norouzi, Punjani, Fleet, 2012) over the first word of each code.
 *
 * Table t holds all rows sorted by bits 16 t to 16 t + 15, with codes and row numbers in the same order, so that a
 * bucket is read sequentially. A code at most 4 s + t away from the query differs from it by at most s bits in some
 * table up to t, or by at most s - 1 bits in a later one: after step (s, t) all codes that near have been found. */
#ifndef HASHGRAIN_TABLES_H
#define HASHGRAIN_TABLES_H
#include "scan.h"

enum { BUCKETS = 1 << 16, CHUNK = 16, MAX_TABLES = 4 };

typedef struct {
    int64_t n, first; /* it covers the rows first to first + n */
    const uint32_t *starts[MAX_TABLES];
    const uint64_t *codes[MAX_TABLES];
    const uint32_t *rows[MAX_TABLES]; /* counted from `first` */
} Tables;

typedef struct {
    const Part *parts; /* all rows, for ids, valid rows, and the rest of the code */
    int64_t n_parts;
    const Tables *tables;
    int64_t n_tables;
    const Part *rest; /* the rows without an index */
    int64_t n_rest;
    double scan_ns; /* the expected time of a scan of the covered rows */
} Covered;

/* All masks of a chunk, sorted by number of bits set. */
void masks_prepare(void);
const uint16_t *masks_up_to(int bits, int64_t *n);

void table_build(const uint64_t *codes, int64_t n, int table, uint32_t *starts, uint64_t *codes_out, uint32_t *rows);

/* Returns 1 if the answer is complete; 0 if a scan is cheaper, and then the selector must be discarded. Adds the number
 * of compared rows to `looked`. */
int tables_search(const Search *s, const uint64_t *query, const Covered *covered, Selector *selector, int64_t *looked);

int give_up(Selector *selector);

/* Scans the rows without an index; called last, when the limit is low. */
void scan_rest(const Search *s, const uint64_t *query, const Covered *covered, Selector *selector, int64_t *looked);

/* The part of a row. */
INLINE const Part *part_of(const Part *parts, int64_t n_parts, int64_t row) {
    int64_t low = 0, high = n_parts - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (parts[middle].first <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return parts + low;
}

/* Whether a row exists and is valid. Row numbers from an index file are untrusted. */
INLINE int counts(const Part *part, int64_t row) {
    if (row < 0 || row >= part->n) return 0;
    return part->alive == NULL || ((part->alive[row / 64] >> (row % 64)) & 1);
}
#endif

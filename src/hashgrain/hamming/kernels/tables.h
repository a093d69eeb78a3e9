/* Multi-index hashing (Norouzi, Punjani, Fleet, 2012) over the first word of each code.
 *
 * Table t holds all rows in the order of bits 16 t to 16 t + 15, codes and row numbers side by side, so that a
 * bucket is read in one go. A code at most 4 s + t away from the query agrees with it in some table up to s
 * bits, in tables past t up to s - 1: after step (s, t) nothing that near is left to find. */
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
    const Part *parts; /* every row, for ids, for what is alive, and for the rest of the code */
    int64_t n_parts;
    const Tables *tables;
    int64_t n_tables;
    const Part *rest; /* the rows that no table covers */
    int64_t n_rest;
    double scan_ns; /* what a scan of the rows that are covered would take */
} Covered;

/* All masks of a chunk, those with few bits set first. */
void masks_prepare(void);
const uint16_t *masks_up_to(int bits, int64_t *n);

void table_build(const uint64_t *codes, int64_t n, int table, uint32_t *starts, uint64_t *codes_out, uint32_t *rows);

/* 1 where the answer is complete; 0 where a scan is cheaper: then `kept` is to be thrown away. Adds the rows it
 * looked at to `looked`. */
int tables_search(const Search *s, const uint64_t *query, const Covered *covered, Selector *kept, int64_t *looked);

int give_up(Selector *kept);

/* The rows that no index covers; last, when the limit is low. */
void scan_rest(const Search *s, const uint64_t *query, const Covered *covered, Selector *kept, int64_t *looked);

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

/* Whether a row is there and alive. An index file could lead anywhere: its row numbers are not believed. */
INLINE int counts(const Part *part, int64_t row) {
    if (row < 0 || row >= part->n) return 0;
    return part->alive == NULL || ((part->alive[row / 64] >> (row % 64)) & 1);
}
#endif

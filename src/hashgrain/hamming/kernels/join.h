/* All pairs of rows within a radius of each other. */
#ifndef HASHGRAIN_JOIN_H
#define HASHGRAIN_JOIN_H
#include "tables.h"

typedef struct {
    uint32_t a, b; /* row numbers */
    int32_t distance;
} Pair;

typedef struct {
    Pair *pairs;
    int64_t count, room;
    int failed;
} Pairs;

/* Rows sorted into buckets by one 16-bit chunk of their codes. */
typedef struct {
    Find find;
    int words;
    int64_t n;
    const uint64_t *planes[MAX_WORDS];
    const uint32_t *starts, *rows;
    int chunk;          /* which chunk */
    const int *reaches; /* for this chunk and each before it: up to how many differing bits it finds pairs; -1: none */
    int radius;
} Joined;

/* The pairs of rows `from` to before `to` with rows of similar buckets that no earlier chunk finds. */
void join_buckets(const Joined *j, int64_t from, int64_t to, Pairs *out);

/* The pairs of rows `from` to before `to` with all later rows. */
void join_rows(const Joined *j, int64_t from, int64_t to, Pairs *out);
#endif

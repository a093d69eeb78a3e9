#include "hits.h"
#include <stdlib.h>
#include <string.h>

enum {
    SMALL = 24,   /* below this, insertion sort */
    FEW = 128,    /* below this, counting is not worth it */
    FARTHEST = 4096 /* distances above this (weighted ones) are not counted */
};

static void swap(Hit *a, Hit *b) {
    Hit c = *a;
    *a = *b;
    *b = c;
}

static void insertion_sort(Hit *hits, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        Hit hit = hits[i];
        int64_t j = i;
        for (; j > 0 && before(hit, hits[j - 1]); j--) hits[j] = hits[j - 1];
        hits[j] = hit;
    }
}

/* Splits so that nothing in [0, cut] comes after anything in [cut + 1, n); 0 <= cut < n - 1. */
static int64_t split(Hit *hits, int64_t n) {
    Hit *middle = hits + n / 2, *last = hits + n - 1;
    if (before(*middle, *hits)) swap(middle, hits);
    if (before(*last, *middle)) swap(last, middle);
    if (before(*middle, *hits)) swap(middle, hits);
    Hit pivot = *middle;
    int64_t i = -1, j = n;
    for (;;) {
        do i++;
        while (before(hits[i], pivot));
        do j--;
        while (before(pivot, hits[j]));
        if (i >= j) return j;
        swap(hits + i, hits + j);
    }
}

static void sort(Hit *hits, int64_t n) {
    while (n > SMALL) {
        int64_t cut = split(hits, n) + 1;
        if (cut < n - cut) { /* the smaller side by recursion: the stack stays shallow */
            sort(hits, cut);
            hits += cut, n -= cut;
        } else {
            sort(hits + cut, n - cut);
            n = cut;
        }
    }
    insertion_sort(hits, n);
}

/* Moves the first k to the front, in any order. */
static void bring_first(Hit *hits, int64_t n, int64_t k) {
    while (n > SMALL && k > 0) {
        int64_t cut = split(hits, n) + 1;
        if (k < cut) {
            n = cut;
        } else {
            hits += cut, n -= cut, k -= cut;
        }
    }
    insertion_sort(hits, n);
}

static Hit last_of(const Hit *hits, int64_t n) {
    Hit last = hits[0];
    for (int64_t i = 1; i < n; i++)
        if (before(last, hits[i])) last = hits[i];
    return last;
}

/* starts[d] becomes the number of hits nearer than d. */
static void count_distances(const Hit *hits, int64_t n, int64_t farthest, uint32_t *starts) {
    memset(starts, 0, (size_t)(farthest + 2) * sizeof *starts);
    for (int64_t i = 0; i < n; i++) starts[near_of(hits[i]) + 1]++;
    for (int64_t d = 0; d <= farthest; d++) starts[d + 1] += starts[d];
}

/* Like bring_first, but only hits at the distance of the k-th are compared with each other: counting does the rest,
 * without unpredictable branches. */
static void bring_first_counting(Selector *s) {
    uint32_t starts[FARTHEST + 2];
    count_distances(s->hits, s->count, s->radius, starts);
    int64_t cut = 0;
    while (starts[cut + 1] < s->k) cut++;
    Hit *level = s->spare; /* hits at the distance of the k-th */
    int64_t nearer = 0, n_level = 0;
    for (int64_t i = 0; i < s->count; i++) {
        const Hit hit = s->hits[i];
        const int64_t near = near_of(hit);
        s->hits[nearer] = hit;
        nearer += near < cut;
        level[n_level] = hit;
        n_level += near == cut;
    }
    bring_first(level, n_level, s->k - nearer);
    memcpy(s->hits + nearer, level, (size_t)(s->k - nearer) * sizeof *level);
}

static void keep_first(Selector *s) {
    if (s->count > FEW && s->radius <= FARTHEST)
        bring_first_counting(s);
    else if (s->count > s->k)
        bring_first(s->hits, s->count, s->k);
    s->count = s->k;
}

int selector_start(Selector *s, int64_t k, int64_t radius, int64_t *shared) {
    *s = (Selector){.k = k, .radius = radius, .room = k ? k : 1024, .shared = shared};
    s->worst = (Hit){(uint64_t)radius << 32 | 0xFFFFFFFFu, INT64_MAX};
    /* Room for more than k: once it is full, the worst hit is known and most others are rejected. */
    const size_t most = (size_t)(k ? 2 * k + 64 : s->room);
    s->hits = malloc(most * sizeof(Hit));
    s->spare = k ? malloc(most * sizeof(Hit)) : NULL;
    s->failed = s->hits == NULL || (k && s->spare == NULL);
    return !s->failed;
}

void selector_full(Selector *s) {
    if (s->k) {
        keep_first(s);
        s->worst = last_of(s->hits, s->k);
        s->room = 2 * s->k + 64;
        if (s->shared != NULL && near_of(s->worst) < SHARED_GET(s->shared)) SHARED_PUT(s->shared, near_of(s->worst));
        return;
    }
    Hit *more = realloc(s->hits, (size_t)s->room * 2 * sizeof(Hit));
    if (more == NULL) {
        s->failed = 1;
        return;
    }
    s->hits = more;
    s->room *= 2;
}

void selector_finish(Selector *s) {
    if (s->k && s->count > s->k) keep_first(s);
    if (s->count <= FEW || s->radius > FARTHEST || !s->k) {
        sort(s->hits, s->count);
        return;
    }
    uint32_t starts[FARTHEST + 2];
    count_distances(s->hits, s->count, s->radius, starts);
    for (int64_t i = 0; i < s->count; i++) s->spare[starts[near_of(s->hits[i])]++] = s->hits[i];
    Hit *ordered = s->spare;
    s->spare = s->hits;
    s->hits = ordered;
    for (int64_t d = 0, start = 0; d <= s->radius; start = starts[d++]) sort(s->hits + start, starts[d] - start);
}

void selector_free(Selector *s) {
    free(s->hits);
    free(s->spare);
}

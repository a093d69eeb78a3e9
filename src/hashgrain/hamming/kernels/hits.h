/* Hits and their order: distance at the grain, then over the whole code, then id. A total order, so that
 * every path gives the same answer. */
#ifndef HASHGRAIN_HITS_H
#define HASHGRAIN_HITS_H
#include "bits.h"

typedef struct {
    uint64_t key; /* distance at the grain << 32 | distance over the whole code */
    int64_t id;
} Hit;

INLINE int before(Hit a, Hit b) { return a.key < b.key || (a.key == b.key && a.id < b.id); }
INLINE int64_t near_of(Hit hit) { return (int64_t)(hit.key >> 32); }

/* Keeps the k first of all hits offered, or all of them (k = 0), that do not come after `worst`. */
typedef struct {
    Hit *hits, *spare;
    int64_t found, room, k;
    Hit worst;
    int64_t radius;
    int64_t counted; /* hits offered, kept or not; exact where every hit within the radius is offered */
    int failed;      /* memory ran out */
    /* Or NULL: how far hits may be, as far as any of those who work on this question knows. Two who write at once
     * may leave the larger number: a limit that is too wide costs time only. */
    int64_t *shared;
} Selector;

int selector_start(Selector *s, int64_t k, int64_t radius, int64_t *shared);
void selector_full(Selector *s); /* makes room: forgets what cannot be among the k first, or grows */
void selector_finish(Selector *s);
void selector_free(Selector *s);

/* How far a row may be and still be among the k first. */
INLINE int64_t selector_limit(const Selector *s) {
    const int64_t mine = near_of(s->worst);
    if (s->shared == NULL) return mine;
    const int64_t theirs = SHARED_GET(s->shared);
    return mine < theirs ? mine : theirs;
}

/* Brings `worst` up to date, which otherwise happens only when room runs out. */
INLINE void selector_tighten(Selector *s) {
    if (s->k && s->found >= s->k) selector_full(s);
}

INLINE void offer(Selector *s, Hit hit) {
    s->counted++;
    if (!before(hit, s->worst)) return;
    if (UNLIKELY(s->found == s->room)) {
        selector_full(s);
        if (s->failed || !before(hit, s->worst)) return;
    }
    s->hits[s->found++] = hit;
}
#endif

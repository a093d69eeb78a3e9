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
    int64_t count, room, k;
    Hit worst;
    int64_t radius;
    int64_t counted; /* all hits offered; exact if every hit within the radius is offered */
    int failed;      /* memory ran out */
    /* NULL, or the common limit of the threads that work on this question. Two concurrent writes may leave the larger
     * number: a limit that is too wide only costs time. */
    int64_t *shared;
} Selector;

int selector_start(Selector *s, int64_t k, int64_t radius, int64_t *shared);
void selector_full(Selector *s); /* makes room: drops hits that cannot be among the first k, or grows */
void selector_finish(Selector *s);
void selector_free(Selector *s);

/* The largest distance of a row that can still be among the first k. */
INLINE int64_t selector_limit(const Selector *s) {
    const int64_t mine = near_of(s->worst);
    if (s->shared == NULL) return mine;
    const int64_t theirs = SHARED_GET(s->shared);
    return mine < theirs ? mine : theirs;
}

/* Updates `worst`, which otherwise happens only when the room is full. */
INLINE void selector_tighten(Selector *s) {
    if (s->k && s->count >= s->k) selector_full(s);
}

INLINE void offer(Selector *s, Hit hit) {
    s->counted++;
    if (!before(hit, s->worst)) return;
    if (UNLIKELY(s->count == s->room)) {
        selector_full(s);
        if (s->failed || !before(hit, s->worst)) return;
    }
    s->hits[s->count++] = hit;
}
#endif

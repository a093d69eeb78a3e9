#include "join.h"
#include <stdlib.h>

enum { TILE = 2048 };

static void put(Pairs *out, Pair pair) {
    if (out->count == out->room) {
        const int64_t room = out->room ? 2 * out->room : 4096;
        Pair *more = realloc(out->pairs, (size_t)room * sizeof *more);
        if (more == NULL) {
            out->failed = 1;
            return;
        }
        out->pairs = more;
        out->room = room;
    }
    out->pairs[out->count++] = pair;
}

INLINE int chunk_distance(const Joined *j, int64_t a, int64_t b, int chunk) {
    const uint64_t differing = j->planes[chunk / 4][a] ^ j->planes[chunk / 4][b];
    return COUNT((differing >> (CHUNK * (chunk % 4))) & (BUCKETS - 1));
}

INLINE int matched_before(const Joined *j, int64_t a, int64_t b) {
    for (int chunk = 0; chunk < j->chunk; chunk++)
        if (chunk_distance(j, a, b, chunk) <= j->reaches[chunk]) return 1;
    return 0;
}

/* One row against the rows from `start` to before `end`. */
static void join_one(const Joined *j, int64_t row, int64_t start, int64_t end, Pairs *out) {
    uint64_t query[MAX_WORDS];
    Matches matches;
    const uint64_t *planes[MAX_WORDS];
    for (int w = 0; w < j->words; w++) {
        query[w] = j->planes[w][row];
        planes[w] = j->planes[w] + start;
    }
    const Ask ask = {query, j->words, ~0ULL, NULL, 0};
    for (int64_t at = 0; at < end - start;) {
        at = j->find(&ask, planes, NULL, at, end - start, j->radius, &matches);
        for (int64_t i = 0; i < matches.n && !out->failed; i++) {
            const int64_t other = start + matches.rows[i];
            if (matched_before(j, row, other)) continue;
            const uint32_t a = j->rows[row], b = j->rows[other];
            put(out, (Pair){a < b ? a : b, a < b ? b : a, (int32_t)matches.near[i]});
        }
    }
}

void join_buckets(const Joined *j, int64_t from, int64_t to, Pairs *out) {
    int64_t n_masks;
    const uint16_t *masks = masks_up_to(j->reaches[j->chunk], &n_masks);
    for (int64_t row = from; row < to; row++) {
        const uint64_t word = j->planes[j->chunk / 4][row];
        const uint32_t bucket = (uint32_t)(word >> (CHUNK * (j->chunk % 4))) & (BUCKETS - 1);
        for (int64_t m = 0; m < n_masks && !out->failed; m++) {
            const uint32_t other = bucket ^ masks[m];
            if (other < bucket) continue; /* met from the other side */
            const int64_t start = m ? j->starts[other] : row + 1, end = j->starts[other + 1];
            if (start < end) join_one(j, row, start, end, out);
        }
    }
}

void join_rows(const Joined *j, int64_t from, int64_t to, Pairs *out) {
    for (int64_t tile = from; tile < j->n; tile += TILE) {
        const int64_t end = tile + TILE < j->n ? tile + TILE : j->n;
        for (int64_t row = from; row < to && row < end - 1 && !out->failed; row++)
            join_one(j, row, row < tile ? tile : row + 1, end, out);
    }
}

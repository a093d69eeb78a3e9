#include "scan.h"

/* A tile of rows stays in the L1 cache while a group of queries processes it. */
enum { TILE_BYTES = 24 * 1024, GROUP = 64 };

void scan_rows(const Search *s, const Ask *ask, const Part *part, int64_t lo, int64_t hi, Selector *selector) {
    Matches matches;
    for (int64_t row = lo; row < hi;) {
        int64_t limit = limit_of(s, selector);
        /* If ids increase with the rows, a row at the distance of the worst hit can no longer win by its id. */
        if (s->whole && !s->counting && limit == near_of(selector->worst) && part->ascending &&
            part->ids[row] > selector->worst.id)
            limit--;
        row = s->find(ask, part->planes, part->alive, row, hi, limit, &matches);
        for (int64_t i = 0; i < matches.n; i++)
            offer_row(s, ask, part, matches.rows[i], (uint64_t)matches.near[i], selector);
    }
}

static void scan_group(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *part,
                       Selector *selector) {
    int64_t tile = TILE_BYTES / 8 / s->grain_words / BLOCK * BLOCK;
    if (tile < BLOCK) tile = BLOCK;
    if (n_queries == 1) tile = (part->n + BLOCK - 1) / BLOCK * BLOCK;
    for (int64_t lo = 0; lo < part->n; lo += tile) {
        const int64_t hi = lo + tile < part->n ? lo + tile : part->n;
        for (int64_t i = 0; i < n_queries; i++) {
            const Ask ask = ask_for(s, queries + i * s->words);
            scan_rows(s, &ask, part, lo, hi, selector + i);
        }
    }
}

void scan_tiles(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *parts, int64_t n_parts,
                Selector *selector) {
    for (int64_t start = 0; start < n_queries; start += GROUP) {
        const int64_t here = n_queries - start < GROUP ? n_queries - start : GROUP;
        for (int64_t p = 0; p < n_parts; p++)
            scan_group(s, queries + start * s->words, here, parts + p, selector + start);
    }
}

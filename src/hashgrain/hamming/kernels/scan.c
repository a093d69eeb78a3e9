#include "scan.h"

/* A tile of rows stays in the first cache while a group of queries is asked of it. */
enum { TILE_BYTES = 24 * 1024, GROUP = 64 };

void scan_rows(const Search *s, const Ask *ask, const Part *part, int64_t lo, int64_t hi, Selector *kept) {
    Found found;
    for (int64_t row = lo; row < hi;) {
        int64_t limit = limit_of(s, kept);
        /* Where ids grow with the rows, a row as far as the worst can no longer win by its id. */
        if (s->whole && !s->counting && limit == near_of(kept->worst) && part->ascending && part->ids[row] > kept->worst.id) limit--;
        row = s->find(ask, part->planes, part->alive, row, hi, limit, &found);
        for (int64_t i = 0; i < found.n; i++) offer_row(s, ask, part, found.rows[i], (uint64_t)found.near[i], kept);
    }
}

static void scan_group(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *part, Selector *kept) {
    int64_t tile = TILE_BYTES / 8 / s->grain_words / BLOCK * BLOCK;
    if (tile < BLOCK) tile = BLOCK;
    if (n_queries == 1) tile = (part->n + BLOCK - 1) / BLOCK * BLOCK;
    for (int64_t lo = 0; lo < part->n; lo += tile) {
        const int64_t hi = lo + tile < part->n ? lo + tile : part->n;
        for (int64_t i = 0; i < n_queries; i++) {
            const Ask ask = ask_for(s, queries + i * s->words);
            scan_rows(s, &ask, part, lo, hi, kept + i);
        }
    }
}

void scan_tiles(const Search *s, const uint64_t *queries, int64_t n_queries, const Part *parts, int64_t n_parts,
                Selector *kept) {
    for (int64_t start = 0; start < n_queries; start += GROUP) {
        const int64_t here = n_queries - start < GROUP ? n_queries - start : GROUP;
        for (int64_t p = 0; p < n_parts; p++)
            scan_group(s, queries + start * s->words, here, parts + p, kept + start);
    }
}

#include "tables.h"
#include <string.h>

/* Measured nanoseconds: per bucket from main memory; per row in it. */
static const double BUCKET_COST = 100.0, ROW_COST = 0.6;
enum { AHEAD = 6 };

static uint16_t masks[BUCKETS];         /* by number of bits set */
static uint32_t mask_starts[CHUNK + 2]; /* where the masks of each number of bits begin */

void masks_prepare(void) {
    uint32_t counts[CHUNK + 2] = {0};
    for (uint32_t mask = 0; mask < BUCKETS; mask++) counts[COUNT(mask) + 1]++;
    for (int s = 0; s <= CHUNK; s++) counts[s + 1] += counts[s];
    memcpy(mask_starts, counts, sizeof counts);
    for (uint32_t mask = 0; mask < BUCKETS; mask++) masks[counts[COUNT(mask)]++] = (uint16_t)mask;
}

const uint16_t *masks_up_to(int bits, int64_t *n) {
    *n = mask_starts[bits + 1];
    return masks;
}

INLINE uint32_t chunk_of(uint64_t code, int table) { return (uint32_t)(code >> (CHUNK * table)) & (BUCKETS - 1); }

void table_build(const uint64_t *codes, int64_t n, int table, uint32_t *starts, uint64_t *codes_out, uint32_t *rows) {
    memset(starts, 0, (BUCKETS + 1) * sizeof *starts);
    for (int64_t row = 0; row < n; row++) starts[chunk_of(codes[row], table) + 1]++;
    for (int b = 0; b < BUCKETS; b++) starts[b + 1] += starts[b];
    /* Filling moves each bucket's start to its end, which is the next one's start: shift them back afterwards. */
    for (int64_t row = 0; row < n; row++) {
        const uint32_t place = starts[chunk_of(codes[row], table)]++;
        codes_out[place] = codes[row];
        rows[place] = (uint32_t)row;
    }
    memmove(starts + 1, starts, BUCKETS * sizeof *starts);
    starts[0] = 0;
}

typedef struct {
    const Search *s;
    const uint64_t *query;
    const Covered *covered;
    const Tables *tables;
    Selector *selector;
    int n_chunks; /* tables in use: those of the grain's bits */
    int64_t looked, opened;
} Probe;

/* Whether an earlier step found this code: in a table with fewer differing bits, or an earlier table with as many. */
INLINE int seen_before(uint64_t differing, int bits, int table, int n_chunks) {
    for (int t = 0; t < n_chunks; t++) {
        const int count = COUNT(chunk_of(differing, t));
        if (count < bits || (count == bits && t < table)) return 1;
    }
    return 0;
}

static void look_into(Probe *p, int table, uint32_t start, uint32_t end, int bits) {
    const Ask ask = {p->query, 1, p->s->tail, NULL, 0};
    const uint64_t *codes = p->tables->codes[table] + start;
    const uint32_t *rows = p->tables->rows[table] + start;
    const int64_t n = end - start;
    Matches matches;
    for (int64_t at = 0; at < n;) {
        at = p->s->find(&ask, &codes, NULL, at, n, limit_of(p->s, p->selector), &matches);
        for (int64_t i = 0; i < matches.n; i++) {
            const uint64_t differing = (codes[matches.rows[i]] ^ p->query[0]) & p->s->tail;
            if (seen_before(differing, bits, table, p->n_chunks)) continue;
            const int64_t row = p->tables->first + rows[matches.rows[i]];
            const Part *part = part_of(p->covered->parts, p->covered->n_parts, row);
            if (counts(part, row - part->first))
                offer_row(p->s, &ask, part, row - part->first, (uint64_t)matches.near[i], p->selector);
        }
    }
}

/* One step: all buckets of a table whose numbers differ from the query's in `bits` bits. */
static void step(Probe *p, int bits, int table) {
    const uint32_t *starts = p->tables->starts[table];
    const uint64_t *codes = p->tables->codes[table];
    const uint32_t mine = chunk_of(p->query[0], table), to = mask_starts[bits + 1], shares = (uint32_t)p->s->shares;
    for (uint32_t m = mask_starts[bits] + (uint32_t)p->s->share; m < to; m += shares) {
        if (m + AHEAD * shares < to) {
            const uint64_t *soon = codes + starts[mine ^ masks[m + AHEAD * shares]];
            PREFETCH(soon);
            PREFETCH(soon + 8);
        }
        const uint32_t bucket = mine ^ masks[m], start = starts[bucket], end = starts[bucket + 1];
        p->opened++;
        if (start >= end) continue; /* greater only if the file was cut short meanwhile */
        p->looked += end - start;
        look_into(p, table, start, end, bits);
    }
}

/* The cost of the steps after those of `bits` bits that the current limit still needs, if further buckets are as
 * full as those of the last step (`fill`). Farther buckets are rarely fuller. */
static double cost_to_come(const Probe *p, int bits, double fill) {
    const int64_t needed = limit_of(p->s, p->selector);
    int64_t buckets = 0;
    for (int64_t done = (int64_t)p->n_chunks * (bits + 1); done <= needed; done++) {
        const int64_t at = done / p->n_chunks;
        if (at > CHUNK) break;
        buckets += mask_starts[at + 1] - mask_starts[at];
    }
    return (double)buckets / p->s->shares * (BUCKET_COST + fill * ROW_COST);
}

int give_up(Selector *selector) {
    if (selector->shared != NULL) SHARED_PUT(selector->shared, -1); /* the others need not go on */
    return 0;
}

INLINE double cost_so_far(const Probe *p) {
    return (double)p->opened * BUCKET_COST + (double)p->looked * ROW_COST;
}

static int search_one(Probe *p, double budget) {
    for (int bits = 0; bits <= CHUNK; bits++) {
        const int64_t opened = p->opened, looked = p->looked;
        for (int table = 0; table < p->n_chunks; table++) {
            step(p, bits, table);
            if (limit_of(p->s, p->selector) <= (int64_t)p->n_chunks * bits + table) return 1;
        }
        selector_tighten(p->selector);
        /* The first steps cost next to nothing and lower the limit: the cost is checked only after them. */
        const double fill = (double)(p->looked - looked) / (double)(p->opened - opened + !(p->opened - opened));
        if (bits && cost_so_far(p) + cost_to_come(p, bits, fill) > budget) return give_up(p->selector);
    }
    return 1;
}

void scan_rest(const Search *s, const uint64_t *query, const Covered *covered, Selector *selector, int64_t *looked) {
    const Ask ask = ask_for(s, query);
    for (int64_t r = 0; r < covered->n_rest; r++) {
        scan_rows(s, &ask, covered->rest + r, 0, covered->rest[r].n, selector);
        *looked += covered->rest[r].n;
    }
}

int tables_search(const Search *s, const uint64_t *query, const Covered *covered, Selector *selector, int64_t *looked) {
    int complete = 1;
    double budget = covered->scan_ns;
    const int n_chunks = (COUNT(s->tail) + CHUNK - 1) / CHUNK;
    for (int64_t t = 0; t < covered->n_tables && complete; t++) {
        Probe p = {s, query, covered, covered->tables + t, selector, n_chunks, 0, 0};
        complete = search_one(&p, budget);
        budget -= cost_so_far(&p);
        *looked += p.looked;
    }
    if (complete) scan_rest(s, query, covered, selector, looked);
    return complete;
}

#include "lists.h"
#include <stdlib.h>
#include <string.h>

/* Measured nanoseconds: to start a run of rows from main memory; per word of a row; per skipped list. */
static const double RUN_COST = 150.0, WORD_COST = 0.35, PASS_COST = 2.0;
static const double JUDGED_AFTER = 0.05; /* share of the cost of a scan */

typedef struct {
    int32_t distance, list;
} Centre;

/* The lists, sorted by the distances of their centres. */
static Centre *nearest_centres(const Search *s, const Lists *l, const uint64_t *query) {
    Centre *all = malloc((size_t)l->n_lists * 2 * sizeof *all), *ordered = all == NULL ? NULL : all + l->n_lists;
    if (all == NULL) return NULL;
    int32_t *places = calloc((size_t)l->bits + 2, sizeof *places);
    if (places == NULL) {
        free(all);
        return NULL;
    }
    for (int64_t c = 0; c < l->n_lists; c++) {
        const uint64_t *centre = l->centres + c * l->words;
        int distance = 0;
        for (int w = 0; w < l->words; w++)
            distance += COUNT((centre[w] ^ query[w]) & (w == l->words - 1 ? s->tail : ~0ULL));
        all[c] = (Centre){distance, (int32_t)c};
        places[distance + 1]++;
    }
    for (int d = 0; d <= l->bits; d++) places[d + 1] += places[d];
    for (int64_t c = 0; c < l->n_lists; c++) ordered[places[all[c].distance]++] = all[c];
    memcpy(all, ordered, (size_t)l->n_lists * sizeof *all);
    free(places);
    return all;
}

typedef struct {
    uint32_t start, end;
} Run;

/* The rows of a list that can be within the limit. */
INLINE Run run_of(const Lists *l, Centre centre, int64_t limit) {
    const uint32_t *starts = l->starts + (int64_t)centre.list * (l->bits + 2);
    int64_t low = centre.distance - limit, high = centre.distance + limit + 1;
    if (low < 0) low = 0;
    if (high > l->bits + 1) high = l->bits + 1;
    return low < high ? (Run){starts[low], starts[high]} : (Run){0, 0};
}

static void look_into(const Search *s, const Ask *ask, const Covered *covered, const Lists *l, Run run,
                      Selector *selector) {
    const uint64_t *planes[MAX_WORDS];
    for (int w = 0; w < l->words; w++) planes[w] = l->planes[w] + run.start;
    const uint32_t *rows = l->rows + run.start;
    const int64_t n = run.end - run.start;
    Matches matches;
    for (int64_t at = 0; at < n;) {
        at = s->find(ask, planes, NULL, at, n, limit_of(s, selector), &matches);
        for (int64_t i = 0; i < matches.n; i++) {
            const int64_t row = l->first + rows[matches.rows[i]];
            const Part *part = part_of(covered->parts, covered->n_parts, row);
            if (counts(part, row - part->first))
                offer_row(s, ask, part, row - part->first, (uint64_t)matches.near[i], selector);
        }
    }
}

INLINE double cost_of(const Lists *l, Run run) {
    return RUN_COST + WORD_COST * l->words * (double)(run.end - run.start);
}

/* The cost of the lists from `next` on, with the current limit. */
static double cost_to_come(const Search *s, const Lists *l, const Centre *order, int64_t next,
                           const Selector *selector) {
    double cost = 0;
    for (; next < l->n_lists; next += s->shares) {
        const Run run = run_of(l, order[next], limit_of(s, selector));
        if (run.end > run.start) cost += cost_of(l, run);
    }
    return cost;
}

static int search_one(const Search *s, const uint64_t *query, const Covered *covered, const Lists *l,
                      Selector *selector, int64_t *looked, double *budget) {
    const Ask ask = ask_for(s, query);
    Centre *order = nearest_centres(s, l, query);
    if (order == NULL) return give_up(selector); /* out of memory: the scan needs none */
    double spent = PASS_COST * (double)l->n_lists;
    int judged = 0, worth = 1;
    for (int64_t i = s->share; i < l->n_lists && worth; i += s->shares) {
        const Run run = run_of(l, order[i], limit_of(s, selector));
        if (run.start >= run.end) continue; /* greater only if the file was cut short meanwhile */
        look_into(s, &ask, covered, l, run, selector);
        selector_tighten(selector);
        spent += cost_of(l, run);
        *looked += run.end - run.start;
        if (!judged && spent > JUDGED_AFTER * *budget) {
            judged = 1;
            worth = spent + cost_to_come(s, l, order, i + s->shares, selector) < *budget;
        }
    }
    *budget -= spent;
    free(order);
    return worth ? 1 : give_up(selector);
}

int lists_search(const Search *s, const uint64_t *query, const Covered *covered, const Lists *lists, int64_t n_lists,
                 Selector *selector, int64_t *looked) {
    double budget = covered->scan_ns;
    for (int64_t i = 0; i < n_lists; i++)
        if (!search_one(s, query, covered, lists + i, selector, looked, &budget)) return 0;
    scan_rest(s, query, covered, selector, looked);
    return 1;
}

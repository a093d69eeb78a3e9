/* Histograms of the distances from queries to rows, by grade of relevance: every retrieval figure is computed from
 * them. Single distances are not stored. */
#ifndef HASHGRAIN_HISTOGRAM_H
#define HASHGRAIN_HISTOGRAM_H
#include "find.h"
#include "scan.h"

enum { MOST_GRADES = 4096 };

/* Codes are zero beyond their width. `out` is (queries, grades + 1, bins); counts are added to it. */
typedef struct {
    const uint64_t *queries; /* (n_queries, words) */
    int64_t n_queries, n;
    int words, bins, grades;
    const uint64_t *planes[MAX_WORDS];
    int64_t *out;
} Counted;

/* Rows are sorted such that those of grade g or more are the rows from bounds[2 (g - 1)] to before
 * bounds[2 (g - 1) + 1]; each range contains the next. There are `grades` ranges for each query. */
void count_ranges(const Counted *c, const int64_t *bounds);

/* The grade of a row is the number of labels that it shares with the query, at most `grades`. */
void count_shared(const Counted *c, const uint64_t *query_sets, int set_words, const uint64_t *const *set_planes);
#endif

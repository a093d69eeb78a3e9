/* A question from Python, parsed and checked against its buffers. */
#ifndef HASHGRAIN_QUESTION_H
#define HASHGRAIN_QUESTION_H
#include "buffers.h"
#include "join.h"
#include "lists.h"
#include "tables.h"

#define MOST_ROWS (1LL << 40) /* multiplied by the bytes of a row, it fits 64 bits */

typedef struct {
    Buffers buffers;
    Search search;
    const uint64_t *queries;
    Py_ssize_t n_queries;
    Part *parts, *rest;
    Py_ssize_t n_parts, n_rest;
    Tables *tables;
    Py_ssize_t n_tables;
    Lists *lists;
    Py_ssize_t n_lists;
    Weighted *weighted;
    int64_t k, radius, *shared;
    double scan_ns;
} Question;

/* The kernels that this processor can run, the best first. */
void kinds_prepare(void);
PyObject *kinds_names(void);
Find find_named(const char *name); /* NULL: the best. NULL with an error set where there is none of that name. */

/* Each returns 0, or NULL, with an error set. */
int read_question(Question *q, PyObject *asked);
int read_parts(Question *q, PyObject *parts, Part **out, Py_ssize_t *n);
int read_all_tables(Question *q, PyObject *tables);
int read_all_lists(Question *q, PyObject *lists);
int read_planes(Question *q, PyObject *planes, int words, int64_t n, const uint64_t **out);
int starts_are_sound(const uint32_t *starts, int64_t n_starts, int64_t n);
void question_end(Question *q);
#endif

/* The Python module of the compiled kernels. Python checks the meaning of questions; this file only checks that no
 * buffer is read beyond its end. The interpreter lock is released during searches and builds.
 *
 * hamming/plain.py is the twin of this file in numpy, and its oracle. */
#include "cut.h"
#include "histogram.h"
#include "pages.h"
#include "question.h"
#include "rerank.h"

/* ---- answers */

/* (ids, near, full, counts, counted, looked, complete) as bytes; the hits of all queries one after another. */
static PyObject *answer(const Selector *selectors, Py_ssize_t n, const int64_t *looked, const int8_t *complete) {
    int64_t total = 0, at = 0;
    for (Py_ssize_t i = 0; i < n; i++) total += selectors[i].count;
    PyObject *ids = PyBytes_FromStringAndSize(NULL, 8 * total), *near = PyBytes_FromStringAndSize(NULL, 4 * total);
    PyObject *full = PyBytes_FromStringAndSize(NULL, 4 * total), *counts = PyBytes_FromStringAndSize(NULL, 8 * n);
    PyObject *counted = PyBytes_FromStringAndSize(NULL, 8 * n), *result = NULL;
    if (ids != NULL && near != NULL && full != NULL && counts != NULL && counted != NULL) {
        int64_t *id = (int64_t *)PyBytes_AS_STRING(ids);
        int32_t *near_at = (int32_t *)PyBytes_AS_STRING(near), *full_at = (int32_t *)PyBytes_AS_STRING(full);
        for (Py_ssize_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < selectors[i].count; j++, at++) {
                id[at] = selectors[i].hits[j].id;
                near_at[at] = (int32_t)(selectors[i].hits[j].key >> 32);
                full_at[at] = (int32_t)(selectors[i].hits[j].key & 0xFFFFFFFFu);
            }
            ((int64_t *)PyBytes_AS_STRING(counts))[i] = selectors[i].count;
            ((int64_t *)PyBytes_AS_STRING(counted))[i] = selectors[i].counted;
        }
        result = Py_BuildValue("OOOOOy#y#", ids, near, full, counts, counted, (const char *)looked,
                               (Py_ssize_t)(8 * n), (const char *)complete, n);
    }
    Py_XDECREF(ids);
    Py_XDECREF(near);
    Py_XDECREF(full);
    Py_XDECREF(counts);
    Py_XDECREF(counted);
    return result;
}

typedef enum { SCAN, TABLES, LISTS } Path;

static int search_all(const Question *q, Path path, Selector *selectors, int64_t *looked, int8_t *complete) {
    const Covered covered = {q->parts, q->n_parts, q->tables, q->n_tables, q->rest, q->n_rest, q->scan_ns};
    int64_t rows = 0;
    int failed = 0;
    for (Py_ssize_t p = 0; p < q->n_parts; p++) rows += q->parts[p].n;
    if (path == SCAN) scan_tiles(&q->search, q->queries, q->n_queries, q->parts, q->n_parts, selectors);
    for (Py_ssize_t i = 0; i < q->n_queries; i++) {
        const uint64_t *query = q->queries + i * q->search.words;
        complete[i] = 1;
        if (path == SCAN) looked[i] = rows;
        if (path == TABLES) complete[i] = (int8_t)tables_search(&q->search, query, &covered, selectors + i, looked + i);
        if (path == LISTS)
            complete[i] =
                (int8_t)lists_search(&q->search, query, &covered, q->lists, q->n_lists, selectors + i, looked + i);
        if (!complete[i]) selectors[i].count = 0;
        failed |= selectors[i].failed;
        if (!failed) selector_finish(selectors + i);
    }
    return !failed;
}

static PyObject *search_and_answer(Question *q, Path path) {
    const size_t n = (size_t)q->n_queries;
    Selector *selectors = calloc(n + 1, sizeof *selectors);
    int64_t *looked = calloc(n + 1, sizeof *looked);
    int8_t *complete = calloc(n + 1, 1);
    int ok = selectors != NULL && looked != NULL && complete != NULL;
    for (size_t i = 0; ok && i < n; i++) 
        ok = selector_start(selectors + i, q->k, q->radius, q->shared == NULL ? NULL : q->shared + i);
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        ok = search_all(q, path, selectors, looked, complete);
        Py_END_ALLOW_THREADS
    }
    PyObject *result = ok ? answer(selectors, q->n_queries, looked, complete) : PyErr_NoMemory();
    for (size_t i = 0; selectors != NULL && i < n; i++) selector_free(selectors + i);
    free(selectors);
    free(looked);
    free(complete);
    return result;
}

static PyObject *scan(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    PyObject *asked, *parts, *result = NULL;
    if (PyArg_ParseTuple(args, "OO", &asked, &parts) && read_question(&q, asked) &&
        read_parts(&q, parts, &q.parts, &q.n_parts))
        result = search_and_answer(&q, SCAN);
    question_end(&q);
    return result;
}

static PyObject *search_tables(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    PyObject *asked, *parts, *rest, *tables, *result = NULL;
    if (PyArg_ParseTuple(args, "OOOOd", &asked, &parts, &rest, &tables, &q.scan_ns) && read_question(&q, asked) &&
        read_parts(&q, parts, &q.parts, &q.n_parts) && read_parts(&q, rest, &q.rest, &q.n_rest) &&
        read_all_tables(&q, tables))
        result = search_and_answer(&q, TABLES);
    question_end(&q);
    return result;
}

static PyObject *search_lists(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    PyObject *asked, *parts, *rest, *lists, *result = NULL;
    if (PyArg_ParseTuple(args, "OOOOd", &asked, &parts, &rest, &lists, &q.scan_ns) && read_question(&q, asked) &&
        read_parts(&q, parts, &q.parts, &q.n_parts) && read_parts(&q, rest, &q.rest, &q.n_rest) &&
        read_all_lists(&q, lists))
        result = search_and_answer(&q, LISTS);
    question_end(&q);
    return result;
}

/* ---- building and the rest */

static PyObject *build_table(PyObject *module, PyObject *args) {
    (void)module;
    Buffers buffers = {0};
    PyObject *codes_object, *starts_object, *out_object, *rows_object, *result = NULL;
    int table;
    long long n;
    if (!PyArg_ParseTuple(args, "OLiOOO", &codes_object, &n, &table, &starts_object, &out_object, &rows_object))
        return NULL;
    if (n < 0 || n > UINT32_MAX || table < 0 || table >= MAX_TABLES) {
        PyErr_SetString(PyExc_ValueError, "table: size out of range");
        return NULL;
    }
    const uint64_t *codes = buffer_of(&buffers, codes_object, 8 * n, 0);
    uint32_t *starts = codes == NULL ? NULL : buffer_of(&buffers, starts_object, 4LL * (BUCKETS + 1), 1);
    uint64_t *out = starts == NULL ? NULL : buffer_of(&buffers, out_object, 8 * n, 1);
    uint32_t *rows = out == NULL ? NULL : buffer_of(&buffers, rows_object, 4 * n, 1);
    if (rows != NULL) {
        Py_BEGIN_ALLOW_THREADS
        table_build(codes, n, table, starts, out, rows);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    buffers_release(&buffers);
    return result;
}

/* Checks that the starts of an index increase and stay within its n rows: called once, when it is opened. */
static PyObject *sound_starts(PyObject *module, PyObject *args) {
    (void)module;
    Buffers buffers = {0};
    PyObject *object, *result = NULL;
    long long n_starts, n;
    if (!PyArg_ParseTuple(args, "OLL", &object, &n_starts, &n)) return NULL;
    const uint32_t *starts = buffer_of(&buffers, object, n_starts > MOST_ROWS ? -1 : 4 * n_starts, 0);
    if (starts != NULL && starts_are_sound(starts, n_starts, n)) result = Py_NewRef(Py_None);
    buffers_release(&buffers);
    return result;
}

static int read_buckets(Question *q, PyObject *starts, int64_t n, Joined *j) {
    if (j->reaches[j->chunk] < 0 || j->reaches[j->chunk] > CHUNK) {
        PyErr_SetString(PyExc_ValueError, "join: reach out of range");
        return 0;
    }
    j->starts = buffer_of(&q->buffers, starts, 4LL * (BUCKETS + 1), 0);
    return j->starts != NULL && starts_are_sound(j->starts, BUCKETS + 1, n);
}

/* join(planes, n, words, radius, starts or None, rows, chunk, reaches, from, to, kind) -> bytes of pairs */
static PyObject *join(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    Joined j = {0};
    Pairs out = {0};
    PyObject *planes, *starts, *rows, *reaches, *result = NULL;
    const char *kind;
    long long n, from, to;
    if (!PyArg_ParseTuple(args, "OLiiOOiOLLz", &planes, &n, &j.words, &j.radius, &starts, &rows, &j.chunk, &reaches,
                          &from, &to, &kind))
        return NULL;
    if (n < 0 || n > UINT32_MAX || j.words < 1 || j.words > MAX_WORDS || j.chunk < 0 || j.chunk >= 4 * j.words ||
        from < 0 || from > to || to > n) {
        PyErr_SetString(PyExc_ValueError, "join: size out of range");
        return NULL;
    }
    j.n = n;
    if ((j.find = find_named(kind)) != NULL && read_planes(&q, planes, j.words, n, j.planes) &&
        (j.rows = buffer_of(&q.buffers, rows, 4 * n, 0)) != NULL &&
        (j.reaches = buffer_of(&q.buffers, reaches, (int64_t)sizeof(int) * (j.chunk + 1), 0)) != NULL &&
        (starts == Py_None || read_buckets(&q, starts, n, &j))) {
        Py_BEGIN_ALLOW_THREADS
        if (starts == Py_None)
            join_rows(&j, from, to, &out);
        else
            join_buckets(&j, from, to, &out);
        Py_END_ALLOW_THREADS
        result = out.failed ? PyErr_NoMemory()
                            : PyBytes_FromStringAndSize((const char *)out.pairs, out.count * (Py_ssize_t)sizeof(Pair));
    }
    free(out.pairs);
    question_end(&q);
    return result;
}

/* rerank(outputs int64 (bits,), bits, codes (n, words), words, n) -> bytes of n int64 scores */
static PyObject *rerank(PyObject *module, PyObject *args) {
    (void)module;
    Buffers buffers = {0};
    PyObject *outputs_object, *codes_object, *result = NULL;
    int bits, words;
    long long n;
    if (!PyArg_ParseTuple(args, "OiOiL", &outputs_object, &bits, &codes_object, &words, &n)) return NULL;
    if (bits < 1 || words < 1 || words > MAX_WORDS || bits > 64 * words || n < 0 || n > MOST_ROWS) {
        PyErr_SetString(PyExc_ValueError, "rerank: size out of range");
        return NULL;
    }
    const int64_t *outputs = buffer_of(&buffers, outputs_object, 8LL * bits, 0);
    const uint64_t *codes = outputs == NULL ? NULL : buffer_of(&buffers, codes_object, 8 * n * words, 0);
    if (codes != NULL && (result = PyBytes_FromStringAndSize(NULL, 8 * n)) != NULL) {
        int64_t *scores = (int64_t *)PyBytes_AS_STRING(result);
        Py_BEGIN_ALLOW_THREADS
        rerank_codes(outputs, bits, codes, words, n, scores);
        Py_END_ALLOW_THREADS
    }
    buffers_release(&buffers);
    return result;
}

/* Parses the arguments that both ways of counting share. */
static int read_counted(Question *q, PyObject *asked, Counted *c) {
    PyObject *queries, *planes, *out;
    long long n_queries, n;
    if (!PyArg_ParseTuple(asked, "OLiiiOLO", &queries, &n_queries, &c->words, &c->bins, &c->grades, &planes, &n, &out))
        return 0;
    if (c->words < 1 || c->words > MAX_WORDS || c->bins != 64 * c->words + 1 || c->grades < 1 ||
        c->grades > MOST_GRADES || n < 0 || n > MOST_ROWS || n_queries < 0 || n_queries > MOST_ROWS / c->bins) {
        PyErr_SetString(PyExc_ValueError, "count: size out of range");
        return 0;
    }
    c->n_queries = n_queries;
    c->n = n;
    c->queries = buffer_of(&q->buffers, queries, 8 * n_queries * c->words, 0);
    c->out = c->queries == NULL ? NULL : buffer_of(&q->buffers, out, 8 * n_queries * (c->grades + 1) * c->bins, 1);
    return c->out != NULL && read_planes(q, planes, c->words, n, c->planes);
}

/* count_ranges((queries, n_queries, words, bins, grades, planes, n, out), bounds int64 (n_queries, grades, 2)) */
static PyObject *count_in_ranges(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    Counted c = {0};
    PyObject *asked, *bounds_object, *result = NULL;
    const int64_t *bounds;
    if (PyArg_ParseTuple(args, "OO", &asked, &bounds_object) && read_counted(&q, asked, &c) &&
        (bounds = buffer_of(&q.buffers, bounds_object, 16 * c.n_queries * c.grades, 0)) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        count_ranges(&c, bounds);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    question_end(&q);
    return result;
}

/* count_shared((...), sets uint64 (n_queries, set_words), set_words, planes of the rows' sets) */
static PyObject *count_by_sets(PyObject *module, PyObject *args) {
    (void)module;
    Question q = {0};
    Counted c = {0};
    PyObject *asked, *sets_object, *planes, *result = NULL;
    const uint64_t *sets, *set_planes[MAX_WORDS];
    int set_words;
    if (!PyArg_ParseTuple(args, "OOiO", &asked, &sets_object, &set_words, &planes)) return NULL;
    if (set_words < 1 || set_words > MAX_WORDS) {
        PyErr_SetString(PyExc_ValueError, "count: size out of range");
        return NULL;
    }
    if (read_counted(&q, asked, &c) &&
        (sets = buffer_of(&q.buffers, sets_object, 8 * c.n_queries * set_words, 0)) != NULL &&
        read_planes(&q, planes, set_words, c.n, set_planes)) {
        Py_BEGIN_ALLOW_THREADS
        count_shared(&c, sets, set_words, set_planes);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    question_end(&q);
    return result;
}

/* Reads a buffer as fast as possible, for comparison; returns a mix of it, so that the compiler keeps the reads. */
static PyObject *read_all(PyObject *module, PyObject *object) {
    (void)module;
    Buffers buffers = {0};
    uint64_t mixed[16] = {0};
    const uint64_t *words = buffer_of(&buffers, object, 0, 0);
    if (words != NULL) {
        const int64_t n = buffers.views[0].len / 8;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t i = 0; i + 16 <= n; i += 16)
            for (int j = 0; j < 16; j++) mixed[j] ^= words[i + j];
        Py_END_ALLOW_THREADS
    }
    buffers_release(&buffers);
    for (int j = 1; j < 16; j++) mixed[0] ^= mixed[j];
    return words == NULL ? NULL : PyLong_FromUnsignedLongLong(mixed[0]);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS, "Every row of the parts, for each query."},
    {"search_tables", search_tables, METH_VARARGS, "The same answer by way of tables, where they pay."},
    {"search_lists", search_lists, METH_VARARGS, "The same answer by way of lists, where they pay."},
    {"build_table", build_table, METH_VARARGS, "Rows in the order of one chunk of their codes."},
    {"sound_starts", sound_starts, METH_VARARGS, "Refuses an index that leads past its own end."},
    {"join", join, METH_VARARGS, "Pairs of rows within a radius of each other."},
    {"rerank", rerank, METH_VARARGS, "Scores of codes against real-valued outputs."},
    {"count_ranges", count_in_ranges, METH_VARARGS, "Rows at each distance, by ranges of rows."},
    {"count_shared", count_by_sets, METH_VARARGS, "Rows at each distance, by how many labels they share."},
    {"watch", watch, METH_O, "Survives that the file of a mapping is cut short."},
    {"was_cut", was_cut, METH_O, "Whether that happened."},
    {"unwatch", unwatch, METH_O, "The mapping is gone."},
    {"page_sums", page_sums, METH_VARARGS, "The CRC-32 of every page of a buffer."},
    {"read_all", read_all, METH_O, "Reads memory as fast as it goes."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (!__builtin_cpu_supports("popcnt")) {
        PyErr_SetString(PyExc_ImportError, "this processor counts no bits; the numpy twin does");
        return NULL;
    }
#endif
    kinds_prepare();
    masks_prepare();
    PyObject *self = PyModule_Create(&module), *names = self == NULL ? NULL : kinds_names();
    if (names == NULL || PyModule_AddObject(self, "KINDS", names) < 0) {
        Py_XDECREF(names);
        Py_XDECREF(self);
        return NULL;
    }
    return self;
}

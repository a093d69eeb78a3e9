#include "question.h"
#include <string.h>

static struct {
    const char *name;
    Find find;
} kinds[4];
static int n_kinds;

void kinds_prepare(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vpopcntdq")) {
        kinds[n_kinds].name = "avx512";
        kinds[n_kinds++].find = find_avx512;
    }
    if (__builtin_cpu_supports("avx2")) {
        kinds[n_kinds].name = "avx2";
        kinds[n_kinds++].find = find_avx2;
    }
#endif
#if defined(__aarch64__) && defined(__GNUC__)
    kinds[n_kinds].name = "neon";
    kinds[n_kinds++].find = find_neon;
#endif
    kinds[n_kinds].name = "plain";
    kinds[n_kinds++].find = find_plain;
}

Find find_named(const char *name) {
    for (int i = 0; i < n_kinds; i++)
        if (name == NULL || !strcmp(kinds[i].name, name)) return kinds[i].find;
    PyErr_Format(PyExc_ValueError, "no kernels named %s here", name);
    return NULL;
}

PyObject *kinds_names(void) {
    PyObject *names = PyTuple_New(n_kinds);
    for (int i = 0; names != NULL && i < n_kinds; i++)
        PyTuple_SET_ITEM(names, i, PyUnicode_FromString(kinds[i].name));
    return names;
}

/* The items of a sequence as an array of structs, each parsed by `read`; NULL with an error set. */
static void *read_each(Question *q, PyObject *sequence, size_t size, Py_ssize_t *n,
                       int (*read)(Question *, PyObject *, void *)) {
    PyObject *items = PySequence_Fast(sequence, "a sequence is needed");
    if (items == NULL) return NULL;
    *n = PySequence_Fast_GET_SIZE(items);
    char *each = calloc((size_t)*n + 1, size);
    if (each == NULL) PyErr_NoMemory();
    for (Py_ssize_t i = 0; each != NULL && i < *n; i++) {
        if (!read(q, PySequence_Fast_GET_ITEM(items, i), each + (size_t)i * size)) {
            free(each);
            each = NULL;
        }
    }
    Py_DECREF(items);
    return each;
}

int read_planes(Question *q, PyObject *planes, int words, int64_t n, const uint64_t **out) {
    if (!PyTuple_Check(planes) || PyTuple_GET_SIZE(planes) < words) {
        PyErr_SetString(PyExc_ValueError, "planes are a tuple, one a word");
        return 0;
    }
    for (int w = 0; w < words; w++)
        if ((out[w] = buffer_of(&q->buffers, PyTuple_GET_ITEM(planes, w), 8 * n, 0)) == NULL) return 0;
    return 1;
}

/* (first, n, planes, ids, alive or None, ascending) */
static int read_part(Question *q, PyObject *item, void *out) {
    Part *part = out;
    long long first, n;
    PyObject *planes, *ids, *alive;
    if (!PyArg_ParseTuple(item, "LLOOOp", &first, &n, &planes, &ids, &alive, &part->ascending)) return 0;
    if (n < 0 || n > MOST_ROWS) {
        PyErr_SetString(PyExc_ValueError, "a part: size out of range");
        return 0;
    }
    part->first = first;
    part->n = n;
    if (!read_planes(q, planes, q->search.words, n, part->planes)) return 0;
    if ((part->ids = buffer_of(&q->buffers, ids, 8 * n, 0)) == NULL) return 0;
    if (alive != Py_None && (part->alive = buffer_of(&q->buffers, alive, (n + 63) / 64 * 8, 0)) == NULL) return 0;
    return 1;
}

int starts_are_sound(const uint32_t *starts, int64_t n_starts, int64_t n) {
    for (int64_t i = 1; i < n_starts; i++)
        if (starts[i] < starts[i - 1]) break;
        else if (i == n_starts - 1 && starts[i] <= n) return 1;
    PyErr_SetString(PyExc_ValueError, "an index leads past its own end");
    return 0;
}

/* (first, n, starts (tables, 65537), codes (tables, n), rows (tables, n), tables) */
static int read_tables(Question *q, PyObject *item, void *out) {
    Tables *tables = out;
    long long first, n;
    int count;
    PyObject *starts_object, *codes_object, *rows_object;
    if (!PyArg_ParseTuple(item, "LLOOOi", &first, &n, &starts_object, &codes_object, &rows_object, &count)) return 0;
    if (count < 1 || count > MAX_TABLES || CHUNK * count < q->search.bits || q->search.bits % CHUNK || n < 0 || n > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "tables: size out of range");
        return 0;
    }
    const uint32_t *starts = buffer_of(&q->buffers, starts_object, 4LL * count * (BUCKETS + 1), 0);
    const uint64_t *codes = starts == NULL ? NULL : buffer_of(&q->buffers, codes_object, 8LL * count * n, 0);
    const uint32_t *rows = codes == NULL ? NULL : buffer_of(&q->buffers, rows_object, 4LL * count * n, 0);
    if (rows == NULL) return 0;
    tables->first = first;
    tables->n = n;
    for (int t = 0; t < count; t++) {
        tables->starts[t] = starts + (int64_t)t * (BUCKETS + 1);
        tables->codes[t] = codes + (int64_t)t * n;
        tables->rows[t] = rows + (int64_t)t * n;
    }
    return 1;
}

/* (first, n, bits, centres (lists, words), starts (lists, bits + 2), planes, rows, lists) */
static int read_lists(Question *q, PyObject *item, void *out) {
    Lists *lists = out;
    long long first, n, n_lists;
    PyObject *centres, *starts, *planes, *rows;
    if (!PyArg_ParseTuple(item, "LLiOOOOL", &first, &n, &lists->bits, &centres, &starts, &planes, &rows, &n_lists))
        return 0;
    lists->words = (lists->bits + 63) / 64;
    if (lists->bits != q->search.bits || lists->words != q->search.grain_words || n < 0 || n > UINT32_MAX || n_lists < 0 ||
        n_lists > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "lists: size out of range");
        return 0;
    }
    lists->first = first;
    lists->n = n;
    lists->n_lists = n_lists;
    if ((lists->centres = buffer_of(&q->buffers, centres, 8 * n_lists * lists->words, 0)) == NULL) return 0;
    if ((lists->starts = buffer_of(&q->buffers, starts, 4 * n_lists * (lists->bits + 2), 0)) == NULL) return 0;
    if (!read_planes(q, planes, lists->words, n, lists->planes)) return 0;
    return (lists->rows = buffer_of(&q->buffers, rows, 4 * n, 0)) != NULL;
}

/* (word, mask, weight) */
static int read_weighted(Question *q, PyObject *item, void *out) {
    Weighted *part = out;
    unsigned long long mask;
    if (!PyArg_ParseTuple(item, "iKi", &part->word, &mask, &part->weight)) return 0;
    part->mask = mask;
    if (part->word >= 0 && part->word < q->search.words && part->weight >= 0) return 1;
    PyErr_SetString(PyExc_ValueError, "weights: out of range");
    return 0;
}

/* (queries, words, bits, k, radius, counting, weighted or None, kind or None, shared limit or None, share, shares) */
int read_question(Question *q, PyObject *asked) {
    PyObject *queries, *weighted, *shared;
    const char *kind;
    int bits;
    long long k, radius;
    if (!PyArg_ParseTuple(asked, "OiiLLpOzOii", &queries, &q->search.words, &bits, &k, &radius, &q->search.counting,
                          &weighted, &kind, &shared, &q->search.share, &q->search.shares))
        return 0;
    const int words = q->search.words;
    if (words < 1 || words > MAX_WORDS || bits < 1 || bits > 64 * words || k < 0 || radius < 0 || radius > INT32_MAX ||
        q->search.share < 0 || q->search.share >= q->search.shares) {
        PyErr_SetString(PyExc_ValueError, "width, bits, k, radius or share out of range");
        return 0;
    }
    q->k = k;
    q->search.bits = bits;
    q->radius = radius;
    q->search.grain_words = (bits + 63) / 64;
    q->search.tail = bits % 64 ? (1ULL << (bits % 64)) - 1 : ~0ULL;
    q->search.whole = bits == 64 * words && weighted == Py_None;
    q->search.find = find_named(kind);
    if (q->search.find == NULL || (q->queries = buffer_of(&q->buffers, queries, 0, 0)) == NULL) return 0;
    q->n_queries = q->buffers.views[0].len / (8 * words);
    if (shared != Py_None && (q->shared = buffer_of(&q->buffers, shared, 8 * q->n_queries, 1)) == NULL) return 0;
    if (weighted == Py_None) return 1;
    Py_ssize_t n = 0;
    q->weighted = read_each(q, weighted, sizeof(Weighted), &n, read_weighted);
    q->search.weighted = q->weighted;
    q->search.n_weighted = (int)n;
    q->search.find = find_weighted;
    return q->weighted != NULL;
}

int read_parts(Question *q, PyObject *parts, Part **out, Py_ssize_t *n) {
    *out = read_each(q, parts, sizeof(Part), n, read_part);
    return *out != NULL;
}

int read_all_tables(Question *q, PyObject *tables) {
    q->tables = read_each(q, tables, sizeof(Tables), &q->n_tables, read_tables);
    return q->tables != NULL;
}

int read_all_lists(Question *q, PyObject *lists) {
    q->lists = read_each(q, lists, sizeof(Lists), &q->n_lists, read_lists);
    return q->lists != NULL;
}

void question_end(Question *q) {
    free(q->parts);
    free(q->rest);
    free(q->tables);
    free(q->lists);
    free(q->weighted);
    buffers_release(&q->buffers);
}

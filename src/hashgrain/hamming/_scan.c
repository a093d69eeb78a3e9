/* The exact scan, compiled. hamming/plain.py is its twin in numpy and its oracle.
 *
 * Codes are rows of n_words 64-bit words. The distance at a grain counts the differing bits among the first
 * `bits`; the full distance counts them all. Answers are ordered by (distance, full distance, id): the rule
 * of the house, and a total order, so that every path gives the same answer.
 *
 * Python checks meaning (scan.py); this file checks that no buffer is read past its end, and lets go of the
 * interpreter lock while it scans.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t id;
    int32_t near, full;
} Hit;

#if defined(__GNUC__) && defined(__x86_64__)
#define POPCNT __attribute__((target("popcnt")))
#define HAS_POPCNT() __builtin_cpu_supports("popcnt")
#else
#define POPCNT
#define HAS_POPCNT() 0
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define COUNT(word) __builtin_popcountll(word)
#else
#define INLINE static __forceinline
INLINE int COUNT(uint64_t word) {
    word -= (word >> 1) & 0x5555555555555555ULL;
    word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
    return (int)((((word + (word >> 4)) & 0x0F0F0F0F0F0F0F0FULL) * 0x0101010101010101ULL) >> 56);
}
#endif

typedef struct {
    const uint64_t *query, *words;
    const int64_t *ids;
    const uint8_t *alive; /* one bit a row, little-endian; NULL: every row */
    int64_t n, k;
    int n_words, bits, radius;
    Hit *hits;
    int64_t found, room;
} Scan;

INLINE int before(Hit a, Hit b) {
    if (a.near != b.near) return a.near < b.near;
    if (a.full != b.full) return a.full < b.full;
    return a.id < b.id;
}

static int compare(const void *a, const void *b) {
    return before(*(const Hit *)a, *(const Hit *)b) ? -1 : before(*(const Hit *)b, *(const Hit *)a);
}

/* The worst hit stands at the top, to be replaced by a better one. */
static void sift_down(Hit *heap, int64_t size, Hit hit) {
    int64_t place = 0, child;
    while ((child = 2 * place + 1) < size) {
        if (child + 1 < size && before(heap[child], heap[child + 1])) child++;
        if (!before(hit, heap[child])) break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = hit;
}

static void sift_up(Hit *heap, int64_t place, Hit hit) {
    while (place > 0 && before(heap[(place - 1) / 2], hit)) {
        heap[place] = heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap[place] = hit;
}

INLINE int is_alive(const Scan *s, int64_t row) {
    return s->alive == NULL || ((s->alive[row >> 3] >> (row & 7)) & 1);
}

INLINE int near_distance(const Scan *s, const uint64_t *row) {
    int whole = s->bits >> 6, rest = s->bits & 63, distance = 0;
    for (int w = 0; w < whole; w++) distance += COUNT(row[w] ^ s->query[w]);
    if (rest) distance += COUNT((row[whole] ^ s->query[whole]) & ((1ULL << rest) - 1));
    return distance;
}

INLINE int full_distance(const Scan *s, const uint64_t *row) {
    int distance = 0;
    for (int w = 0; w < s->n_words; w++) distance += COUNT(row[w] ^ s->query[w]);
    return distance;
}

INLINE void scan_nearest(Scan *s) {
    int32_t worst = INT32_MAX; /* rows farther than this at the grain cannot enter any more */
    for (int64_t i = 0; i < s->n; i++) {
        const uint64_t *row = s->words + i * s->n_words;
        int near = near_distance(s, row);
        if (near > worst || !is_alive(s, i)) continue;
        Hit hit = {s->ids[i], near, full_distance(s, row)};
        if (s->found < s->k) {
            sift_up(s->hits, s->found++, hit);
        } else if (before(hit, s->hits[0])) {
            sift_down(s->hits, s->k, hit);
        }
        if (s->found == s->k) worst = s->hits[0].near;
    }
}

/* Returns 0 when memory ran out. */
INLINE int scan_within(Scan *s) {
    for (int64_t i = 0; i < s->n; i++) {
        const uint64_t *row = s->words + i * s->n_words;
        int near = near_distance(s, row);
        if (near > s->radius || !is_alive(s, i)) continue;
        if (s->found == s->room) {
            int64_t room = s->room ? 2 * s->room : 1024;
            Hit *more = realloc(s->hits, (size_t)room * sizeof(Hit));
            if (more == NULL) return 0;
            s->hits = more;
            s->room = room;
        }
        s->hits[s->found++] = (Hit){s->ids[i], near, full_distance(s, row)};
    }
    return 1;
}

POPCNT static int fast_scan(Scan *s) {
    if (s->k) return scan_nearest(s), 1;
    return scan_within(s);
}

static int portable_scan(Scan *s) {
    if (s->k) return scan_nearest(s), 1;
    return scan_within(s);
}

static int64_t rows_of(const Py_buffer *buffer, int64_t width) { return (int64_t)buffer->len / width; }

/* scan(query, words, ids, alive or None, n_words, bits, k, radius) -> bytes of (id, near, full) records.
 * k > 0 asks for the k nearest; k == 0 for all within radius. */
static PyObject *scan(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer query, words, ids, alive = {0};
    PyObject *alive_object, *result = NULL;
    Scan s = {0};
    long long k;
    if (!PyArg_ParseTuple(args, "y*y*y*OiiLi", &query, &words, &ids, &alive_object, &s.n_words, &s.bits, &k, &s.radius))
        return NULL;
    if (alive_object != Py_None && PyObject_GetBuffer(alive_object, &alive, PyBUF_SIMPLE) < 0) goto release;
    if (s.n_words < 1 || s.bits < 1 || s.bits > 64 * (int64_t)s.n_words || k < 0) {
        PyErr_SetString(PyExc_ValueError, "scan: width, bits or k out of range");
        goto release;
    }
    s.n = rows_of(&ids, sizeof(int64_t));
    if (query.len < 8 * (Py_ssize_t)s.n_words || rows_of(&words, 8 * (int64_t)s.n_words) < s.n ||
        (alive.obj != NULL && alive.len < (s.n + 7) / 8)) {
        PyErr_SetString(PyExc_ValueError, "scan: a buffer is too short");
        goto release;
    }
    s.query = query.buf;
    s.words = words.buf;
    s.ids = ids.buf;
    s.alive = alive.obj != NULL ? alive.buf : NULL;
    s.k = k < s.n ? k : s.n;
    int ok = 1;
    if (s.n > 0) {
        if (k) s.hits = malloc((size_t)s.k * sizeof(Hit));
        ok = !k || s.hits != NULL;
        if (ok) {
            Py_BEGIN_ALLOW_THREADS
            ok = HAS_POPCNT() ? fast_scan(&s) : portable_scan(&s);
            if (ok) qsort(s.hits, (size_t)s.found, sizeof(Hit), compare);
            Py_END_ALLOW_THREADS
        }
    }
    if (ok)
        result = PyBytes_FromStringAndSize((const char *)s.hits, (Py_ssize_t)s.found * (Py_ssize_t)sizeof(Hit));
    else
        PyErr_NoMemory();
    free(s.hits);
release:
    if (alive.obj != NULL) PyBuffer_Release(&alive);
    PyBuffer_Release(&query);
    PyBuffer_Release(&words);
    PyBuffer_Release(&ids);
    return result;
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS, "The k nearest rows, or all within a radius, as packed records."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scan", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModule_Create(&module); }

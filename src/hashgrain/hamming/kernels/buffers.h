/* Buffers lent by Python: taken, checked for length, and given back all at once. */
#ifndef HASHGRAIN_HELD_H
#define HASHGRAIN_HELD_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

typedef struct {
    Py_buffer *views;
    int64_t n, room;
} Held;

/* The bytes of an object that must have so many, or NULL with an error set. */
static inline void *hold(Held *held, PyObject *object, int64_t bytes, int writable) {
    if (held->n == held->room) {
        const int64_t room = held->room ? 2 * held->room : 64;
        Py_buffer *more = realloc(held->views, (size_t)room * sizeof *more);
        if (more == NULL) return PyErr_NoMemory();
        held->views = more;
        held->room = room;
    }
    Py_buffer *view = held->views + held->n;
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) return NULL;
    held->n++;
    if (bytes < 0 || view->len < bytes) {
        PyErr_SetString(PyExc_ValueError, "a buffer is too short");
        return NULL;
    }
    return view->buf;
}

static inline void let_go(Held *held) {
    for (int64_t i = 0; i < held->n; i++) PyBuffer_Release(held->views + i);
    free(held->views);
}
#endif

/* Buffers of Python objects: acquired one by one, checked for length, and released all at once. */
#ifndef HASHGRAIN_BUFFERS_H
#define HASHGRAIN_BUFFERS_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

typedef struct {
    Py_buffer *views;
    int64_t n, room;
} Buffers;

/* The buffer of an object with at least `bytes` bytes, or NULL with an error set. */
static inline void *buffer_of(Buffers *buffers, PyObject *object, int64_t bytes, int writable) {
    if (buffers->n == buffers->room) {
        const int64_t room = buffers->room ? 2 * buffers->room : 64;
        Py_buffer *more = realloc(buffers->views, (size_t)room * sizeof *more);
        if (more == NULL) return PyErr_NoMemory();
        buffers->views = more;
        buffers->room = room;
    }
    Py_buffer *view = buffers->views + buffers->n;
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) return NULL;
    buffers->n++;
    if (bytes < 0 || view->len < bytes) {
        PyErr_SetString(PyExc_ValueError, "a buffer is too short");
        return NULL;
    }
    return view->buf;
}

static inline void buffers_release(Buffers *buffers) {
    for (int64_t i = 0; i < buffers->n; i++) PyBuffer_Release(buffers->views + i);
    free(buffers->views);
}
#endif

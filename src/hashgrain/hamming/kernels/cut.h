/* Surviving that another process cuts a mapped file short: see cut.c. */
#ifndef CUT_H
#define CUT_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *watch(PyObject *module, PyObject *object);
PyObject *was_cut(PyObject *module, PyObject *slot);
PyObject *unwatch(PyObject *module, PyObject *slot);

#endif

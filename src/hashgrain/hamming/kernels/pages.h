/* Checksums of the pages of a file: see pages.c. */
#ifndef PAGES_H
#define PAGES_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* (pages, bytes of a page, room for one uint32 per page) -> whether this processor supports it. */
PyObject *page_sums(PyObject *module, PyObject *arguments);

#endif

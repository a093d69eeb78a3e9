/* Reading a mapped file beyond a later cut raises SIGBUS, which ends the process. This handler replaces the page by
 * zeros and marks the mapping as cut: the reader continues, and `was_cut` shows that its answer is invalid.
 *
 * The handler only searches an array and calls mmap, which systems allow in a handler. It passes any other SIGBUS on to
 * the previous handler. Slots are assigned under the interpreter's lock and read by the handler in any thread, so `end`
 * is written last when a slot is taken, and first when it is released. */
#include "cut.h"

#if defined(_WIN32)

PyObject *watch(PyObject *module, PyObject *object) {
    (void)module, (void)object;
    return PyLong_FromLong(-1);
}
PyObject *was_cut(PyObject *module, PyObject *slot) {
    (void)module, (void)slot;
    Py_RETURN_FALSE;
}
PyObject *unwatch(PyObject *module, PyObject *slot) {
    (void)module, (void)slot;
    Py_RETURN_NONE;
}

#else

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 65536 };

static struct {
    _Atomic uintptr_t start, end;
    atomic_int cut;
} slots[SLOTS];
static atomic_int used; /* slots below this were used at least once */
static uintptr_t page;
static struct sigaction before;

static void pass_on(int number, siginfo_t *info, void *context) {
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        signal(number, SIG_DFL); /* the same instruction raises it again, for good */
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    const uintptr_t place = (uintptr_t)info->si_addr;
    const int n = atomic_load(&used);
    for (int i = 0; i < n; i++) {
        if (place < atomic_load(&slots[i].start) || place >= atomic_load(&slots[i].end)) continue;
        void *aligned = (void *)(place & ~(page - 1));
        if (mmap(aligned, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
        atomic_store(&slots[i].cut, 1);
        return;
    }
    pass_on(number, info, context);
}

/* Installs the handler, unless it is there; again if a library that was loaded later has put its own in its place. */
static int install(void) {
    struct sigaction ours, there;
    if (sigaction(SIGBUS, NULL, &there) != 0) return 0;
    if (there.sa_flags & SA_SIGINFO && there.sa_sigaction == on_bus_error) return 1;
    memset(&ours, 0, sizeof ours);
    sigemptyset(&ours.sa_mask);
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    before = there;
    return sigaction(SIGBUS, &ours, NULL) == 0;
}

/* Watches a mapping and returns its slot; -1 if all slots are taken: then it is not watched. */
PyObject *watch(PyObject *module, PyObject *object) {
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return NULL;
    const uintptr_t start = (uintptr_t)view.buf, end = start + (uintptr_t)view.len;
    PyBuffer_Release(&view);
    const int installed = install();
    int slot = 0;
    while (slot < SLOTS && atomic_load(&slots[slot].end) != 0) slot++;
    if (!installed || slot == SLOTS) return PyLong_FromLong(-1);
    atomic_store(&slots[slot].cut, 0);
    atomic_store(&slots[slot].start, start);
    atomic_store(&slots[slot].end, (end + page - 1) & ~(page - 1));
    if (slot >= atomic_load(&used)) atomic_store(&used, slot + 1);
    return PyLong_FromLong(slot);
}

static long slot_of(PyObject *slot) {
    const long number = PyLong_AsLong(slot);
    return number < 0 || number >= SLOTS ? -1 : number;
}

PyObject *was_cut(PyObject *module, PyObject *slot) {
    (void)module;
    const long number = slot_of(slot);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(number >= 0 && atomic_load(&slots[number].cut));
}

PyObject *unwatch(PyObject *module, PyObject *slot) {
    (void)module;
    const long number = slot_of(slot);
    if (PyErr_Occurred()) return NULL;
    if (number >= 0) atomic_store(&slots[number].end, 0);
    Py_RETURN_NONE;
}

#endif

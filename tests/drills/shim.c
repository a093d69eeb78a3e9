// Stands between a process and its disk (LD_PRELOAD): counts the calls that touch files below the watched folders,
// fails, shortens or stops at one of them, and writes down every change so that a power cut can be replayed.
//
// Nothing happens until `drill_arm` is called, in the process that is to be drilled: a warm parent forks a child
// for each trial, and the child arms itself. The page of counters is shared, so the parent reads it after a kill.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2, OPENS = 4, NAMES = 8, READS = 16, LOCKS = 32 };
enum { COUNT = 0, FAIL = 1, SHORT = 2, KILL = 3, LASTING = 4, KILL_SHORT = 5 };
enum { ROOTS = 4 };

struct control {
    int armed;  // process id
    int mode, mask, error, log, n_roots;
    long at, calls, hits;
    char roots[ROOTS][PATH_MAX];
    char what[PATH_MAX + 64];
};
static struct control *control;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    control = page == MAP_FAILED ? NULL : page;
}

// `roots` are real paths, one a line. `log` is a descriptor to write changes to, or -1.
void drill_arm(int mode, int mask, long at, int error, const char *roots, int log) {
    memset(control, 0, sizeof *control);
    control->mode = mode;
    control->mask = mask;
    control->at = at;
    control->error = error;
    control->log = log;
    while (*roots && control->n_roots < ROOTS) {
        size_t length = strcspn(roots, "\n");
        if (length < PATH_MAX) memcpy(control->roots[control->n_roots++], roots, length);
        roots += length + (roots[length] == '\n');
    }
    control->armed = getpid();
}

void drill_disarm(void) { control->armed = 0; }
long drill_calls(void) { return control->calls; }
long drill_hits(void) { return control->hits; }
const char *drill_what(void) { return control->what; }

static int armed(void) { return control && control->armed && control->armed == getpid(); }

static int below(const char *path) {
    for (int i = 0; i < control->n_roots; i++) {
        size_t length = strlen(control->roots[i]);
        if (!strncmp(path, control->roots[i], length) && strchr("/ ", path[length])) return 1;  // "/", " (deleted)", end
    }
    return 0;
}

static const char *of_fd(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buffer, PATH_MAX - 1);
    buffer[n < 0 ? 0 : n] = 0;
    return buffer;
}

// The absolute path of `path` relative to `place`, links in it left as they are.
static const char *whole(int place, const char *path, char *buffer) {
    char folder[PATH_MAX];
    if (path[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", path);
        return buffer;
    }
    if (place == AT_FDCWD) {
        if (!getcwd(folder, sizeof folder)) folder[0] = 0;
    } else {
        of_fd(place, folder);
    }
    size_t length = strlen(folder);
    memcpy(buffer, folder, length);
    snprintf(buffer + length, PATH_MAX - length, "/%s", path);
    return buffer;
}

// ---- the record of changes: type, two numbers of files or folders, an offset, and up to two texts

struct __attribute__((packed)) record {
    char type;
    uint64_t first, second;
    int64_t offset;
    uint32_t length, more;
};

static void note(char type, uint64_t first, uint64_t second, int64_t offset, const void *text, size_t length,
                 const void *other, size_t more) {
    if (!armed() || control->log < 0) return;
    struct record head = {type, first, second, offset, (uint32_t)length, (uint32_t)more};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)text, length}, {(void *)other, more}};
    syscall(SYS_writev, control->log, parts, 3);
}

void drill_mark(const char *text) { note('M', 0, 0, 0, text, strlen(text), NULL, 0); }

static uint64_t number(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

static uint64_t number_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static uint64_t folder_of(const char *path, const char **name) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (!slash) return 0;
    *slash = 0;
    struct stat found;
    return stat(folder[0] ? folder : "/", &found) ? 0 : found.st_ino;
}

static void note_name(char type, const char *path, uint64_t file) {
    const char *name;
    uint64_t folder = folder_of(path, &name);
    note(type, folder, file, 0, name, strlen(name), NULL, 0);
}

// ---- what is to happen at this call: 0 go on, an error number, or -1 for half of it

static int act(int kind, const char *call, const char *path, int grows) {
    if (!(control->mask & kind)) return 0;
    long n = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    int lasting = control->mode == LASTING || control->mode == SHORT;
    if (control->mode == COUNT || n < control->at || (n > control->at && !(lasting && grows))) return 0;
    if (control->mode == LASTING && !grows) return 0;
    if (!control->hits++) snprintf(control->what, sizeof control->what, "%s %s", call, path);
    if (control->mode == KILL) syscall(SYS_kill, getpid(), SIGKILL);
    if (control->mode == KILL_SHORT || (control->mode == SHORT && n == control->at)) {
        if (kind == WRITES) return -1;
        if (control->mode == KILL_SHORT) syscall(SYS_kill, getpid(), SIGKILL);
        return 0;
    }
    return control->error;
}

#define DECIDE(kind, call, path, grows)                 \
    int decided = act(kind, call, path, grows);         \
    if (decided > 0) {                                  \
        errno = decided;                                \
        return -1;                                      \
    }

static void end_if_killed(int decided) {
    if (decided < 0 && control->mode == KILL_SHORT) syscall(SYS_kill, getpid(), SIGKILL);
}

static void note_written(int fd, const void *data, ssize_t n, off_t offset) {
    if (n <= 0 || control->log < 0) return;
    int kept = errno;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - n;
    note('W', number_of(fd), 0, offset, NULL, 0, data, (size_t)n);
    if (fcntl(fd, F_GETFL) & (O_SYNC | O_DSYNC)) note('F', number_of(fd), 0, 0, NULL, 0, NULL, 0);
    errno = kept;
}

// Of calls that never show us the bytes: read them back.
static void note_copied(int fd, ssize_t n, off_t offset) {
    if (n <= 0 || control->log < 0) return;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int again = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    char *data = malloc((size_t)n);
    if (again >= 0 && data && syscall(SYS_pread64, again, data, n, offset) == n) note_written(fd, data, n, offset);
    free(data);
    if (again >= 0) close(again);
}

// ---- opening

static int opened(int place, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    if (!armed() || !below(whole(place, path, buffer))) return REAL(openat)(place, path, flags, mode);
    int creates = (flags & O_CREAT) && !number(buffer);
    DECIDE(OPENS, "open", buffer, creates)
    int fd = REAL(openat)(place, path, flags, mode);
    if (fd >= 0 && control->log >= 0) {
        int kept = errno;
        if (creates) note_name('C', buffer, number_of(fd));
        else if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY)
            note('T', number_of(fd), 0, 0, NULL, 0, NULL, 0);
        errno = kept;
    }
    return fd;
}

#define MODE(flags)                                         \
    mode_t mode = 0;                                        \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                  \
        va_list rest;                                       \
        va_start(rest, flags);                              \
        mode = (mode_t)va_arg(rest, int);                   \
        va_end(rest);                                       \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int place, const char *path, int flags, ...) { MODE(flags) return opened(place, path, flags, mode); }
int openat64(int place, const char *path, int flags, ...) { MODE(flags) return opened(place, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

// ---- writing

#define WATCHED(fd, otherwise)                                          \
    char buffer[PATH_MAX];                                              \
    if (!armed() || !below(of_fd(fd, buffer))) return otherwise;

ssize_t write(int fd, const void *data, size_t n) {
    WATCHED(fd, REAL(write)(fd, data, n))
    DECIDE(WRITES, "write", buffer, 1)
    ssize_t done = REAL(write)(fd, data, decided < 0 ? (n + 1) / 2 : n);
    note_written(fd, data, done, -1);
    end_if_killed(decided);
    return done;
}

static ssize_t written_at(int fd, const void *data, size_t n, off_t offset) {
    WATCHED(fd, REAL(pwrite)(fd, data, n, offset))
    DECIDE(WRITES, "pwrite", buffer, 1)
    ssize_t done = REAL(pwrite)(fd, data, decided < 0 ? (n + 1) / 2 : n, offset);
    note_written(fd, data, done, offset);
    end_if_killed(decided);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return written_at(fd, data, n, offset); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset) { return written_at(fd, data, n, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    WATCHED(fd, REAL(writev)(fd, parts, count))
    DECIDE(WRITES, "writev", buffer, 1)
    off_t before = lseek(fd, 0, SEEK_CUR);
    ssize_t done = REAL(writev)(fd, parts, decided < 0 ? (count + 1) / 2 : count);
    note_copied(fd, done, before);
    end_if_killed(decided);
    return done;
}

ssize_t sendfile(int out, int in, off_t *offset, size_t n) {
    WATCHED(out, REAL(sendfile)(out, in, offset, n))
    DECIDE(WRITES, "sendfile", buffer, 1)
    off_t before = lseek(out, 0, SEEK_CUR);
    ssize_t done = REAL(sendfile)(out, in, offset, decided < 0 ? (n + 1) / 2 : n);
    note_copied(out, done, before);
    end_if_killed(decided);
    return done;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t n) { return sendfile(out, in, offset, n); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    WATCHED(out, REAL(copy_file_range)(in, from, out, to, n, flags))
    DECIDE(WRITES, "copy_file_range", buffer, 1)
    off_t before = to ? *to : lseek(out, 0, SEEK_CUR);
    ssize_t done = REAL(copy_file_range)(in, from, out, to, decided < 0 ? (n + 1) / 2 : n, flags);
    note_copied(out, done, before);
    end_if_killed(decided);
    return done;
}

static int cut(int fd, off_t size) {
    WATCHED(fd, REAL(ftruncate)(fd, size))
    struct stat found;
    int grows = !fstat(fd, &found) && size > found.st_size;
    DECIDE(WRITES, "ftruncate", buffer, grows)
    int done = REAL(ftruncate)(fd, size);
    if (!done) note('T', number_of(fd), 0, size, NULL, 0, NULL, 0);
    end_if_killed(decided);
    return done;
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

int truncate(const char *path, off_t size) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) return -1;
    int done = ftruncate(fd, size), kept = errno;
    close(fd);
    errno = kept;
    return done;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int reserved(int fd, int mode, off_t offset, off_t n) {
    WATCHED(fd, REAL(fallocate)(fd, mode, offset, n))
    DECIDE(WRITES, "fallocate", buffer, 1)
    int done = REAL(fallocate)(fd, mode, offset, n);
    struct stat found;
    if (!done && !fstat(fd, &found)) note('T', found.st_ino, 0, found.st_size, NULL, 0, NULL, 0);
    end_if_killed(decided);
    return done;
}
int fallocate(int fd, int mode, off_t offset, off_t n) { return reserved(fd, mode, offset, n); }
int fallocate64(int fd, int mode, off64_t offset, off64_t n) { return reserved(fd, mode, offset, n); }
int posix_fallocate(int fd, off_t offset, off_t n) { return reserved(fd, 0, offset, n) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t n) { return reserved(fd, 0, offset, n) ? errno : 0; }

// ---- syncing

int fsync(int fd) {
    WATCHED(fd, REAL(fsync)(fd))
    DECIDE(SYNCS, "fsync", buffer, 0)
    int done = REAL(fsync)(fd);
    if (!done) note('F', number_of(fd), 0, 0, NULL, 0, NULL, 0);
    return done;
}

int fdatasync(int fd) {
    WATCHED(fd, REAL(fdatasync)(fd))
    DECIDE(SYNCS, "fdatasync", buffer, 0)
    int done = REAL(fdatasync)(fd);
    if (!done) note('F', number_of(fd), 0, 0, NULL, 0, NULL, 0);
    return done;
}

// ---- names

static int renamed(int place, const char *old, int other, const char *new, unsigned flags) {
    char from[PATH_MAX], to[PATH_MAX];
    if (!armed() || !(below(whole(place, old, from)) | below(whole(other, new, to))))
        return REAL(renameat2)(place, old, other, new, flags);
    DECIDE(NAMES, "rename", to, 0)
    const char *old_name, *new_name;
    uint64_t old_folder = folder_of(from, &old_name), new_folder = folder_of(to, &new_name);
    int done = flags ? REAL(renameat2)(place, old, other, new, flags) : REAL(renameat)(place, old, other, new);
    if (!done) {
        char type = (flags & RENAME_EXCHANGE) ? 'E' : 'R';
        note(type, old_folder, new_folder, 0, old_name, strlen(old_name), new_name, strlen(new_name));
    }
    return done;
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int place, const char *old, int other, const char *new) { return renamed(place, old, other, new, 0); }
int renameat2(int place, const char *old, int other, const char *new, unsigned flags) {
    return renamed(place, old, other, new, flags);
}

static int linked(int place, const char *old, int other, const char *new, int flags) {
    char from[PATH_MAX], to[PATH_MAX];
    whole(place, old, from);
    if (!armed() || !below(whole(other, new, to))) return REAL(linkat)(place, old, other, new, flags);
    DECIDE(NAMES, "link", to, 1)
    int done = REAL(linkat)(place, old, other, new, flags);
    if (!done) note_name('L', to, number(to));
    return done;
}
int link(const char *old, const char *new) { return linked(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int place, const char *old, int other, const char *new, int flags) {
    return linked(place, old, other, new, flags);
}

static int unlinked(int place, const char *path, int flags) {
    char buffer[PATH_MAX];
    if (!armed() || !below(whole(place, path, buffer))) return REAL(unlinkat)(place, path, flags);
    DECIDE(NAMES, "unlink", buffer, 0)
    int done = REAL(unlinkat)(place, path, flags);
    if (!done) note_name('U', buffer, 0);
    return done;
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinked(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int place, const char *path, int flags) { return unlinked(place, path, flags); }
int remove(const char *path) {
    struct stat found;
    if (lstat(path, &found)) return -1;
    return unlinked(AT_FDCWD, path, S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0);
}

static int made(int place, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    if (!armed() || !below(whole(place, path, buffer))) return REAL(mkdirat)(place, path, mode);
    DECIDE(NAMES, "mkdir", buffer, 1)
    int done = REAL(mkdirat)(place, path, mode);
    if (!done) note_name('D', buffer, number(buffer));
    return done;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int place, const char *path, mode_t mode) { return made(place, path, mode); }

// ---- reading and locking

ssize_t read(int fd, void *data, size_t n) {
    WATCHED(fd, REAL(read)(fd, data, n))
    DECIDE(READS, "read", buffer, 0)
    return REAL(read)(fd, data, n);
}
static ssize_t read_at(int fd, void *data, size_t n, off_t offset) {
    WATCHED(fd, REAL(pread)(fd, data, n, offset))
    DECIDE(READS, "pread", buffer, 0)
    return REAL(pread)(fd, data, n, offset);
}
ssize_t pread(int fd, void *data, size_t n, off_t offset) { return read_at(fd, data, n, offset); }
ssize_t pread64(int fd, void *data, size_t n, off64_t offset) { return read_at(fd, data, n, offset); }

static void *mapped(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    char buffer[PATH_MAX];
    if (fd < 0 || !armed() || !below(of_fd(fd, buffer)))
        return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
    int decided = act(READS, "mmap", buffer, 0);
    if (decided > 0) {
        errno = decided;
        return MAP_FAILED;
    }
    if ((protection & PROT_WRITE) && (flags & MAP_SHARED)) note('P', number_of(fd), 0, 0, buffer, strlen(buffer), NULL, 0);
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    return mapped(at, n, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t offset) {
    return mapped(at, n, protection, flags, fd, offset);
}

int flock(int fd, int operation) {
    WATCHED(fd, REAL(flock)(fd, operation))
    if (!(operation & LOCK_UN)) {
        DECIDE(LOCKS, "flock", buffer, 0)
    }
    return REAL(flock)(fd, operation);
}

static int controlled(int fd, int command, void *argument) {
    int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK;
    if (!locks || !argument || ((struct flock *)argument)->l_type == F_UNLCK) return REAL(fcntl)(fd, command, argument);
    WATCHED(fd, REAL(fcntl)(fd, command, argument))
    DECIDE(LOCKS, "fcntl", buffer, 0)
    return REAL(fcntl)(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return controlled(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return controlled(fd, command, argument);
}

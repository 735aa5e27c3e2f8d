/* A failing medium for tests: some system calls on one file do not do what they are asked.
 *
 * faults.c and calls.c together are preloaded as a shared object (LD_PRELOAD), or linked into a test program. They
 * are driven by the environment or by faults.h.
 *
 *   HUP_FAULT_PATH   the file or block device, which need not exist yet; all others are left alone
 *   HUP_FAULT        op:kind:n[:times], commas between several. The nth such call (from 1) goes wrong, and the ones
 *                    after it until there were `times` of them (default 1; `inf`: all).
 *   HUP_FAULT_LOG    a line "op kind offset length" is added to this file for each call that goes wrong
 *
 *   op     write    pwrite                              zero     BLKZEROOUT, fallocate with a mode
 *          flush    fsync, fdatasync                    space    fallocate without one
 *          settle   sync_file_range                     source   read, readv, pread, preadv
 *          read     pread, preadv                      ring     io_uring_enter, of any ring
 *                                                      submit   io_uring_enter that is to start something
 *
 *   kind   flip     one bit of the data is changed      eio, enospc, eintr, eagain, ebusy, einval, eopnotsupp
 *          drop     nothing is done, and success                   the call fails with that
 *                   reported; a read finds the end,     nodirect   EINVAL while the file is open O_DIRECT
 *                   an io_uring never does             slow       20 ms pass first, then all is well
 *          short    half is done, in sectors of 512
 *          odd      half is done, less a few bytes */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const op_names[] = { "write", "flush",  "settle", "read",   "zero",
                                        "space", "source", "ring",   "submit", NULL };

static const struct name {
    const char *name;
    enum fault_kind kind;
    int number;
} kinds[] = {
    { "flip", KIND_FLIP, 0 },         { "drop", KIND_DROP, 0 },         { "short", KIND_SHORT, 0 },
    { "odd", KIND_ODD, 0 },           { "slow", KIND_SLOW, 0 },         { "nodirect", KIND_NODIRECT, EINVAL },
    { "eio", KIND_ERRNO, EIO },       { "enospc", KIND_ERRNO, ENOSPC }, { "eintr", KIND_ERRNO, EINTR },
    { "eagain", KIND_ERRNO, EAGAIN }, { "einval", KIND_ERRNO, EINVAL }, { "eopnotsupp", KIND_ERRNO, EOPNOTSUPP },
    { "ebusy", KIND_ERRNO, EBUSY },   { NULL, KIND_NONE, 0 },
};

enum { FAULTS_MAX = 4 };

struct fault {
    int op;
    const struct name *kind;
    unsigned long first, times;
    atomic_ulong seen;   /* calls of this op */
    atomic_uint refused; /* of these, by KIND_NODIRECT */
};

static struct fault faults[FAULTS_MAX];
static size_t fault_count;
static char target[4096];
static const char *log_path;
static atomic_uint hits;
static _Atomic uint64_t hit_offset, hit_length;

/* -------- what is to go wrong -------- */

/* A test whose fault is mistyped must not pass. */
static void nonsense(const char *text)
{
    fprintf(stderr, "faults: this is no fault: %s\n", text);
    _exit(99);
}

static unsigned long number(const char *text, const char *all)
{
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;

    if (value == 0 || *end)
        nonsense(all);
    return value;
}

static void parse(const char *all)
{
    char copy[64], *rest = copy;
    struct fault *fault = &faults[fault_count];

    snprintf(copy, sizeof copy, "%s", all);
    const char *op = strsep(&rest, ":"), *kind = strsep(&rest, ":"), *first = strsep(&rest, ":"), *times = rest;
    if (fault_count == FAULTS_MAX || !kind)
        nonsense(all);
    fault->op = 0;
    while (op_names[fault->op] && strcmp(op_names[fault->op], op) != 0)
        fault->op++;
    fault->kind = kinds;
    while (fault->kind->name && strcmp(fault->kind->name, kind) != 0)
        fault->kind++;
    if (!op_names[fault->op] || !fault->kind->name)
        nonsense(all);
    fault->first = number(first, all);
    fault->times = !times ? 1 : strcmp(times, "inf") == 0 ? ~0ul : number(times, all);
    atomic_store(&fault->seen, 0);
    atomic_store(&fault->refused, 0);
    fault_count++;
}

void hup_faults_set(const char *path, const char *text)
{
    char copy[256], *rest = copy, *item;

    fault_count = 0;
    atomic_store(&hits, 0);
    if (!path || !text)
        return;
    if (strlen(path) >= sizeof target || strlen(text) >= sizeof copy)
        nonsense(text);
    strcpy(target, path);
    strcpy(copy, text);
    while ((item = strsep(&rest, ",")))
        parse(item);
}

__attribute__((constructor)) static void from_environment(void)
{
    log_path = getenv("HUP_FAULT_LOG");
    hup_faults_set(getenv("HUP_FAULT_PATH"), getenv("HUP_FAULT"));
}

/* -------- what went wrong -------- */

unsigned hup_faults_hits(void)
{
    return atomic_load(&hits);
}

uint64_t hup_faults_offset(void)
{
    return atomic_load(&hit_offset);
}

uint64_t hup_faults_length(void)
{
    return atomic_load(&hit_length);
}

static void note(const struct fault *fault, uint64_t offset, uint64_t length)
{
    if (fault->kind->kind == KIND_FLIP) {
        offset += length / 2; /* as calls.c does it */
        length = 1;
    }
    if (atomic_fetch_add(&hits, 1) == 0) {
        atomic_store(&hit_offset, offset);
        atomic_store(&hit_length, length);
    }
    int fd = log_path ? open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (fd >= 0) {
        dprintf(fd, "%s %s %llu %llu\n", op_names[fault->op], fault->kind->name, (unsigned long long)offset,
                (unsigned long long)length);
        close(fd);
    }
}

/* -------- does it go wrong now? -------- */

/* A file that is being made may have no name yet (O_TMPFILE): it is on the filesystem of the one that is not there. */
static bool is_nameless(const struct stat *file)
{
    char folder[sizeof target];
    struct stat there;

    strcpy(folder, target);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[1] = 0;
    return S_ISREG(file->st_mode) && file->st_nlink == 0 && stat(slash ? folder : ".", &there) == 0 &&
           file->st_dev == there.st_dev;
}

bool hup_faults_on(int fd)
{
    struct stat this, that;
    int before = errno;
    bool same = false;

    if (!fault_count || fstat(fd, &this) < 0)
        same = false;
    else if (stat(target, &that) < 0)
        same = is_nameless(&this);
    else if (S_ISBLK(this.st_mode) && S_ISBLK(that.st_mode))
        same = this.st_rdev == that.st_rdev;
    else
        same = this.st_dev == that.st_dev && this.st_ino == that.st_ino;
    errno = before;
    return same;
}

static void pause_ms(unsigned milliseconds)
{
    nanosleep(&(struct timespec){ .tv_nsec = milliseconds * 1000000L }, NULL);
}

/* Count the call. Is it one of those that the fault is for? */
static bool is_due(struct fault *fault, int fd)
{
    unsigned long seen = atomic_fetch_add(&fault->seen, 1) + 1;

    if (seen < fault->first || seen - fault->first >= fault->times)
        return false;
    return fault->kind->kind != KIND_NODIRECT || (fcntl(fd, F_GETFL) & O_DIRECT);
}

enum fault_kind hup_faults_suffer(enum fault_op op, int fd, uint64_t offset, uint64_t length)
{
    enum fault_kind kind = KIND_NONE;
    int before = errno;

    if (op < OP_RING && !hup_faults_on(fd))
        return KIND_NONE;
    for (size_t i = 0; i < fault_count && kind == KIND_NONE; i++) {
        struct fault *fault = &faults[i];
        if (fault->op != (int)op || !is_due(fault, fd))
            continue;
        note(fault, offset, length);
        if (fault->kind->kind == KIND_SLOW) {
            pause_ms(20);
            continue;
        }
        if (fault->kind->kind == KIND_NODIRECT) /* refusals of calls in flight together come one after the other */
            pause_ms(3 * (atomic_fetch_add(&fault->refused, 1) % 8));
        kind = fault->kind->number ? KIND_ERRNO : fault->kind->kind;
        before = fault->kind->number ? fault->kind->number : before;
    }
    errno = before;
    return kind;
}

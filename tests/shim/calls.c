/* The system calls that faults.c spoils. For glibc: each takes the place of its twin with 64-bit offsets too. */
#undef _FILE_OFFSET_BITS /* would make pwrite another name of pwrite64, and both are wanted here */
#undef _TIME_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

enum { SECTOR = 512, PAGE = 4096 };

static void *find(const char *name, _Atomic(void *) *slot)
{
    void *function = atomic_load(slot);

    if (!function) {
        function = dlsym(RTLD_NEXT, name);
        atomic_store(slot, function);
    }
    return function;
}

/* Declare `hidden`, the call that ours hides. */
#define HIDDEN(result, arguments, name)                                                                                \
    static _Atomic(void *) slot;                                                                                       \
    result(*hidden) arguments;                                                                                         \
    *(void **)&hidden = find(name, &slot)

/* How much a short call says to have done, and how much it does: whole pages, so that direct I/O goes on. */
static size_t cut(enum fault_kind kind, size_t size, size_t *done)
{
    size_t said = size / 2 / SECTOR * SECTOR + SECTOR - (kind == KIND_ODD ? 3 : 0);

    *done = (said + PAGE - 1) / PAGE * PAGE;
    if (*done > size)
        *done = size;
    return said < *done ? said : *done;
}

/* -------- writing -------- */

static ssize_t do_write(int fd, const void *data, size_t size, off64_t offset)
{
    HIDDEN(ssize_t, (int, const void *, size_t, off64_t), "pwrite64");
    enum fault_kind kind = hup_faults_suffer(OP_WRITE, fd, (uint64_t)offset, size);
    void *copy = NULL;
    size_t done;
    ssize_t put;

    switch (kind) {
    case KIND_NONE:
        return hidden(fd, data, size, offset);
    case KIND_DROP:
        return (ssize_t)size;
    case KIND_FLIP:
        if (posix_memalign(&copy, PAGE, size))
            abort();
        memcpy(copy, data, size);
        ((char *)copy)[size / 2] ^= 8;
        put = hidden(fd, copy, size, offset);
        free(copy);
        return put;
    case KIND_SHORT:
    case KIND_ODD:
        put = (ssize_t)cut(kind, size, &done);
        return hidden(fd, data, done, offset) == (ssize_t)done ? put : -1;
    default:
        return -1;
    }
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return do_write(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return do_write(fd, data, size, offset);
}

/* -------- reading -------- */

/* offset -1: at the descriptor's position. */
static ssize_t read_hidden(int fd, void *data, size_t size, off64_t offset)
{
    if (offset < 0) {
        HIDDEN(ssize_t, (int, void *, size_t), "read");
        return hidden(fd, data, size);
    }
    HIDDEN(ssize_t, (int, void *, size_t, off64_t), "pread64");
    return hidden(fd, data, size, offset);
}

static enum fault_kind suffer_read(int fd, size_t size, off64_t offset)
{
    off64_t at = offset;

    if (!hup_faults_on(fd))
        return KIND_NONE;
    if (at < 0 && (at = lseek64(fd, 0, SEEK_CUR)) < 0)
        at = 0; /* a pipe */
    enum fault_kind kind = hup_faults_suffer(OP_SOURCE, fd, (uint64_t)at, size);
    return kind == KIND_NONE && offset >= 0 ? hup_faults_suffer(OP_READ, fd, (uint64_t)at, size) : kind;
}

static ssize_t do_read(int fd, void *data, size_t size, off64_t offset)
{
    enum fault_kind kind = suffer_read(fd, size, offset);
    char *bytes = data;
    size_t done, said;
    ssize_t got;

    switch (kind) {
    case KIND_NONE:
        return read_hidden(fd, data, size, offset);
    case KIND_DROP:
        return 0;
    case KIND_FLIP:
        got = read_hidden(fd, data, size, offset);
        if (got > 0)
            bytes[size / 2 < (size_t)got ? size / 2 : 0] ^= 8;
        return got;
    case KIND_SHORT:
    case KIND_ODD:
        said = cut(kind, size, &done);
        got = read_hidden(fd, data, offset < 0 ? said : done, offset);
        if (got > (ssize_t)said) {
            memset(bytes + said, 0xAA, (size_t)got - said); /* nobody may count on what lies behind */
            got = (ssize_t)said;
        }
        return got;
    default:
        return -1;
    }
}

ssize_t read(int fd, void *data, size_t size)
{
    return do_read(fd, data, size, -1);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return do_read(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    return do_read(fd, data, size, offset);
}

/* Python reads into vectors of one. Of a longer one only the first part is read, which a read may do. */
ssize_t readv(int fd, const struct iovec *parts, int count)
{
    HIDDEN(ssize_t, (int, const struct iovec *, int), "readv");
    return count > 0 && hup_faults_on(fd) ? do_read(fd, parts->iov_base, parts->iov_len, -1) : hidden(fd, parts, count);
}

static ssize_t do_readv(int fd, const struct iovec *parts, int count, off64_t offset)
{
    HIDDEN(ssize_t, (int, const struct iovec *, int, off64_t), "preadv64");
    return count > 0 && hup_faults_on(fd) ? do_read(fd, parts->iov_base, parts->iov_len, offset)
                                          : hidden(fd, parts, count, offset);
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
    return do_readv(fd, parts, count, offset);
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return do_readv(fd, parts, count, offset);
}

ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    HIDDEN(ssize_t, (int, const struct iovec *, int, off64_t, int), "preadv64v2");
    return count > 0 && flags == 0 && hup_faults_on(fd) ? do_read(fd, parts->iov_base, parts->iov_len, offset)
                                                        : hidden(fd, parts, count, offset, flags);
}

ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return preadv64v2(fd, parts, count, offset, flags);
}

/* -------- io_uring -------- */

/* Is the call of a ring over, with *result? */
static bool ring_is_over(long submissions, long *result)
{
    enum fault_kind kind = hup_faults_suffer(OP_RING, -1, 0, 0);

    if (kind == KIND_NONE && submissions > 0)
        kind = hup_faults_suffer(OP_SUBMIT, -1, 0, 0);
    *result = kind == KIND_ERRNO ? -1 : submissions;
    return kind == KIND_ERRNO || kind == KIND_DROP;
}

/* Of all calls by number; the arguments that a call does not have are read and passed on as they are. */
long syscall(long number, ...)
{
    HIDDEN(long, (long, ...), "syscall");
    va_list arguments;
    long word[6], result;

    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        word[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_io_uring_enter && ring_is_over(word[1], &result))
        return result;
    return hidden(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}

/* -------- calls without data -------- */

/* True when the call is over, with *result. */
static bool is_over(enum fault_op op, int fd, off64_t offset, off64_t length, int *result)
{
    enum fault_kind kind = hup_faults_suffer(op, fd, (uint64_t)offset, (uint64_t)length);

    *result = kind == KIND_ERRNO ? -1 : 0;
    return kind != KIND_NONE;
}

int fsync(int fd)
{
    HIDDEN(int, (int), "fsync");
    int result;
    return is_over(OP_FLUSH, fd, 0, 0, &result) ? result : hidden(fd);
}

int fdatasync(int fd)
{
    HIDDEN(int, (int), "fdatasync");
    int result;
    return is_over(OP_FLUSH, fd, 0, 0, &result) ? result : hidden(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
    HIDDEN(int, (int, off64_t, off64_t, unsigned), "sync_file_range");
    int result;
    return is_over(OP_SETTLE, fd, offset, size, &result) ? result : hidden(fd, offset, size, flags);
}

static int do_fallocate(int fd, int mode, off64_t offset, off64_t size)
{
    HIDDEN(int, (int, int, off64_t, off64_t), "fallocate64");
    int result;
    return is_over(mode ? OP_ZERO : OP_SPACE, fd, offset, size, &result) ? result : hidden(fd, mode, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return do_fallocate(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return do_fallocate(fd, mode, offset, size);
}

int ioctl(int fd, unsigned long request, ...)
{
    HIDDEN(int, (int, unsigned long, void *), "ioctl");
    va_list arguments;
    int result;

    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == BLKZEROOUT) {
        const uint64_t *range = argument;
        if (is_over(OP_ZERO, fd, (off64_t)range[0], (off64_t)range[1], &result))
            return result;
    }
    return hidden(fd, request, argument);
}

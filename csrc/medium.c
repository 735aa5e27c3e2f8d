/* The target's bytes: write, zero, flush, read. Every failure here is the medium's, and says where. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "target.h"

enum {
    AGAIN_MAX = 2000, /* tries, a millisecond apart, before EAGAIN is taken for a failure */
    ZERO_STEP = 1 << 20,
};

/* May the call that failed with `number` be made again? Waits a little where that helps. */
static bool again(int number, unsigned *tries)
{
    if (number == EINTR)
        return true;
    if (number != EAGAIN || ++*tries > AGAIN_MAX)
        return false;
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return true;
}

/* Push what was written through the page cache to the medium, and out of the cache. */
static int write_back(struct hup_target *target, uint64_t offset, size_t size, hup_error *error)
{
    int flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

    while (sync_file_range(target->fd, (off_t)offset, (off_t)size, (unsigned)flags) < 0) {
        if (errno == ENOSYS || errno == EINVAL || errno == ESPIPE)
            break; /* the flush at the end does it */
        if (errno != EINTR)
            return hup_fail_errno(error, HUP_E_MEDIUM, errno, offset, size,
                                  "writing back %zu bytes at %" PRIu64 " failed", size, offset);
    }
    posix_fadvise(target->fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    return HUP_OK;
}

int hup_target_write(struct hup_target *target, uint64_t offset, const void *data, size_t size, hup_error *error)
{
    const uint8_t *from = data;
    uint64_t start = offset;
    size_t left = size;
    unsigned tries = 0;

    while (left) {
        bool direct = atomic_load(&target->direct);
        ssize_t put = pwrite(target->fd, from, left, (off_t)offset);
        if (put < 0) {
            if (again(errno, &tries))
                continue;
            if (errno == EINVAL && direct) {
                hup_target_buffer(target); /* odd devices take the flag and then refuse the write */
                continue;
            }
            return hup_fail_errno(error, HUP_E_MEDIUM, errno, offset, left, "writing %zu bytes at %" PRIu64 " failed",
                                  left, offset);
        }
        /* A short direct write may end inside a sector: that sector is written again, whole. */
        size_t step = (size_t)put < left && direct ? (size_t)put / target->align * target->align : (size_t)put;
        if (step == 0 && ++tries > AGAIN_MAX)
            return hup_fail_errno(error, HUP_E_MEDIUM, EIO, offset, left, "writing at %" PRIu64 " does not get on",
                                  offset);
        from += step;
        offset += step;
        left -= step;
    }
    return atomic_load(&target->direct) ? HUP_OK : write_back(target, start, size, error);
}

int hup_target_write_tail(struct hup_target *target, uint64_t offset, const void *data, size_t size, hup_error *error)
{
    /* The page cache reads the sector, puts these bytes into it, and writes it back: what was behind them stays. */
    bool direct = atomic_load(&target->direct);

    hup_target_buffer(target);
    int status = hup_target_write(target, offset, data, size, error);
    if (!status && direct) {
        int flags = fcntl(target->fd, F_GETFL);
        if (flags >= 0 && fcntl(target->fd, F_SETFL, flags | O_DIRECT) == 0)
            atomic_store(&target->direct, true);
    }
    return status;
}

int hup_target_read(struct hup_target *target, uint64_t offset, void *memory, size_t size, size_t *got,
                    hup_error *error)
{
    uint8_t *into = memory;
    size_t want = (size + target->align - 1) / target->align * target->align, have = 0;
    unsigned tries = 0, inside = 0;

    while (have < size) {
        bool direct = atomic_load(&target->direct);
        if (!direct) /* the medium is to answer, and not the cache */
            posix_fadvise(target->fd, (off_t)(offset + have), (off_t)(want - have), POSIX_FADV_DONTNEED);
        ssize_t part = pread(target->fd, into + have, want - have, (off_t)(offset + have));
        if (part < 0) {
            if (again(errno, &tries))
                continue;
            if (errno == EINVAL && direct) {
                hup_target_buffer(target);
                continue;
            }
            return hup_fail_errno(error, HUP_E_MEDIUM, errno, offset + have, size - have,
                                  "reading %zu bytes at %" PRIu64 " failed", size - have, offset + have);
        }
        if (part == 0)
            break; /* the end of the target */
        /* Go on at a sector's start; what was read of it is read again. But the end of a file is its end. */
        size_t next = have + (size_t)part;
        if (next < size && direct && next % target->align) {
            if (next / target->align * target->align == have && ++inside > 1)
                return *got = next, HUP_OK;
            next = next / target->align * target->align;
        }
        have = next;
    }
    *got = have < size ? have : size;
    return HUP_OK;
}

/* Send zeroes as data, from pages that are never touched and so cost no memory. */
static int write_zeroes(struct hup_target *target, uint64_t offset, uint64_t size, hup_error *error)
{
    void *zeroes = mmap(NULL, ZERO_STEP, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int status = HUP_OK;

    if (zeroes == MAP_FAILED)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, offset, size, "cannot map a page of zeroes");
    while (size && !status) {
        size_t step = size < ZERO_STEP ? (size_t)size : ZERO_STEP;
        status = hup_target_write(target, offset, zeroes, step, error);
        offset += step;
        size -= step;
    }
    munmap(zeroes, ZERO_STEP);
    return status;
}

/* True when `number` says that a way of zeroing does not exist here, and not that it failed. */
static bool unsupported(int number)
{
    return number == EOPNOTSUPP || number == ENOTTY || number == EINVAL || number == ENOSYS || number == EPERM;
}

static int zero_device(struct hup_target *target, uint64_t offset, uint64_t size)
{
    uint64_t range[2] = { offset, size };

    /* The kernel promises that these bytes read as zeroes, and writes them itself where the device cannot.
     * BLKDISCARD promises nothing, and is never used. */
    return ioctl(target->fd, BLKZEROOUT, range);
}

static int zero_file(struct hup_target *target, uint64_t offset, uint64_t size)
{
    int keep = FALLOC_FL_KEEP_SIZE;
    int done = fallocate(target->fd, FALLOC_FL_ZERO_RANGE | keep, (off_t)offset, (off_t)size);

    if (done < 0 && unsupported(errno))
        done = fallocate(target->fd, FALLOC_FL_PUNCH_HOLE | keep, (off_t)offset, (off_t)size);
    return done;
}

int hup_target_zero(struct hup_target *target, uint64_t offset, uint64_t size, hup_error *error)
{
    int done;

    if (target->blank)
        return HUP_OK;
    do
        done = target->device ? zero_device(target, offset, size) : zero_file(target, offset, size);
    while (done < 0 && errno == EINTR);
    if (done == 0)
        return HUP_OK;
    if (unsupported(errno))
        return write_zeroes(target, offset, size, error);
    return hup_fail_errno(error, HUP_E_MEDIUM, errno, offset, size, "zeroing %" PRIu64 " bytes at %" PRIu64 " failed",
                          size, offset);
}

int hup_target_extend(struct hup_target *target, uint64_t image_size, hup_error *error)
{
    struct stat status;

    if (target->device)
        return HUP_OK;
    if (fstat(target->fd, &status) < 0 ||
        ((uint64_t)status.st_size < image_size && ftruncate(target->fd, (off_t)image_size) < 0))
        return hup_fail_errno(error, HUP_E_MEDIUM, errno, image_size, 0,
                              "giving the target its length of %" PRIu64 " bytes failed", image_size);
    return HUP_OK;
}

int hup_target_settle(struct hup_target *target, hup_error *error)
{
    int done;

    do
        done = fsync(target->fd);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return hup_fail_errno(error, HUP_E_MEDIUM, errno, 0, 0,
                              "flushing the target failed, so what was written may be lost");
    return HUP_OK;
}

int hup_target_flush(struct hup_target *target, hup_error *error)
{
    int status = hup_target_settle(target, error);

    if (status)
        return status;
    /* What a tail or a buffered write left in the page cache must not answer the read-back. */
    posix_fadvise(target->fd, 0, 0, POSIX_FADV_DONTNEED);
    return HUP_OK;
}

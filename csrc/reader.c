/* Reading the image from a file descriptor, without filling the page cache with it. */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

enum {
    PIECE = 256 << 10,
    AHEAD = 1 << 20, /* bytes that the kernel is asked to fetch in advance */
};

/* A file's cached pages are dropped behind the reader. The kernel's own read-ahead, which may be many megabytes, is
 * switched off, and asked for in small steps instead. (Dropping only the last piece would drop almost nothing where
 * the filesystem caches in large folios, so it is always all from the start.) */
struct cache {
    bool file;
    uint64_t start, position;
};

static struct cache cache_open(int fd)
{
    struct stat status;
    struct cache cache = { 0 };
    off_t at;

    if (fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) &&
        (at = lseek(fd, 0, SEEK_CUR)) >= 0) {
        cache = (struct cache){ .file = true, .start = (uint64_t)at, .position = (uint64_t)at };
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
        posix_fadvise(fd, at, AHEAD, POSIX_FADV_WILLNEED);
    }
    return cache;
}

static void cache_advance(struct cache *cache, int fd, size_t read)
{
    if (!cache->file)
        return;
    cache->position += read;
    posix_fadvise(fd, (off_t)(cache->position + AHEAD - PIECE), PIECE, POSIX_FADV_WILLNEED);
    posix_fadvise(fd, (off_t)cache->start, (off_t)(cache->position - cache->start), POSIX_FADV_DONTNEED);
}

static void cache_close(const struct cache *cache, int fd)
{
    if (!cache->file)
        return;
    posix_fadvise(fd, (off_t)cache->start, 0, POSIX_FADV_DONTNEED);
    posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL);
}

static ssize_t read_retrying(int fd, void *memory, size_t size)
{
    ssize_t got;

    do
        got = read(fd, memory, size);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Wait until fd can be read or the run is over; false for the latter. A pipe may stay silent for ever. */
static bool wait_readable(const struct hup_reader *reader)
{
    struct pollfd fds[2] = { { .fd = reader->fd, .events = POLLIN },
                             { .fd = reader->run->gate.wake_fd, .events = POLLIN } };

    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    return !fds[1].revents;
}

/* Move one piece. 1: go on; 0: the end. */
static int read_piece(struct hup_reader *reader, struct cache *cache, uint64_t *done, hup_error *error)
{
    struct hup_input *input = &reader->run->input;
    void *memory;
    size_t size;
    int status = hup_input_acquire(input, UINT32_MAX, &memory, &size, error);

    if (status)
        return status;
    if (size > PIECE)
        size = PIECE;
    uint64_t left = reader->length - *done;
    if (size > left)
        size = (size_t)left;
    if (size == 0)
        return 0;
    ssize_t got = -1;
    struct hup_pace *pace = &reader->run->pace;
    bool rests = cache->file && pace->background; /* the image may be on the same medium */
    if (rests && !hup_pace_begin(pace, HUP_STAGE_READ, 0))
        return HUP_E_CANCELLED;
    uint64_t since = hup_clock_ns();
    do {
        if (!cache->file && !wait_readable(reader))
            return HUP_E_CANCELLED;
        got = read_retrying(reader->fd, memory, size);
    } while (got < 0 && errno == EAGAIN && !cache->file);
    int number = errno;
    if (rests)
        hup_pace_end(pace, HUP_STAGE_READ, since);
    if (got < 0)
        return hup_fail_errno(error, HUP_E_SOURCE, number, *done, size, "reading the image at %" PRIu64 " failed",
                              *done);
    if (got == 0 && reader->length != UINT64_MAX)
        return hup_fail(error, HUP_E_SOURCE, *done, left, "the image ends %" PRIu64 " bytes early", left);
    hup_trace_add(&reader->run->gate.trace, HUP_STAGE_READ, HUP_SPAN_BUSY, since, *done, (uint64_t)got);
    *done += (uint64_t)got;
    cache_advance(cache, reader->fd, (size_t)got);
    status = hup_input_commit(input, (size_t)got, error);
    return status ? status : got > 0;
}

/* With a survey: only what it asks for, each range from its place in the file. */
static int read_ranges(struct hup_reader *reader, struct cache *cache, hup_error *error)
{
    uint64_t end = reader->length, offset, length, done;
    int status;

    while (!(status = hup_survey_next_range(reader->run, UINT32_MAX, &offset, &length, error)) && length) {
        if (offset + length > end)
            return hup_fail(error, HUP_E_FORMAT, end, 0, "the image is cut short: it has %" PRIu64 " bytes", end);
        if (lseek(reader->fd, (off_t)(cache->start + offset), SEEK_SET) < 0)
            return hup_fail_errno(error, HUP_E_SOURCE, errno, offset, length, "cannot find %" PRIu64 " in the image",
                                  offset);
        cache->position = cache->start + offset;
        reader->length = length;
        done = 0;
        while (done < length && (status = read_piece(reader, cache, &done, error)) > 0)
            ;
        if (status < 0 || done < length)
            return status;
    }
    return status;
}

static void *read_all(void *argument)
{
    struct hup_reader *reader = argument;
    struct cache cache = cache_open(reader->fd);
    uint64_t done = 0;
    hup_error error = { 0 };
    int status;

    hup_pace_thread(&reader->run->pace);
    if (hup_run_surveys(reader->run))
        status = read_ranges(reader, &cache, &error);
    else
        while ((status = read_piece(reader, &cache, &done, &error)) > 0)
            ;
    cache_close(&cache, reader->fd);
    if (status < 0 && !hup_gate_stopped(&reader->run->gate))
        hup_gate_fail(&reader->run->gate, &error);
    hup_input_end(&reader->run->input);
    return NULL;
}

/* Wait until fd can be read: 0, or ETIMEDOUT, EINTR, or ECANCELED when the run is over. */
static int await(struct hup_run *run, int fd, uint64_t deadline)
{
    struct pollfd fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = run->gate.wake_fd, .events = POLLIN } };
    uint64_t since = hup_clock_ns();
    int ready = poll(fds, 2, (int)hup_clock_left_ms(deadline)), number = errno;

    hup_trace_add(&run->gate.trace, HUP_STAGE_READ, HUP_SPAN_INPUT, since, run->input.filled, 0);
    if (ready < 0)
        return number;
    return ready == 0 ? ETIMEDOUT : fds[1].revents ? ECANCELED : 0;
}

/* Move what there is, `size` bytes at most. 0, or why nothing came: an errno, or ENODATA at the end. */
static int pull_piece(struct hup_run *run, int fd, void *memory, size_t size, uint64_t deadline, size_t *got)
{
    int number = await(run, fd, deadline);

    *got = 0;
    if (number)
        return number;
    uint64_t since = hup_clock_ns();
    ssize_t result = read(fd, memory, size);
    if (result <= 0)
        return result ? errno : ENODATA;
    *got = (size_t)result;
    hup_trace_add(&run->gate.trace, HUP_STAGE_READ, HUP_SPAN_BUSY, since, run->input.filled, *got);
    return 0;
}

int hup_reader_pull(struct hup_run *run, int fd, uint64_t length, uint32_t timeout_ms, uint64_t *moved,
                    hup_error *error)
{
    uint64_t deadline = hup_clock_ns() + (uint64_t)timeout_ms * 1000000;
    void *memory;
    size_t size, got;

    *moved = 0;
    while (*moved < length) {
        int status = hup_input_acquire(&run->input, hup_clock_left_ms(deadline), &memory, &size, error);
        if (status || !size)
            return status;
        if (size > length - *moved)
            size = (size_t)(length - *moved);
        int number = pull_piece(run, fd, memory, size, deadline, &got);
        *moved += got;
        status = hup_input_commit(&run->input, got, error);
        if (status)
            return status;
        if (got && *moved < length && !hup_clock_left_ms(deadline))
            return HUP_RUNNING;
        if (number && number != EAGAIN && number != ECANCELED) /* of the latter the next acquire tells the reason */
            return hup_fail_errno(error, HUP_E_SOURCE, number, run->input.filled, size,
                                  "reading the image at %" PRIu64 " failed", run->input.filled);
    }
    return HUP_OK;
}

int hup_reader_start(struct hup_reader *reader, struct hup_run *run, int fd, uint64_t length, hup_error *error)
{
    *reader = (struct hup_reader){ .run = run, .fd = fd, .length = length };
    return hup_run_thread(&reader->thread, read_all, reader, error);
}

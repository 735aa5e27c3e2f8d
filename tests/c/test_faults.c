/* Whatever a medium does wrong is either survived, with the right bytes on it, or caught, with the place told. Never
 * is a byte behind the image touched. The shim (tests/shim/faults.c) is linked into this program. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../shim/faults.h"
#include "check.h"
#include "hupfast.h"
#include "image.h"

enum { SIZE = 2 * 1024 * 1024 + 777, ROOM = 3 * 1024 * 1024, BLOCK = 256 * 1024 };

static struct bytes raw;
static char *source, *target; /* paths */
static bool direct;           /* the temporary directory can do direct I/O */

/* What a run came to. */
struct outcome {
    int status;
    hup_report report;
    hup_error error;
    unsigned hits;
};

static void reset_target(void)
{
    static uint8_t old[ROOM];
    int fd = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    memset(old, 'x', sizeof old);
    CHECK(fd >= 0 && write(fd, old, sizeof old) == sizeof old);
    close(fd);
}

static hup_config plain(void)
{
    return (hup_config){ .target = target, .flags = HUP_READ_BACK, .image_size = HUP_UNKNOWN, .block = BLOCK };
}

static struct outcome run(const hup_config *config, const char *path, const char *fault)
{
    struct outcome outcome = { 0 };
    hup_writer *writer;
    int fd = open(source, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    off_t length = lseek(fd, 0, SEEK_END);
    lseek(fd, 0, SEEK_SET);

    hup_faults_set(path, fault);
    outcome.status = hup_writer_open(config, &writer, &outcome.error);
    if (outcome.status == HUP_OK) {
        CHECK_EQUAL(hup_writer_read_fd(writer, fd, (uint64_t)length, &outcome.error), HUP_OK);
        while ((outcome.status = hup_writer_wait(writer, 1000, &outcome.report, &outcome.error)) == HUP_RUNNING)
            ;
    }
    hup_writer_close(writer);
    close(fd);
    outcome.hits = hup_faults_hits();
    hup_faults_set(NULL, NULL);
    if (outcome.status)
        CHECK(outcome.error.message[0] != 0 && outcome.error.status == outcome.status);
    return outcome;
}

static struct outcome write_with(const char *fault)
{
    hup_config config = plain();

    reset_target();
    return run(&config, target, fault);
}

static void check_behind(const struct bytes *now)
{
    CHECK_EQUAL(now->size, ROOM);
    for (size_t i = raw.size; i < now->size; i++)
        CHECK(now->data[i] == 'x');
}

static void check_right(const char *fault, const struct outcome *outcome)
{
    struct bytes now = image_load(target);

    if (outcome->status)
        fprintf(stderr, "%s: %s\n", fault, outcome->error.message);
    CHECK_EQUAL(outcome->status, HUP_OK);
    CHECK(memcmp(now.data, raw.data, raw.size) == 0);
    check_behind(&now);
    free(now.data);
}

/* The error names a range that has to do with what went wrong. */
static void check_caught(const char *fault, const struct outcome *outcome, int status, int number)
{
    const hup_error *error = &outcome->error;
    uint64_t from = hup_faults_offset(), length = hup_faults_length();
    struct bytes now = image_load(target);

    if (outcome->status != status || error->sys_errno != number)
        fprintf(stderr, "%s: %s\n", fault, outcome->status ? error->message : "not noticed");
    CHECK_EQUAL(outcome->status, status);
    CHECK_EQUAL(error->sys_errno, number);
    if (length && status == HUP_E_MEDIUM && outcome->hits == 1) /* of several at once, any may be told */
        CHECK_EQUAL(error->offset, from);
    if (length && status == HUP_E_MISMATCH)
        CHECK(error->offset < from + length && from < error->offset + error->length);
    check_behind(&now);
    free(now.data);
}

static void survived(const char *fault)
{
    struct outcome outcome = write_with(fault);

    CHECK(outcome.hits > 0);
    check_right(fault, &outcome);
    CHECK(outcome.report.verified);
    CHECK_EQUAL(outcome.report.direct, direct); /* no other way was taken on the quiet */
}

/* Direct I/O is refused in the middle: the page cache must do. */
static void fell_back(const char *fault)
{
    struct outcome outcome = write_with(fault);

    CHECK(outcome.hits > 0);
    check_right(fault, &outcome);
    CHECK(outcome.report.verified && !outcome.report.direct);
}

static void caught(const char *fault, int status, int number)
{
    struct outcome outcome = write_with(fault);

    CHECK(outcome.hits > 0);
    check_caught(fault, &outcome, status, number);
}

/* As caught, for each call of that kind that there is; `least` is how many there are at least. */
static void each_caught(const char *op_kind, int status, int number, unsigned least)
{
    char fault[32];

    for (unsigned n = 1;; n++) {
        snprintf(fault, sizeof fault, "%s:%u", op_kind, n);
        struct outcome outcome = write_with(fault);
        if (!outcome.hits) {
            CHECK(n > least);
            check_right(fault, &outcome);
            return;
        }
        if (hup_faults_offset() >= raw.size)
            check_right(fault, &outcome); /* in the last sector, behind the image */
        else
            check_caught(fault, &outcome, status, number);
    }
}

/* -------- the target -------- */

static void writes(void)
{
    each_caught("write:flip", HUP_E_MISMATCH, 0, 6);
    caught("write:drop:4", HUP_E_MISMATCH, 0);
    caught("write:eio:4", HUP_E_MEDIUM, EIO);
    caught("write:enospc:3", HUP_E_MEDIUM, ENOSPC);
    caught("write:einval:1:inf", HUP_E_MEDIUM, EINVAL);
    survived("write:eintr:2:20");
    survived("write:eagain:1:30");
    survived("write:short:1:8");
    survived("write:odd:1:8");
    if (direct) {
        fell_back("write:einval:4");
        fell_back("write:nodirect:1:inf");
    }
}

static void zeroes(void)
{
    caught("zero:eio:1", HUP_E_MEDIUM, EIO);
    each_caught("zero:drop", HUP_E_MISMATCH, 0, 1);
    caught("zero:enospc:1", HUP_E_MEDIUM, ENOSPC);
    survived("zero:eintr:1:3");
    survived("zero:eopnotsupp:1");
    survived("zero:eopnotsupp:1:inf");
    survived("zero:einval:1:inf");
}

static void flushes(void)
{
    caught("flush:eio:1", HUP_E_MEDIUM, EIO);
    caught("flush:enospc:1", HUP_E_MEDIUM, ENOSPC);
    survived("flush:eintr:1:3");
}

static void reads(void)
{
    each_caught("read:flip", HUP_E_MISMATCH, 0, 8);
    caught("read:drop:4", HUP_E_MISMATCH, 0);
    caught("read:eio:4", HUP_E_MEDIUM, EIO);
    caught("read:einval:1:inf", HUP_E_MEDIUM, EINVAL);
    survived("read:eintr:1:20");
    survived("read:eagain:1:30");
    survived("read:short:1:4"); /* more, and what is left is less than a sector: the end of the file */
    survived("read:odd:1:4");
    if (direct) {
        fell_back("read:einval:4");
        fell_back("read:nodirect:1:inf"); /* several at once: there are as many in flight */
    }
}

/* Each single call, once: what happens behind them is the same for every kind of image. */
static void each_call(void)
{
    each_caught("write:drop", HUP_E_MISMATCH, 0, 6);
    each_caught("write:eio", HUP_E_MEDIUM, EIO, 6);
    each_caught("zero:eio", HUP_E_MEDIUM, EIO, 1);
    each_caught("read:drop", HUP_E_MISMATCH, 0, 8);
    each_caught("read:eio", HUP_E_MEDIUM, EIO, 8);
    caught("write:eagain:1:inf", HUP_E_MEDIUM, EAGAIN); /* for two seconds it is waited for */
}

/* Everything that is not a wrong byte is caught without the read-back too; wrong bytes are what it is for. */
static void without_read_back(void)
{
    static const char *const faults[] = { "write:eio:5", "zero:eio:1", "flush:eio:1" };
    hup_config config = plain();

    config.flags = 0;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        reset_target();
        struct outcome outcome = run(&config, target, faults[i]);
        check_caught(faults[i], &outcome, HUP_E_MEDIUM, EIO);
    }
    reset_target();
    struct outcome outcome = run(&config, target, "write:flip:5");
    CHECK_EQUAL(outcome.hits, 1);
    CHECK_EQUAL(outcome.status, HUP_OK);
    CHECK(!outcome.report.verified);
}

static void buffered(void)
{
    static const char *const caught[] = { "settle:eio:3", "write:eio:2", "flush:eio:1" };
    static const char *const survived[] = { "settle:eintr:1:5", "settle:einval:1:inf", "write:odd:1:20",
                                            "read:odd:1:20" };
    hup_config config = plain();

    config.flags |= HUP_BUFFERED;
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        reset_target();
        struct outcome outcome = run(&config, target, caught[i]);
        CHECK(outcome.hits > 0);
        check_caught(caught[i], &outcome, HUP_E_MEDIUM, EIO);
    }
    for (size_t i = 0; i < sizeof survived / sizeof survived[0]; i++) {
        reset_target();
        struct outcome outcome = run(&config, target, survived[i]);
        CHECK(outcome.hits > 0);
        check_right(survived[i], &outcome);
        CHECK(!outcome.report.direct);
    }
}

/* A block that reads wrong while old and new are compared is written, whatever it was. */
static void skip_unchanged(void)
{
    hup_config config = plain();
    struct outcome outcome;

    config.flags |= HUP_SKIP_UNCHANGED;
    reset_target();
    outcome = run(&config, NULL, NULL);
    check_right("no fault", &outcome);
    outcome = run(&config, target, "read:flip:3");
    check_right("read:flip:3", &outcome);
    CHECK(outcome.report.written + outcome.report.zeroed > 0 && outcome.report.unchanged > raw.size / 2);
    outcome = run(&config, target, "read:short:1:4");
    check_right("read:short:1:4", &outcome);
    outcome = run(&config, target, "read:eio:3");
    check_caught("read:eio:3", &outcome, HUP_E_MEDIUM, EIO);
}

static void verify(void)
{
    hup_config config = plain();
    struct outcome outcome = write_with(NULL);

    check_right("no fault", &outcome);
    config.mode = HUP_MODE_VERIFY;
    outcome = run(&config, target, "read:flip:4");
    check_caught("read:flip:4", &outcome, HUP_E_MISMATCH, 0);
    outcome = run(&config, target, "read:eio:4");
    check_caught("read:eio:4", &outcome, HUP_E_MEDIUM, EIO);
    outcome = run(&config, target, "read:odd:1:4");
    check_right("read:odd:1:4", &outcome);
}

/* A new file: its space is taken before the first byte, where the filesystem can. */
static void create(void)
{
    hup_config config = plain();
    struct outcome outcome;

    config.flags |= HUP_CREATE;
    config.image_size = raw.size;
    unlink(target);
    outcome = run(&config, target, "space:enospc:1");
    CHECK_EQUAL(outcome.hits, 1);
    CHECK_EQUAL(outcome.status, HUP_E_TARGET);

    static const char *const survived[] = { "space:eopnotsupp:1", "space:eintr:1:3" };
    for (size_t i = 0; i < 2; i++) {
        unlink(target);
        outcome = run(&config, target, survived[i]);
        CHECK_EQUAL(outcome.hits, i ? 3 : 1);
        CHECK_EQUAL(outcome.status, HUP_OK);
        struct bytes now = image_load(target);
        CHECK_EQUAL(now.size, raw.size);
        CHECK(memcmp(now.data, raw.data, raw.size) == 0);
        free(now.data);
    }
}

/* -------- the source -------- */

static void source_fault(const char *fault, int status, int number)
{
    hup_config config = plain();

    reset_target();
    struct outcome outcome = run(&config, source, fault);
    CHECK(outcome.hits > 0);
    if (status == HUP_OK) {
        check_right(fault, &outcome);
        return;
    }
    CHECK_EQUAL(outcome.status, status);
    CHECK_EQUAL(outcome.error.sys_errno, number);
    if (status == HUP_E_SOURCE)
        CHECK_EQUAL(outcome.error.offset, hup_faults_offset());
    struct bytes now = image_load(target);
    check_behind(&now);
    free(now.data);
}

static void sources(void)
{
    source_fault("source:eio:1", HUP_E_SOURCE, EIO);
    source_fault("source:eio:3", HUP_E_SOURCE, EIO);
    source_fault("source:drop:2", HUP_E_SOURCE, 0);
    source_fault("source:eintr:1:20", HUP_OK, 0);
    source_fault("source:short:1:3", HUP_OK, 0);
    source_fault("source:odd:1:3", HUP_OK, 0);
}

/* -------- cancel -------- */

/* Cancelled while the zeroes are made: it says so, or all of them are there. */
static void cancel(void)
{
    hup_config config = plain();
    hup_writer *writer;
    hup_progress progress;
    hup_report report;
    hup_error error;
    uint8_t image[1024 * 1024];
    int status;

    memset(image, 0, sizeof image);
    for (size_t at = 0; at < sizeof image; at += 128 * 1024)
        fill(image + at, 64 * 1024, 3); /* so that the zeroes are many extents */
    config.block = 64 * 1024;
    config.flags = 0; /* the read-back would notice */
    reset_target();
    hup_faults_set(target, "zero:slow:1:inf");
    CHECK_EQUAL(hup_writer_open(&config, &writer, &error), HUP_OK);
    for (size_t at = 0; at < sizeof image;) {
        void *memory;
        size_t size;
        CHECK_EQUAL(hup_writer_acquire(writer, UINT32_MAX, &memory, &size, &error), HUP_OK);
        size = size < sizeof image - at ? size : sizeof image - at;
        memcpy(memory, image + at, size);
        CHECK_EQUAL(hup_writer_commit(writer, size, &error), HUP_OK);
        at += size;
    }
    CHECK_EQUAL(hup_writer_end(writer, &error), HUP_OK);
    do {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        hup_writer_progress(writer, &progress);
    } while (progress.phase < HUP_PHASE_FLUSH);
    hup_writer_cancel(writer);
    while ((status = hup_writer_wait(writer, 1000, &report, &error)) == HUP_RUNNING)
        ;
    hup_writer_close(writer);
    hup_faults_set(NULL, NULL);
    if (status != HUP_E_CANCELLED) {
        struct bytes now = image_load(target);
        CHECK_EQUAL(status, HUP_OK);
        CHECK(memcmp(now.data, image, sizeof image) == 0);
        free(now.data);
    }
}

int main(void)
{
    raw = image_raw(SIZE);
    target = image_file(raw.data, 0);
    struct bytes images[] = { image_raw(SIZE), image_frame(raw.data, raw.size, 3, 1, 1, 17),
                              image_chunked(raw.data, raw.size, 256 * 1024) };

    for (size_t i = 0; i < 3; i++) {
        source = image_file(images[i].data, images[i].size);
        struct outcome outcome = write_with(NULL);
        check_right("no fault", &outcome);
        direct = outcome.report.direct;

        writes();
        zeroes();
        flushes();
        reads();
        without_read_back();
        buffered();
        skip_unchanged();
        verify();
        sources();
        if (i == 2)
            source_fault("source:flip:2", HUP_E_DIGEST, 0);
        if (i == 0)
            each_call();
        create();
        unlink(source);
        free(source);
        free(images[i].data);
    }
    cancel();
    unlink(target);
    free(target);
    free(raw.data);
    return 0;
}

/* A survey: only what is neither on the target nor in the older system is asked for, and the image arrives whole. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "hupfast.h"
#include "image.h"
#include "table.h"

enum { CHUNK = 64 << 10, COUNT = 40, SIZE = (COUNT - 1) * CHUNK + 777, FAR = 48 };

static struct bytes raw, image;
static struct hup_table_header header;

/* What the board holds, chunk by chunk: '.' garbage, 'x' as in the image. */
static struct bytes board(const char *chunks)
{
    struct bytes old = { malloc(FAR * CHUNK), FAR * CHUNK };

    CHECK(old.data != NULL);
    memset(old.data, 'o', old.size);
    for (size_t i = 0; i < COUNT; i++)
        if (chunks[i % strlen(chunks)] == 'x')
            memcpy(old.data + i * CHUNK, raw.data + i * CHUNK, i + 1 < COUNT ? CHUNK : SIZE % CHUNK);
    return old;
}

static struct hup_chunk chunk(uint32_t i)
{
    return hup_table_chunk(image.data, &header, i);
}

struct job {
    hup_config config;
    hup_writer *writer;
    char *target, *older; /* owned files; older may be NULL */
    uint64_t asked;       /* bytes */
    uint32_t ranges;
    hup_report report;
    hup_error error;
};

static struct job start(const char *target, const char *older, hup_config config)
{
    struct job job = { .config = config };
    struct bytes has = board(target);

    job.target = image_file(has.data, has.size);
    free(has.data);
    if (older) {
        has = board(older);
        job.older = image_file(has.data, has.size);
        free(has.data);
    }
    job.config.target = job.target;
    job.config.older = job.older;
    job.config.flags |= HUP_SURVEY;
    if (job.config.mode == HUP_MODE_WRITE)
        job.config.flags |= HUP_READ_BACK;
    job.config.image_size = SIZE;
    CHECK_EQUAL(hup_writer_open(&job.config, &job.writer, &job.error), HUP_OK);
    return job;
}

/* Put in what was asked for. */
static int put(struct job *job, uint64_t offset, uint64_t length)
{
    int status = HUP_OK;

    CHECK(offset + length <= image.size);
    while (length && !status) {
        void *memory;
        size_t size;
        status = hup_writer_acquire(job->writer, UINT32_MAX, &memory, &size, &job->error);
        if (status)
            break;
        CHECK(size > 0);
        size = size < length ? size : (size_t)length;
        memcpy(memory, image.data + offset, size);
        status = hup_writer_commit(job->writer, size, &job->error);
        offset += size;
        length -= size;
    }
    return status;
}

static int feed(struct job *job)
{
    uint64_t offset, length, last = 0;
    int status;

    while (!(status = hup_writer_next_range(job->writer, UINT32_MAX, &offset, &length, &job->error)) && length) {
        CHECK(offset >= last);
        last = offset + length;
        job->asked += length;
        job->ranges++;
        status = put(job, offset, length);
        if (status)
            return status;
    }
    return status ? status : hup_writer_end(job->writer, &job->error);
}

static int finish(struct job *job)
{
    int status;

    while ((status = hup_writer_wait(job->writer, 1000, &job->report, &job->error)) == HUP_RUNNING)
        ;
    hup_writer_close(job->writer);
    if (job->older)
        unlink(job->older);
    free(job->older);
    return status;
}

/* What the target holds in the end; its file is gone then. */
static struct bytes result(struct job *job)
{
    struct bytes now = image_load(job->target);

    unlink(job->target);
    free(job->target);
    return now;
}

static void check_whole(struct job *job)
{
    struct bytes now = result(job);

    CHECK_EQUAL(now.size, FAR * CHUNK);
    CHECK(memcmp(now.data, raw.data, SIZE) == 0);
    for (size_t i = SIZE; i < now.size; i++)
        CHECK_EQUAL(now.data[i], 'o');
    free(now.data);
}

static bool has(const char *chunks, size_t i)
{
    return chunks && chunks[i % strlen(chunks)] == 'x';
}

/* Each mixture of what is where, fed by the caller or by descriptor. */
static void only_what_is_missing(const char *target, const char *older, hup_config config, bool by_fd)
{
    struct job job = start(target, older, config);
    uint64_t there = 0, copied = 0, needed = header.size;

    for (uint32_t i = 0; i < COUNT; i++) {
        if (has(target, i))
            there += chunk(i).raw;
        else if (has(older, i) && !chunk(i).zero)
            copied += chunk(i).raw;
        else
            needed += chunk(i).length;
    }
    if (by_fd) {
        char *path = image_file(image.data, image.size);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK_EQUAL(hup_writer_read_fd(job.writer, fd, image.size, &job.error), HUP_OK);
        int status = finish(&job);
        CHECK_EQUAL(status, HUP_OK);
        close(fd);
        unlink(path);
        free(path);
    } else {
        CHECK_EQUAL(feed(&job), HUP_OK);
        CHECK_EQUAL(finish(&job), HUP_OK);
        CHECK_EQUAL(job.asked, needed);
    }
    CHECK_EQUAL(job.report.bytes_in, needed);
    CHECK_EQUAL(job.report.needed, needed);
    CHECK_EQUAL(job.report.unchanged, there);
    CHECK_EQUAL(job.report.copied, copied);
    CHECK_EQUAL(job.report.written + job.report.zeroed, SIZE - there);
    CHECK(job.report.verified);
    CHECK(job.report.memory <= (config.memory ? config.memory : HUP_MEMORY_DEFAULT));
    check_whole(&job);
}

/* A survey alone tells the same, asks for the table only, and changes nothing. */
static void a_survey_alone(void)
{
    hup_config config = { .mode = HUP_MODE_SURVEY };
    struct job job = start("x..x.", ".xx..", config);
    struct bytes before = image_load(job.target);

    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_OK);
    CHECK_EQUAL(job.asked, header.size);
    CHECK(job.report.needed > header.size && job.report.unchanged > 0 && job.report.copied > 0);
    struct bytes after = result(&job);
    CHECK(memcmp(before.data, after.data, before.size) == 0);
    free(before.data);
    free(after.data);
}

/* An older system that cannot be opened has nothing. */
static void no_older_system(void)
{
    hup_config config = { .flags = HUP_SURVEY, .image_size = SIZE, .older = "/nowhere/at/all" };
    struct job job = { .config = config };
    struct bytes old = board(".");

    job.target = image_file(old.data, old.size);
    free(old.data);
    job.config.target = job.target;
    CHECK_EQUAL(hup_writer_open(&job.config, &job.writer, &job.error), HUP_OK);
    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_OK);
    CHECK_EQUAL(job.asked, image.size);
    check_whole(&job);
}

/* What was durable is not read again but for its last chunks: an early one that is not as promised shows only in the
 * read-back. */
static void trust_is_not_reading(void)
{
    hup_config config = { .trusted = 20 * CHUNK };
    struct job job = start("x.xxxxxxxxxxxxxxxxxx....................", NULL, config);

    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_E_MISMATCH);
    CHECK_EQUAL(job.error.offset, CHUNK);
    free(result(&job).data);
}

/* A promise whose last chunks do not hold counts for nothing. */
static void a_broken_promise(void)
{
    hup_config config = { .trusted = 20 * CHUNK };
    struct job job = start("x.xxxxxxxxxxxxxxxxx.....................", NULL, config);

    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_OK);
    check_whole(&job);
}

/* More is trusted than there is: the whole image. */
static void all_of_it_is_trusted(void)
{
    hup_config config = { .trusted = UINT64_MAX };
    struct job job = start("x", NULL, config);

    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_OK);
    CHECK_EQUAL(job.asked, header.size);
    check_whole(&job);
}

/* The older system changes between the survey and the copy: no byte of the change is written. */
static void the_older_system_changes(void)
{
    char older[COUNT + 1] = "........................................", target[COUNT + 1];
    hup_config config = { 0 };
    uint64_t offset, length, first = 0, size = 0;
    uint32_t late = COUNT - 2; /* a chunk with data, not the last one, which is short */

    while (chunk(late).zero)
        late--;
    CHECK(late > 8 && !chunk(0).zero);

    older[late] = 'x';
    memset(target, 'x', COUNT);
    target[COUNT] = 0;
    target[0] = target[late] = '.';
    struct job job = start(target, older, config);
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(hup_writer_next_range(job.writer, UINT32_MAX, &offset, &length, &job.error), HUP_OK);
        CHECK_EQUAL(put(&job, offset, length), HUP_OK);
    }
    CHECK_EQUAL(hup_writer_next_range(job.writer, UINT32_MAX, &first, &size, &job.error), HUP_OK);
    CHECK_EQUAL(size, chunk(0).length);
    CHECK_EQUAL(hup_writer_next_range(job.writer, UINT32_MAX, &offset, &length, &job.error), HUP_OK);
    CHECK_EQUAL(length, 0); /* so all is decided, and the decoders wait for the first chunk */
    int fd = open(job.older, O_WRONLY | O_CLOEXEC);
    CHECK_EQUAL(pwrite(fd, "!", 1, late * CHUNK + 5), 1);
    CHECK_EQUAL(fsync(fd), 0);
    close(fd);
    put(&job, first, size);
    hup_writer_end(job.writer, NULL);
    CHECK_EQUAL(finish(&job), HUP_E_STALE);
    CHECK_EQUAL(job.error.offset, late * CHUNK);
    struct bytes now = result(&job);
    for (size_t i = 0; i < CHUNK; i++)
        CHECK_EQUAL(now.data[late * CHUNK + i], 'o');
    free(now.data);
}

/* What is told to be durable is on the target at that moment, but for chunks of zeroes, and never the last chunk. */
static void marks_are_true(void)
{
    hup_config config = { .mark_ms = 1, .depth = 3 };
    struct job job = start(".", NULL, config);
    uint64_t offset, length, durable = 0;
    hup_progress progress;

    for (;;) {
        CHECK_EQUAL(hup_writer_next_range(job.writer, UINT32_MAX, &offset, &length, &job.error), HUP_OK);
        if (!length)
            break;
        for (uint64_t at = 0; at < length; at += 20000) {
            CHECK_EQUAL(put(&job, offset + at, length - at < 20000 ? length - at : 20000), HUP_OK);
            nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
            hup_writer_progress(job.writer, &progress);
            CHECK(progress.durable >= durable && progress.durable % CHUNK == 0);
            if (progress.durable == durable)
                continue;
            durable = progress.durable;
            struct bytes now = image_load(job.target);
            for (uint32_t i = 0; i < durable / CHUNK; i++)
                CHECK(chunk(i).zero || memcmp(now.data + i * CHUNK, raw.data + i * CHUNK, CHUNK) == 0);
            free(now.data);
        }
    }
    for (int i = 0; i < 5000 && durable < (COUNT - 1) * CHUNK; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        hup_writer_progress(job.writer, &progress);
        durable = progress.durable;
    }
    CHECK_EQUAL(durable, (COUNT - 1) * CHUNK);
    hup_writer_end(job.writer, NULL);
    CHECK_EQUAL(finish(&job), HUP_OK);
    check_whole(&job);
}

/* A limit is kept, for reading as well, and a waiting run can be stopped. */
static void a_limit_is_kept(void)
{
    hup_config config = { .rate = 16 << 20 };
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    struct job job = start("x", NULL, config);
    CHECK_EQUAL(feed(&job), HUP_OK);
    CHECK_EQUAL(finish(&job), HUP_OK);
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK(job.report.unchanged == SIZE); /* surveyed and read back: twice 2.4 MiB */
    CHECK((double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9 > 0.2);
    check_whole(&job);

    config.rate = 1000;
    job = start("x", NULL, config);
    clock_gettime(CLOCK_MONOTONIC, &from);
    put(&job, 0, header.size);
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    hup_writer_close(job.writer);
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK(to.tv_sec - from.tv_sec < 20);
    free(result(&job).data);
}

/* A survey with what it cannot go with is refused. */
static void nonsense_is_refused(void)
{
    hup_range range = { .length = 5 };
    hup_config with[] = {
        { .mode = HUP_MODE_VERIFY, .flags = HUP_SURVEY },  { .mode = HUP_MODE_SURVEY },
        { .flags = HUP_SURVEY, .format = HUP_FORMAT_RAW }, { .flags = HUP_SURVEY, .ranges = &range, .range_count = 1 },
        { .flags = HUP_SURVEY | HUP_SKIP_UNCHANGED },
    };
    hup_writer *writer;

    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++)
        CHECK_EQUAL(hup_writer_open(&with[i], &writer, NULL), HUP_E_USAGE);
}

int main(void)
{
    const char *const places[] = { "x", ".", "x.", ".....x", "xxxxx.", "x.x..x.xx.", NULL };
    hup_error error;

    raw = image_raw(SIZE);
    image = image_chunked(raw.data, raw.size, CHUNK);
    CHECK_EQUAL(hup_table_header_parse(image.data, image.size, &header, &error), HUP_OK);
    CHECK_EQUAL(header.count, COUNT);

    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 7; j++) {
            only_what_is_missing(places[i], places[j], (hup_config){ 0 }, (i + j) % 2);
            only_what_is_missing(places[i], places[j], (hup_config){ .memory = 1 << 20, .workers = 3 },
                                 (i + j) % 2 == 0);
        }
    only_what_is_missing("x..", ".x.", (hup_config){ .block = 64 << 10, .mark_ms = 1 }, false);
    a_survey_alone();
    no_older_system();
    trust_is_not_reading();
    a_broken_promise();
    all_of_it_is_trusted();
    the_older_system_changes();
    marks_are_true();
    a_limit_is_kept();
    nonsense_is_refused();
    free(raw.data);
    free(image.data);
    return 0;
}

/* What is measured is done: the bytes are on the target, the samples are the operations, a failure is told. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "../shim/faults.h"
#include "check.h"
#include "hupfast.h"
#include "image.h"
#include "measured.h"

static char *target;

/* Measure to the end; the samples are copied. */
static int measure(const hup_bench_config *config, hup_bench_result *result, hup_bench_sample *samples, size_t *count)
{
    hup_bench *bench;
    hup_error error;
    int status = hup_bench_open(config, &bench, &error);

    if (status)
        return status == HUP_E_SYSTEM ? -error.sys_errno - 1000 : status;
    while ((status = hup_bench_wait(bench, 50, result, &error)) == HUP_RUNNING)
        ;
    if (status == HUP_OK) {
        const hup_bench_sample *kept = hup_bench_samples(bench, count);
        if (samples && *count)
            memcpy(samples, kept, *count * sizeof *samples);
    }
    hup_bench_close(bench);
    return status == HUP_E_SYSTEM ? -error.sys_errno - 1000 : status;
}

/* Every sector of [from, end) is another than before, and all are different; what is outside is as it was. */
static void check_written(size_t from, size_t end)
{
    struct bytes found = image_load(target);

    CHECK_EQUAL(found.size, SIZE + BEHIND);
    for (size_t i = 0; i < found.size; i++)
        if (i < from || i >= end)
            CHECK_EQUAL(found.data[i], 'x');
    for (size_t at = from; at < end; at += 512) {
        CHECK(memcmp(found.data + at, "xxxxxxxx", 8) != 0);
        for (size_t other = from; other < at; other += 512 * 37)
            CHECK(memcmp(found.data + at, found.data + other, 512) != 0);
    }
    free(found.data);
}

static void samples_are_the_operations(hup_bench_method method)
{
    static hup_bench_sample samples[ROOM];
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count = 0;

    measured_reset(target);
    config.method = method;
    CHECK_EQUAL(measure(&config, &result, samples, &count), HUP_OK);
    CHECK_EQUAL(result.bytes, SIZE);
    CHECK_EQUAL(result.operations, SIZE / BLOCK);
    CHECK_EQUAL(count, SIZE / BLOCK);
    CHECK_EQUAL(result.flushes, 1);
    CHECK(result.ns > result.flush_ns && result.flush_ns >= result.flush_max_ns);
    bool seen[SIZE / BLOCK] = { false };
    for (size_t i = 0; i < count; i++) {
        CHECK_EQUAL(samples[i].offset % BLOCK, 0);
        CHECK(samples[i].offset < SIZE && !seen[samples[i].offset / BLOCK]);
        CHECK(samples[i].ns > 0 && samples[i].start_ns + samples[i].ns <= result.ns);
        seen[samples[i].offset / BLOCK] = true;
    }
    check_written(0, SIZE);
}

static void only_the_part_is_used(hup_bench_method method)
{
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count;

    measured_reset(target);
    config.method = method;
    config.offset = 4096;
    config.length = 4 * BLOCK;
    config.total = 10 * BLOCK - 1; /* round and round, and up to whole blocks */
    config.room = 3;
    CHECK_EQUAL(measure(&config, &result, NULL, &count), HUP_OK);
    CHECK_EQUAL(result.operations, 10);
    CHECK_EQUAL(count, 3);
    check_written(4096, 4096 + 4 * BLOCK);
}

/* Where it begins within the part is said; behind the end of that it goes on at its start. */
static void it_begins_anywhere(hup_bench_method method)
{
    static hup_bench_sample samples[ROOM];
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count = 0;
    uint64_t sum = 0;

    measured_reset(target);
    config.method = method;
    config.offset = 8192;
    config.length = 16 * BLOCK;
    config.first = 14 * BLOCK;
    config.total = 3 * BLOCK;
    config.depth = 1;
    CHECK_EQUAL(measure(&config, &result, samples, &count), HUP_OK);
    CHECK_EQUAL(count, 3);
    CHECK_EQUAL(samples[0].offset, 8192 + 14 * BLOCK);
    CHECK_EQUAL(samples[1].offset, 8192 + 15 * BLOCK);
    CHECK_EQUAL(samples[2].offset, 8192);
    config.total = 16 * BLOCK; /* all of it, once */
    CHECK_EQUAL(measure(&config, &result, samples, &count), HUP_OK);
    for (size_t i = 0; i < count; i++)
        sum += (samples[i].offset - 8192) / BLOCK;
    CHECK_EQUAL(sum, 15 * 16 / 2);
    check_written(8192, 8192 + 16 * BLOCK);
}

static void flushes_are_counted(hup_bench_method method)
{
    static hup_bench_sample samples[ROOM];
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count = 0;

    config.method = method;
    config.flush_every = 16 * BLOCK;
    CHECK_EQUAL(measure(&config, &result, samples, &count), HUP_OK);
    CHECK_EQUAL(result.flushes, SIZE / BLOCK / 16); /* three between, and the one at the end */
    /* Nothing is in flight during a flush: each sixteenth begins when all before it have ended. */
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (samples[i].offset / BLOCK / 16 < samples[j].offset / BLOCK / 16)
                CHECK(samples[i].start_ns + samples[i].ns <= samples[j].start_ns);
}

static void reading_changes_nothing(hup_bench_method method)
{
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count;

    measured_reset(target);
    config.method = method;
    config.operation = HUP_BENCH_READ;
    CHECK_EQUAL(measure(&config, &result, NULL, &count), HUP_OK);
    CHECK_EQUAL(result.flushes, 0);
    check_written(0, 0);
}

static void zeroing_zeroes(hup_bench_operation operation)
{
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count;

    measured_reset(target);
    config.operation = operation;
    int status = measure(&config, &result, NULL, &count);
    if (operation == HUP_BENCH_DISCARD && status == -EOPNOTSUPP - 1000)
        return;
    CHECK_EQUAL(status, HUP_OK);
    struct bytes found = image_load(target);
    for (size_t i = 0; i < SIZE; i++)
        CHECK_EQUAL(found.data[i], 0);
    CHECK_EQUAL(found.data[SIZE], 'x');
    free(found.data);
}

static void time_ends_it(void)
{
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);
    size_t count;

    config.total = HUP_UNKNOWN;
    config.limit_ms = 30;
    CHECK_EQUAL(measure(&config, &result, NULL, &count), HUP_OK);
    CHECK(result.operations > 0);
    CHECK(result.ns >= 30 * 1000000);
}

static void cancelling_ends_it(hup_bench_method method)
{
    hup_bench *bench;
    hup_bench_result result;
    hup_error error;
    hup_bench_config config = measured_plain(target);

    config.method = method;
    config.total = HUP_UNKNOWN;
    config.limit_ms = 1000000;
    config.flush_every = 4 * BLOCK;
    CHECK_EQUAL(hup_bench_open(&config, &bench, &error), HUP_OK);
    CHECK_EQUAL(hup_bench_wait(bench, 10, &result, &error), HUP_RUNNING);
    hup_bench_cancel(bench);
    CHECK_EQUAL(hup_bench_wait(bench, 20000, &result, &error), HUP_E_CANCELLED);
    hup_bench_close(bench);

    CHECK_EQUAL(hup_bench_open(&config, &bench, &error), HUP_OK);
    hup_bench_close(bench); /* in the middle */
}

/* One system call of the medium goes wrong: what becomes of it, and where it is said to be. */
static int with_fault(const char *fault, hup_bench_operation operation, uint64_t flush_every, hup_error *error)
{
    hup_bench *bench;
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);

    config.operation = operation;
    config.flush_every = flush_every;
    hup_faults_set(target, fault);
    CHECK_EQUAL(hup_bench_open(&config, &bench, error), HUP_OK);
    int status = hup_bench_wait(bench, 60000, &result, error);
    if (status == HUP_OK)
        CHECK_EQUAL(result.bytes, SIZE);
    hup_bench_close(bench);
    CHECK(hup_faults_hits() > 0);
    return status;
}

static void failures_are_told(void)
{
    hup_error error;

    CHECK_EQUAL(with_fault("write:eio:3", HUP_BENCH_WRITE, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(error.sys_errno, EIO);
    CHECK_EQUAL(error.offset, hup_faults_offset());
    CHECK_EQUAL(with_fault("read:eio:3", HUP_BENCH_READ, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(error.offset, hup_faults_offset());
    CHECK_EQUAL(with_fault("read:drop:2", HUP_BENCH_READ, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(with_fault("flush:eio:1", HUP_BENCH_WRITE, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(with_fault("flush:eio:2", HUP_BENCH_WRITE, 8 * BLOCK, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(with_fault("zero:eio:2", HUP_BENCH_ZERO, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(with_fault("zero:eio:2", HUP_BENCH_DISCARD, 0, &error), HUP_E_MEDIUM);
    CHECK_EQUAL(with_fault("zero:eopnotsupp:1:inf", HUP_BENCH_DISCARD, 0, &error), HUP_E_SYSTEM);
    CHECK_EQUAL(error.sys_errno, EOPNOTSUPP);
    /* These are survived. */
    CHECK_EQUAL(with_fault("write:short:2:5,write:eintr:9", HUP_BENCH_WRITE, 0, &error), HUP_OK);
    CHECK_EQUAL(with_fault("read:short:2:5,read:eagain:9", HUP_BENCH_READ, 0, &error), HUP_OK);
    CHECK_EQUAL(with_fault("zero:eopnotsupp:1:inf", HUP_BENCH_ZERO, 0, &error), HUP_OK);
    hup_faults_set(NULL, NULL);
}

static void nonsense_is_refused(void)
{
    hup_bench *bench;
    hup_error error;
    hup_bench_config bad[13];

    for (size_t i = 0; i < 13; i++)
        bad[i] = measured_plain(target);
    bad[0].block = 100000;
    bad[1].depth = 0;
    bad[2].depth = 33;
    bad[3].length = BLOCK + 1;
    bad[4].offset = 100;
    bad[5].flush_every = 1000;
    bad[6].total = HUP_UNKNOWN;
    bad[7].length = 0;
    bad[8].method = HUP_BENCH_URING;
    bad[8].operation = HUP_BENCH_ZERO;
    bad[9].block = 8 << 20;
    bad[10].first = SIZE;
    bad[11].first = BLOCK + 4096;
    bad[12].first = UINT64_MAX - BLOCK + 1;
    for (size_t i = 0; i < 13; i++) {
        CHECK_EQUAL(hup_bench_open(&bad[i], &bench, &error), HUP_E_USAGE);
        CHECK(bench == NULL);
    }
    hup_bench_config large = measured_plain(target);
    large.length = 2 * SIZE;
    CHECK_EQUAL(hup_bench_open(&large, &bench, &error), HUP_E_TARGET);
    CHECK_EQUAL(error.needed, 2 * SIZE);
    large.target = "/nowhere/at/all";
    CHECK_EQUAL(hup_bench_open(&large, &bench, &error), HUP_E_TARGET);
    hup_bench_close(NULL);
}

static void stages_work(void)
{
    struct bytes raw = image_raw(300000);
    size_t room = hup_bench_room(raw.size), length;
    uint8_t *frame = malloc(room), xxh3[16];
    uint64_t rate;
    hup_error error;

    CHECK(frame != NULL);
    CHECK_EQUAL(hup_bench_compress(raw.data, raw.size, 3, frame, room, &length, xxh3, &error), HUP_OK);
    CHECK(length > 0 && length < raw.size);
    CHECK_EQUAL(hup_bench_compress(raw.data, raw.size, 3, frame, 10, &length, xxh3, &error), HUP_E_USAGE);
    CHECK_EQUAL(hup_bench_compress(raw.data, raw.size, 3, frame, room, &length, xxh3, &error), HUP_OK);

    hup_bench_piece pieces[2] = { { frame, length, raw.size }, { frame, length, raw.size } };
    for (int kind = HUP_BENCH_DECOMPRESS; kind <= HUP_BENCH_XXH3; kind++)
        for (uint32_t threads = 1; threads <= 3; threads++) {
            CHECK_EQUAL(hup_bench_stage((hup_bench_kind)kind, pieces, 2, threads, 5, &rate, &error), HUP_OK);
            CHECK(rate > 100000);
        }
    pieces[1].raw = raw.size - 1;
    CHECK_EQUAL(hup_bench_stage(HUP_BENCH_DECOMPRESS, pieces, 2, 2, 5, &rate, &error), HUP_E_FORMAT);
    CHECK_EQUAL(hup_bench_stage(HUP_BENCH_SHA256, pieces, 2, 0, 5, &rate, &error), HUP_E_USAGE);
    CHECK_EQUAL(hup_bench_stage(HUP_BENCH_SHA256, pieces, 0, 1, 5, &rate, &error), HUP_E_USAGE);
    free(frame);
    free(raw.data);
}

int main(void)
{
    target = image_file((const uint8_t *)"", 0);
    measured_reset(target);
    nonsense_is_refused();
    check_written(0, 0);
    int methods = measured_ring(target) ? HUP_BENCH_URING : HUP_BENCH_THREADS;
    for (int method = HUP_BENCH_THREADS; method <= methods; method++) {
        samples_are_the_operations((hup_bench_method)method);
        only_the_part_is_used((hup_bench_method)method);
        it_begins_anywhere((hup_bench_method)method);
        flushes_are_counted((hup_bench_method)method);
        reading_changes_nothing((hup_bench_method)method);
        cancelling_ends_it((hup_bench_method)method);
    }
    zeroing_zeroes(HUP_BENCH_ZERO);
    zeroing_zeroes(HUP_BENCH_DISCARD);
    time_ends_it();
    failures_are_told();
    stages_work();
    unlink(target);
    free(target);
    return 0;
}

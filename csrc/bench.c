/* Measuring a medium: hup_bench. A thread of its own conducts it, so that the caller can wait in short steps. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "error.h"
#include "layout.h"
#include "run.h"

static bool is_multiple(uint64_t number, uint64_t of)
{
    return number && number % of == 0;
}

static int check_config(const hup_bench_config *config, hup_error *error)
{
    uint32_t block = config->block;

    if (block < HUP_BLOCK_MIN || block > HUP_BLOCK_MAX || (block & (block - 1)))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "a block of %u bytes is no power of two from 64 KiB to 4 MiB", block);
    if (config->depth < 1 || config->depth > HUP_DEPTH_MAX)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "a depth of %u is not 1 to %d", config->depth, HUP_DEPTH_MAX);
    if (config->operation > HUP_BENCH_DISCARD || config->method > HUP_BENCH_URING ||
        (config->method == HUP_BENCH_URING && config->operation > HUP_BENCH_READ))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "there is no such operation, or not by this method");
    if (config->offset % HUP_PAGE || !is_multiple(config->length, block) ||
        (config->flush_every && !is_multiple(config->flush_every, block)))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "offset, length and flush interval are no multiples of the block");
    if (config->first % block || config->first >= config->length)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "the first operation is at no block of the part that is measured");
    if (config->total == UINT64_MAX ? !config->limit_ms : config->total > UINT64_MAX / 2)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "the measurement has no end");
    if (config->room > SIZE_MAX / 2 / sizeof(hup_bench_sample))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "there is no room for so many samples");
    return HUP_OK;
}

/* Bytes that look like nothing in particular. Seeded by the clock: what an earlier measurement has written, a medium
 * that compares could leave alone. */
static void fill_noise(uint8_t *data, size_t size)
{
    uint64_t state = hup_clock_ns() | 1;

    for (size_t at = 0; at < size; at += sizeof state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(data + at, &state, sizeof state);
    }
}

/* Memory of the operations in flight, aligned to pages, and of the samples: all touched before the clock runs. */
static int allocate(hup_bench *bench, hup_error *error)
{
    const hup_bench_config *config = &bench->config;

    bench->memory_size = (size_t)config->block * config->depth;
    bench->memory = mmap(NULL, bench->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bench->memory == MAP_FAILED)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "cannot allocate %zu bytes to measure with",
                              bench->memory_size);
    fill_noise(bench->memory, bench->memory_size);
    if (config->room && !(bench->samples = malloc(config->room * sizeof *bench->samples)))
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate %zu samples", config->room);
    return HUP_OK;
}

static int open_target(hup_bench *bench, const hup_bench_config *config, hup_error *error)
{
    hup_config as_run = {
        .target = config->target,
        .mode = hup_bench_changes(bench) ? HUP_MODE_WRITE : HUP_MODE_VERIFY,
    };
    int status = hup_target_open(&bench->target, &as_run, error);

    if (status)
        return status;
    uint64_t size = bench->target.size;
    if (config->offset > size || config->length > size - config->offset)
        return hup_fail_needed(error, HUP_E_TARGET, config->offset + config->length,
                               "the target has %" PRIu64 " bytes, too few to measure %" PRIu64 " at %" PRIu64, size,
                               config->length, config->offset);
    if (config->method == HUP_BENCH_URING && !atomic_load(&bench->target.direct))
        return hup_fail_errno(error, HUP_E_SYSTEM, EOPNOTSUPP, 0, 0,
                              "io_uring is measured past the page cache only, and the target takes no direct I/O");
    return HUP_OK;
}

static int move_all(hup_bench *bench, hup_error *error)
{
    int status = bench->config.method == HUP_BENCH_URING ? hup_bench_queue_uring(bench, error)
                                                         : hup_bench_queue_threads(bench, error);

    if (!status && hup_gate_stopped(&bench->gate))
        return HUP_E_CANCELLED; /* the gate has the reason */
    if (!status && hup_bench_changes(bench))
        status = hup_bench_flush(bench, error);
    return status;
}

static void *conduct(void *argument)
{
    hup_bench *bench = argument;
    hup_error error;

    bench->start = hup_clock_ns();
    int status = move_all(bench, &error);
    uint64_t took = hup_clock_ns() - bench->start;

    if (status && !hup_gate_stopped(&bench->gate))
        hup_gate_fail(&bench->gate, &error);
    pthread_mutex_lock(&bench->gate.lock);
    bench->result.direct = atomic_load(&bench->target.direct);
    bench->result.align = bench->target.align;
    bench->result.operations = bench->done;
    bench->result.bytes = bench->done * bench->config.block;
    bench->result.ns = took;
    bench->status = status;
    bench->is_finished = true;
    pthread_cond_broadcast(&bench->finished);
    pthread_mutex_unlock(&bench->gate.lock);
    return NULL;
}

static void destroy(hup_bench *bench)
{
    if (bench->memory != MAP_FAILED && !bench->abandoned)
        munmap(bench->memory, bench->memory_size);
    free(bench->samples);
    if (bench->ring.rings && !bench->abandoned)
        hup_uring_close(&bench->ring);
    hup_target_close(&bench->target);
    hup_gate_destroy(&bench->gate);
    free(bench);
}

/* Make all that a measurement needs, and start it. What was made is freed by `destroy` when something fails. */
static int build(hup_bench *bench, const hup_bench_config *config, hup_error *error)
{
    int status;

    if ((status = hup_gate_condition(&bench->gate, &bench->changed, error)) ||
        (status = hup_gate_condition(&bench->gate, &bench->finished, error)) ||
        (status = open_target(bench, config, error)) || (status = allocate(bench, error)))
        return status;
    if (config->method == HUP_BENCH_URING && (status = hup_uring_open(&bench->ring, config->depth, error))) {
        bench->ring.rings = NULL;
        return status;
    }
    return hup_run_thread(&bench->conductor, conduct, bench, error);
}

int hup_bench_open(const hup_bench_config *config, hup_bench **bench, hup_error *error)
{
    *bench = NULL;
    int status = check_config(config, error);
    if (status)
        return status;
    hup_bench *made = calloc(1, sizeof *made);
    if (!made)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a measurement");
    made->config = *config;
    made->config.target = NULL;
    made->memory = MAP_FAILED;
    made->target.fd = -1;
    made->end =
        config->total == UINT64_MAX ? UINT64_MAX : config->total / config->block + (config->total % config->block != 0);
    made->flushed_at =
        config->flush_every && hup_bench_changes(made) ? config->flush_every / config->block : UINT64_MAX;
    if ((status = hup_gate_init(&made->gate, 0, error))) {
        free(made);
        return status;
    }
    if ((status = build(made, config, error)))
        destroy(made);
    else
        *bench = made;
    return status;
}

int hup_bench_wait(hup_bench *bench, uint32_t timeout_ms, hup_bench_result *result, hup_error *error)
{
    struct hup_gate *gate = &bench->gate;
    struct timespec deadline = hup_clock_deadline(timeout_ms);
    int status = HUP_RUNNING;

    pthread_mutex_lock(&gate->lock);
    while (!bench->is_finished && pthread_cond_timedwait(&bench->finished, &gate->lock, &deadline) == 0)
        ;
    if (bench->is_finished && bench->status) {
        status = gate->error.status;
        if (error)
            *error = gate->error;
    } else if (bench->is_finished) {
        status = HUP_OK;
        *result = bench->result;
    }
    pthread_mutex_unlock(&gate->lock);
    return status;
}

const hup_bench_sample *hup_bench_samples(const hup_bench *bench, size_t *count)
{
    *count = bench->sample_count;
    return bench->samples;
}

void hup_bench_cancel(hup_bench *bench)
{
    hup_error error;

    hup_fail(&error, HUP_E_CANCELLED, 0, 0, "the measurement was cancelled");
    hup_gate_fail(&bench->gate, &error);
}

void hup_bench_close(hup_bench *bench)
{
    if (!bench)
        return;
    hup_bench_cancel(bench);
    pthread_join(bench->conductor, NULL);
    destroy(bench);
}

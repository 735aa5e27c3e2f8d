/* The threads between the block ring and the target.
 *
 * A pool of threads that each wait for one pwrite keeps as many writes in flight as io_uring does. Measured side
 * by side (benchmarks/write_queue.c) neither is faster with writes of 1 MiB, and the pool needs no library, works
 * where io_uring is switched off, and can be watched and broken by every tool that knows system calls. */
#include "drain.h"
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"

struct worker {
    struct hup_run *run;
    uint32_t index;
    uint8_t *old; /* owned: a block of the target's content, when the run compares */
    pthread_t thread;
};

struct hup_drain {
    struct hup_run *run;
    uint32_t started;
    struct worker workers[HUP_DEPTH_MAX];
};

/* -------- what is put off -------- */

/* Join an extent to a neighbour, or append it. Under the lock. False when the list is full. */
static bool join(struct hup_zeroes *zeroes, uint64_t offset, uint64_t length)
{
    for (size_t i = zeroes->count; i-- > 0;) {
        struct hup_extent *extent = &zeroes->extents[i];
        if (extent->offset + extent->length == offset) {
            extent->length += length;
            return true;
        }
        if (offset + length == extent->offset) {
            extent->offset = offset;
            extent->length += length;
            return true;
        }
    }
    if (zeroes->count == sizeof zeroes->extents / sizeof zeroes->extents[0])
        return false;
    zeroes->extents[zeroes->count++] = (struct hup_extent){ offset, length };
    return true;
}

/* Ask for the zeroes of an extent, in steps, so that a cancel is heard, and the application does not wait. */
static int zero_extent(struct hup_run *run, uint64_t offset, uint64_t length, hup_error *error)
{
    const uint64_t most = run->pace.background ? run->layout.block : run->pace.rate ? 4 << 20 : 64 << 20;
    int status = HUP_OK;

    while (length && !status) {
        uint64_t step = length < most ? length : most;
        if (!hup_pace_begin(&run->pace, HUP_STAGE_FLUSH, step))
            return HUP_E_CANCELLED;
        uint64_t since = hup_clock_ns();
        status = hup_target_zero(&run->target, offset, step, error);
        hup_pace_end(&run->pace, HUP_STAGE_FLUSH, since);
        offset += step;
        length -= step;
    }
    return status;
}

static int put_zeroes(struct hup_run *run, uint64_t offset, uint64_t length, hup_error *error)
{
    pthread_mutex_lock(&run->gate.lock);
    /* A chunk with data is durable from the next mark on, and its zeroes too then. */
    bool now =
        run->config.mark_ms && run->format == HUP_FORMAT_CHUNKED && run->layout.block < run->table_header.chunk_size;
    bool joined = !now && join(&run->zeroes, offset, length);
    pthread_mutex_unlock(&run->gate.lock);
    atomic_fetch_add(&run->zeroed, length);
    if (joined)
        return HUP_OK;
    /* A block that was compared has had its turn at the medium. */
    return hup_run_compares(run) ? hup_target_zero(&run->target, offset, length, error)
                                 : zero_extent(run, offset, length, error);
}

static int put_tail(struct hup_run *run, uint64_t offset, const uint8_t *data, size_t size, hup_error *error)
{
    run->tail = (struct hup_tail){ .offset = offset, .size = size, .data = malloc(size) };
    if (!run->tail.data)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, offset, size, "cannot allocate the image's tail");
    memcpy(run->tail.data, data, size);
    atomic_fetch_add(&run->written, size);
    return HUP_OK;
}

int hup_drain_finish(struct hup_run *run, hup_error *error)
{
    int status = HUP_OK;

    for (size_t i = 0; i < run->zeroes.count && !status; i++)
        status = zero_extent(run, run->zeroes.extents[i].offset, run->zeroes.extents[i].length, error);
    if (!status && run->tail.data)
        status = hup_target_write_tail(&run->target, run->tail.offset, run->tail.data, run->tail.size, error);
    if (!status)
        status = hup_target_extend(&run->target, atomic_load(&run->image_size), error);
    return status;
}

/* -------- a block -------- */

/* Find the bytes that differ: from the first to the last. */
static int differ(const uint8_t *is, const uint8_t *should, uint64_t offset, size_t size, hup_error *error)
{
    size_t first = 0, last = size;

    while (is[first] == should[first])
        first++;
    while (is[last - 1] == should[last - 1])
        last--;
    return hup_fail(error, HUP_E_MISMATCH, offset + first, last - first,
                    "the target does not hold the image: bytes %" PRIu64 " to %" PRIu64 " differ", offset + first,
                    offset + last - 1);
}

/* Does the target hold these bytes already? In HUP_MODE_VERIFY it is a failure when it does not. */
static int compare(struct worker *worker, uint64_t offset, const uint8_t *data, size_t size, bool *equal,
                   hup_error *error)
{
    struct hup_run *run = worker->run;
    size_t got;
    int status = hup_target_read(&run->target, offset, worker->old, size, &got, error);

    if (status)
        return status;
    *equal = got == size && memcmp(worker->old, data, size) == 0;
    if (*equal || run->config.mode != HUP_MODE_VERIFY)
        return HUP_OK;
    if (got < size)
        return hup_fail(error, HUP_E_MISMATCH, offset + got, size - got,
                        "the target ends at %" PRIu64 ", before the image does", offset + got);
    return differ(worker->old, data, offset, size, error);
}

/* Put one mapped part of a block where it belongs. */
static int put_part(struct worker *worker, uint64_t offset, const uint8_t *data, size_t size, bool zero,
                    hup_error *error)
{
    struct hup_run *run = worker->run;

    if (hup_run_compares(run)) {
        bool equal;
        int status = compare(worker, offset, data, size, &equal, error);
        if (status || equal) {
            atomic_fetch_add(&run->unchanged, equal ? size : 0);
            return status;
        }
    }
    size_t rest = size % run->target.align, whole = size - rest;
    int status = HUP_OK;

    if (whole && zero) {
        status = put_zeroes(run, offset, whole, error);
    } else if (whole) {
        status = hup_target_write(&run->target, offset, data, whole, error);
        atomic_fetch_add(&run->written, whole);
    }
    if (!status && rest)
        status = put_tail(run, offset + whole, data + whole, rest, error);
    return status;
}

static int put_block(struct worker *worker, const struct hup_block *block, uint8_t *data, hup_error *error)
{
    struct hup_run *run = worker->run;
    uint64_t end = block->offset + block->size, until, mapped = 0;
    int status = HUP_OK;

    if (run->config.mode == HUP_MODE_CHECK)
        return HUP_OK;
    if (block->there) {
        atomic_fetch_add(&run->unchanged, block->size);
        return HUP_OK;
    }
    /* A chunk of zeroes is only flagged; here its bytes are looked at. Zeroes that were decoded are there already, and
     * must not be written again: a decoder may be reading them, as its window. */
    if (block->zero && (hup_run_compares(run) || block->size % run->target.align) && !hup_all_zero(data, block->size))
        memset(data, 0, block->size);
    for (uint64_t at = block->offset; !status && hup_ranges_next(&run->ranges, &at, end, &until); at = until) {
        status = put_part(worker, at, data + (at - block->offset), (size_t)(until - at), block->zero, error);
        mapped += until - at;
    }
    atomic_fetch_add(&run->unmapped, block->size - mapped);
    return status;
}

/* Wait until this many threads are to write. False: the image has come to its end, or the run to its. */
static bool wait_for_turn(struct worker *worker)
{
    struct hup_run *run = worker->run;

    pthread_mutex_lock(&run->gate.lock);
    while (worker->index >= run->tuner.now.active && !run->drained && !run->gate.stopped)
        pthread_cond_wait(&run->turn, &run->gate.lock);
    bool goes_on = !run->drained && !run->gate.stopped;
    pthread_mutex_unlock(&run->gate.lock);
    return goes_on;
}

/* Take what can be written at once, and describe it as one block. 0: there is no more. */
static uint32_t take(struct worker *worker, uint64_t *sequence, struct hup_block *block)
{
    struct hup_run *run = worker->run;

    if (!wait_for_turn(worker))
        return 0;
    int got = hup_ring_take(&run->ring, &run->tuner, sequence);
    if (got <= 0)
        return 0;
    *block = *hup_ring_block(&run->ring, *sequence);
    for (int i = 1; i < got; i++)
        block->size += hup_ring_block(&run->ring, *sequence + (uint32_t)i)->size;
    return (uint32_t)got;
}

/* Let the tuner know of a write. */
static void note_write(struct hup_run *run, uint32_t size)
{
    pthread_mutex_lock(&run->gate.lock);
    if (hup_tuner_wrote(&run->tuner, hup_clock_ns(), size))
        pthread_cond_broadcast(&run->turn);
    pthread_mutex_unlock(&run->gate.lock);
}

/* The threads that wait for their turn need not wait any more. */
static void end_turns(struct hup_run *run)
{
    pthread_mutex_lock(&run->gate.lock);
    run->drained = true;
    pthread_cond_broadcast(&run->turn);
    pthread_mutex_unlock(&run->gate.lock);
}

static void *drain_blocks(void *argument)
{
    struct worker *worker = argument;
    struct hup_run *run = worker->run;
    struct hup_block block;
    uint64_t sequence;
    uint32_t count;
    hup_error error;

    hup_trace_thread(&run->gate.trace, HUP_STAGE_WRITE);
    while ((count = take(worker, &sequence, &block)) > 0) {
        bool uses = !block.there && run->target.fd >= 0 && (!block.zero || hup_run_compares(run));
        if (uses && !hup_pace_begin(&run->pace, HUP_STAGE_WRITE, block.size))
            break;
        uint64_t since = hup_clock_ns();
        int status = put_block(worker, &block, hup_ring_data(&run->ring, sequence), &error);
        if (!block.there)
            hup_trace_add(&run->gate.trace, HUP_STAGE_WRITE, HUP_SPAN_BUSY, since, block.offset, block.size);
        if (uses)
            hup_pace_end(&run->pace, HUP_STAGE_WRITE, since);
        if (status) {
            if (!hup_gate_stopped(&run->gate))
                hup_gate_fail(&run->gate, &error);
            break;
        }
        hup_ring_release(&run->ring, sequence, count);
        atomic_fetch_add(&run->done, block.size);
        if (uses && run->tuner.on)
            note_write(run, block.size);
    }
    end_turns(run);
    return NULL;
}

/* -------- threads -------- */

static int start_worker(struct hup_run *run, struct worker *worker, uint32_t index, hup_error *error)
{
    *worker = (struct worker){ .run = run, .index = index };
    if (hup_run_compares(run)) {
        worker->old = mmap(NULL, run->layout.block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (worker->old == MAP_FAILED)
            return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "cannot allocate a block to compare with");
    }
    int status = hup_run_thread(&worker->thread, drain_blocks, worker, error);
    if (status && worker->old)
        munmap(worker->old, run->layout.block);
    return status;
}

int hup_drain_start(struct hup_run *run, struct hup_drain **drain, hup_error *error)
{
    *drain = calloc(1, sizeof **drain);
    if (!*drain)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate the writing threads");
    (*drain)->run = run;

    const struct hup_layout *layout = &run->layout;
    hup_tuner_init(&run->tuner, hup_layout_tunes(&run->config), layout->depth, layout->block, layout->block_count);
    int status = hup_gate_condition(&run->gate, &run->turn, error);
    while ((*drain)->started < run->layout.depth && !status) {
        status = start_worker(run, &(*drain)->workers[(*drain)->started], (*drain)->started, error);
        if (!status)
            (*drain)->started++;
    }
    return status;
}

void hup_drain_join(struct hup_drain *drain)
{
    if (!drain)
        return;
    for (uint32_t i = 0; i < drain->started; i++) {
        pthread_join(drain->workers[i].thread, NULL);
        if (drain->workers[i].old)
            munmap(drain->workers[i].old, drain->run->layout.block);
    }
    free(drain);
}

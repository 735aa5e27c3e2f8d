/* Several operations in flight: by threads, as a run does it, and by io_uring, to compare. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "bench.h"
#include "clock.h"
#include "error.h"
#include "layout.h"
#include "run.h"

/* -------- which operation comes next -------- */

enum next { NEXT_STEP, NEXT_FLUSH, NEXT_LATER, NEXT_NONE };

/* Under the lock: take the next operation, or say what has to come first. */
static enum next next_step(struct hup_bench *bench, struct hup_bench_step *step)
{
    const hup_bench_config *config = &bench->config;
    uint64_t now = hup_clock_ns();

    if (hup_gate_stopped(&bench->gate) || bench->next >= bench->end ||
        (config->limit_ms && now - bench->start > (uint64_t)config->limit_ms * 1000000u))
        return NEXT_NONE;
    if (bench->flushing)
        return NEXT_LATER;
    if (bench->next == bench->flushed_at) {
        bench->flushing = bench->flying == 0;
        return bench->flushing ? NEXT_FLUSH : NEXT_LATER;
    }
    *step = (struct hup_bench_step){ .index = bench->next++, .start_ns = now };
    step->offset = config->offset + (config->first + step->index * config->block) % config->length;
    bench->flying++;
    return NEXT_STEP;
}

/* Under the lock: one operation is done. */
static void end_step(struct hup_bench *bench, const struct hup_bench_step *step)
{
    if (bench->sample_count < bench->config.room)
        bench->samples[bench->sample_count++] = (hup_bench_sample){
            .start_ns = step->start_ns - bench->start,
            .ns = hup_clock_ns() - step->start_ns,
            .offset = step->offset,
        };
    bench->done++;
    bench->flying--;
}

int hup_bench_flush(struct hup_bench *bench, hup_error *error)
{
    uint64_t start = hup_clock_ns();
    int status = hup_target_settle(&bench->target, error);
    uint64_t took = hup_clock_ns() - start;

    pthread_mutex_lock(&bench->gate.lock);
    bench->result.flush_ns += took;
    bench->result.flushes++;
    if (took > bench->result.flush_max_ns)
        bench->result.flush_max_ns = took;
    bench->flushing = false;
    bench->flushed_at += bench->config.flush_every / bench->config.block;
    pthread_cond_broadcast(&bench->changed);
    pthread_mutex_unlock(&bench->gate.lock);
    return status;
}

/* -------- one operation -------- */

/* No two sectors that are written are the same: a medium that looks for such cannot save itself work. To make all of
 * the noise anew would cost a small processor more than a fast medium takes. */
static void stamp(uint8_t *data, size_t size, uint64_t index)
{
    for (size_t at = 0; at < size; at += HUP_BENCH_SECTOR) {
        uint64_t mark = (index << 16 | at / HUP_BENCH_SECTOR) * 0x9E3779B97F4A7C15u;
        memcpy(data + at, &mark, sizeof mark);
    }
}

static int discard(struct hup_bench *bench, uint64_t offset, hup_error *error)
{
    uint64_t range[2] = { offset, bench->config.block };
    int done, hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

    do
        done = bench->target.device ? ioctl(bench->target.fd, BLKDISCARD, range)
                                    : fallocate(bench->target.fd, hole, (off_t)offset, (off_t)range[1]);
    while (done < 0 && errno == EINTR);
    if (done == 0)
        return HUP_OK;
    if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL || errno == ENOSYS)
        return hup_fail_errno(error, HUP_E_SYSTEM, EOPNOTSUPP, offset, range[1], "the target discards nothing");
    return hup_fail_errno(error, HUP_E_MEDIUM, errno, offset, range[1],
                          "discarding %" PRIu32 " bytes at %" PRIu64 " failed", bench->config.block, offset);
}

static int read_block(struct hup_bench *bench, uint64_t offset, uint8_t *memory, hup_error *error)
{
    size_t got;
    int status = hup_target_read(&bench->target, offset, memory, bench->config.block, &got, error);

    if (!status && got < bench->config.block)
        return hup_fail_errno(error, HUP_E_MEDIUM, EIO, offset + got, 0, "the target ends at %" PRIu64, offset + got);
    return status;
}

static int do_step(struct hup_bench *bench, const struct hup_bench_step *step, uint8_t *memory, hup_error *error)
{
    switch (bench->config.operation) {
    case HUP_BENCH_READ:
        return read_block(bench, step->offset, memory, error);
    case HUP_BENCH_ZERO:
        return hup_target_zero(&bench->target, step->offset, bench->config.block, error);
    case HUP_BENCH_DISCARD:
        return discard(bench, step->offset, error);
    default:
        return hup_target_write(&bench->target, step->offset, memory, bench->config.block, error);
    }
}

/* -------- by threads -------- */

struct hand {
    struct hup_bench *bench;
    uint8_t *memory; /* one block of the bench's */
    pthread_t thread;
};

/* Wait for something to do. False: there is no more. Flushes that come due are done here. */
static bool take_step(struct hand *hand, struct hup_bench_step *step, hup_error *error)
{
    struct hup_bench *bench = hand->bench;

    for (;;) {
        pthread_mutex_lock(&bench->gate.lock);
        enum next next;
        while ((next = next_step(bench, step)) == NEXT_LATER)
            pthread_cond_wait(&bench->changed, &bench->gate.lock);
        pthread_mutex_unlock(&bench->gate.lock);
        if (next != NEXT_FLUSH)
            return next == NEXT_STEP;
        if (hup_bench_flush(bench, error)) {
            hup_gate_fail(&bench->gate, error);
            return false;
        }
    }
}

static void *work(void *argument)
{
    struct hand *hand = argument;
    struct hup_bench *bench = hand->bench;
    struct hup_bench_step step;
    hup_error error;

    while (take_step(hand, &step, &error)) {
        if (bench->config.operation == HUP_BENCH_WRITE) {
            stamp(hand->memory, bench->config.block, step.index);
            step.start_ns = hup_clock_ns();
        }
        int status = do_step(bench, &step, hand->memory, &error);
        if (status)
            hup_gate_fail(&bench->gate, &error);
        pthread_mutex_lock(&bench->gate.lock);
        if (status)
            bench->flying--;
        else
            end_step(bench, &step);
        if (bench->flying == 0)
            pthread_cond_broadcast(&bench->changed);
        pthread_mutex_unlock(&bench->gate.lock);
    }
    return NULL;
}

int hup_bench_queue_threads(struct hup_bench *bench, hup_error *error)
{
    struct hand hands[HUP_DEPTH_MAX];
    uint32_t started = 0;
    int status = HUP_OK;

    while (started < bench->config.depth && !status) {
        struct hand *hand = &hands[started];
        *hand = (struct hand){ .bench = bench, .memory = bench->memory + (size_t)started * bench->config.block };
        status = hup_run_thread(&hand->thread, work, hand, error);
        if (status)
            hup_gate_fail(&bench->gate, error);
        else
            started++;
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(hands[i].thread, NULL);
    return status;
}

/* -------- by io_uring -------- */

enum { ABANDON_MS = 30000, ABANDON_STEP_NS = 1000 * 1000 };

struct slot {
    struct hup_bench_step step;
    struct iovec part;
    bool busy;
};

/* Put in as much as there is room for. */
static int fill_ring(struct hup_bench *bench, struct slot *slots, hup_error *error)
{
    bool write = bench->config.operation == HUP_BENCH_WRITE;

    for (uint32_t i = 0; i < bench->config.depth; i++) {
        struct slot *slot = &slots[i];
        if (slot->busy)
            continue;
        pthread_mutex_lock(&bench->gate.lock);
        enum next next = next_step(bench, &slot->step);
        pthread_mutex_unlock(&bench->gate.lock);
        if (next == NEXT_FLUSH) {
            int status = hup_bench_flush(bench, error);
            if (status)
                return status;
            i--; /* the same slot again */
            continue;
        }
        if (next != NEXT_STEP)
            break;
        if (write) {
            stamp(slot->part.iov_base, bench->config.block, slot->step.index);
            slot->step.start_ns = hup_clock_ns();
        }
        hup_uring_put(&bench->ring, write, bench->target.fd, &slot->part, slot->step.offset, i);
        slot->busy = true;
    }
    return HUP_OK;
}

/* Take what has ended. What the ring did not do whole, the engine's own calls do again, or say what is wrong. */
static int empty_ring(struct hup_bench *bench, struct slot *slots, hup_error *error)
{
    uint64_t tag;
    int32_t moved;
    int status = HUP_OK;

    while (hup_uring_take(&bench->ring, &tag, &moved)) {
        struct slot *slot = &slots[tag];
        if (moved != (int32_t)bench->config.block && !status)
            status = do_step(bench, &slot->step, slot->part.iov_base, error);
        pthread_mutex_lock(&bench->gate.lock);
        end_step(bench, &slot->step);
        pthread_mutex_unlock(&bench->gate.lock);
        slot->busy = false;
    }
    return status;
}

/* The ring has failed. What it was not given yet is taken back; the rest ends without it, for the kernel puts results
 * where we see them. Blocks and ring are the kernel's until then: of a medium that does not end, they are left to it.
 * The slots are not: it has copied what they point to when it took them. */
static void abandon_ring(struct hup_bench *bench, struct slot *slots)
{
    uint64_t tag, start = hup_clock_ns();
    uint64_t patience = (bench->config.abandon_ms ? bench->config.abandon_ms : ABANDON_MS) * (uint64_t)1000000;
    hup_error ignored; /* the first failure is the one that is told */

    while (hup_uring_withdraw(&bench->ring, &tag)) {
        slots[tag].busy = false;
        pthread_mutex_lock(&bench->gate.lock);
        bench->flying--;
        pthread_mutex_unlock(&bench->gate.lock);
    }
    while (bench->flying && hup_clock_ns() - start < patience) {
        empty_ring(bench, slots, &ignored);
        nanosleep(&(struct timespec){ .tv_nsec = ABANDON_STEP_NS }, NULL);
    }
    bench->abandoned = bench->flying > 0;
}

int hup_bench_queue_uring(struct hup_bench *bench, hup_error *error)
{
    struct slot slots[HUP_DEPTH_MAX] = { 0 };
    hup_error later;
    int status = HUP_OK;

    for (uint32_t i = 0; i < bench->config.depth; i++)
        slots[i].part = (struct iovec){ bench->memory + (size_t)i * bench->config.block, bench->config.block };
    for (;;) {
        if (!status)
            status = fill_ring(bench, slots, error);
        if (!bench->flying) /* only this thread changes it */
            return status;
        /* The kernel uses our memory until all has ended: a failure does not end this loop before that. */
        int broken = hup_uring_wait(&bench->ring, &later);
        int failed = broken ? broken : empty_ring(bench, slots, &later);
        if (failed && !status) {
            status = failed;
            if (error)
                *error = later;
        }
        if (broken) {
            abandon_ring(bench, slots);
            return status;
        }
    }
}

/* One measurement: all that its threads share. Internal. bench.c makes and frees it. */
#ifndef HUPFAST_BENCH_H
#define HUPFAST_BENCH_H

#include "gate.h"
#include "target.h"
#include "uring.h"

enum { HUP_BENCH_SECTOR = 512 }; /* data differs from one of these to the next */

struct hup_bench {
    hup_bench_config config; /* without the path */
    struct hup_target target;
    struct hup_gate gate;
    pthread_cond_t changed;  /* something has ended: an operation, a flush */
    pthread_cond_t finished; /* the measurement has */
    pthread_t conductor;
    struct hup_uring ring; /* owned, with HUP_BENCH_URING only */
    uint8_t *memory;       /* owned: `depth` blocks */
    size_t memory_size;
    bool abandoned; /* ring and memory have become the kernel's: operations are in flight that nobody sees the end of */

    /* All that follows is under the gate's lock. */
    hup_bench_sample *samples; /* owned: config.room of them */
    size_t sample_count;
    uint64_t start; /* of the clock */
    uint64_t next;  /* the operation that the next free thread takes */
    uint64_t end;   /* how many there are, UINT64_MAX: until the time is over */
    uint64_t done;
    uint64_t flushed_at; /* the operation before which there is a flush */
    uint32_t flying;
    bool flushing, is_finished;
    int status;
    hup_bench_result result;
};

/* One operation in somebody's hands. */
struct hup_bench_step {
    uint64_t index;
    uint64_t offset;   /* in the target */
    uint64_t start_ns; /* of the clock */
};

/* Do all of it, and return when nothing is in flight. The flush at the end is the caller's. */
int hup_bench_queue_threads(struct hup_bench *bench, hup_error *error);
int hup_bench_queue_uring(struct hup_bench *bench, hup_error *error);

/* Flush, and count the time. Call without the lock. */
int hup_bench_flush(struct hup_bench *bench, hup_error *error);

/* Does this measurement change the target? */
static inline bool hup_bench_changes(const struct hup_bench *bench)
{
    return bench->config.operation != HUP_BENCH_READ;
}

#endif

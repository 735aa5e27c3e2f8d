/* A thread that notes how far the writes have come without a gap, flushes, and then tells that so much is durable. */
#include "mark.h"

#include "clock.h"
#include "error.h"
#include "run.h"

int hup_mark_init(struct hup_mark *mark, struct hup_gate *gate, hup_error *error)
{
    *mark = (struct hup_mark){ 0 };
    return hup_gate_condition(gate, &mark->wake, error);
}

/* Whole chunks that have left the ring, in bytes. The last one does not count: its tail is written at the end. */
static uint64_t written(struct hup_run *run)
{
    uint32_t chunk = run->table_header.chunk_size;
    uint64_t done = hup_ring_released(&run->ring) * run->ring.block / chunk * chunk;
    uint64_t most = (run->table_header.image_size - 1) / chunk * chunk;

    return done < most ? done : most;
}

static void *mark_now_and_then(void *argument)
{
    struct hup_run *run = argument;
    struct hup_mark *mark = &run->mark;
    struct hup_gate *gate = &run->gate;
    uint64_t durable = 0;
    hup_error error;

    pthread_mutex_lock(&gate->lock);
    while (!mark->over && !gate->stopped) {
        struct timespec deadline = hup_clock_deadline(run->config.mark_ms);
        while (!mark->over && !gate->stopped && pthread_cond_timedwait(&mark->wake, &gate->lock, &deadline) == 0)
            ;
        uint64_t done = written(run);
        if (mark->over || gate->stopped || done == durable)
            continue;
        pthread_mutex_unlock(&gate->lock);
        if (!hup_pace_begin(&run->pace, HUP_STAGE_FLUSH, 0))
            return NULL;
        uint64_t since = hup_clock_ns();
        int status = hup_target_settle(&run->target, &error);
        hup_pace_end(&run->pace, HUP_STAGE_FLUSH, since);
        if (status)
            hup_gate_fail(gate, &error);
        else
            atomic_store(&mark->durable, durable = done);
        pthread_mutex_lock(&gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
    return NULL;
}

int hup_mark_start(struct hup_run *run, hup_error *error)
{
    if (!run->config.mark_ms || run->format != HUP_FORMAT_CHUNKED || run->config.mode != HUP_MODE_WRITE)
        return HUP_OK;
    int status = hup_run_thread(&run->mark.thread, mark_now_and_then, run, error);
    run->mark.started = status == HUP_OK;
    return status;
}

void hup_mark_stop(struct hup_run *run)
{
    if (!run->mark.started)
        return;
    pthread_mutex_lock(&run->gate.lock);
    run->mark.over = true;
    pthread_cond_broadcast(&run->mark.wake);
    pthread_mutex_unlock(&run->gate.lock);
    pthread_join(run->mark.thread, NULL);
    run->mark.started = false;
}

/* The public face of a run: hup_writer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "conduct.h"
#include "error.h"
#include "reader.h"

#include <zstd.h>

struct hup_writer {
    struct hup_run run;
    struct hup_reader reader;
    pthread_t conductor;
    pthread_cond_t finished;
    bool is_finished; /* under the gate's lock, as is the next */
    int status;
    bool reading;         /* the reader thread was started */
    bool fed;             /* the stage of reading has its thread */
    uint64_t acquired_ns; /* when the caller got memory for input */
};

/* A thread does the work of reading: the caller's, or the reader's, which may follow it. So they count as one. */
static struct hup_trace *feeder(hup_writer *writer)
{
    struct hup_trace *trace = &writer->run.gate.trace;

    if (!writer->fed)
        hup_trace_thread(trace, HUP_STAGE_READ);
    writer->fed = true;
    return trace;
}

int hup_run_thread(pthread_t *thread, void *(*function)(void *), void *argument, hup_error *error)
{
    pthread_attr_t attributes;
    int number = pthread_attr_init(&attributes);

    if (!number) {
        pthread_attr_setstacksize(&attributes, HUP_STACK_SIZE);
        number = pthread_create(thread, &attributes, function, argument);
        pthread_attr_destroy(&attributes);
    }
    return number ? hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "cannot start a thread") : HUP_OK;
}

static bool survey_makes_sense(const hup_config *config)
{
    if (!(config->flags & HUP_SURVEY))
        return config->mode != HUP_MODE_SURVEY;
    return (config->mode == HUP_MODE_WRITE || config->mode == HUP_MODE_SURVEY) &&
           (config->format == HUP_FORMAT_AUTO || config->format == HUP_FORMAT_CHUNKED) && !config->ranges &&
           !config->sha256 && !(config->flags & HUP_SKIP_UNCHANGED);
}

static int check_config(const hup_config *config, hup_error *error)
{
    uint32_t block = config->block;

    if (config->depth > HUP_DEPTH_MAX)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "a depth of %u is more than %d", config->depth, HUP_DEPTH_MAX);
    if (block && (block < HUP_BLOCK_MIN || block > HUP_BLOCK_MAX || (block & (block - 1))))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "a block of %u bytes is no power of two from 64 KiB to 4 MiB", block);
    if (config->mode > HUP_MODE_SURVEY || config->format > HUP_FORMAT_CHUNKED)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "there is no such mode or format");
    if (!survey_makes_sense(config))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "a survey is of a whole chunked image, for a write or alone");
    if (config->memory > SIZE_MAX / 2)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "the memory budget is more than this machine can address");
    return HUP_OK;
}

static void *conduct(void *argument)
{
    hup_writer *writer = argument;

    hup_pace_thread(&writer->run.pace);
    int status = hup_conduct(&writer->run);

    hup_input_close(&writer->run.input);
    pthread_mutex_lock(&writer->run.gate.lock);
    writer->status = status;
    writer->is_finished = true;
    pthread_cond_broadcast(&writer->finished);
    pthread_mutex_unlock(&writer->run.gate.lock);
    return NULL;
}

enum { BACKGROUND_BLOCK = 256 << 10 }; /* others wait for one access of ours: on a card of 20 MB/s that is 13 ms */

static void copy_config(struct hup_run *run, const hup_config *config)
{
    run->config = *config;
    if (!run->config.memory)
        run->config.memory = HUP_MEMORY_DEFAULT;
    if ((run->config.flags & HUP_BACKGROUND) && !run->config.depth)
        run->config.depth = 1;
    if ((run->config.flags & HUP_BACKGROUND) && !run->config.block)
        run->config.block = BACKGROUND_BLOCK;
    if (config->sha256)
        run->config.sha256 = memcpy(run->sha256, config->sha256, sizeof run->sha256);
    if (config->table_sha256)
        run->config.table_sha256 = memcpy(run->table_sha256, config->table_sha256, sizeof run->table_sha256);
    run->config.target = NULL;
    run->config.older = NULL;
    run->config.ranges = NULL;
    atomic_init(&run->image_size, config->image_size);
}

enum { INPUT_START = 64 << 10 }; /* of the input ring, until the image's head is known */

/* Address space for the largest input ring that a layout may ask for. */
static uint64_t input_most(uint64_t memory)
{
    uint64_t most = hup_table_frame_bound(64 << 20) * (HUP_WORKERS_MAX + 2);

    return (memory < most ? memory : most) + INPUT_START;
}

/* Make all that a run needs from its start. What was made is freed again when something fails. */
static int build(hup_writer *writer, const hup_config *config, hup_error *error)
{
    struct hup_run *run = &writer->run;
    int status;

    copy_config(run, config);
    if ((status = hup_ranges_init(&run->ranges, config->ranges, config->range_count, error)))
        return status;
    if ((status = hup_gate_init(&run->gate, config->events, error)))
        goto free_ranges;
    if ((status =
             hup_input_init(&run->input, &run->gate, input_most(run->config.memory), config->sha256 != NULL, error)))
        goto free_gate;
    hup_input_resize(&run->input, INPUT_START);
    if ((status = hup_target_open(&run->target, config, error)))
        goto free_input;
    if ((status = hup_survey_init(&run->survey, run, config->older, error)))
        goto close_target;
    if ((status = hup_pace_init(&run->pace, &run->gate, config->rate, config->flags & HUP_BACKGROUND, error)))
        goto free_survey;
    if ((status = hup_mark_init(&run->mark, &run->gate, error)))
        goto free_pace;
    if (!(status = hup_gate_condition(&run->gate, &writer->finished, error)) &&
        !(status = hup_run_thread(&writer->conductor, conduct, writer, error)))
        return HUP_OK;
free_pace:
    hup_pace_destroy(&run->pace);
free_survey:
    hup_survey_destroy(&run->survey);
close_target:
    hup_target_close(&run->target);
free_input:
    hup_input_destroy(&run->input);
free_gate:
    hup_gate_destroy(&run->gate);
free_ranges:
    hup_ranges_destroy(&run->ranges);
    return status;
}

int hup_writer_open(const hup_config *config, hup_writer **writer, hup_error *error)
{
    *writer = NULL;
    int status = check_config(config, error);
    if (status)
        return status;
    hup_writer *made = calloc(1, sizeof *made);
    if (!made)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a writer");
    status = build(made, config, error);
    if (status)
        free(made);
    else
        *writer = made;
    return status;
}

int hup_writer_acquire(hup_writer *writer, uint32_t timeout_ms, void **memory, size_t *size, hup_error *error)
{
    int status = hup_input_acquire(&writer->run.input, timeout_ms, memory, size, error);
    writer->acquired_ns = hup_clock_ns();
    return status;
}

int hup_writer_commit(hup_writer *writer, size_t used, hup_error *error)
{
    struct hup_run *run = &writer->run;

    hup_trace_add(feeder(writer), HUP_STAGE_READ, HUP_SPAN_BUSY, writer->acquired_ns, run->input.filled, used);
    return hup_input_commit(&run->input, used, error);
}

int hup_writer_next_range(hup_writer *writer, uint32_t timeout_ms, uint64_t *offset, uint64_t *length, hup_error *error)
{
    if (!hup_run_surveys(&writer->run) || writer->reading)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "no ranges are asked for in this run");
    return hup_survey_next_range(&writer->run, timeout_ms, offset, length, error);
}

int hup_writer_read_fd(hup_writer *writer, int fd, uint64_t length, hup_error *error)
{
    if (writer->reading || writer->run.input.ended)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "the input was given already");
    feeder(writer);
    int status = hup_reader_start(&writer->reader, &writer->run, fd, length, error);
    writer->reading = status == HUP_OK;
    return status;
}

int hup_writer_pull(hup_writer *writer, int fd, uint64_t length, uint32_t timeout_ms, uint64_t *moved, hup_error *error)
{
    feeder(writer);
    return hup_reader_pull(&writer->run, fd, length, timeout_ms, moved, error);
}

int hup_writer_end(hup_writer *writer, hup_error *error)
{
    if (writer->reading)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "the engine reads the input itself");
    hup_input_end(&writer->run.input);
    return HUP_OK;
}

static void fill_report(hup_writer *writer, hup_report *report)
{
    struct hup_run *run = &writer->run;

    *report = (hup_report){
        .format = run->format,
        .direct = atomic_load(&run->target.direct),
        .verified = run->verified || run->config.mode == HUP_MODE_VERIFY,
        .workers = run->layout.workers,
        .depth = run->layout.depth,
        .block = run->layout.block,
        .memory = run->layout.total,
        .bytes_in = run->input.claimed,
        .image_size = atomic_load(&run->image_size),
        .written = atomic_load(&run->written),
        .zeroed = atomic_load(&run->zeroed),
        .unchanged = atomic_load(&run->unchanged),
        .copied = atomic_load(&run->copied),
        .needed = run->needed,
        .unmapped = atomic_load(&run->unmapped),
        .write_ns = run->write_ns,
        .flush_ns = run->flush_ns,
        .verify_ns = run->verify_ns,
        .in_flight = run->tuner.on ? run->tuner.base.active : run->layout.depth,
        .write_size = run->layout.block * (run->tuner.on ? run->tuner.base.merge : 1),
    };
    hup_trace_report(&run->gate.trace, report->stages);
}

int hup_writer_wait(hup_writer *writer, uint32_t timeout_ms, hup_report *report, hup_error *error)
{
    struct hup_gate *gate = &writer->run.gate;
    struct timespec deadline = hup_clock_deadline(timeout_ms);
    int status = HUP_RUNNING;

    pthread_mutex_lock(&gate->lock);
    while (!writer->is_finished && pthread_cond_timedwait(&writer->finished, &gate->lock, &deadline) == 0)
        ;
    if (writer->is_finished && writer->status) {
        status = gate->error.status;
        if (error)
            *error = gate->error;
    } else if (writer->is_finished) {
        status = HUP_OK;
        if (report)
            fill_report(writer, report);
    }
    pthread_mutex_unlock(&gate->lock);
    return status;
}

size_t hup_writer_events(const hup_writer *writer, hup_event *events, size_t room)
{
    const struct hup_trace *trace = &writer->run.gate.trace;
    size_t seen = atomic_load(&trace->seen), kept = seen < trace->room ? seen : trace->room;

    if (kept > room)
        kept = room;
    if (kept)
        memcpy(events, trace->events, kept * sizeof *events);
    return seen;
}

void hup_writer_progress(const hup_writer *writer, hup_progress *progress)
{
    const struct hup_run *run = &writer->run;

    *progress = (hup_progress){
        .phase = atomic_load(&run->phase),
        .bytes_in = atomic_load_explicit(&run->input.taken, memory_order_relaxed),
        .decoded = atomic_load_explicit(&run->decoded, memory_order_relaxed),
        .done = atomic_load_explicit(&run->done, memory_order_relaxed),
        .image_size = atomic_load_explicit(&run->image_size, memory_order_relaxed),
        .durable = atomic_load_explicit(&run->mark.durable, memory_order_relaxed),
    };
}

void hup_writer_cancel(hup_writer *writer)
{
    hup_error error;

    hup_fail(&error, HUP_E_CANCELLED, 0, 0, "the run was cancelled");
    hup_gate_fail(&writer->run.gate, &error);
}

void hup_writer_close(hup_writer *writer)
{
    if (!writer)
        return;
    struct hup_run *run = &writer->run;

    hup_writer_cancel(writer);
    pthread_join(writer->conductor, NULL);
    if (writer->reading)
        pthread_join(writer->reader.thread, NULL);
    if (run->has_ring)
        hup_ring_destroy(&run->ring);
    hup_pace_destroy(&run->pace);
    hup_survey_destroy(&run->survey);
    hup_target_close(&run->target);
    hup_input_destroy(&run->input);
    hup_gate_destroy(&run->gate);
    hup_ranges_destroy(&run->ranges);
    free(run->records.items);
    free(run->table);
    free(run->tail.data);
    free(writer);
}

const char *hup_version(void)
{
    return "hupfast " HUPFAST_VERSION ", zstd " ZSTD_VERSION_STRING;
}

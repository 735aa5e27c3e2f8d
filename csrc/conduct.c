/* The order of a run's stages: nothing is written before all is known that can be known in advance. */
#include "conduct.h"

#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "decode.h"
#include "drain.h"
#include "error.h"
#include "image.h"

/* Does the target agree with the image's size and the map's borders? */
static int prepare_target(struct hup_run *run, const hup_image *image, hup_error *error)
{
    uint64_t promised = run->config.image_size, size = image->image_size;

    if (size == HUP_UNKNOWN)
        size = promised;
    if (promised != HUP_UNKNOWN && promised != size)
        return hup_fail(error, HUP_E_DIGEST, 0, 0,
                        "the image has %" PRIu64 " bytes, and not the %" PRIu64 " that were promised", size, promised);
    if (run->config.mode == HUP_MODE_CHECK) {
        atomic_store(&run->image_size, size);
        return HUP_OK;
    }
    int status = hup_target_prepare(&run->target, size == HUP_UNKNOWN ? image->least_size : size, error);
    if (!status && !hup_ranges_aligned(&run->ranges, run->target.align, size)) {
        hup_target_buffer(&run->target);
        run->target.align = 1;
    }
    atomic_store(&run->image_size, size);
    return status;
}

/* Look at the first bytes, and divide the memory. Nothing is written yet. */
static int identify(struct hup_run *run, hup_error *error)
{
    const uint8_t *data;
    size_t got;
    hup_image image;
    hup_config config = run->config;
    bool survey = hup_run_surveys(run);
    int status = hup_input_peek(&run->input, survey ? HUP_TABLE_HEADER : HUP_PROBE_SIZE, &data, &got);

    if (!status)
        status = hup_image_identify(data, got, survey ? HUP_FORMAT_CHUNKED : config.format, &image, &run->table_header,
                                    error);
    if (status)
        return status;
    run->format = image.format;
    if (config.table_sha256 && image.format != HUP_FORMAT_CHUNKED)
        return hup_fail(error, HUP_E_DIGEST, 0, 0, "the image has no chunk table, and one was promised");
    if (run->ranges.items)
        config.workers = 1; /* the sums of a block map are checked in order */

    struct hup_demand demand = hup_image_demand(&image, &run->table_header);
    demand.compare = hup_run_compares(run);
    demand.surveyors = survey ? HUP_SURVEYORS : 0;
    status = hup_layout_divide(&config, &demand, &run->layout, error);
    if (!status)
        status = prepare_target(run, &image, error);
    if (status)
        return status;
    hup_input_resize(&run->input, run->layout.input);
    status = hup_ring_init(&run->ring, &run->gate, &run->layout, error);
    if (status)
        return status;
    run->has_ring = true;
    if (survey)
        hup_survey_head_known(run);
    run->records.unit = image.format == HUP_FORMAT_CHUNKED ? image.chunk_size : run->layout.block;
    return image.format == HUP_FORMAT_CHUNKED ? hup_decode_table(run, error) : HUP_OK;
}

static int decode(struct hup_run *run, hup_error *error)
{
    struct hup_trace *trace = &run->gate.trace;

    if (run->format == HUP_FORMAT_CHUNKED)
        return hup_decode_chunks(run, error);
    hup_trace_thread(trace, HUP_STAGE_DECODE);
    uint64_t since = hup_clock_ns(), waits = hup_trace_waits(trace, HUP_STAGE_DECODE);
    int status = run->format == HUP_FORMAT_ZSTD ? hup_decode_zstd(run, error) : hup_decode_raw(run, error);
    /* One thread, whose time is work where it is no wait. */
    waits = hup_trace_waits(trace, HUP_STAGE_DECODE) - waits;
    hup_trace_sum(trace, HUP_STAGE_DECODE, HUP_SPAN_BUSY, hup_clock_ns() - since - waits, 0);
    return status;
}

/* Is the input the one that was promised, to its last byte? */
static int check_input(struct hup_run *run, hup_error *error)
{
    uint8_t digest[HUP_SHA256_SIZE];

    if (!run->config.sha256)
        return HUP_OK;
    hup_input_digest(&run->input, digest);
    if (memcmp(digest, run->sha256, sizeof digest) == 0)
        return HUP_OK;
    return hup_fail(error, HUP_E_DIGEST, 0, 0, "the image does not have the SHA-256 that was promised");
}

/* Join the surveyors; what they have found is known then. */
static int finish_survey(struct hup_run *run)
{
    uint64_t there, copied;

    if (hup_run_surveys(run))
        hup_survey_join(run);
    if (hup_gate_stopped(&run->gate))
        return HUP_E_CANCELLED;
    if (hup_run_surveys(run))
        hup_survey_sum(run, &there, &copied, &run->needed);
    if (run->config.mode == HUP_MODE_SURVEY) {
        atomic_store(&run->unchanged, there);
        atomic_store(&run->copied, copied);
    }
    return HUP_OK;
}

/* Decoders on this side of the block ring, the target's threads on the other. */
static int transfer(struct hup_run *run, hup_error *error)
{
    struct hup_drain *drain;
    int status = hup_drain_start(run, &drain, error);

    if (!status && hup_run_surveys(run))
        status = hup_survey_start(run, error);
    if (!status)
        status = hup_mark_start(run, error);
    if (!status)
        status = decode(run, error);
    if (!status)
        status = check_input(run, error);
    if (status && !hup_gate_stopped(&run->gate))
        hup_gate_fail(&run->gate, error);
    hup_drain_join(drain);
    hup_mark_stop(run);
    return finish_survey(run);
}

/* Only find out what a write would ask for. */
static int survey_only(struct hup_run *run, hup_error *error)
{
    int status = hup_survey_start(run, error);

    if (status)
        hup_gate_fail(&run->gate, error);
    return finish_survey(run);
}

/* A chunked image tells the digest of each chunk, so that the target can be checked without the chunks. */
static int take_records(struct hup_run *run, hup_error *error)
{
    const struct hup_table_header *header = &run->table_header;
    int status = hup_records_reserve(&run->records, header->count, error);

    for (uint32_t i = 0; i < header->count && !status; i++)
        run->records.items[i] = hup_table_chunk(run->table, header, i).xxh3;
    run->records.count = header->count;
    hup_input_close(&run->input);
    return status;
}

static int flush(struct hup_run *run, hup_error *error)
{
    uint64_t since = hup_clock_ns();
    int status = hup_drain_finish(run, error);

    if (!status)
        status = hup_target_flush(&run->target, error);
    hup_trace_thread(&run->gate.trace, HUP_STAGE_FLUSH);
    hup_trace_add(&run->gate.trace, HUP_STAGE_FLUSH, HUP_SPAN_BUSY, since, 0,
                  atomic_load(&run->zeroed) + run->tail.size);
    return status;
}

static int stages(struct hup_run *run, hup_error *error)
{
    bool write = run->config.mode == HUP_MODE_WRITE, by_table = false;
    int status = identify(run, error);
    uint64_t start = hup_clock_ns();

    if (!status) {
        by_table = run->config.mode == HUP_MODE_VERIFY && run->format == HUP_FORMAT_CHUNKED && !run->ranges.items;
        status = by_table                              ? take_records(run, error)
                 : run->config.mode == HUP_MODE_SURVEY ? survey_only(run, error)
                                                       : transfer(run, error);
    }
    uint64_t transferred = hup_clock_ns();
    run->write_ns = transferred - start;
    if (!status && write) {
        atomic_store(&run->phase, HUP_PHASE_FLUSH);
        status = flush(run, error);
    }
    uint64_t flushed = hup_clock_ns();
    run->flush_ns = flushed - transferred;
    if (!status && (by_table || (write && (run->config.flags & HUP_READ_BACK)))) {
        atomic_store(&run->phase, HUP_PHASE_VERIFY);
        status = hup_readback(run);
        run->verified = status == HUP_OK;
    }
    run->verify_ns = hup_clock_ns() - flushed;
    return status;
}

int hup_conduct(struct hup_run *run)
{
    hup_error error = { .status = HUP_E_CANCELLED };
    int status = stages(run, &error);

    if (!status)
        status = hup_target_keep(&run->target, &error);
    if (status && !hup_gate_stopped(&run->gate))
        hup_gate_fail(&run->gate, &error);
    if (status)
        hup_target_discard(&run->target);
    else
        atomic_store(&run->phase, HUP_PHASE_DONE);
    return status;
}

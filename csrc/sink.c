/* Where a decoder of one continuous stream puts its output.
 *
 * The stream is cut into blocks in place: the block ring is one piece of memory that the decoder runs through, and
 * its last write before the end may go on into the slack behind it. That overhang is then copied to the start,
 * where it belongs, and the decoder goes on behind the copy; zstd takes what was before for its history. */
#include "sink.h"
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "error.h"

int hup_sink_init(struct hup_sink *sink, struct hup_run *run, hup_error *error)
{
    *sink = (struct hup_sink){ .run = run, .zero = true, .since = hup_clock_ns() };
    hup_range_check_begin(&sink->check, &run->ranges);
    if (run->config.flags & HUP_READ_BACK) {
        sink->state = hup_digest_create();
        if (!sink->state)
            return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a digest");
        hup_digest_begin(sink->state);
    }
    return HUP_OK;
}

void hup_sink_destroy(struct hup_sink *sink)
{
    hup_digest_free(sink->state);
}

static size_t ring_size(const struct hup_sink *sink)
{
    return (size_t)sink->run->ring.block * sink->run->ring.count;
}

uint8_t *hup_sink_room(struct hup_sink *sink, size_t size)
{
    struct hup_ring *ring = &sink->run->ring;

    if (hup_ring_reserve(ring, (sink->position + size + ring->block - 1) / ring->block))
        return NULL;
    return ring->memory + sink->position % ring_size(sink);
}

/* The current block is complete. */
static int pass_on(struct hup_sink *sink, uint64_t sequence, uint32_t size, hup_error *error)
{
    struct hup_run *run = sink->run;

    if (sink->state) {
        int status = hup_records_reserve(&run->records, sequence + 1, error);
        if (status)
            return status;
        run->records.items[sequence] = hup_digest_end(sink->state);
        run->records.count = sequence + 1;
        hup_digest_begin(sink->state);
    }
    hup_ring_publish(&run->ring, sequence, sequence * run->ring.block, size, sink->zero);
    sink->zero = true;
    uint64_t now = hup_clock_ns();
    hup_trace_event(&run->gate.trace, HUP_STAGE_DECODE, HUP_SPAN_BUSY, sink->since, now - sink->since,
                    sequence * run->ring.block, size);
    hup_trace_sum(&run->gate.trace, HUP_STAGE_DECODE, HUP_SPAN_BUSY, 0, size);
    sink->since = now;
    return HUP_OK;
}

/* Look at bytes that lie in one block, and digest what of them will be written. */
static void look_at(struct hup_sink *sink, const uint8_t *data, size_t size)
{
    uint64_t end = sink->position + size, until;

    if (sink->zero)
        sink->zero = hup_all_zero(data, size);
    if (!sink->state)
        return;
    for (uint64_t at = sink->position; hup_ranges_next(&sink->run->ranges, &at, end, &until); at = until)
        hup_digest_update(sink->state, data + (at - sink->position), (size_t)(until - at));
}

int hup_sink_put(struct hup_sink *sink, size_t size, hup_error *error)
{
    struct hup_run *run = sink->run;
    struct hup_ring *ring = &run->ring;
    size_t whole = ring_size(sink), at = (size_t)(sink->position % whole);
    const uint8_t *data = ring->memory + at;
    int status = HUP_OK;

    if (size > run->target.size - sink->position)
        return hup_fail(error, HUP_E_TOO_LARGE, sink->position, size,
                        "the image is larger than the target, which has %" PRIu64 " bytes", run->target.size);
    if (at + size > whole)
        memcpy(ring->memory, ring->memory + whole, at + size - whole);
    if (run->ranges.items)
        status = hup_range_check_update(&sink->check, data, size, error);

    while (size && !status) {
        size_t left = ring->block - (size_t)(sink->position % ring->block), part = size < left ? size : left;
        look_at(sink, data, part);
        data += part;
        size -= part;
        sink->position += part;
        if (part == left)
            status = pass_on(sink, sink->position / ring->block - 1, ring->block, error);
    }
    atomic_store_explicit(&run->decoded, sink->position, memory_order_relaxed);
    return status;
}

int hup_sink_end(struct hup_sink *sink, hup_error *error)
{
    struct hup_run *run = sink->run;
    uint32_t block = run->ring.block, rest = (uint32_t)(sink->position % block);
    uint64_t promised = atomic_load(&run->image_size);

    /* A pipe whose other end has failed looks like this. It must not pass for an image that was written. */
    if (sink->position == 0)
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "the image is empty");
    if (promised != HUP_UNKNOWN && promised != sink->position)
        return hup_fail(error, HUP_E_FORMAT, sink->position, 0,
                        "the image has %" PRIu64 " bytes, and not the %" PRIu64 " that were promised", sink->position,
                        promised);
    int status = hup_range_check_end(&sink->check, error);
    if (!status && rest)
        status = pass_on(sink, sink->position / block, rest, error);
    if (!status) {
        atomic_store(&run->image_size, sink->position);
        hup_ring_finish(&run->ring, sink->position / block + (rest != 0));
    }
    return status;
}

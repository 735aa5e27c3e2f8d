/* Reading back: the medium, past every cache, against the digests taken when the image was decoded. */
#include "readback.h"
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "run.h"

int hup_records_reserve(struct hup_records *records, uint64_t count, hup_error *error)
{
    if (count <= records->room)
        return HUP_OK;

    uint64_t room = records->room ? records->room : 1024;
    while (room < count)
        room *= 2;
    hup_xxh3 *items = room > SIZE_MAX / sizeof *items ? NULL : realloc(records->items, (size_t)room * sizeof *items);
    if (!items)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate %" PRIu64 " digests", room);
    records->items = items;
    records->room = room;
    return HUP_OK;
}

/* One reader. It has a block of the ring for itself: the ring is empty by now. */
struct reader {
    struct hup_run *run;
    _Atomic uint64_t *next; /* the unit that the next free reader takes */
    uint8_t *memory;
    hup_xxh3_state *state;
    pthread_t thread;
};

/* Read and digest what is mapped of [from, end). *any is false when nothing is. */
static int digest_unit(struct reader *reader, uint64_t from, uint64_t end, bool *any, hup_error *error)
{
    struct hup_run *run = reader->run;
    uint64_t until;

    *any = false;
    for (uint64_t at = from; hup_ranges_next(&run->ranges, &at, end, &until); at = until) {
        if (until - at > run->layout.block)
            until = at + run->layout.block;
        size_t size = (size_t)(until - at), got;
        if (!hup_pace_begin(&run->pace, HUP_STAGE_VERIFY, size))
            return HUP_E_CANCELLED;
        uint64_t since = hup_clock_ns();
        int status = hup_target_read(&run->target, at, reader->memory, size, &got, error);
        hup_pace_end(&run->pace, HUP_STAGE_VERIFY, since);
        if (status)
            return status;
        if (got < size)
            return hup_fail(error, HUP_E_MISMATCH, at + got, end - at - got,
                            "the target ends at %" PRIu64 ", before the image does", at + got);
        hup_digest_update(reader->state, reader->memory, size);
        hup_trace_add(&run->gate.trace, HUP_STAGE_VERIFY, HUP_SPAN_BUSY, since, at, size);
        *any = true;
        atomic_fetch_add(&run->done, size);
    }
    return HUP_OK;
}

static int check_unit(struct reader *reader, uint64_t index, hup_error *error)
{
    struct hup_run *run = reader->run;
    uint64_t from = index * run->records.unit, image = atomic_load(&run->image_size);
    uint64_t end = image - from > run->records.unit ? from + run->records.unit : image;
    bool any;

    hup_digest_begin(reader->state);
    int status = digest_unit(reader, from, end, &any, error);
    if (status || !any)
        return status;
    hup_xxh3 is = hup_digest_end(reader->state);
    if (memcmp(&is, &run->records.items[index], sizeof is) != 0)
        return hup_fail(error, HUP_E_MISMATCH, from, end - from,
                        "the target does not hold the image: bytes %" PRIu64 " to %" PRIu64 " read back differently",
                        from, end - 1);
    return HUP_OK;
}

static void *read_units(void *argument)
{
    struct reader *reader = argument;
    struct hup_run *run = reader->run;
    uint64_t index;
    hup_error error;

    hup_trace_thread(&run->gate.trace, HUP_STAGE_VERIFY);
    while (!hup_gate_stopped(&run->gate) && (index = atomic_fetch_add(reader->next, 1)) < run->records.count)
        if (check_unit(reader, index, &error) && !hup_gate_stopped(&run->gate))
            hup_gate_fail(&run->gate, &error);
    return NULL;
}

int hup_readback(struct hup_run *run)
{
    struct reader readers[HUP_DEPTH_MAX];
    uint32_t started = 0, depth = run->layout.depth;
    _Atomic uint64_t next = 0;
    hup_error error;
    int status = HUP_OK;

    atomic_store(&run->done, 0);
    for (; started < depth && !status; started++) {
        struct reader *reader = &readers[started];
        *reader = (struct reader){
            .run = run, .next = &next, .memory = hup_ring_data(&run->ring, started), .state = hup_digest_create()
        };
        status = reader->state ? hup_run_thread(&reader->thread, read_units, reader, &error)
                               : hup_fail_errno(&error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a digest");
        if (status) {
            hup_digest_free(reader->state);
            hup_gate_fail(&run->gate, &error);
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(readers[i].thread, NULL);
        hup_digest_free(readers[i].state);
    }
    return hup_gate_stopped(&run->gate) ? HUP_E_CANCELLED : HUP_OK;
}

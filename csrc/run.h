/* One run: all that its stages share. Internal. Who owns what: writer.c makes and frees it. */
#ifndef HUPFAST_RUN_H
#define HUPFAST_RUN_H

#include "gate.h"
#include "input.h"
#include "layout.h"
#include "mark.h"
#include "pace.h"
#include "ranges.h"
#include "readback.h"
#include "ring.h"
#include "survey.h"
#include "table.h"
#include "target.h"
#include "tuner.h"

enum { HUP_STACK_SIZE = 256 << 10 }; /* of each thread; zstd keeps its tables on the heap */

/* Zeroes that are not sent but asked for, once, at the end: neighbours are joined, so that it takes few calls. */
struct hup_zeroes {
    struct hup_extent {
        uint64_t offset, length;
    } extents[256];
    size_t count; /* under the gate's lock, as the extents are */
};

/* The last bytes of the image, where they are no whole sector. */
struct hup_tail {
    uint64_t offset;
    size_t size;
    uint8_t *data; /* owned; NULL: there is none */
};

struct hup_run {
    hup_config config; /* without what it pointed to, but for these copies: */
    uint8_t sha256[HUP_SHA256_SIZE], table_sha256[HUP_SHA256_SIZE];
    struct hup_ranges ranges;

    struct hup_gate gate;
    struct hup_pace pace;
    struct hup_mark mark;
    struct hup_survey survey; /* with HUP_SURVEY only */
    struct hup_target target;
    struct hup_input input;
    struct hup_layout layout; /* this and what follows: once the image's first bytes are known */
    struct hup_ring ring;
    bool has_ring;
    struct hup_tuner tuner; /* under the gate's lock while the drain runs, but for `on`; as are the next two */
    pthread_cond_t turn;    /* threads at the target that the tuner lets rest */
    bool drained;           /* one of them has seen the end of the image */
    struct hup_table_header table_header;
    uint8_t *table; /* owned; chunked images only */
    struct hup_records records;
    struct hup_zeroes zeroes;
    struct hup_tail tail; /* written by the one thread that has the last block */

    atomic_int phase;
    _Atomic uint64_t image_size, decoded, done;                    /* progress */
    _Atomic uint64_t written, zeroed, unchanged, copied, unmapped; /* bytes, for the report */
    uint64_t needed;
    bool verified; /* it was read back, and is right */
    int format;
    uint64_t write_ns, flush_ns, verify_ns;
};

/* Does this run compare the target's old content with the image? */
static inline bool hup_run_compares(const struct hup_run *run)
{
    return run->config.mode == HUP_MODE_VERIFY || (run->config.flags & HUP_SKIP_UNCHANGED);
}

static inline bool hup_run_surveys(const struct hup_run *run)
{
    return run->config.flags & HUP_SURVEY;
}

/* Start a thread with a small stack. */
int hup_run_thread(pthread_t *thread, void *(*function)(void *), void *argument, hup_error *error);

#endif

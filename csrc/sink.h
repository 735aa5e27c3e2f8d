/* Where a decoder of one continuous stream puts its output. Internal. */
#ifndef HUPFAST_SINK_H
#define HUPFAST_SINK_H

#include "run.h"

struct hup_sink {
    struct hup_run *run;
    struct hup_range_check check;
    hup_xxh3_state *state; /* owned; of the current block; NULL when nothing is read back */
    uint64_t position;     /* bytes of the image put in */
    bool zero;             /* so far, the current block is all zero */
    uint64_t since;        /* the current block was begun then */
};

int hup_sink_init(struct hup_sink *sink, struct hup_run *run, hup_error *error);
void hup_sink_destroy(struct hup_sink *sink);

/* Room for `size` (a zstd block at most) more bytes in one piece; what is before it stays readable for a whole
 * window. Waits for the target. NULL: the run is over. */
uint8_t *hup_sink_room(struct hup_sink *sink, size_t size);

/* The first `size` bytes of that room are image now: digest them, and pass on each block that is full. */
int hup_sink_put(struct hup_sink *sink, size_t size, hup_error *error);

/* The image is complete: pass on the last block. */
int hup_sink_end(struct hup_sink *sink, hup_error *error);

#endif

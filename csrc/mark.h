/* Flushing while the image is being written, so that a run that is cut off can be gone on with. Internal. */
#ifndef HUPFAST_MARK_H
#define HUPFAST_MARK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "gate.h"

struct hup_run;

struct hup_mark {
    _Atomic uint64_t durable; /* bytes from the start of the image: see hup_progress */
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
    bool over; /* nothing more is written; under the gate's lock */
};

int hup_mark_init(struct hup_mark *mark, struct hup_gate *gate, hup_error *error);

/* Start the thread that flushes every config.mark_ms; nothing when that is 0. */
int hup_mark_start(struct hup_run *run, hup_error *error);

/* Stop it. The flush at the end of a run makes the rest durable. */
void hup_mark_stop(struct hup_run *run);

#endif

/* The threads between the block ring and the target. Internal. */
#ifndef HUPFAST_DRAIN_H
#define HUPFAST_DRAIN_H

#include "run.h"

struct hup_drain; /* the started threads */

/* Start layout.depth threads. Each takes the next block and writes it (or compares it, or drops it, by the mode),
 * so that as many writes are in flight, or as the tuner says. After a failure too, stop the run and join what was
 * started. */
int hup_drain_start(struct hup_run *run, struct hup_drain **drain, hup_error *error);

/* Wait until the ring is empty and finished, or the run has failed, and free the threads.
 * NULL is allowed. */
void hup_drain_join(struct hup_drain *drain);

/* What was put off: zeroes, the tail, a file's length. With no drain running. */
int hup_drain_finish(struct hup_run *run, hup_error *error);

#endif

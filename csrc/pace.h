/* How hard the target is used: at a rate that the user has set, and after everybody else. Internal. */
#ifndef HUPFAST_PACE_H
#define HUPFAST_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "gate.h"

struct hup_pace {
    struct hup_gate *gate;
    uint64_t rate; /* bytes a second; 0: as fast as it goes */
    uint64_t free; /* when what was let through so far is over, in nanoseconds of the clock; under the gate's lock */
    pthread_cond_t never;

    bool background;      /* HUP_BACKGROUND; what follows is used then only */
    pthread_mutex_t turn; /* one of our threads at a time uses the medium, or rests */
    int pressure;         /* owned: /proc/pressure/io; -1: this kernel has none. Under `turn`, as is the next */
    uint32_t rest;        /* for each 16 ms that we have used the medium, we leave it to the others for so many */
};

int hup_pace_init(struct hup_pace *pace, struct hup_gate *gate, uint64_t rate, bool background, hup_error *error);
void hup_pace_destroy(struct hup_pace *pace);

/* The calling thread is one of a run in the background: idle class of I/O, last in line for the processor. Threads that
 * it starts are too. */
void hup_pace_thread(const struct hup_pace *pace);

/* Wait until this stage, which then waits for its output, may read or write `size` more bytes. False: the run is over;
 * else call hup_pace_end when it has done so, well or not. */
bool hup_pace_begin(struct hup_pace *pace, hup_stage_name stage, uint64_t size);

/* The bytes were read or written, from `since` on: in the background, leave the medium to the others for a while. */
void hup_pace_end(struct hup_pace *pace, hup_stage_name stage, uint64_t since);

#endif

/* The speed that the target is used at, where the user has set one. Internal. */
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
};

int hup_pace_init(struct hup_pace *pace, struct hup_gate *gate, uint64_t rate, hup_error *error);

/* Wait until `size` more bytes may be read or written by this stage, which then waits for its output. False: the run
 * is over. */
bool hup_pace_wait(struct hup_pace *pace, hup_stage_name stage, uint64_t size);

#endif

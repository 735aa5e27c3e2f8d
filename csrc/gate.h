/* What the threads of one run share: a lock, the first failure, and the order to stop. Internal.
 *
 * Every wait of the engine is a wait on a condition of this lock, and every loop around one asks hup_gate_stopped.
 * So one failure, anywhere, ends the whole run: hup_gate_fail keeps the first error, wakes all that wait here,
 * and makes wake_fd readable for whoever waits in poll(2). */
#ifndef HUPFAST_GATE_H
#define HUPFAST_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "hupfast.h"
#include "trace.h"

enum { HUP_GATE_CONDITIONS = 12 };

struct hup_gate {
    pthread_mutex_t lock;
    hup_error error;                                 /* the first failure; under lock */
    atomic_bool stopped;                             /* set once, under lock; may be read without */
    int wake_fd;                                     /* eventfd, readable once stopped */
    pthread_cond_t *conditions[HUP_GATE_CONDITIONS]; /* all that threads may wait on; under lock */
    size_t condition_count;
    struct hup_trace trace; /* where the time of all these threads goes */
};

/* events: see hup_config. */
int hup_gate_init(struct hup_gate *gate, uint32_t events, hup_error *error);
void hup_gate_destroy(struct hup_gate *gate);

/* Initialise a condition (monotonic clock) that is woken by a failure too. It must outlive the run's threads. */
int hup_gate_condition(struct hup_gate *gate, pthread_cond_t *condition, hup_error *error);

/* Record a failure and stop the run. Only the first one counts, except that a mismatch at a lower offset takes
 * the place of one at a higher offset. Call without the lock. Returns error->status. */
int hup_gate_fail(struct hup_gate *gate, const hup_error *error);

static inline bool hup_gate_stopped(const struct hup_gate *gate)
{
    return atomic_load_explicit(&gate->stopped, memory_order_relaxed);
}

#endif

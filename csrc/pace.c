/* One budget for all threads: each takes its bytes from it, and waits until they have come due. */
#include "pace.h"

#include "clock.h"

int hup_pace_init(struct hup_pace *pace, struct hup_gate *gate, uint64_t rate, hup_error *error)
{
    *pace = (struct hup_pace){ .gate = gate, .rate = rate };
    return hup_gate_condition(gate, &pace->never, error);
}

bool hup_pace_wait(struct hup_pace *pace, hup_stage_name stage, uint64_t size)
{
    struct hup_gate *gate = pace->gate;

    if (!pace->rate)
        return !hup_gate_stopped(gate);
    pthread_mutex_lock(&gate->lock);
    uint64_t now = hup_clock_ns(), due = pace->free > now ? pace->free : now;
    /* In two steps: the product of a size and a billion may overflow. */
    pace->free = due + size / pace->rate * 1000000000u + size % pace->rate * 1000000000u / pace->rate;
    struct timespec until = { .tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u) };
    while (!gate->stopped && hup_clock_ns() < due)
        pthread_cond_timedwait(&pace->never, &gate->lock, &until); /* only a failure wakes it before */
    bool goes_on = !gate->stopped;
    pthread_mutex_unlock(&gate->lock);
    hup_trace_add(&gate->trace, stage, HUP_SPAN_OUTPUT, now, 0, 0);
    return goes_on;
}

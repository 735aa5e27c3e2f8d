/* Sums cost two clock readings and a few atomic additions for each piece of work, which is a block or a chunk. */
#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"

/* Waits shorter than this are summed, and left out of the timeline: there are many, and they tell nothing. */
enum { SHORT_NS = 20000 };

int hup_trace_init(struct hup_trace *trace, uint32_t events, hup_error *error)
{
    *trace = (struct hup_trace){ .epoch = hup_clock_ns(), .room = events };
    if (events && !(trace->events = calloc(events, sizeof *trace->events)))
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a timeline of %u events", events);
    return HUP_OK;
}

void hup_trace_destroy(struct hup_trace *trace)
{
    free(trace->events);
}

void hup_trace_thread(struct hup_trace *trace, hup_stage_name stage)
{
    atomic_fetch_add_explicit(&trace->stages[stage].threads, 1, memory_order_relaxed);
}

void hup_trace_sum(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t ns, uint64_t bytes)
{
    struct hup_gauge *gauge = &trace->stages[stage];

    atomic_fetch_add_explicit(&gauge->ns[span], ns, memory_order_relaxed);
    if (bytes) {
        atomic_fetch_add_explicit(&gauge->bytes, bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&gauge->pieces, 1, memory_order_relaxed);
    }
}

void hup_trace_event(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t since, uint64_t ns,
                     uint64_t offset, uint64_t bytes)
{
    if (!trace->events || (span != HUP_SPAN_BUSY && ns < SHORT_NS))
        return;
    size_t index = atomic_fetch_add_explicit(&trace->seen, 1, memory_order_relaxed);
    if (index < trace->room)
        trace->events[index] = (hup_event){ .stage = (int)stage,
                                            .span = (int)span,
                                            .thread = (uint32_t)gettid(),
                                            .start_ns = since - trace->epoch,
                                            .ns = ns,
                                            .offset = offset,
                                            .bytes = bytes };
}

void hup_trace_add(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t since, uint64_t offset,
                   uint64_t bytes)
{
    uint64_t ns = hup_clock_ns() - since;

    hup_trace_sum(trace, stage, span, ns, bytes);
    hup_trace_event(trace, stage, span, since, ns, offset, bytes);
}

uint64_t hup_trace_waits(struct hup_trace *trace, hup_stage_name stage)
{
    return atomic_load(&trace->stages[stage].ns[HUP_SPAN_INPUT]) +
           atomic_load(&trace->stages[stage].ns[HUP_SPAN_OUTPUT]);
}

void hup_trace_report(const struct hup_trace *trace, hup_stage stages[HUP_STAGES])
{
    for (int i = 0; i < HUP_STAGES; i++) {
        const struct hup_gauge *gauge = &trace->stages[i];
        stages[i] = (hup_stage){ .busy_ns = atomic_load(&gauge->ns[HUP_SPAN_BUSY]),
                                 .input_ns = atomic_load(&gauge->ns[HUP_SPAN_INPUT]),
                                 .output_ns = atomic_load(&gauge->ns[HUP_SPAN_OUTPUT]),
                                 .bytes = atomic_load(&gauge->bytes),
                                 .pieces = atomic_load(&gauge->pieces),
                                 .threads = atomic_load(&gauge->threads) };
    }
}

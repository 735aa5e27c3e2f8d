/* Where the time of a run goes: sums for each stage, and a timeline of what every thread did. Internal. */
#ifndef HUPFAST_TRACE_H
#define HUPFAST_TRACE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "hupfast.h"

struct hup_trace {
    struct hup_gauge {
        _Atomic uint64_t ns[3]; /* by hup_span: busy, waiting for input, waiting for output */
        _Atomic uint64_t bytes;
        _Atomic uint32_t pieces, threads;
    } stages[HUP_STAGES];
    uint64_t epoch;     /* what the times of events are counted from */
    hup_event *events;  /* owned; NULL: no timeline is wanted */
    size_t room;        /* events that fit; what comes later is only counted */
    atomic_size_t seen; /* events so far */
};

/* Room for so many events; 0: none are kept. */
int hup_trace_init(struct hup_trace *trace, uint32_t events, hup_error *error);
void hup_trace_destroy(struct hup_trace *trace);

/* A thread works for this stage from now on. */
void hup_trace_thread(struct hup_trace *trace, hup_stage_name stage);

/* From `since` until now the calling thread was busy for a stage, or waited. offset, bytes: of the image (of the input
 * for HUP_STAGE_READ) that it was busy with; waits have none. */
void hup_trace_add(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t since, uint64_t offset,
                   uint64_t bytes);

/* Only the timeline. */
void hup_trace_event(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t since, uint64_t ns,
                     uint64_t offset, uint64_t bytes);

/* Only the sum: `ns` nanoseconds more, and a piece of `bytes` bytes unless that is 0. */
void hup_trace_sum(struct hup_trace *trace, hup_stage_name stage, hup_span span, uint64_t ns, uint64_t bytes);

/* What a stage has waited so far. */
uint64_t hup_trace_waits(struct hup_trace *trace, hup_stage_name stage);

/* The sums, once no thread adds to them any more. */
void hup_trace_report(const struct hup_trace *trace, hup_stage stages[HUP_STAGES]);

#endif

/* How many writes are in flight, and how large they are: found out while the image is written. Internal.
 *
 * Pure: no clock, no lock, no I/O. The caller tells what happened and when; all calls come under one lock. */
#ifndef HUPFAST_TUNER_H
#define HUPFAST_TUNER_H

#include <stdbool.h>
#include <stdint.h>

enum { HUP_TUNER_WINDOWS = 5 };

/* A way to write. */
struct hup_gear {
    uint32_t active; /* threads that write */
    uint32_t merge;  /* neighbouring blocks that one of them writes at once, where so many are ready */
};

struct hup_tuner {
    bool on;
    uint32_t threads, block, flight, merge_most; /* limits: flight is in blocks */
    struct hup_gear now;                         /* what the threads go by */
    struct hup_gear base;                        /* the best that is known */
    enum { HUP_TUNER_MEASURE, HUP_TUNER_TRY, HUP_TUNER_SETTLED } phase;
    uint64_t speeds[HUP_TUNER_WINDOWS];      /* of `now`, bytes a second; `count` of them */
    uint64_t base_speeds[HUP_TUNER_WINDOWS]; /* of `base`, sorted */
    uint64_t best;                           /* the fastest second fastest window that was accepted in this look */
    uint64_t tried;                          /* a bit for each gear that was measured in this look */
    uint32_t count, dropped, unsteady, looks;
    uint64_t quiet; /* windows until the next look may begin */

    uint64_t since, starved, starved_since, bytes; /* the window that is open; since is 0 when none is */
    uint32_t writes, skip, waiting;
};

/* threads: at the target. block: bytes. blocks: in the ring. The gear to start with is all threads and 1 MiB each, as
 * far as the ring bears it. When `on` is false it is a block each, and stays. */
void hup_tuner_init(struct hup_tuner *tuner, bool on, uint32_t threads, uint32_t block, uint32_t blocks);

/* A thread that could write begins to wait for the decoders, or has waited. now: nanoseconds of any clock, not 0. */
void hup_tuner_wait(struct hup_tuner *tuner, uint64_t now, bool begins);

/* So many bytes have been written by one write. True: there is another gear from now on. */
bool hup_tuner_wrote(struct hup_tuner *tuner, uint64_t now, uint64_t bytes);

/* The same for a whole window in which the writers never waited for long; hup_tuner_wrote makes them. */
bool hup_tuner_window(struct hup_tuner *tuner, uint64_t bytes, uint64_t ns);

#endif

/* The time that spans are measured with. Internal. */
#ifndef HUPFAST_CLOCK_H
#define HUPFAST_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t hup_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The moment timeout_ms from now, for pthread_cond_timedwait on a condition of the gate. */
static inline struct timespec hup_clock_deadline(uint32_t timeout_ms)
{
    uint64_t until = hup_clock_ns() + (uint64_t)timeout_ms * 1000000u;

    return (struct timespec){ .tv_sec = (time_t)(until / 1000000000u), .tv_nsec = (long)(until % 1000000000u) };
}

/* Milliseconds until `deadline`, rounded up, so that a wait does not end before it; 0 when it is over. */
static inline uint32_t hup_clock_left_ms(uint64_t deadline)
{
    uint64_t now = hup_clock_ns();

    return now < deadline ? (uint32_t)((deadline - now + 999999) / 1000000) : 0;
}

#endif

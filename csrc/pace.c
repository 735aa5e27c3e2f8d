/* A rate is one budget for all threads: each takes its bytes from it, and waits until they have come due.
 *
 * In the background one thread at a time uses the medium, and rests after each piece, so that the application's
 * requests do not queue up behind ours. How long it rests depends on the others: the kernel's pressure stall
 * information tells how long tasks wait for I/O, ours included, but while we rest it is they alone who wait. So it is
 * read before and after:
 *
 *   |== write ==|- rest -|== write ==|---- rest ----|== write ==|
 *               ^ total  ^ total: they waited for more than a tenth of the rest? then rest for longer, else less */
#include "pace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"

enum {
    REST_UNIT = 16,  /* rest / REST_UNIT is the share of time */
    REST_LEAST = 2,  /* an eighth of what we use: enough to see who waits */
    REST_FIRST = 16, /* as much as we use */
    REST_MOST = 256, /* 16 times as much */
    IOPRIO_IDLE = 3 << 13,
    IOPRIO_WHO_THREAD = 1,
    NICE_LAST = 19,
};

static const uint64_t REST_MOST_NS = 1000000000;

int hup_pace_init(struct hup_pace *pace, struct hup_gate *gate, uint64_t rate, bool background, hup_error *error)
{
    *pace =
        (struct hup_pace){ .gate = gate, .rate = rate, .background = background, .pressure = -1, .rest = REST_FIRST };
    int number = pthread_mutex_init(&pace->turn, NULL);
    if (number)
        return hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "cannot make a lock");
    int status = hup_gate_condition(gate, &pace->never, error);
    if (status)
        pthread_mutex_destroy(&pace->turn);
    else if (background)
        pace->pressure = open("/proc/pressure/io", O_RDONLY | O_CLOEXEC);
    return status;
}

void hup_pace_destroy(struct hup_pace *pace)
{
    pthread_mutex_destroy(&pace->turn);
    if (pace->pressure >= 0)
        close(pace->pressure);
}

void hup_pace_thread(const struct hup_pace *pace)
{
    if (!pace->background)
        return;
    /* What is refused makes the run less polite, and no less right. */
    syscall(SYS_ioprio_set, IOPRIO_WHO_THREAD, 0, IOPRIO_IDLE);
    setpriority(PRIO_PROCESS, 0, NICE_LAST);
}

/* Wait until the clock shows `due`. Under the gate's lock. */
static void wait_until(struct hup_pace *pace, uint64_t due)
{
    struct timespec until = { .tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u) };

    while (!pace->gate->stopped && hup_clock_ns() < due)
        pthread_cond_timedwait(&pace->never, &pace->gate->lock, &until); /* only a failure wakes it before */
}

static void wait_for_rate(struct hup_pace *pace, uint64_t size)
{
    pthread_mutex_lock(&pace->gate->lock);
    uint64_t now = hup_clock_ns(), due = pace->free > now ? pace->free : now;
    /* In two steps: the product of a size and a billion may overflow. */
    pace->free = due + size / pace->rate * 1000000000u + size % pace->rate * 1000000000u / pace->rate;
    wait_until(pace, due);
    pthread_mutex_unlock(&pace->gate->lock);
}

bool hup_pace_begin(struct hup_pace *pace, hup_stage_name stage, uint64_t size)
{
    if (pace->rate || pace->background) {
        uint64_t since = hup_clock_ns();
        if (pace->rate)
            wait_for_rate(pace, size);
        if (pace->background)
            pthread_mutex_lock(&pace->turn);
        hup_trace_add(&pace->gate->trace, stage, HUP_SPAN_OUTPUT, since, 0, 0);
    }
    if (!hup_gate_stopped(pace->gate))
        return true;
    if (pace->background)
        pthread_mutex_unlock(&pace->turn);
    return false;
}

/* Microseconds that some task has waited for I/O since the machine was started: "some avg10=.. total=N" is the first
 * line. 0 when that cannot be told. */
static uint64_t pressure(const struct hup_pace *pace)
{
    char text[128];
    ssize_t got = pace->pressure < 0 ? -1 : pread(pace->pressure, text, sizeof text - 1, 0);

    if (got <= 0)
        return 0;
    text[got] = 0;
    const char *total = strstr(text, "total=");
    return total ? strtoull(total + 6, NULL, 10) : 0;
}

void hup_pace_end(struct hup_pace *pace, hup_stage_name stage, uint64_t since)
{
    if (!pace->background)
        return;
    uint64_t now = hup_clock_ns(), ns = (now - since) / REST_UNIT * pace->rest, before = pressure(pace);

    if (ns > REST_MOST_NS)
        ns = REST_MOST_NS;
    pthread_mutex_lock(&pace->gate->lock);
    wait_until(pace, now + ns);
    pthread_mutex_unlock(&pace->gate->lock);
    uint64_t waited = (pressure(pace) - before) * 1000;
    if (pace->pressure >= 0 && waited > ns / 10)
        pace->rest = pace->rest * 2 < REST_MOST ? pace->rest * 2 : REST_MOST;
    else if (pace->pressure >= 0)
        pace->rest = pace->rest > REST_LEAST ? pace->rest - (pace->rest + 15) / 16 : REST_LEAST;
    hup_trace_add(&pace->gate->trace, stage, HUP_SPAN_OUTPUT, now, 0, 0);
    pthread_mutex_unlock(&pace->turn);
}

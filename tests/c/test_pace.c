/* A run in the background rests for longer while others wait for I/O, and for less when nobody does. */
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "pace.h"

static struct hup_gate gate;
static struct hup_pace pace;
static atomic_bool others_wait, over;
static int file;

/* As the kernel does it: the total grows by a microsecond for each one that somebody waits. */
static void *kernel(void *nothing)
{
    unsigned long long total = 1000;

    (void)nothing;
    while (!over) {
        char text[128];
        int size = snprintf(text, sizeof text, "some avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\nfull ...\n", total);
        CHECK_EQUAL(pwrite(file, text, (size_t)size, 0), size);
        nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
        total += others_wait ? 500 : 0;
    }
    return NULL;
}

/* Use the medium for so long; how long the rest was after it, in nanoseconds. */
static uint64_t use(uint64_t ns)
{
    CHECK(hup_pace_begin(&pace, HUP_STAGE_WRITE, 1));
    uint64_t now = hup_clock_ns();
    hup_pace_end(&pace, HUP_STAGE_WRITE, now - ns);
    return hup_clock_ns() - now;
}

static void *stop(void *nothing)
{
    hup_error error = { .status = HUP_E_CANCELLED };

    (void)nothing;
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    hup_gate_fail(&gate, &error);
    return NULL;
}

static void *in_the_background(void *nothing)
{
    (void)nothing;
    hup_pace_thread(&pace);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 19);
    CHECK_EQUAL(syscall(SYS_ioprio_get, 1, 0), 3 << 13);
    return NULL;
}

int main(void)
{
    char path[] = "/tmp/hupfast-pressure-XXXXXX";
    pthread_t thread, other;

    CHECK_EQUAL(hup_gate_init(&gate, 0, NULL), HUP_OK);
    CHECK_EQUAL(hup_pace_init(&pace, &gate, 0, true, NULL), HUP_OK);
    if (pace.pressure >= 0)
        close(pace.pressure);
    pace.pressure = file = mkstemp(path);
    CHECK(file >= 0);
    unlink(path);
    CHECK_EQUAL(pthread_create(&thread, NULL, kernel, NULL), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);

    CHECK(use(8000000) >= 8000000); /* at first, as long as the medium was used */
    for (int i = 0; i < 60; i++)
        use(1000000);
    CHECK_EQUAL(pace.rest, 2); /* an eighth of it, when nobody else waits */
    others_wait = true;
    for (int i = 0; i < 500 && pace.rest < 256; i++)
        use(4000000);
    CHECK_EQUAL(pace.rest, 256);
    CHECK(use(2000000) >= 2000000 / 16 * 256); /* 16 times it, when somebody always does */
    others_wait = false;
    for (int i = 0; i < 200 && pace.rest > 2; i++)
        use(100000);
    CHECK_EQUAL(pace.rest, 2);

    CHECK_EQUAL(pthread_create(&other, NULL, in_the_background, NULL), 0);
    pthread_join(other, NULL);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 0); /* only threads that were told so */

    /* A long rest ends when the run does, and nobody begins after that. */
    pace.rest = 256;
    CHECK_EQUAL(pthread_create(&other, NULL, stop, NULL), 0);
    CHECK(use(900000000) < 900000000);
    pthread_join(other, NULL);
    CHECK(!hup_pace_begin(&pace, HUP_STAGE_WRITE, 1));

    over = true;
    pthread_join(thread, NULL);
    hup_pace_destroy(&pace);
    hup_gate_destroy(&gate);
    return 0;
}

/* An io_uring that fails while it is measured: the measurement ends, and says so. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "../shim/faults.h"
#include "check.h"
#include "hupfast.h"
#include "image.h"
#include "measured.h"

static char *target;

/* By io_uring, with this fault of the ring. The time that it may take is well below that of the test, so that an
 * endless loop is seen. */
static int with_ring_fault(const char *fault, hup_error *error)
{
    hup_bench *bench;
    hup_bench_result result;
    hup_bench_config config = measured_plain(target);

    config.method = HUP_BENCH_URING;
    hup_faults_set(target, fault);
    CHECK_EQUAL(hup_bench_open(&config, &bench, error), HUP_OK);
    int status = hup_bench_wait(bench, 20000, &result, error);
    CHECK(status != HUP_RUNNING);
    if (status == HUP_OK)
        CHECK_EQUAL(result.bytes, SIZE);
    CHECK(hup_faults_hits() > 0);
    hup_bench_close(bench);
    hup_faults_set(NULL, NULL);
    return status;
}

static void a_broken_ring_ends_it(void)
{
    hup_error error;

    CHECK_EQUAL(with_ring_fault("ring:einval:3:inf", &error), HUP_E_SYSTEM); /* with operations in flight */
    CHECK_EQUAL(error.sys_errno, EINVAL);
    CHECK_EQUAL(with_ring_fault("ring:eio:1:inf", &error), HUP_E_SYSTEM); /* with nothing started */
    CHECK_EQUAL(error.sys_errno, EIO);
    CHECK_EQUAL(with_ring_fault("ring:eagain:2:inf", &error), HUP_E_SYSTEM);
    CHECK_EQUAL(error.sys_errno, EAGAIN);
    CHECK_EQUAL(with_ring_fault("ring:eintr:2:9,ring:eagain:20:3", &error), HUP_OK); /* these are survived */
}

/* The kernel starts nothing for more than a second. What is in flight ends meanwhile, and is seen when it does: else it
 * would be the medium that stalls. */
static void what_ends_while_it_is_refused_is_seen(const char *fault)
{
    hup_bench *bench;
    hup_bench_result result;
    hup_error error;
    hup_bench_config config = measured_plain(target);
    size_t count, seen = 0;

    config.method = HUP_BENCH_URING;
    config.operation = HUP_BENCH_READ;
    config.depth = 32; /* so many do not all end at once */
    hup_faults_set(target, fault);
    CHECK_EQUAL(hup_bench_open(&config, &bench, &error), HUP_OK);
    CHECK_EQUAL(hup_bench_wait(bench, 20000, &result, &error), HUP_OK);
    CHECK_EQUAL(hup_faults_hits(), 180);
    CHECK(result.ns > 1200 * 1000000ull);
    const hup_bench_sample *samples = hup_bench_samples(bench, &count);
    CHECK_EQUAL(count, SIZE / BLOCK);
    for (size_t i = 0; i < count; i++)
        if (samples[i].offset < 32 * BLOCK) { /* what was started before */
            CHECK(samples[i].ns < 1000 * 1000000ull);
            seen++;
        }
    CHECK_EQUAL(seen, 32);
    hup_bench_close(bench);
    hup_faults_set(NULL, NULL);
}

static int open_files(void)
{
    int count = 0;

    for (int fd = 0; fd < 1000; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* What was started never ends, and the ring fails: it is waited for as long as is wanted, and left to the kernel then,
 * which may still use it. Of a ring that fails and has nothing in flight, nothing is left. */
static void what_never_ends_is_left_alone(void)
{
    hup_bench *bench;
    hup_bench_result result;
    hup_error error;
    hup_bench_config config = measured_plain(target);
    int before = open_files();

    with_ring_fault("ring:einval:3:inf", &error);
    CHECK_EQUAL(open_files(), before);
    config.method = HUP_BENCH_URING;
    config.abandon_ms = 3000;
    hup_faults_set(target, "submit:drop:1,ring:eio:2:inf");
    CHECK_EQUAL(hup_bench_open(&config, &bench, &error), HUP_OK);
    CHECK_EQUAL(hup_bench_wait(bench, 50, &result, &error), HUP_RUNNING);
    CHECK_EQUAL(hup_bench_wait(bench, 20000, &result, &error), HUP_E_SYSTEM);
    CHECK_EQUAL(error.sys_errno, EIO);
    hup_bench_close(bench);
    CHECK_EQUAL(open_files(), before + 1);
    hup_faults_set(NULL, NULL);
}

int main(void)
{
    int result = 77;

    target = image_file((const uint8_t *)"", 0);
    measured_reset(target);
    if (measured_ring(target)) {
        what_ends_while_it_is_refused_is_seen("submit:eagain:2:180");
        what_ends_while_it_is_refused_is_seen("submit:ebusy:2:180");
        a_broken_ring_ends_it();
        what_never_ends_is_left_alone();
        result = 0;
    }
    unlink(target);
    free(target);
    return result;
}

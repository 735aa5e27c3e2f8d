/* An io_uring that fails while it is measured: the measurement ends, and says so. */
#include <errno.h>
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

int main(void)
{
    int result = 77;

    target = image_file((const uint8_t *)"", 0);
    measured_reset(target);
    if (measured_ring(target)) {
        a_broken_ring_ends_it();
        result = 0;
    }
    unlink(target);
    free(target);
    return result;
}

/* A target to measure: see measured.h. */
#include "measured.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "check.h"

void measured_reset(const char *path)
{
    unsigned char *old = malloc(SIZE + BEHIND);

    CHECK(old != NULL);
    memset(old, 'x', SIZE + BEHIND);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, old, SIZE + BEHIND) == SIZE + BEHIND);
    close(fd);
    free(old);
}

hup_bench_config measured_plain(const char *path)
{
    return (
        hup_bench_config){ .target = path, .block = BLOCK, .depth = 4, .length = SIZE, .total = SIZE, .room = ROOM };
}

bool measured_ring(const char *path)
{
    hup_bench_config config = measured_plain(path);
    hup_bench *bench;
    hup_error error;

    config.operation = HUP_BENCH_READ;
    config.method = HUP_BENCH_URING;
    int status = hup_bench_open(&config, &bench, &error);
    hup_bench_close(bench);
    if (status == HUP_OK)
        return true;
    CHECK_EQUAL(status, HUP_E_SYSTEM);
    CHECK(error.sys_errno == ENOSYS || error.sys_errno == EPERM || error.sys_errno == EOPNOTSUPP);
    fprintf(stderr, "io_uring is not tested: %s\n", error.message);
    return false;
}

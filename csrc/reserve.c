/* A file's room on its filesystem, before it has bytes. */
#include <errno.h>
#include <fcntl.h>

#include "error.h"

int hup_reserve(int fd, uint64_t size, hup_error *error)
{
    off_t length = (off_t)size;
    int status;

    if (length < 0 || (uint64_t)length != size)
        return hup_fail(error, HUP_E_USAGE, 0, size, "no file can have %llu bytes here", (unsigned long long)size);
    do {
        status = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, length);
    } while (status && errno == EINTR);
    if (!status || errno == EOPNOTSUPP || errno == ENOSYS)
        return HUP_OK;
    return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, size, "cannot reserve %llu bytes", (unsigned long long)size);
}

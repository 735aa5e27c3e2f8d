/* A target to measure, for the tests of hup_bench: a file full of 'x', somewhat larger than what is measured. */
#ifndef HUPFAST_TEST_MEASURED_H
#define HUPFAST_TEST_MEASURED_H

#include <stdbool.h>
#include <stddef.h>

#include "hupfast.h"

enum { SIZE = 4 << 20, BEHIND = 1000, BLOCK = 64 << 10, ROOM = 200 };

/* Make the file at path anew. */
void measured_reset(const char *path);

/* Write SIZE bytes of it by four threads, and keep the samples. path is borrowed, by what comes of it too. */
hup_bench_config measured_plain(const char *path);

/* Is there an io_uring, for this kernel and for this file? If not, stderr says why. */
bool measured_ring(const char *path);

#endif

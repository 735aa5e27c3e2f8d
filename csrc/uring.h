/* io_uring by its three system calls, for one thread: reads and writes of whole blocks. Internal. */
#ifndef HUPFAST_URING_H
#define HUPFAST_URING_H

#include <stdbool.h>
#include <sys/uio.h>

#include "hupfast.h"

struct hup_uring {
    int fd;
    void *rings, *entries; /* mapped from the kernel, owned */
    size_t rings_size, entries_size;
    uint32_t *tail, *cq_head, *cq_tail; /* in `rings`; the kernel writes cq_tail, we the others */
    uint32_t mask, cq_mask;
    uint32_t *array;
    void *completions;
    uint32_t unsubmitted; /* put in, and not started */
    uint32_t flying;      /* started, and not taken */
};

/* A ring for `depth` operations in flight. HUP_E_SYSTEM with ENOSYS or EPERM where there is none. */
int hup_uring_open(struct hup_uring *ring, uint32_t depth, hup_error *error);

/* Only when nothing is in flight. */
void hup_uring_close(struct hup_uring *ring);

/* Put in one operation, which hup_uring_wait starts. part is borrowed until it was started or withdrawn, its memory
 * until it has ended; tag names it then. No more than `depth` at once. */
void hup_uring_put(struct hup_uring *ring, bool write, int fd, const struct iovec *part, uint64_t offset, uint64_t tag);

/* Start what was put in, as far as the kernel takes it, and wait until something has ended. HUP_E_SYSTEM, also when it
 * starts nothing for seconds while nothing is in flight; what was started before is in flight then as it was, and what
 * was not can be taken back. */
int hup_uring_wait(struct hup_uring *ring, hup_error *error);

/* Take back what was put in last, as long as it was not started: its tag. False: there is no such. */
bool hup_uring_withdraw(struct hup_uring *ring, uint64_t *tag);

/* Take one that has ended: its tag, and what the call returned (bytes, or a negative errno). False: none. */
bool hup_uring_take(struct hup_uring *ring, uint64_t *tag, int32_t *result);

#endif

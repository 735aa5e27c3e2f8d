/* io_uring without a library: two rings that the kernel and this process share.
 *
 *     submission ring   array of indexes into the entries; we move its tail, the kernel its head
 *     completion ring   array of results; the kernel moves its tail, we its head
 *
 * A tail is stored with release order after what it covers was written, and loaded with acquire order before that is
 * read. Kernels before 5.5 map the two rings apart, or look at an iovec when its operation has long been started; they
 * are taken for having no io_uring. */
#include "uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

/* Two seconds in all. */
enum { REFUSALS_MAX = 200, REFUSED_NS = 10 * 1000 * 1000 };

static void *map(const struct hup_uring *ring, size_t size, uint64_t what)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, (off_t)what);
}

static int map_rings(struct hup_uring *ring, const struct io_uring_params *params, hup_error *error)
{
    size_t submissions = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    size_t completions = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

    ring->rings_size = submissions > completions ? submissions : completions;
    ring->entries_size = params->sq_entries * sizeof(struct io_uring_sqe);
    ring->rings = map(ring, ring->rings_size, IORING_OFF_SQ_RING);
    ring->entries = map(ring, ring->entries_size, IORING_OFF_SQES);
    if (ring->rings == MAP_FAILED || ring->entries == MAP_FAILED)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "cannot map the rings of io_uring");

    uint8_t *base = ring->rings;
    ring->tail = (uint32_t *)(void *)(base + params->sq_off.tail);
    ring->cq_head = (uint32_t *)(void *)(base + params->cq_off.head);
    ring->cq_tail = (uint32_t *)(void *)(base + params->cq_off.tail);
    ring->array = (uint32_t *)(void *)(base + params->sq_off.array);
    ring->completions = base + params->cq_off.cqes;
    memcpy(&ring->mask, base + params->sq_off.ring_mask, sizeof ring->mask);
    memcpy(&ring->cq_mask, base + params->cq_off.ring_mask, sizeof ring->cq_mask);
    return HUP_OK;
}

int hup_uring_open(struct hup_uring *ring, uint32_t depth, hup_error *error)
{
    const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_SUBMIT_STABLE;
    struct io_uring_params params = { 0 };

    *ring = (struct hup_uring){ .rings = MAP_FAILED, .entries = MAP_FAILED };
    ring->fd = (int)syscall(SYS_io_uring_setup, depth, &params);
    if (ring->fd < 0)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "io_uring cannot be used here");
    int status = (params.features & needed) == needed
                     ? map_rings(ring, &params, error)
                     : hup_fail_errno(error, HUP_E_SYSTEM, ENOSYS, 0, 0, "the io_uring of this kernel is too old");
    if (status)
        hup_uring_close(ring);
    return status;
}

void hup_uring_close(struct hup_uring *ring)
{
    if (ring->rings != MAP_FAILED)
        munmap(ring->rings, ring->rings_size);
    if (ring->entries != MAP_FAILED)
        munmap(ring->entries, ring->entries_size);
    close(ring->fd);
}

void hup_uring_put(struct hup_uring *ring, bool write, int fd, const struct iovec *part, uint64_t offset, uint64_t tag)
{
    uint32_t tail = *ring->tail, index = tail & ring->mask; /* only we write it */

    ((struct io_uring_sqe *)ring->entries)[index] = (struct io_uring_sqe){
        .opcode = write ? IORING_OP_WRITEV : IORING_OP_READV,
        .fd = fd,
        .off = offset,
        .addr = (uint64_t)(uintptr_t)part,
        .len = 1,
        .user_data = tag,
    };
    ring->array[index] = index;
    __atomic_store_n(ring->tail, tail + 1, __ATOMIC_RELEASE);
    ring->unsubmitted++;
}

/* io_uring_enter: start so many, and wait for one. Operations that were started, or a negative errno. */
static int enter(const struct hup_uring *ring, uint32_t submissions)
{
    long done;

    do
        done = syscall(SYS_io_uring_enter, ring->fd, submissions, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : (int)done;
}

static int fail_wait(int number, hup_error *error)
{
    const char *text = "io_uring cannot be measured, for io_uring_enter failed (dmesg may say why)";

    if (number == EAGAIN || number == EBUSY)
        text = "the kernel had no memory for io_uring for 2 s (stop other programs, or lower --in-flight)";
    return hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "%s", text);
}

int hup_uring_wait(struct hup_uring *ring, hup_error *error)
{
    for (uint32_t refused = 0;;) {
        int done = enter(ring, ring->unsubmitted);
        /* What is in flight gives back what the kernel is short of. Its end is not to be missed meanwhile. */
        if ((done == -EAGAIN || done == -EBUSY) && ring->flying)
            done = enter(ring, 0);
        if (done >= 0) {
            ring->unsubmitted -= (uint32_t)done;
            ring->flying += (uint32_t)done;
            return HUP_OK;
        }
        if ((done != -EAGAIN && done != -EBUSY) || ++refused > REFUSALS_MAX)
            return fail_wait(-done, error);
        nanosleep(&(struct timespec){ .tv_nsec = REFUSED_NS }, NULL);
    }
}

bool hup_uring_withdraw(struct hup_uring *ring, uint64_t *tag)
{
    if (!ring->unsubmitted)
        return false;
    uint32_t tail = *ring->tail - 1; /* the kernel looks at it in io_uring_enter only */
    *tag = ((const struct io_uring_sqe *)ring->entries)[tail & ring->mask].user_data;
    __atomic_store_n(ring->tail, tail, __ATOMIC_RELEASE);
    ring->unsubmitted--;
    return true;
}

bool hup_uring_take(struct hup_uring *ring, uint64_t *tag, int32_t *result)
{
    uint32_t head = *ring->cq_head;

    if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
        return false;
    const struct io_uring_cqe *ended = (const struct io_uring_cqe *)ring->completions + (head & ring->cq_mask);
    *tag = ended->user_data;
    *result = ended->res;
    __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
    ring->flying--;
    return true;
}

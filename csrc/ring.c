/* The block ring. */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "clock.h"
#include "error.h"

enum { HUGE = 2 << 20 };

/* Memory that starts at a huge page where it is long enough for one: the kernel then pins one page for a write of
 * 1 MiB, and not 256. What was mapped only to find such a place is given back. */
static uint8_t *map_aligned(size_t size)
{
    size_t extra = size >= HUGE ? HUGE : 0;
    uint8_t *base = mmap(NULL, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED)
        return NULL;
    if (!extra)
        return base;
    size_t head = (HUGE - (uintptr_t)base % HUGE) % HUGE;
    if (head)
        munmap(base, head);
    if (extra > head)
        munmap(base + head + size, extra - head);
    madvise(base + head, size / HUGE * HUGE, MADV_HUGEPAGE);
    return base + head;
}

int hup_ring_init(struct hup_ring *ring, struct hup_gate *gate, const struct hup_layout *layout, hup_error *error)
{
    *ring = (struct hup_ring){
        .gate = gate,
        .mapped = (size_t)layout->block * layout->block_count + (size_t)layout->ring_slack,
        .slack = (size_t)layout->ring_slack,
        .block = layout->block,
        .count = layout->block_count,
        .total = UINT64_MAX,
    };
    ring->blocks = calloc(ring->count, sizeof *ring->blocks);
    ring->memory = map_aligned(ring->mapped);
    if (!ring->blocks || !ring->memory) {
        hup_ring_destroy(ring);
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate %zu KiB for the block ring",
                              ring->mapped >> 10);
    }
    int status = hup_gate_condition(gate, &ring->free, error);
    if (!status)
        status = hup_gate_condition(gate, &ring->ready, error);
    if (status)
        hup_ring_destroy(ring);
    return status;
}

void hup_ring_destroy(struct hup_ring *ring)
{
    if (ring->memory)
        munmap(ring->memory, ring->mapped);
    free(ring->blocks);
    ring->memory = NULL;
    ring->blocks = NULL;
}

int hup_ring_reserve(struct hup_ring *ring, uint64_t end)
{
    struct hup_gate *gate = ring->gate;

    pthread_mutex_lock(&gate->lock);
    while (ring->reserved < end && !gate->stopped) {
        struct hup_block *block = hup_ring_block(ring, ring->reserved);
        if (block->state == HUP_BLOCK_FREE) {
            block->state = HUP_BLOCK_FILLING;
            ring->reserved++;
            continue;
        }
        uint64_t since = hup_clock_ns();
        pthread_cond_wait(&ring->free, &gate->lock);
        hup_trace_add(&gate->trace, HUP_STAGE_DECODE, HUP_SPAN_OUTPUT, since, 0, 0);
    }
    bool stopped = gate->stopped;
    pthread_mutex_unlock(&gate->lock);
    return stopped ? HUP_E_CANCELLED : HUP_OK;
}

static void publish(struct hup_ring *ring, uint64_t sequence, uint64_t offset, uint32_t size, bool zero, bool there)
{
    struct hup_block *block = hup_ring_block(ring, sequence);

    block->offset = offset;
    block->size = size;
    block->zero = zero;
    block->there = there;
    pthread_mutex_lock(&ring->gate->lock);
    block->state = HUP_BLOCK_READY;
    if (sequence == ring->taken)
        pthread_cond_signal(&ring->ready);
    pthread_mutex_unlock(&ring->gate->lock);
}

void hup_ring_publish(struct hup_ring *ring, uint64_t sequence, uint64_t offset, uint32_t size, bool zero)
{
    publish(ring, sequence, offset, size, zero, false);
}

void hup_ring_pass(struct hup_ring *ring, uint64_t sequence, uint64_t offset, uint32_t size)
{
    publish(ring, sequence, offset, size, false, true);
}

void hup_ring_finish(struct hup_ring *ring, uint64_t total)
{
    pthread_mutex_lock(&ring->gate->lock);
    ring->total = total;
    pthread_cond_broadcast(&ring->ready);
    pthread_mutex_unlock(&ring->gate->lock);
}

/* How many blocks from `first` on, which is ready, can be written at once. */
static uint32_t together(const struct hup_ring *ring, uint64_t first, uint32_t most)
{
    const struct hup_block *block = hup_ring_block(ring, first);
    uint64_t end = block->offset + block->size;
    uint32_t count = 1;

    if (block->zero || block->there)
        return 1;
    for (uint64_t next = first + 1; count < most && next < ring->total && next % ring->count; next++, count++) {
        block = hup_ring_block(ring, next);
        if (block->state != HUP_BLOCK_READY || block->zero || block->there || block->offset != end)
            break;
        end += block->size;
    }
    return count;
}

static void wait_for_block(struct hup_ring *ring, struct hup_tuner *tuner)
{
    hup_tuner_wait(tuner, hup_clock_ns(), true);
    pthread_cond_wait(&ring->ready, &ring->gate->lock);
    hup_tuner_wait(tuner, hup_clock_ns(), false);
}

int hup_ring_take(struct hup_ring *ring, struct hup_tuner *tuner, uint64_t *sequence)
{
    struct hup_gate *gate = ring->gate;
    uint64_t since = hup_clock_ns();
    int got = 0;

    pthread_mutex_lock(&gate->lock);
    for (;;) {
        if (gate->stopped) {
            got = HUP_E_CANCELLED;
            break;
        }
        if (ring->taken >= ring->total)
            break;
        if (hup_ring_block(ring, ring->taken)->state == HUP_BLOCK_READY) {
            *sequence = ring->taken;
            got = (int)together(ring, ring->taken, tuner->now.merge);
            for (int i = 0; i < got; i++)
                hup_ring_block(ring, ring->taken++)->state = HUP_BLOCK_LEAVING;
            /* The next one may be ready already, and its publisher has woken nobody. */
            if (ring->taken >= ring->total)
                pthread_cond_broadcast(&ring->ready);
            else if (hup_ring_block(ring, ring->taken)->state == HUP_BLOCK_READY)
                pthread_cond_signal(&ring->ready);
            break;
        }
        wait_for_block(ring, tuner);
    }
    pthread_mutex_unlock(&gate->lock);
    hup_trace_add(&gate->trace, HUP_STAGE_WRITE, HUP_SPAN_INPUT, since, 0, 0);
    return got;
}

void hup_ring_release(struct hup_ring *ring, uint64_t sequence, uint32_t count)
{
    pthread_mutex_lock(&ring->gate->lock);
    for (uint32_t i = 0; i < count; i++)
        hup_ring_block(ring, sequence + i)->state = HUP_BLOCK_FREE;
    /* A waiter may need one block only, and leave the others to the next waiter. */
    if (count > 1)
        pthread_cond_broadcast(&ring->free);
    else
        pthread_cond_signal(&ring->free);
    pthread_mutex_unlock(&ring->gate->lock);
}

uint64_t hup_ring_released(struct hup_ring *ring)
{
    /* A slot that is not leaving was released since it was taken, though another block may be in it by now. */
    while (ring->released < ring->taken &&
           (hup_ring_block(ring, ring->released)->state != HUP_BLOCK_LEAVING ||
            hup_ring_block(ring, ring->released)->offset != ring->released * ring->block))
        ring->released++;
    return ring->released;
}

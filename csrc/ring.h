/* The block ring: raw image on its way from the decoders to the target. Internal. */
#ifndef HUPFAST_RING_H
#define HUPFAST_RING_H

#include "gate.h"
#include "layout.h"
#include "tuner.h"

/* One block of the image. `state` is guarded by the gate's lock; the rest belongs to the decoder that fills the
 * block, and once it is published to the thread that took it. */
struct hup_block {
    uint64_t offset; /* in the image */
    uint32_t size;   /* bytes; smaller than a block at the end of the image only */
    bool zero;       /* every byte is zero, and the memory need not say so */
    bool there;      /* the target has it already, and the memory has nothing */
    enum { HUP_BLOCK_FREE, HUP_BLOCK_FILLING, HUP_BLOCK_READY, HUP_BLOCK_LEAVING } state;
};

/* Blocks have a sequence number, which is the image's offset / block size; block s lies in slot s % count. They are
 * reserved in order, published in any order, taken in order, and released in any order. */
struct hup_ring {
    struct hup_gate *gate;
    uint8_t *memory; /* owned: count blocks, then the slack */
    size_t mapped, slack;
    uint32_t block, count;
    struct hup_block *blocks; /* owned */
    uint64_t reserved;        /* blocks before this one have been reserved */
    uint64_t taken;           /* and before this one, taken */
    uint64_t released;        /* and before this one, released; see hup_ring_released */
    uint64_t total;           /* blocks of the image; UINT64_MAX while unknown */
    pthread_cond_t free, ready;
};

int hup_ring_init(struct hup_ring *ring, struct hup_gate *gate, const struct hup_layout *layout, hup_error *error);
void hup_ring_destroy(struct hup_ring *ring);

static inline uint8_t *hup_ring_data(const struct hup_ring *ring, uint64_t sequence)
{
    return ring->memory + (size_t)(sequence % ring->count) * ring->block;
}

static inline struct hup_block *hup_ring_block(const struct hup_ring *ring, uint64_t sequence)
{
    return &ring->blocks[sequence % ring->count];
}

/* Wait until all blocks before `end` are reserved for the decoders. Negative: the run is over. */
int hup_ring_reserve(struct hup_ring *ring, uint64_t end);

/* A filled block may go to the target. */
void hup_ring_publish(struct hup_ring *ring, uint64_t sequence, uint64_t offset, uint32_t size, bool zero);

/* The same for a block that the target has already. */
void hup_ring_pass(struct hup_ring *ring, uint64_t sequence, uint64_t offset, uint32_t size);

/* There are no blocks from `total` on. */
void hup_ring_finish(struct hup_ring *ring, uint64_t total);

/* Take the next block in order: 1 and its number, 0 at the end. Negative: the run is over.
 * As many as the tuner says are taken at once, and their number is returned, where those behind the first are ready and
 * neighbours in memory and in the image, and all of them have data. It never waits for a neighbour. The tuner, which
 * the gate's lock guards, is told of waits. */
int hup_ring_take(struct hup_ring *ring, struct hup_tuner *tuner, uint64_t *sequence);
void hup_ring_release(struct hup_ring *ring, uint64_t sequence, uint32_t count);

/* All blocks before this one have been released. Under the gate's lock, by one thread. */
uint64_t hup_ring_released(struct hup_ring *ring);

#endif

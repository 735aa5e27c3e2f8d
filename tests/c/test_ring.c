/* The block ring hands out neighbours together, but never what is not ready, has no data, or lies elsewhere. */
#include "check.h"
#include "ring.h"

enum { BLOCK = 64 << 10, COUNT = 8 };

static struct hup_gate gate;
static struct hup_ring ring;
static struct hup_tuner tuner;

static void start(uint32_t merge)
{
    const struct hup_layout layout = { .block = BLOCK, .block_count = COUNT };

    CHECK_EQUAL(hup_gate_init(&gate, 0, NULL), HUP_OK);
    CHECK_EQUAL(hup_ring_init(&ring, &gate, &layout, NULL), HUP_OK);
    hup_tuner_init(&tuner, false, 1, BLOCK, COUNT);
    tuner.now.merge = merge;
}

static void end(void)
{
    hup_ring_destroy(&ring);
    hup_gate_destroy(&gate);
}

static void publish(uint64_t sequence, bool zero)
{
    CHECK_EQUAL(hup_ring_reserve(&ring, sequence + 1), HUP_OK);
    hup_ring_publish(&ring, sequence, sequence * BLOCK, BLOCK, zero);
}

/* So many blocks come next, from this one on. */
static void taken(uint64_t should, int count)
{
    uint64_t sequence;

    CHECK_EQUAL(hup_ring_take(&ring, &tuner, &sequence), count);
    CHECK_EQUAL(sequence, should);
}

static void no_more_than_asked_for(void)
{
    start(4);
    for (uint64_t i = 0; i < 6; i++)
        publish(i, false);
    taken(0, 4);
    taken(4, 2); /* it does not wait for those that come later */
    end();
}

static void not_what_is_not_ready(void)
{
    start(4);
    CHECK_EQUAL(hup_ring_reserve(&ring, 4), HUP_OK);
    hup_ring_publish(&ring, 3, 3 * BLOCK, BLOCK, false);
    hup_ring_publish(&ring, 0, 0, BLOCK, false);
    hup_ring_publish(&ring, 1, BLOCK, BLOCK, false);
    taken(0, 2);
    hup_ring_publish(&ring, 2, 2 * BLOCK, BLOCK, false);
    taken(2, 2);
    end();
}

static void not_what_has_no_data(void)
{
    start(4);
    publish(0, false);
    publish(1, true);
    publish(2, true);
    publish(3, false);
    CHECK_EQUAL(hup_ring_reserve(&ring, 5), HUP_OK);
    hup_ring_pass(&ring, 4, 4 * BLOCK, BLOCK);
    publish(5, false);
    for (uint64_t i = 0; i < 6; i++)
        taken(i, 1);
    end();
}

/* The last block of the memory and the first are no neighbours there. */
static void not_around_the_end(void)
{
    start(4);
    for (uint64_t i = 0; i < COUNT; i++)
        publish(i, false);
    taken(0, 4);
    hup_ring_release(&ring, 0, 4);
    for (uint64_t i = COUNT; i < COUNT + 4; i++)
        publish(i, false);
    tuner.now.merge = 3;
    taken(4, 3);
    taken(7, 1);
    taken(8, 3);
    end();
}

/* What was released counts once all before it was, however it was taken. */
static void released_in_any_order(void)
{
    start(3);
    for (uint64_t i = 0; i < 6; i++)
        publish(i, false);
    taken(0, 3);
    taken(3, 3);
    hup_ring_release(&ring, 3, 3);
    CHECK_EQUAL(hup_ring_released(&ring), 0);
    hup_ring_release(&ring, 0, 3);
    CHECK_EQUAL(hup_ring_released(&ring), 6);
    end();
}

static void the_end_is_a_border(void)
{
    uint64_t sequence;

    start(4);
    publish(0, false);
    publish(1, false);
    hup_ring_finish(&ring, 2);
    taken(0, 2);
    CHECK_EQUAL(hup_ring_take(&ring, &tuner, &sequence), 0);
    end();
}

int main(void)
{
    no_more_than_asked_for();
    not_what_is_not_ready();
    not_what_has_no_data();
    not_around_the_end();
    released_in_any_order();
    the_end_is_a_border();
    return 0;
}

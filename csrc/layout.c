/* How the memory budget of a run is divided: what every design choice about memory comes down to.
 *
 *   raw       input ring                         block ring
 *   zstd      input ring + slack (a zstd block)  block ring (window + a zstd block, at least) + slack   1 decoder
 *   chunked   input ring + slack (a frame)       block ring (whole chunks)          table   1 decoder a worker
 *   compare   one block for each thread at the target, to read into
 *   survey    one block for each surveyor
 *
 * The block ring of an ordinary zstd image is the decoder's window as well: what is on its way to the target is
 * also the history that later blocks refer to, so that no byte is held twice, and none is copied. */
#include "layout.h"

#include <inttypes.h>
#include <sched.h>

#include "error.h"
#include "table.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

uint32_t hup_layout_processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static uint64_t at_least(uint64_t value, uint64_t least)
{
    return value > least ? value : least;
}

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* Blocks that must exist for a block size: history, or two chunks so that one is written while one is decoded. */
static uint64_t blocks_needed(const struct hup_demand *demand, uint64_t block)
{
    if (demand->format == HUP_FORMAT_CHUNKED)
        return at_least(2 * (uint64_t)demand->chunk_size / block, 2);
    if (demand->format == HUP_FORMAT_ZSTD)
        return at_least(round_up(demand->window + HUP_RING_SLACK, block) / block, 3);
    return 3;
}

static uint64_t decoder_size(const struct hup_demand *demand)
{
    return demand->format == HUP_FORMAT_RAW ? 0 : ZSTD_estimateDCtxSize();
}

/* The parts that depend on the number of decoders and not on the block size. */
static void divide_input(const struct hup_demand *demand, uint64_t budget, uint32_t workers, struct hup_layout *layout)
{
    layout->workers = workers;
    if (demand->format == HUP_FORMAT_CHUNKED) {
        uint64_t frame = hup_table_frame_bound(demand->chunk_size);
        /* Each worker holds one frame while it decodes, and the reader fills half a frame ahead where it can. */
        layout->input = round_up(frame * workers + (workers > 1 ? frame / 2 : 0), HUP_PAGE);
        layout->input_slack = round_up(frame, HUP_PAGE);
        layout->ring_slack = 0;
    } else {
        layout->input = round_up(at_least(at_most(budget / 32, 512 << 10), 192 << 10), HUP_PAGE);
        layout->input_slack = demand->format == HUP_FORMAT_ZSTD ? round_up(HUP_ZSTD_BLOCK + 64, HUP_PAGE) : 0;
        layout->ring_slack = demand->format == HUP_FORMAT_ZSTD ? round_up(HUP_RING_SLACK, HUP_PAGE) : 0;
    }
}

static uint64_t total(const struct hup_demand *demand, const struct hup_layout *layout)
{
    return layout->input + layout->input_slack + layout->ring_slack + layout->workers * decoder_size(demand) +
           demand->table_size + (uint64_t)layout->block * layout->block_count +
           (uint64_t)layout->block * (demand->surveyors + (demand->compare ? layout->depth : 0));
}

/* The layout of the least memory for this many workers and this block. */
static struct hup_layout least(const struct hup_demand *demand, uint64_t budget, uint32_t workers, uint32_t block)
{
    struct hup_layout layout = { .block = block, .depth = 1 };

    divide_input(demand, budget, workers, &layout);
    uint64_t count = blocks_needed(demand, block);
    if (demand->format == HUP_FORMAT_CHUNKED)
        count = at_least(count, (uint64_t)demand->chunk_size * (workers + 1) / block);
    layout.block_count = (uint32_t)at_most(count, UINT32_MAX);
    layout.total = total(demand, &layout);
    return layout;
}

static uint32_t smallest_block(const struct hup_demand *demand)
{
    return demand->format == HUP_FORMAT_CHUNKED && demand->chunk_size < HUP_BLOCK_MIN ? demand->chunk_size
                                                                                      : HUP_BLOCK_MIN;
}

uint64_t hup_layout_least(const struct hup_demand *demand)
{
    return least(demand, 0, 1, smallest_block(demand)).total;
}

/* Spend what is left of the budget: first on writes in flight, then on blocks that wait for them. */
static void grow(const struct hup_demand *demand, uint64_t budget, uint32_t depth, struct hup_layout *layout)
{
    uint64_t step = demand->format == HUP_FORMAT_CHUNKED ? at_least(demand->chunk_size / layout->block, 1) : 1;
    uint64_t enough = demand->format == HUP_FORMAT_CHUNKED ? layout->workers * step + depth : 2 * (uint64_t)depth;

    while (layout->block_count < enough && total(demand, layout) + step * layout->block <= budget)
        layout->block_count += (uint32_t)step;
    while (layout->depth < depth && layout->depth + 1 < layout->block_count) {
        layout->depth++;
        if (total(demand, layout) > budget) {
            layout->depth--;
            break;
        }
    }
    layout->total = total(demand, layout);
}

bool hup_layout_tunes(const hup_config *config)
{
    return config->mode == HUP_MODE_WRITE && !config->depth && !config->block && !config->rate &&
           !(config->flags & (HUP_BACKGROUND | HUP_SKIP_UNCHANGED));
}

/* Where blocks are small, room for writes of several: as many bytes as there would be with larger blocks. */
static void grow_for_merging(const struct hup_demand *demand, uint64_t budget, struct hup_layout *layout)
{
    bool chunked = demand->format == HUP_FORMAT_CHUNKED;
    uint64_t step = chunked ? at_least(demand->chunk_size / layout->block, 1) : 1;
    uint64_t larger = HUP_BLOCK_DEFAULT / layout->block * layout->depth;
    uint64_t enough = chunked ? layout->workers * step + larger : 2 * larger;

    while (layout->block_count < enough && total(demand, layout) + step * layout->block <= budget)
        layout->block_count += (uint32_t)step;
    layout->total = total(demand, layout);
}

int hup_layout_divide(const hup_config *config, const struct hup_demand *demand, struct hup_layout *layout,
                      hup_error *error)
{
    uint64_t budget = config->memory, needed = hup_layout_least(demand);
    uint32_t depth = config->depth ? config->depth : HUP_DEPTH_DEFAULT;
    uint32_t workers = 1, block = config->block;
    bool chunked = demand->format == HUP_FORMAT_CHUNKED;

    if (needed > budget)
        return hup_fail_needed(error, HUP_E_MEMORY, needed,
                               "this image needs %" PRIu64 " KiB of memory (%s), and the budget is %" PRIu64 " KiB",
                               (needed + 1023) >> 10, chunked ? "its chunks" : "its zstd window", budget >> 10);
    if (chunked)
        workers = (uint32_t)at_most(config->workers ? config->workers : hup_layout_processors(), HUP_WORKERS_MAX);

    /* As many workers as fit, then the largest block that fits with room for two writes in flight. */
    while (workers > 1 && least(demand, budget, workers, smallest_block(demand)).total > budget)
        workers--;
    if (!block)
        block = (uint32_t)at_least(at_most(HUP_BLOCK_DEFAULT, budget / 8), HUP_BLOCK_MIN);
    while (block & (block - 1))
        block &= block - 1; /* down to a power of two */
    if (chunked && block > demand->chunk_size)
        block = demand->chunk_size;
    while (block > smallest_block(demand) && least(demand, budget, workers, block).total > budget)
        block /= 2;

    *layout = least(demand, budget, workers, block);
    grow(demand, budget, depth, layout);
    if (hup_layout_tunes(config))
        grow_for_merging(demand, budget, layout);
    return HUP_OK;
}

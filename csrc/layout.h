/* How the memory budget of a run is divided. Internal. */
#ifndef HUPFAST_LAYOUT_H
#define HUPFAST_LAYOUT_H

#include <stdbool.h>

#include "hupfast.h"

enum {
    HUP_BLOCK_MIN = 64 << 10,
    HUP_BLOCK_DEFAULT = 1 << 20,
    HUP_BLOCK_MAX = 4 << 20,
    HUP_ZSTD_BLOCK = 128 << 10,           /* a zstd block is never larger, compressed or not */
    HUP_RING_SLACK = HUP_ZSTD_BLOCK + 64, /* a block may start just before the end of the block ring */
    HUP_WORKERS_MAX = 16,
    HUP_DEPTH_MAX = 32,
    HUP_DEPTH_DEFAULT = 4,
    HUP_PAGE = 4096,
};

/* What an image asks for. */
struct hup_demand {
    int format;          /* hup_format, not AUTO */
    uint64_t window;     /* zstd: history in bytes */
    uint32_t chunk_size; /* chunked */
    uint64_t table_size; /* chunked: bytes of the table, which stays in memory */
    int compare;         /* each thread at the target needs a block of its own to read into */
    uint32_t surveyors;  /* threads that need one too */
};

/* What it gets. Every number is bytes, except the counts. */
struct hup_layout {
    uint32_t block;       /* one write */
    uint32_t block_count; /* blocks in the ring */
    uint32_t depth;       /* threads at the target, each with one write in flight */
    uint32_t workers;     /* decoders */
    uint64_t input;       /* input ring */
    uint64_t input_slack; /* the longest piece that is asked of the input at once */
    uint64_t ring_slack;  /* behind the block ring */
    uint64_t total;       /* all of it, with the decoders, the table and the compare blocks */
};

/* Divide config->memory (not 0). HUP_E_MEMORY, with the number that would do, when it is too small. Pure. */
int hup_layout_divide(const hup_config *config, const struct hup_demand *demand, struct hup_layout *layout,
                      hup_error *error);

/* The smallest budget that the demand can be met with. Pure. */
uint64_t hup_layout_least(const struct hup_demand *demand);

/* Is it left to the engine how it writes, so that it may adapt while it does? Pure. */
bool hup_layout_tunes(const hup_config *config);

/* Processors that this process may run on, at least 1. */
uint32_t hup_layout_processors(void);

#endif

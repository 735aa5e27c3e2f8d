/* A layout never exceeds its budget, meets every demand it accepts, and names a budget that does when it refuses. */
#include <stdbool.h>

#include "check.h"
#include "layout.h"

static void sound(const hup_config *config, const struct hup_demand *demand)
{
    struct hup_layout layout;
    hup_error error;
    int status = hup_layout_divide(config, demand, &layout, &error);

    if (status) {
        CHECK_EQUAL(status, HUP_E_MEMORY);
        CHECK(error.needed > config->memory);
        hup_config larger = *config;
        larger.memory = error.needed;
        CHECK_EQUAL(hup_layout_divide(&larger, demand, &layout, &error), HUP_OK);
        return;
    }
    uint64_t ring = (uint64_t)layout.block * layout.block_count;
    CHECK(layout.total <= config->memory);
    CHECK(layout.depth >= 1 && layout.depth <= HUP_DEPTH_MAX && layout.depth < layout.block_count);
    CHECK((layout.block & (layout.block - 1)) == 0);
    CHECK(layout.workers >= 1 && layout.workers <= HUP_WORKERS_MAX);
    CHECK(layout.total >= ring + layout.input + layout.input_slack);
    CHECK(layout.input >= 64 << 10);
    if (demand->format == HUP_FORMAT_ZSTD) {
        CHECK(ring >= demand->window + HUP_RING_SLACK);
        CHECK(layout.block >= HUP_BLOCK_MIN && layout.input_slack > HUP_ZSTD_BLOCK);
    }
    if (demand->format == HUP_FORMAT_CHUNKED) {
        CHECK(layout.block <= demand->chunk_size);
        CHECK_EQUAL(ring % demand->chunk_size, 0);
        CHECK(ring >= (uint64_t)demand->chunk_size * (layout.workers + 1));
        CHECK(layout.input >= (uint64_t)demand->chunk_size * layout.workers);
    }
}

int main(void)
{
    static const int formats[] = { HUP_FORMAT_RAW, HUP_FORMAT_ZSTD, HUP_FORMAT_CHUNKED };

    for (int format = 0; format < 3; format++)
        for (unsigned memory_log = 18; memory_log < 28; memory_log++)
            for (unsigned size_log = 16; size_log <= 27; size_log++)
                for (uint32_t depth = 0; depth <= 32; depth += 8)
                    for (int compare = 0; compare < 2; compare++) {
                        hup_config config = { .memory = (1u << memory_log) + 12345, .depth = depth, .workers = depth };
                        struct hup_demand demand = { .format = formats[format], .compare = compare };
                        if (formats[format] == HUP_FORMAT_ZSTD)
                            demand.window = (1u << size_log) + 1000;
                        if (formats[format] == HUP_FORMAT_CHUNKED) {
                            demand.chunk_size = 1u << (size_log < 26 ? size_log : 26);
                            demand.table_size = 10000;
                        }
                        for (uint32_t block = 0; block <= 4 << 20; block = block ? block * 2 : 64 << 10) {
                            config.block = block;
                            sound(&config, &demand);
                        }
                    }

    /* What the README says of the default budget. */
    hup_config config = { .memory = HUP_MEMORY_DEFAULT, .workers = 2 };
    struct hup_layout layout;
    struct hup_demand level19 = { .format = HUP_FORMAT_ZSTD, .window = 8 << 20 };
    struct hup_demand chunked = { .format = HUP_FORMAT_CHUNKED, .chunk_size = 1 << 20, .table_size = 60000 };
    CHECK_EQUAL(hup_layout_divide(&config, &level19, &layout, NULL), HUP_OK);
    CHECK_EQUAL(layout.depth, HUP_DEPTH_DEFAULT);
    CHECK_EQUAL(layout.block, HUP_BLOCK_DEFAULT);
    CHECK_EQUAL(hup_layout_divide(&config, &chunked, &layout, NULL), HUP_OK);
    CHECK_EQUAL(layout.workers, 2);
    CHECK_EQUAL(layout.depth, HUP_DEPTH_DEFAULT);
    return 0;
}

/* What the first bytes of an image say: which kind it is, and what it will need. */
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "image.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

/* An ordinary image whose first frame is not within HUP_PROBE_SIZE: take the window of zstd's own highest levels. */
static const uint64_t WINDOW_GUESS = 8 << 20;

static uint32_t read_le32(const uint8_t *data)
{
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static bool is_skippable(uint32_t magic)
{
    return (magic & 0xFFFFFFF0u) == 0x184D2A50u;
}

static int probe_zstd(const uint8_t *data, size_t size, hup_image *image, hup_error *error)
{
    size_t at = 0;

    image->format = HUP_FORMAT_ZSTD;
    image->window = WINDOW_GUESS;
    while (size - at >= 8 && is_skippable(read_le32(data + at))) {
        uint64_t frame = 8 + (uint64_t)read_le32(data + at + 4);
        if (frame >= size - at)
            return HUP_OK; /* the first frame with data is farther behind */
        at += (size_t)frame;
    }

    ZSTD_frameHeader frame;
    size_t missing = ZSTD_getFrameHeader(&frame, data + at, size - at);
    if (ZSTD_isError(missing))
        return hup_fail(error, HUP_E_FORMAT, at, 0, "the image has a bad zstd header at %zu", at);
    if (missing)
        return size < HUP_PROBE_SIZE
                   ? hup_fail(error, HUP_E_FORMAT, size, 0, "the image is cut short after %zu bytes", size)
                   : HUP_OK;
    image->window = frame.windowSize;
    if (frame.frameContentSize != ZSTD_CONTENTSIZE_UNKNOWN)
        image->least_size = frame.frameContentSize;
    return HUP_OK;
}

static int probe_chunked(const uint8_t *data, size_t size, hup_image *image, struct hup_table_header *table,
                         hup_error *error)
{
    int status = hup_table_header_parse(data, size, table, error);

    if (status)
        return status;
    image->format = HUP_FORMAT_CHUNKED;
    image->image_size = image->least_size = table->image_size;
    image->window = image->chunk_size = table->chunk_size;
    image->chunk_count = table->count;
    return HUP_OK;
}

int hup_image_identify(const void *bytes, size_t size, int format, hup_image *image, struct hup_table_header *table,
                       hup_error *error)
{
    const uint8_t *data = bytes;
    uint32_t magic = size >= 4 ? read_le32(data) : 0;

    *image = (hup_image){ .format = HUP_FORMAT_RAW, .image_size = HUP_UNKNOWN };
    if (format == HUP_FORMAT_CHUNKED || (format == HUP_FORMAT_AUTO && hup_table_starts(data, size)))
        return probe_chunked(data, size, image, table, error);
    if (format == HUP_FORMAT_ZSTD || (format == HUP_FORMAT_AUTO && (magic == ZSTD_MAGICNUMBER || is_skippable(magic))))
        return probe_zstd(data, size, image, error);
    return HUP_OK;
}

struct hup_demand hup_image_demand(const hup_image *image, const struct hup_table_header *table)
{
    return (struct hup_demand){
        .format = image->format,
        .window = image->window,
        .chunk_size = image->chunk_size,
        .table_size = image->format == HUP_FORMAT_CHUNKED ? table->size : 0,
    };
}

int hup_image_probe(const void *data, size_t size, hup_image *image, hup_error *error)
{
    struct hup_table_header table;
    int status = hup_image_identify(data, size, HUP_FORMAT_AUTO, image, &table, error);

    if (!status) {
        struct hup_demand demand = hup_image_demand(image, &table);
        image->memory = hup_layout_least(&demand);
    }
    return status;
}

/* The chunk table, which leads a chunked image.
 *
 * A chunked image is an ordinary .zst file: one skippable frame, which is the table, then one independent frame
 * for each chunk, in order, and nothing else. All integers are little endian.
 *
 *      0  u32  0x184D2A5C      magic number of a skippable frame
 *      4  u32  size            bytes that follow: 64 + 88 * count + 32
 *      8  8    "HUPCHNK2"
 *     16  u64  image size      raw bytes
 *     24  u32  chunk size      raw bytes of each chunk but the last: a power of two, 64 KiB to 64 MiB
 *     28  u32  count           ceil(image size / chunk size)
 *     32  u64  data size       bytes of all the frames after the table
 *     40  32   zero            reserved
 *     72  88 * count           entries
 *            u32  length       bytes of the frame: 1 to chunk size + chunk size / 128 + 512
 *            u32  flags        bit 0: every raw byte is zero; the others are zero
 *            32   SHA-256 of the frame
 *            16   XXH3-128 of the raw bytes, canonical
 *            32   SHA-256 of the raw bytes
 *    end  32   SHA-256 of all bytes before: the name of the table, and so of the image
 */
#include "table.h"

#include <inttypes.h>
#include <string.h>

#include "error.h"

static const uint32_t MAGIC = 0x184D2A5C;
static const char NAME[8] = { 'H', 'U', 'P', 'C', 'H', 'N', 'K', '2' };

enum {
    CHUNK_MIN = 64 << 10,
    CHUNK_MAX = 64 << 20,
    FLAG_ZERO = 1,
};

static uint64_t read_le(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    while (count--)
        value = value << 8 | bytes[count];
    return value;
}

bool hup_table_starts(const uint8_t *data, size_t size)
{
    return size >= 16 && read_le(data, 4) == MAGIC && memcmp(data + 8, NAME, sizeof NAME) == 0;
}

uint64_t hup_table_frame_bound(uint32_t chunk_size)
{
    return (uint64_t)chunk_size + chunk_size / 128 + 512;
}

int hup_table_header_parse(const uint8_t *data, size_t size, struct hup_table_header *header, hup_error *error)
{
    if (size < HUP_TABLE_HEADER)
        return hup_fail(error, HUP_E_FORMAT, size, 0, "the image is cut short in the head of its chunk table");
    if (!hup_table_starts(data, size))
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "the image does not start with a chunk table");

    struct hup_table_header result = {
        .image_size = read_le(data + 16, 8),
        .chunk_size = (uint32_t)read_le(data + 24, 4),
        .count = (uint32_t)read_le(data + 28, 4),
        .data_size = read_le(data + 32, 8),
        .size = read_le(data + 4, 4) + 8,
    };
    uint32_t chunk = result.chunk_size;

    if (chunk < CHUNK_MIN || chunk > CHUNK_MAX || (chunk & (chunk - 1)))
        return hup_fail(error, HUP_E_FORMAT, 24, 4, "the chunk table is bad: a chunk size of %" PRIu32, chunk);
    if (result.image_size == 0)
        return hup_fail(error, HUP_E_FORMAT, 16, 8, "the image is empty");
    /* Divide rather than multiply: the sizes come from the image, and must not overflow. */
    if (result.image_size / chunk + (result.image_size % chunk != 0) != result.count)
        return hup_fail(error, HUP_E_FORMAT, 28, 4,
                        "the chunk table is bad: %" PRIu32 " chunks do not make %" PRIu64 " bytes", result.count,
                        result.image_size);
    if (result.size != HUP_TABLE_HEADER + (uint64_t)result.count * HUP_TABLE_ENTRY + HUP_TABLE_DIGEST)
        return hup_fail(error, HUP_E_FORMAT, 4, 4,
                        "the chunk table is bad: %" PRIu64 " bytes do not hold %" PRIu32 " entries", result.size,
                        result.count);
    if (!hup_all_zero(data + 40, 32))
        return hup_fail(error, HUP_E_FORMAT, 40, 32,
                        "the chunk table uses reserved fields: this image needs a newer hupfast");
    *header = result;
    return HUP_OK;
}

struct hup_chunk hup_table_chunk(const uint8_t *data, const struct hup_table_header *header, uint32_t index)
{
    const uint8_t *entry = data + HUP_TABLE_HEADER + (size_t)index * HUP_TABLE_ENTRY;
    uint64_t left = header->image_size - (uint64_t)index * header->chunk_size;
    struct hup_chunk chunk = {
        .length = (uint32_t)read_le(entry, 4),
        .raw = left < header->chunk_size ? (uint32_t)left : header->chunk_size,
        .zero = read_le(entry + 4, 4) & FLAG_ZERO,
    };

    memcpy(chunk.sha256, entry + 8, sizeof chunk.sha256);
    memcpy(chunk.xxh3.bytes, entry + 40, sizeof chunk.xxh3.bytes);
    memcpy(chunk.raw_sha256, entry + 56, sizeof chunk.raw_sha256);
    return chunk;
}

int hup_table_check(const uint8_t *data, const struct hup_table_header *header, const uint8_t *expected,
                    hup_error *error)
{
    size_t body = (size_t)(header->size - HUP_TABLE_DIGEST);
    uint8_t digest[HUP_SHA256_SIZE];
    uint64_t sum = 0;

    hup_digest_sha256(data, body, digest);
    if (memcmp(digest, data + body, sizeof digest) != 0)
        return hup_fail(error, HUP_E_DIGEST, 0, header->size, "the chunk table does not have its own SHA-256");
    if (expected && memcmp(digest, expected, sizeof digest) != 0)
        return hup_fail(error, HUP_E_DIGEST, 0, header->size, "the chunk table is not the one that was promised");

    for (uint32_t i = 0; i < header->count; i++) {
        struct hup_chunk chunk = hup_table_chunk(data, header, i);
        uint64_t at = HUP_TABLE_HEADER + (uint64_t)i * HUP_TABLE_ENTRY;
        uint64_t flags = read_le(data + at + 4, 4);

        if (chunk.length == 0 || chunk.length > hup_table_frame_bound(header->chunk_size))
            return hup_fail(error, HUP_E_FORMAT, at, 4, "the chunk table is bad: a frame of %" PRIu32 " bytes",
                            chunk.length);
        if (flags & ~(uint64_t)FLAG_ZERO)
            return hup_fail(error, HUP_E_FORMAT, at + 4, 4,
                            "the chunk table uses unknown flags: this image needs a newer hupfast");
        sum += chunk.length;
    }
    if (sum != header->data_size)
        return hup_fail(error, HUP_E_FORMAT, 32, 8,
                        "the chunk table is bad: its frames have %" PRIu64 " bytes, not %" PRIu64, sum,
                        header->data_size);
    return HUP_OK;
}

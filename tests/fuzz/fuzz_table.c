/* The chunk table: the bytes are taken for a table, whose digest is made right so that the fuzzer gets behind it. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hup_table_header header;
    hup_error error;

    if (hup_table_header_parse(data, size, &header, &error) != HUP_OK || header.size > size)
        return 0;
    uint8_t *copy = malloc(size);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    size_t body = (size_t)header.size - HUP_TABLE_DIGEST;
    hup_digest_sha256(copy, body, copy + body);
    if (hup_table_check(copy, &header, NULL, &error) == HUP_OK) {
        uint64_t raw = 0, packed = 0;
        for (uint32_t i = 0; i < header.count; i++) {
            struct hup_chunk chunk = hup_table_chunk(copy, &header, i);
            raw += chunk.raw;
            packed += chunk.length;
        }
        if (raw != header.image_size || packed != header.data_size)
            abort();
    }
    free(copy);
    return 0;
}

/* The whole way from input to decoded blocks, in HUP_MODE_CHECK: any bytes, in any pieces, end well or in an error. A
 * chunk table gets right digests, so that the fuzzer reaches the chunks. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "table.h"

/* Make the digests of a table right, as far as the input goes. */
static void sign(uint8_t *data, size_t size)
{
    struct hup_table_header header;

    if (hup_table_header_parse(data, size, &header, NULL) != HUP_OK || header.size > size)
        return;
    uint64_t at = header.size;
    for (uint32_t i = 0; i < header.count; i++) {
        uint8_t *entry = data + HUP_TABLE_HEADER + (size_t)i * HUP_TABLE_ENTRY;
        uint32_t length = hup_table_chunk(data, &header, i).length;
        if (length > size - at)
            break;
        hup_digest_sha256(data + at, length, entry + 8);
        at += length;
    }
    size_t body = (size_t)header.size - HUP_TABLE_DIGEST;
    hup_digest_sha256(data, body, data + body);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    hup_config config = { .mode = HUP_MODE_CHECK, .image_size = HUP_UNKNOWN, .memory = 4 << 20, .workers = 2 };
    hup_writer *writer;
    hup_report report;
    hup_error error;
    uint8_t *data = malloc(size + 1);

    if (!data)
        return 0;
    memcpy(data, input, size);
    sign(data, size);
    size_t piece = size ? 1 + data[size - 1] * 97u : 1;
    int status = hup_writer_open(&config, &writer, &error);
    if (status)
        abort(); /* nothing of the input is known yet */
    for (size_t at = 0; at < size && !status;) {
        void *memory;
        size_t room;
        status = hup_writer_acquire(writer, UINT32_MAX, &memory, &room, &error);
        if (status || room == 0)
            break;
        room = room < piece ? room : piece;
        room = room < size - at ? room : size - at;
        memcpy(memory, data + at, room);
        at += room;
        status = hup_writer_commit(writer, room, &error);
    }
    if (!status)
        hup_writer_end(writer, &error);
    while ((status = hup_writer_wait(writer, 10000, &report, &error)) == HUP_RUNNING)
        ;
    if (status == HUP_OK && report.memory > config.memory)
        abort();
    hup_writer_close(writer);
    free(data);
    return 0;
}

/* The chunk table of a chunked image: see table.c for the format. Internal. */
#ifndef HUPFAST_TABLE_H
#define HUPFAST_TABLE_H

#include <stdbool.h>

#include "digest.h"
#include "hupfast.h"

enum {
    HUP_TABLE_HEADER = 72, /* bytes of the table before its first entry */
    HUP_TABLE_ENTRY = 88,
    HUP_TABLE_DIGEST = 32, /* bytes after the last entry */
};

/* The fixed part of a table. */
struct hup_table_header {
    uint64_t image_size; /* raw bytes of the image */
    uint64_t data_size;  /* bytes of all frames after the table */
    uint64_t size;       /* bytes of the whole table, with header and digest */
    uint32_t chunk_size;
    uint32_t count;
};

/* What the table says of one chunk. */
struct hup_chunk {
    uint32_t length; /* bytes of the compressed frame */
    uint32_t raw;    /* bytes of the chunk */
    bool zero;
    uint8_t sha256[HUP_SHA256_SIZE];     /* of the compressed frame */
    hup_xxh3 xxh3;                       /* of the raw bytes */
    uint8_t raw_sha256[HUP_SHA256_SIZE]; /* of them too, for bytes that do not come out of the frame */
};

/* True when data (8 bytes or more) may start a table: the magic number of its frame and its name. */
bool hup_table_starts(const uint8_t *data, size_t size);

/* Read the first HUP_TABLE_HEADER bytes, and check them against each other. Pure. */
int hup_table_header_parse(const uint8_t *data, size_t size, struct hup_table_header *header, hup_error *error);

/* Check a whole table (header->size bytes): its digest, each entry, their sum. `expected` is the digest it must
 * have, or NULL. Pure. */
int hup_table_check(const uint8_t *data, const struct hup_table_header *header, const uint8_t *expected,
                    hup_error *error);

/* Entry `index` of a checked table. */
struct hup_chunk hup_table_chunk(const uint8_t *data, const struct hup_table_header *header, uint32_t index);

/* The most bytes that a frame of one chunk may have. */
uint64_t hup_table_frame_bound(uint32_t chunk_size);

#endif

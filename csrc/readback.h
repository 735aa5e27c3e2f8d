/* What the target must hold, and reading it back. Internal. */
#ifndef HUPFAST_READBACK_H
#define HUPFAST_READBACK_H

#include "digest.h"
#include "hupfast.h"

struct hup_run;

/* The digest of each unit of the image: of a block, or of a chunk. With a block map, of its mapped parts only. */
struct hup_records {
    uint32_t unit;  /* bytes */
    uint64_t count; /* records set by the one decoder, or room for all when there are several */
    uint64_t room;
    hup_xxh3 *items; /* owned */
};

/* Make room for `count` records. */
int hup_records_reserve(struct hup_records *records, uint64_t count, hup_error *error);

/* Read the whole image back from the target, with layout.depth threads, and compare each unit with its record. */
int hup_readback(struct hup_run *run);

#endif

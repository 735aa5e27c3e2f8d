/* The parts of an image that are to be written. Internal. */
#ifndef HUPFAST_RANGES_H
#define HUPFAST_RANGES_H

#include <stdbool.h>

#include "hupfast.h"

#include <openssl/sha.h>

/* items == NULL stands for the whole image. */
struct hup_ranges {
    hup_range *items; /* owned: sorted, not empty, not overlapping */
    size_t count;
};

/* Copy and check what the caller gave. HUP_E_USAGE when it is not sorted, overlaps, or overflows. */
int hup_ranges_init(struct hup_ranges *ranges, const hup_range *items, size_t count, hup_error *error);
void hup_ranges_destroy(struct hup_ranges *ranges);

/* The first part of [*from, end) that is to be written: false when there is none, else *from and *until are set. */
bool hup_ranges_next(const struct hup_ranges *ranges, uint64_t *from, uint64_t end, uint64_t *until);

/* True when every border is a multiple of `align`, but for one at `image_size`. */
bool hup_ranges_aligned(const struct hup_ranges *ranges, uint64_t align, uint64_t image_size);

/* Checks the digest of each range that has one, as the image goes by from its start to its end. */
struct hup_range_check {
    const struct hup_ranges *ranges;
    size_t index;      /* the range that `offset` is in or before */
    uint64_t offset;   /* bytes of the image seen */
    SHA256_CTX sha256; /* of the part of that range seen so far, when its digest is one */
    SHA_CTX sha1;      /* the same */
};

void hup_range_check_begin(struct hup_range_check *check, const struct hup_ranges *ranges);
int hup_range_check_update(struct hup_range_check *check, const uint8_t *data, size_t size, hup_error *error);
/* HUP_E_FORMAT when the image has ended before its last range. */
int hup_range_check_end(const struct hup_range_check *check, hup_error *error);

#endif

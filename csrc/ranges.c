/* The parts of an image that are to be written. */
#include "ranges.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

int hup_ranges_init(struct hup_ranges *ranges, const hup_range *items, size_t count, hup_error *error)
{
    *ranges = (struct hup_ranges){ 0 };
    if (!items)
        return HUP_OK;

    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].offset < end || items[i].length == 0 || items[i].length > UINT64_MAX - items[i].offset)
            return hup_fail(error, HUP_E_USAGE, items[i].offset, items[i].length,
                            "range %zu is empty, overlaps the one before, or is out of order", i);
        if (items[i].digest_size && items[i].digest_size != SHA_DIGEST_LENGTH &&
            items[i].digest_size != SHA256_DIGEST_LENGTH)
            return hup_fail(error, HUP_E_USAGE, items[i].offset, items[i].length,
                            "range %zu has a digest of %" PRIu32 " bytes, which is neither SHA-1 nor SHA-256", i,
                            items[i].digest_size);
        end = items[i].offset + items[i].length;
    }
    /* One more than needed, so that an empty map (write nothing) is not mistaken for no map (write all). */
    ranges->items = calloc(count + 1, sizeof *ranges->items);
    if (!ranges->items)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate %zu ranges", count);
    memcpy(ranges->items, items, count * sizeof *items);
    ranges->count = count;
    return HUP_OK;
}

void hup_ranges_destroy(struct hup_ranges *ranges)
{
    free(ranges->items);
}

bool hup_ranges_next(const struct hup_ranges *ranges, uint64_t *from, uint64_t end, uint64_t *until)
{
    *until = end;
    if (!ranges->items)
        return *from < end;

    size_t low = 0, high = ranges->count; /* find the first range that ends after *from */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->items[middle].offset + ranges->items[middle].length > *from)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == ranges->count || ranges->items[low].offset >= end)
        return false;
    const hup_range *range = &ranges->items[low];
    if (range->offset > *from)
        *from = range->offset;
    if (range->offset + range->length < end)
        *until = range->offset + range->length;
    return *from < *until;
}

bool hup_ranges_aligned(const struct hup_ranges *ranges, uint64_t align, uint64_t image_size)
{
    for (size_t i = 0; ranges->items && i < ranges->count; i++) {
        uint64_t start = ranges->items[i].offset, end = start + ranges->items[i].length;
        bool last = image_size == HUP_UNKNOWN ? i + 1 == ranges->count : end == image_size;
        if (start % align || (end % align && !last))
            return false;
    }
    return true;
}

void hup_range_check_begin(struct hup_range_check *check, const struct hup_ranges *ranges)
{
    *check = (struct hup_range_check){ .ranges = ranges };
    SHA256_Init(&check->sha256);
    SHA1_Init(&check->sha1);
}

static void feed(struct hup_range_check *check, const hup_range *range, const uint8_t *data, size_t size)
{
    if (range->digest_size == SHA256_DIGEST_LENGTH)
        SHA256_Update(&check->sha256, data, size);
    else if (range->digest_size == SHA_DIGEST_LENGTH)
        SHA1_Update(&check->sha1, data, size);
}

/* Whether the range that has been fed has its digest; ready for the next one. */
static bool matches(struct hup_range_check *check, const hup_range *range)
{
    uint8_t digest[SHA256_DIGEST_LENGTH] = { 0 };

    if (range->digest_size == SHA256_DIGEST_LENGTH) {
        SHA256_Final(digest, &check->sha256);
        SHA256_Init(&check->sha256);
    } else if (range->digest_size == SHA_DIGEST_LENGTH) {
        SHA1_Final(digest, &check->sha1);
        SHA1_Init(&check->sha1);
    }
    return memcmp(digest, range->digest, range->digest_size) == 0;
}

int hup_range_check_update(struct hup_range_check *check, const uint8_t *data, size_t size, hup_error *error)
{
    const struct hup_ranges *ranges = check->ranges;
    uint64_t end = check->offset + size;

    while (ranges->items && check->index < ranges->count && ranges->items[check->index].offset < end) {
        const hup_range *range = &ranges->items[check->index];
        uint64_t from = check->offset > range->offset ? check->offset : range->offset;
        uint64_t until = range->offset + range->length;
        uint64_t stop = until < end ? until : end;

        feed(check, range, data + (from - check->offset), (size_t)(stop - from));
        if (stop < until)
            break; /* the rest of this range comes later */
        if (!matches(check, range))
            return hup_fail(error, HUP_E_DIGEST, range->offset, range->length,
                            "the image does not have the block map's checksum at %" PRIu64 " to %" PRIu64,
                            range->offset, until);
        check->index++;
    }
    check->offset = end;
    return HUP_OK;
}

int hup_range_check_end(const struct hup_range_check *check, hup_error *error)
{
    const struct hup_ranges *ranges = check->ranges;

    if (!ranges->items || check->index == ranges->count)
        return HUP_OK;
    return hup_fail(error, HUP_E_FORMAT, check->offset, 0,
                    "the image ends at %" PRIu64 ", and the block map goes on to %" PRIu64, check->offset,
                    ranges->items[ranges->count - 1].offset + ranges->items[ranges->count - 1].length);
}

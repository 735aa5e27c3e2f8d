/* The parts of a map, and their sums, are found whatever the pieces are that the image comes in. */
#include <stdint.h>

#include "check.h"
#include "digest.h"
#include "ranges.h"

enum { SIZE = 10000 };

static uint8_t image[SIZE];

static int walk(struct hup_ranges *ranges, size_t piece)
{
    struct hup_range_check check;
    hup_error error;
    int status = HUP_OK;

    hup_range_check_begin(&check, ranges);
    for (size_t at = 0; at < SIZE && !status; at += piece)
        status = hup_range_check_update(&check, image + at, at + piece < SIZE ? piece : SIZE - at, &error);
    return status ? status : hup_range_check_end(&check, &error);
}

int main(void)
{
    hup_range items[] = { { .offset = 100, .length = 1 }, { .offset = 101, .length = 899 }, { 4096, 4096, { 0 }, 0 } };
    struct hup_ranges ranges;
    hup_error error;
    uint64_t from, until;

    fill(image, SIZE, 3);
    for (size_t i = 0; i < 3; i++) {
        hup_digest_sha256(image + items[i].offset, (size_t)items[i].length, items[i].digest);
        items[i].digest_size = i == 1 ? 0 : 32;
    }
    CHECK_EQUAL(hup_ranges_init(&ranges, items, 3, &error), HUP_OK);

    from = 0;
    CHECK(!hup_ranges_next(&ranges, &from, 100, &until));
    CHECK(hup_ranges_next(&ranges, &from, SIZE, &until));
    CHECK_EQUAL(from, 100);
    CHECK_EQUAL(until, 101);
    from = 5000;
    CHECK(hup_ranges_next(&ranges, &from, 6000, &until));
    CHECK_EQUAL(from, 5000);
    CHECK_EQUAL(until, 6000);
    from = 8192;
    CHECK(!hup_ranges_next(&ranges, &from, SIZE, &until));
    CHECK(!hup_ranges_aligned(&ranges, 512, SIZE));

    for (size_t piece = 1; piece < 2 * SIZE; piece = piece * 3 + 1)
        CHECK_EQUAL(walk(&ranges, piece), HUP_OK);
    image[4096 + 4095] ^= 1;
    for (size_t piece = 1; piece < 2 * SIZE; piece = piece * 3 + 1)
        CHECK_EQUAL(walk(&ranges, piece), HUP_E_DIGEST);
    image[4096 + 4095] ^= 1;
    image[500] ^= 1; /* in the range without a sum */
    CHECK_EQUAL(walk(&ranges, 777), HUP_OK);

    SHA1(image + 101, 899, ranges.items[1].digest);
    ranges.items[1].digest_size = 20;
    for (size_t piece = 1; piece < 2 * SIZE; piece = piece * 3 + 1)
        CHECK_EQUAL(walk(&ranges, piece), HUP_OK);
    image[999] ^= 1;
    for (size_t piece = 1; piece < 2 * SIZE; piece = piece * 3 + 1)
        CHECK_EQUAL(walk(&ranges, piece), HUP_E_DIGEST);
    hup_ranges_destroy(&ranges);

    items[2].length = SIZE; /* goes on behind the image's end */
    CHECK_EQUAL(hup_ranges_init(&ranges, items, 3, &error), HUP_OK);
    CHECK_EQUAL(walk(&ranges, 777), HUP_E_FORMAT);
    hup_ranges_destroy(&ranges);

    items[1].offset = 100; /* overlaps */
    CHECK_EQUAL(hup_ranges_init(&ranges, items, 3, &error), HUP_E_USAGE);
    items[0].length = UINT64_MAX; /* overflows */
    CHECK_EQUAL(hup_ranges_init(&ranges, items, 1, &error), HUP_E_USAGE);

    CHECK_EQUAL(hup_ranges_init(&ranges, items, 0, &error), HUP_OK);
    from = 0;
    CHECK(!hup_ranges_next(&ranges, &from, SIZE, &until)); /* an empty map maps nothing */
    hup_ranges_destroy(&ranges);
    CHECK_EQUAL(hup_ranges_init(&ranges, NULL, 0, &error), HUP_OK);
    CHECK(hup_ranges_next(&ranges, &from, SIZE, &until)); /* no map maps all */
    CHECK_EQUAL(until, SIZE);
    return 0;
}

/* The chunk table's parser refuses whatever is not exactly right. */
#include <stdint.h>

#include "check.h"
#include "image.h"
#include "table.h"

enum { CHUNK = 64 << 10 };

static struct bytes image;
static struct hup_table_header header;

static int parse(size_t size)
{
    hup_error error;

    return hup_table_header_parse(image.data, size, &header, &error);
}

/* A table with one byte changed, and a right digest: refused by the header's or the entries' own rules. */
static void refused(size_t at, uint8_t value)
{
    uint8_t old = image.data[at];
    hup_error error;
    CHECK_EQUAL(parse(image.size), HUP_OK);
    uint64_t body = header.size - HUP_TABLE_DIGEST;

    image.data[at] = value;
    hup_digest_sha256(image.data, (size_t)body, image.data + body);
    int status = parse(image.size);
    if (status == HUP_OK)
        status = hup_table_check(image.data, &header, NULL, &error);
    CHECK_EQUAL(status, HUP_E_FORMAT);
    image.data[at] = old;
    hup_digest_sha256(image.data, (size_t)body, image.data + body);
}

int main(void)
{
    struct bytes raw = image_raw(3 * CHUNK + 100);
    hup_error error;
    uint8_t other[32] = { 1 };

    image = image_chunked(raw.data, raw.size, CHUNK);
    CHECK_EQUAL(parse(image.size), HUP_OK);
    CHECK_EQUAL(header.count, 4);
    CHECK_EQUAL(header.image_size, raw.size);
    CHECK_EQUAL(hup_table_check(image.data, &header, NULL, &error), HUP_OK);
    CHECK_EQUAL(hup_table_chunk(image.data, &header, 3).raw, 100);
    CHECK_EQUAL(hup_table_check(image.data, &header, image.data + header.size - 32, &error), HUP_OK);
    CHECK_EQUAL(hup_table_check(image.data, &header, other, &error), HUP_E_DIGEST);

    for (size_t size = 0; size < HUP_TABLE_HEADER; size++)
        CHECK_EQUAL(parse(size), HUP_E_FORMAT);
    refused(24, 1);                      /* a chunk size that is no power of two */
    refused(26, 0);                      /* a chunk size of 0 */
    refused(27, 8);                      /* a chunk size of 128 MiB */
    refused(28, 5);                      /* a count that does not fit the image's size */
    refused(23, 0xFF);                   /* an image size that overflows anything it is multiplied with */
    refused(4, 0);                       /* a table that is too short for its count */
    refused(32, image.data[32] + 1);     /* frames that are not as long as their sum */
    refused(71, 1);                      /* a reserved field */
    refused(HUP_TABLE_HEADER + 3, 0x80); /* a frame of 2 GiB */
    refused(HUP_TABLE_HEADER + 4, 2);    /* an unknown flag */

    CHECK_EQUAL(parse(image.size), HUP_OK);
    image.data[HUP_TABLE_HEADER + 20] ^= 1;
    CHECK_EQUAL(hup_table_check(image.data, &header, NULL, &error), HUP_E_DIGEST);
    free(raw.data);
    free(image.data);
    return 0;
}

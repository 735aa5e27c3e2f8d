/* Images made by a test. */
#include "image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "check.h"
#include "digest.h"

static struct bytes allocate(size_t size)
{
    struct bytes bytes = { malloc(size ? size : 1), size };
    CHECK(bytes.data != NULL);
    return bytes;
}

struct bytes image_raw(size_t size)
{
    struct bytes raw = allocate(size);
    size_t third = size / 3;

    fill(raw.data, third, 7);
    for (size_t i = third; i < size; i++)
        raw.data[i] = i < 2 * third ? (uint8_t) "the quick brown fox "[(i * i / 977) % 20] : 0;
    if (size)
        raw.data[size - 1] = 'e'; /* the end is not zero, so that a tail is real data */
    return raw;
}

struct bytes image_frame(const uint8_t *data, size_t size, int level, int content_size, int checksum, int window_log)
{
    struct bytes frame = allocate(ZSTD_compressBound(size));
    ZSTD_CCtx *zstd = ZSTD_createCCtx();

    CHECK(zstd != NULL);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, content_size);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, checksum);
    if (window_log)
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    /* In two calls, so that the frame is not a single segment, whose window is its content. */
    ZSTD_outBuffer out = { frame.data, frame.size, 0 };
    ZSTD_inBuffer in = { data, size / 2, 0 };
    if (content_size)
        ZSTD_CCtx_setPledgedSrcSize(zstd, size);
    CHECK(!ZSTD_isError(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_continue)) && in.pos == in.size);
    in.size = size;
    CHECK(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end) == 0);
    ZSTD_freeCCtx(zstd);
    frame.size = out.pos;
    return frame;
}

static void put_le(uint8_t *at, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

struct bytes image_skippable(size_t size)
{
    struct bytes frame = allocate(size + 8);

    put_le(frame.data, 0x184D2A53, 4);
    put_le(frame.data + 4, size, 4);
    memset(frame.data + 8, 's', size);
    return frame;
}

struct bytes image_join(struct bytes a, struct bytes b)
{
    struct bytes both = allocate(a.size + b.size);

    memcpy(both.data, a.data, a.size);
    memcpy(both.data + a.size, b.data, b.size);
    free(a.data);
    free(b.data);
    return both;
}

void image_sign_table(struct bytes *chunked)
{
    uint32_t size = (uint32_t)chunked->data[4] | (uint32_t)chunked->data[5] << 8 | (uint32_t)chunked->data[6] << 16;
    size_t body = size + 8 - HUP_SHA256_SIZE;

    hup_digest_sha256(chunked->data, body, chunked->data + body);
}

struct bytes image_chunked(const uint8_t *data, size_t size, uint32_t chunk_size)
{
    size_t count = (size + chunk_size - 1) / chunk_size, table = 72 + 88 * count + 32;
    struct bytes image = allocate(table);

    memset(image.data, 0, table);
    for (size_t i = 0; i < count; i++) {
        size_t raw = size - i * chunk_size < chunk_size ? size - i * chunk_size : chunk_size;
        const uint8_t *from = data + i * chunk_size;
        struct bytes frame = image_frame(from, raw, 3, 1, 0, 0);
        uint8_t *entry = image.data + 72 + 88 * i;
        hup_xxh3 digest = hup_digest_xxh3(from, raw);
        put_le(entry, frame.size, 4);
        put_le(entry + 4, hup_all_zero(from, raw), 4);
        hup_digest_sha256(frame.data, frame.size, entry + 8);
        memcpy(entry + 40, digest.bytes, sizeof digest.bytes);
        hup_digest_sha256(from, raw, entry + 56);
        image = image_join(image, frame);
    }
    put_le(image.data, 0x184D2A5C, 4);
    put_le(image.data + 4, table - 8, 4);
    memcpy(image.data + 8, "HUPCHNK2", 8);
    put_le(image.data + 16, size, 8);
    put_le(image.data + 24, chunk_size, 4);
    put_le(image.data + 28, count, 4);
    put_le(image.data + 32, image.size - table, 8);
    image_sign_table(&image);
    return image;
}

char *image_file(const uint8_t *data, size_t size)
{
    const char *directory = getenv("TMPDIR");
    char path[512];

    snprintf(path, sizeof path, "%s/hupfast-test-XXXXXX", directory ? directory : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0);
    while (size) {
        ssize_t put = write(fd, data, size);
        CHECK(put > 0);
        data += put;
        size -= (size_t)put;
    }
    close(fd);
    char *copy = strdup(path);
    CHECK(copy != NULL);
    return copy;
}

struct bytes image_load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    struct bytes all = allocate((size_t)status.st_size);
    size_t have = 0;

    while (have < all.size) {
        ssize_t got = read(fd, all.data + have, all.size - have);
        CHECK(got > 0);
        have += (size_t)got;
    }
    close(fd);
    return all;
}

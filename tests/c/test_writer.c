/* Every kind of image arrives on the target byte for byte, whatever the budget, the workers and the way it is fed. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"
#include "hupfast.h"
#include "image.h"

enum { SIZE = 5 * 1024 * 1024 + 777, ROOM = 6 * 1024 * 1024 };

static struct bytes raw;

/* Feed by descriptor (piece 0), or in pieces of this size. */
static int run(const hup_config *config, const struct bytes *image, size_t piece, hup_report *report, hup_error *error)
{
    hup_writer *writer;
    int status = hup_writer_open(config, &writer, error);
    char *path = NULL;
    int fd = -1;

    if (status)
        return status;
    if (piece == 0) {
        path = image_file(image->data, image->size);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        status = hup_writer_read_fd(writer, fd, image->size, error);
    }
    for (size_t at = 0; piece && at < image->size && !status;) {
        void *memory;
        size_t size;
        status = hup_writer_acquire(writer, UINT32_MAX, &memory, &size, error);
        if (status || size == 0)
            break;
        size = size < piece ? size : piece;
        size = size < image->size - at ? size : image->size - at;
        memcpy(memory, image->data + at, size);
        at += size;
        status = hup_writer_commit(writer, size, error);
    }
    if (!status && piece)
        status = hup_writer_end(writer, error);
    if (!status)
        while ((status = hup_writer_wait(writer, 1000, report, error)) == HUP_RUNNING)
            ;
    hup_writer_close(writer);
    if (path) {
        close(fd);
        unlink(path);
        free(path);
    }
    return status;
}

/* Write onto a file full of 'x', and look at every byte of it. */
static void arrives(const struct bytes *image, hup_config config, size_t piece)
{
    struct bytes old = { malloc(ROOM), ROOM };
    hup_report report;
    hup_error error;

    CHECK(old.data != NULL);
    memset(old.data, 'x', ROOM);
    char *target = image_file(old.data, ROOM);
    config.target = target;
    config.flags |= HUP_READ_BACK;
    int status = run(&config, image, piece, &report, &error);
    if (status)
        fprintf(stderr, "%s\n", error.message);
    CHECK_EQUAL(status, HUP_OK);
    CHECK_EQUAL(report.image_size, raw.size);
    CHECK_EQUAL(report.bytes_in, image->size);
    CHECK_EQUAL(report.written + report.zeroed + report.unchanged, raw.size);
    CHECK(report.verified);
    CHECK(report.memory <= (config.memory ? config.memory : HUP_MEMORY_DEFAULT));

    struct bytes now = image_load(target);
    CHECK_EQUAL(now.size, ROOM);
    CHECK(memcmp(now.data, raw.data, raw.size) == 0);
    CHECK(memcmp(now.data + raw.size, old.data + raw.size, ROOM - raw.size) == 0); /* nothing behind it is touched */

    config.mode = HUP_MODE_VERIFY;
    CHECK_EQUAL(run(&config, image, piece, &report, &error), HUP_OK);
    int fd = open(target, O_WRONLY | O_CLOEXEC);
    CHECK(pwrite(fd, "!", 1, 3000000) == 1);
    close(fd);
    CHECK_EQUAL(run(&config, image, piece, &report, &error), HUP_E_MISMATCH);
    CHECK(error.offset <= 3000000 && error.offset + error.length > 3000000);

    config.mode = HUP_MODE_WRITE;
    config.flags |= HUP_SKIP_UNCHANGED;
    CHECK_EQUAL(run(&config, image, piece, &report, &error), HUP_OK);
    CHECK(report.unchanged > SIZE / 2 && report.written > 0);
    unlink(target);
    free(target);
    free(old.data);
    free(now.data);
}

/* A budget that is too small is refused with the number that does. */
static void needs(const struct bytes *image)
{
    hup_config config = { .mode = HUP_MODE_CHECK, .memory = 300 << 10, .image_size = HUP_UNKNOWN };
    hup_report report;
    hup_error error;

    CHECK_EQUAL(run(&config, image, 0, &report, &error), HUP_E_MEMORY);
    config.memory = error.needed - 1;
    CHECK_EQUAL(run(&config, image, 0, &report, &error), HUP_E_MEMORY);
    config.memory = error.needed;
    CHECK_EQUAL(run(&config, image, 0, &report, &error), HUP_OK);
}

int main(void)
{
    hup_config config = { .image_size = HUP_UNKNOWN };
    hup_config small = { .image_size = HUP_UNKNOWN, .memory = 3 << 20, .depth = 2 };
    hup_config buffered = { .image_size = HUP_UNKNOWN, .flags = HUP_BUFFERED };
    raw = image_raw(SIZE);

    arrives(&raw, (hup_config){ .image_size = SIZE, .memory = 1 << 20 }, 0);
    arrives(&raw, config, 12345);

    struct bytes frame = image_frame(raw.data, raw.size, 3, 1, 1, 20);
    arrives(&frame, config, 0);
    arrives(&frame, small, 1000);
    arrives(&frame, buffered, 0);
    needs(&frame);

    /* Frames of every kind in a row, skippable ones among them, and windows that make the ring wrap often. */
    size_t half = SIZE / 2 + 1;
    struct bytes frames = image_join(image_skippable(10), image_frame(raw.data, half, 1, 0, 0, 19));
    frames = image_join(frames, image_skippable(300000));
    frames = image_join(frames, image_frame(raw.data + half, SIZE - half, 19, 1, 1, 17));
    frames = image_join(frames, image_frame(raw.data, 0, 3, 1, 1, 0));
    arrives(&frames, config, 0);
    arrives(&frames, small, 1);

    static const uint32_t chunk_sizes[] = { 64 << 10, 256 << 10, 1 << 20, 4 << 20 };
    for (size_t i = 0; i < 4; i++) {
        struct bytes chunked = image_chunked(raw.data, raw.size, chunk_sizes[i]);
        config.workers = (uint32_t)(1 + i);
        config.memory = chunk_sizes[i] == 4 << 20 ? 32 << 20 : 0;
        arrives(&chunked, config, i % 2 ? 0 : 50000);
        needs(&chunked);
        free(chunked.data);
    }
    free(raw.data);
    free(frame.data);
    free(frames.data);
    return 0;
}

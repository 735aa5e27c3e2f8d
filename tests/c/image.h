/* Images made by a test: raw bytes to zstd frames, and to a chunked image by the format in csrc/table.c. */
#ifndef HUPFAST_TEST_IMAGE_H
#define HUPFAST_TEST_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data; /* owned: free it */
    size_t size;
};

/* A raw image of so many bytes: thirds of noise, of text that compresses, and of zeroes. */
struct bytes image_raw(size_t size);

/* One zstd frame. content_size, checksum: whether the frame has them. window_log 0: what the level brings. */
struct bytes image_frame(const uint8_t *data, size_t size, int level, int content_size, int checksum, int window_log);

/* A skippable frame of so many bytes of content. */
struct bytes image_skippable(size_t size);

/* A chunked image. */
struct bytes image_chunked(const uint8_t *data, size_t size, uint32_t chunk_size);

/* Give a changed table its digest again. */
void image_sign_table(struct bytes *chunked);

/* a + b; frees both. */
struct bytes image_join(struct bytes a, struct bytes b);

/* A file in the temporary directory with these bytes; the path is owned by the caller, the file too. */
char *image_file(const uint8_t *data, size_t size);

/* The whole file. */
struct bytes image_load(const char *path);

#endif

/* The target: a block device or a regular file, past the page cache. Internal. */
#ifndef HUPFAST_TARGET_H
#define HUPFAST_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>

#include "hupfast.h"

struct hup_target {
    int fd;             /* owned; -1 in HUP_MODE_CHECK */
    bool device;        /* a block device */
    bool blank;         /* made by this run: what was not written reads as zeroes */
    char *path;         /* owned: of a blank target; else NULL */
    bool nameless;      /* a blank target that has not got its name yet */
    atomic_bool direct; /* O_DIRECT is on */
    uint32_t align;     /* offsets, lengths and memory of direct I/O are multiples of this */
    uint64_t size;      /* bytes it has; UINT64_MAX: it grows */
};

/* Open as the config says. HUP_E_TARGET when it cannot be used; then nothing was changed. */
int hup_target_open(struct hup_target *target, const hup_config *config, hup_error *error);
void hup_target_close(struct hup_target *target);

/* The image is complete: give a file that this run made its name. HUP_E_MEDIUM when that fails. */
int hup_target_keep(struct hup_target *target, hup_error *error);

/* The run has failed: remove a file that it made. It may have its full length, and would pass for an image. */
void hup_target_discard(struct hup_target *target);

/* Before the first write, when the image's size is known: refuse what does not fit, and take the space of a new
 * file, so that it cannot run out later. */
int hup_target_prepare(struct hup_target *target, uint64_t image_size, hup_error *error);

/* Go on through the page cache, which is kept clean behind each write. */
void hup_target_buffer(struct hup_target *target);

/* Write all of [offset, offset + size). Both and the memory are aligned while direct. HUP_E_MEDIUM. */
int hup_target_write(struct hup_target *target, uint64_t offset, const void *data, size_t size, hup_error *error);

/* Write the last bytes of an image, which are no whole sector, and no other byte. Turns direct I/O off for good
 * unless `flush` turns it on again: only when nothing else is in flight. */
int hup_target_write_tail(struct hup_target *target, uint64_t offset, const void *data, size_t size, hup_error *error);

/* Make [offset, offset + size) read as zeroes, in the cheapest way that is known to. Aligned. */
int hup_target_zero(struct hup_target *target, uint64_t offset, uint64_t size, hup_error *error);

/* Give a regular file that ends in zeroes its full length. */
int hup_target_extend(struct hup_target *target, uint64_t image_size, hup_error *error);

/* Flush, and check the result. Then the medium has it all, as far as it tells. */
int hup_target_flush(struct hup_target *target, hup_error *error);

/* Flush only, for what is written so far, while more is being written. */
int hup_target_settle(struct hup_target *target, hup_error *error);

/* Read [offset, offset + size) from the medium. memory has room for size rounded up to `align`.
 * *got is smaller than size at the end of the target only. HUP_E_MEDIUM. */
int hup_target_read(struct hup_target *target, uint64_t offset, void *memory, size_t size, size_t *got,
                    hup_error *error);

#endif

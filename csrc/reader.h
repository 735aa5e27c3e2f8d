/* Reading the image from a file descriptor. Internal. */
#ifndef HUPFAST_READER_H
#define HUPFAST_READER_H

#include "run.h"

struct hup_reader {
    struct hup_run *run;
    int fd;          /* borrowed */
    uint64_t length; /* bytes that must come; UINT64_MAX: all there are */
    pthread_t thread;
};

/* Start the thread that fills the input ring, and ends the input or fails the run. The caller joins it, after the
 * run has ended. */
int hup_reader_start(struct hup_reader *reader, struct hup_run *run, int fd, uint64_t length, hup_error *error);

/* See hup_writer_pull. */
int hup_reader_pull(struct hup_run *run, int fd, uint64_t length, uint32_t timeout_ms, uint64_t *moved,
                    hup_error *error);

#endif

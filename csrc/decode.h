/* The decoders: from the input ring to the block ring. Internal. */
#ifndef HUPFAST_DECODE_H
#define HUPFAST_DECODE_H

#include "run.h"

/* Each runs until the image is complete and has finished the block ring, or fails. */
int hup_decode_raw(struct hup_run *run, hup_error *error);
int hup_decode_zstd(struct hup_run *run, hup_error *error);
int hup_decode_chunks(struct hup_run *run, hup_error *error);

/* Read and check the chunk table, which the input starts with, into run->table. */
int hup_decode_table(struct hup_run *run, hup_error *error);

#endif

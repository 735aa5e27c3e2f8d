/* The input ring: compressed bytes on their way from the caller to the decoders. Internal. */
#ifndef HUPFAST_INPUT_H
#define HUPFAST_INPUT_H

#include "gate.h"
#include "layout.h"

#include <openssl/sha.h>

struct hup_input {
    struct hup_gate *gate;          /* its lock guards all fields that change, but for `hash` */
    uint8_t *memory;                /* owned: address space for the largest ring; pages come as they are touched */
    size_t reserved;                /* bytes of it */
    size_t capacity;                /* bytes of it in use as the ring; the slack is behind */
    uint64_t filled;                /* bytes put in so far */
    uint64_t claimed;               /* bytes given to decoders so far */
    uint64_t held[HUP_WORKERS_MAX]; /* where the piece starts that a worker holds; UINT64_MAX: none */
    size_t acquired;                /* bytes of memory that the producer has in its hand */
    bool ended;                     /* no more will be put in */
    bool closed;                    /* no more is wanted */
    bool hashing;                   /* `hash` is wanted */
    SHA256_CTX hash;                /* of all bytes claimed; used by the claiming thread alone */
    _Atomic uint64_t taken;         /* `claimed`, to be read without the lock */
    pthread_cond_t room;            /* the producer waits for it */
    pthread_cond_t data;            /* the decoders wait for it */
};

/* `most` is the largest ring and slack that hup_input_resize will be asked for. */
int hup_input_init(struct hup_input *input, struct hup_gate *gate, uint64_t most, bool hashing, hup_error *error);
void hup_input_destroy(struct hup_input *input);

/* Set the size of ring and slack: before the first release only, since then nothing has wrapped yet. */
void hup_input_resize(struct hup_input *input, uint64_t capacity);

/* The producer's side: see hup_writer_acquire and hup_writer_commit. */
int hup_input_acquire(struct hup_input *input, uint32_t timeout_ms, void **memory, size_t *size, hup_error *error);
int hup_input_commit(struct hup_input *input, size_t used, hup_error *error);
void hup_input_end(struct hup_input *input);

/* Wait for the first n bytes, and look at them: before the first claim only. *got is smaller at the end only. */
int hup_input_peek(struct hup_input *input, size_t n, const uint8_t **data, size_t *got);

/* The run needs no more input: the producer is given no more memory. */
void hup_input_close(struct hup_input *input);

/* The decoders' side. Claim the next n bytes for `worker`: they lie in one piece at *data until that worker
 * releases them. *got is smaller than n at the end of the input only. One thread claims at a time (the chunk
 * workers take turns under a lock of theirs), and a worker releases before it claims again.
 * Negative: the run is over. */
int hup_input_claim(struct hup_input *input, uint32_t worker, size_t n, const uint8_t **data, size_t *got);
void hup_input_release(struct hup_input *input, uint32_t worker);

/* SHA-256 of all the input, once it has ended and was claimed to its last byte. */
void hup_input_digest(struct hup_input *input, uint8_t digest[32]);

#endif

/* The two digests of a run, and the search for zeroes. Internal. */
#ifndef HUPFAST_DIGEST_H
#define HUPFAST_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libcrypto's EVP layer costs about a megabyte of providers and error strings, which a small board feels. The
 * plain SHA256_ functions are the same code without it; they are deprecated as an interface, not as a hash. */
#include <openssl/sha.h>

enum { HUP_SHA256_SIZE = 32, HUP_XXH3_SIZE = 16 };

/* XXH3-128 in its canonical (big endian) form. */
typedef struct {
    uint8_t bytes[HUP_XXH3_SIZE];
} hup_xxh3;

typedef struct hup_xxh3_state hup_xxh3_state;

void hup_digest_sha256(const void *data, size_t size, uint8_t digest[HUP_SHA256_SIZE]);
hup_xxh3 hup_digest_xxh3(const void *data, size_t size);

/* XXH3-128 of so many zeroes. */
hup_xxh3 hup_digest_zeroes(size_t size);

/* A digest in pieces: begin once, then any number of begin/update/end. The caller owns it; NULL: no memory. */
hup_xxh3_state *hup_digest_create(void);
void hup_digest_begin(hup_xxh3_state *state);
void hup_digest_update(hup_xxh3_state *state, const void *data, size_t size);
hup_xxh3 hup_digest_end(const hup_xxh3_state *state);
void hup_digest_free(hup_xxh3_state *state);

/* True when every byte is zero. Stops at the first that is not. */
bool hup_all_zero(const void *data, size_t size);

#endif

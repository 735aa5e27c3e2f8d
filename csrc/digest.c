/* The two digests of a run: SHA-256 says that bytes are the promised ones, XXH3-128 that a medium kept them. */
#include "digest.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "error.h"
#include "hupfast.h"

struct hup_xxh3_state {
    XXH3_state_t *xxh;
};

void hup_digest_sha256(const void *data, size_t size, uint8_t digest[HUP_SHA256_SIZE])
{
    SHA256(data, size, digest);
}

int hup_sha256(const void *data, size_t size, uint8_t digest[32], hup_error *error)
{
    if (!data && size)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "hup_sha256 was given no data");
    hup_digest_sha256(data, size, digest);
    return HUP_OK;
}

static hup_xxh3 canonical(XXH128_hash_t hash)
{
    hup_xxh3 result;
    XXH128_canonical_t form;

    XXH128_canonicalFromHash(&form, hash);
    memcpy(result.bytes, form.digest, sizeof result.bytes);
    return result;
}

hup_xxh3 hup_digest_xxh3(const void *data, size_t size)
{
    return canonical(XXH3_128bits(data, size));
}

hup_xxh3 hup_digest_zeroes(size_t size)
{
    static const uint8_t zeroes[4096];
    XXH3_state_t state;

    XXH3_128bits_reset(&state);
    for (; size > sizeof zeroes; size -= sizeof zeroes)
        XXH3_128bits_update(&state, zeroes, sizeof zeroes);
    XXH3_128bits_update(&state, zeroes, size);
    return canonical(XXH3_128bits_digest(&state));
}

hup_xxh3_state *hup_digest_create(void)
{
    hup_xxh3_state *state = malloc(sizeof *state);

    if (state && !(state->xxh = XXH3_createState())) {
        free(state);
        state = NULL;
    }
    return state;
}

void hup_digest_begin(hup_xxh3_state *state)
{
    XXH3_128bits_reset(state->xxh);
}

void hup_digest_update(hup_xxh3_state *state, const void *data, size_t size)
{
    XXH3_128bits_update(state->xxh, data, size);
}

hup_xxh3 hup_digest_end(const hup_xxh3_state *state)
{
    return canonical(XXH3_128bits_digest(state->xxh));
}

void hup_digest_free(hup_xxh3_state *state)
{
    if (state) {
        XXH3_freeState(state->xxh);
        free(state);
    }
}

bool hup_all_zero(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    enum { STEP = 64 };

    /* One fixed-size compare at a time is turned into vector code, and leaves early where there is data. */
    for (; size >= STEP; bytes += STEP, size -= STEP) {
        uint64_t words[STEP / sizeof(uint64_t)], any = 0;
        memcpy(words, bytes, STEP);
        for (size_t i = 0; i < STEP / sizeof(uint64_t); i++)
            any |= words[i];
        if (any)
            return false;
    }
    while (size--)
        if (*bytes++)
            return false;
    return true;
}

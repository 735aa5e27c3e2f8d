/* Signatures against the vectors of RFC 8032, section 7.1, and keys that are not what they must be. */
#include <openssl/err.h>

#include "check.h"
#include "hupfast.h"

/* TEST 3 of the RFC: two bytes of message. */
static const uint8_t public_key[32] = { 0xfc, 0x51, 0xcd, 0x8e, 0x62, 0x18, 0xa1, 0xa3, 0x8d, 0xa4, 0x7e,
                                        0xd0, 0x02, 0x30, 0xf0, 0x58, 0x08, 0x16, 0xed, 0x13, 0xba, 0x33,
                                        0x03, 0xac, 0x5d, 0xeb, 0x91, 0x15, 0x48, 0x90, 0x80, 0x25 };
static const uint8_t message[2] = { 0xaf, 0x82 };
static const uint8_t signature[64] = { 0x62, 0x91, 0xd6, 0x57, 0xde, 0xec, 0x24, 0x02, 0x48, 0x27, 0xe6, 0x9c, 0x3a,
                                       0xbe, 0x01, 0xa3, 0x0c, 0xe5, 0x48, 0xa2, 0x84, 0x74, 0x3a, 0x44, 0x5e, 0x36,
                                       0x80, 0xd7, 0xdb, 0x5a, 0xc3, 0xac, 0x18, 0xff, 0x9b, 0x53, 0x8d, 0x16, 0xf2,
                                       0x90, 0xae, 0x67, 0xf7, 0x60, 0x98, 0x4d, 0xc6, 0x59, 0x4a, 0x7c, 0x15, 0xe9,
                                       0x71, 0x6e, 0xd2, 0x8d, 0xc0, 0x27, 0xbe, 0xce, 0xea, 0x1e, 0xc4, 0x0a };
/* TEST 1 of the RFC: no message at all. */
static const uint8_t public_empty[32] = { 0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                          0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                          0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a };
static const uint8_t signature_empty[64] = { 0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2,
                                             0xcc, 0x80, 0x6e, 0x82, 0x8a, 0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5,
                                             0xd9, 0x74, 0xd8, 0x73, 0xe0, 0x65, 0x22, 0x49, 0x01, 0x55, 0x5f,
                                             0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b, 0xac, 0xc6, 0x1e, 0x39, 0x70,
                                             0x1c, 0xf9, 0xb4, 0x6b, 0xd2, 0x5b, 0xf5, 0xf0, 0x59, 0x5b, 0xbe,
                                             0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b };

/* public_key as `openssl pkey -pubin -inform DER` writes it. */
#define PEM                                                                                                            \
    "-----BEGIN PUBLIC KEY-----\n"                                                                                     \
    "MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n"                                                   \
    "-----END PUBLIC KEY-----\n"

static int parse(const char *pem, hup_key *key)
{
    hup_error error = { .status = HUP_OK };
    int status = hup_key_parse(pem, strlen(pem), key, &error);

    CHECK_EQUAL(error.status, status);
    CHECK_EQUAL(ERR_peek_error(), 0);
    return status;
}

static void test_key(void)
{
    static char large[(64 << 10) + 2];
    hup_key key;

    CHECK_EQUAL(parse(PEM, &key), HUP_OK);
    CHECK(!memcmp(key.bytes, public_key, 32));
    CHECK_EQUAL(key.id[0], 0x8d);
    CHECK_EQUAL(key.id[31], 0xd5);
    CHECK_EQUAL(parse("what it is for\n" PEM, &key), HUP_OK);
    CHECK_EQUAL(parse("", &key), HUP_E_FORMAT);
    CHECK_EQUAL(parse("key", &key), HUP_E_FORMAT);
    CHECK_EQUAL(parse(PEM PEM, &key), HUP_E_FORMAT);
    memset(large, '\n', sizeof large - 1);
    CHECK_EQUAL(parse(large, &key), HUP_E_FORMAT);
    CHECK_EQUAL(hup_key_parse(NULL, 0, &key, NULL), HUP_E_USAGE);
    /* one byte short, and X25519 (2B 65 6E), which has the same length */
    CHECK_EQUAL(parse("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgA==\n"
                      "-----END PUBLIC KEY-----\n",
                      &key),
                HUP_E_FORMAT);
    CHECK_EQUAL(parse("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n"
                      "-----END PUBLIC KEY-----\n",
                      &key),
                HUP_E_FORMAT);
    CHECK_EQUAL(parse("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                      "-----END PRIVATE KEY-----\n" PEM,
                      &key),
                HUP_E_FORMAT);
}

static void test_verify(void)
{
    hup_key key = { { 0 }, { 0 } }, empty = { { 0 }, { 0 } };
    uint8_t changed[64];
    hup_error error;

    memcpy(key.bytes, public_key, 32);
    memcpy(empty.bytes, public_empty, 32);
    CHECK_EQUAL(hup_signature_verify(&key, message, 2, signature, &error), HUP_OK);
    CHECK_EQUAL(hup_signature_verify(&empty, NULL, 0, signature_empty, &error), HUP_OK);
    CHECK_EQUAL(hup_signature_verify(&empty, message, 2, signature, &error), HUP_E_DIGEST);
    CHECK_EQUAL(hup_signature_verify(&key, message, 1, signature, &error), HUP_E_DIGEST);
    CHECK_EQUAL(hup_signature_verify(&key, NULL, 2, signature, NULL), HUP_E_USAGE);
    for (unsigned bit = 0; bit < 512; bit++) {
        memcpy(changed, signature, 64);
        changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_EQUAL(hup_signature_verify(&key, message, 2, changed, &error), HUP_E_DIGEST);
    }
    CHECK_EQUAL(ERR_peek_error(), 0);
}

int main(void)
{
    test_key();
    test_verify();
    return 0;
}

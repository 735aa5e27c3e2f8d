/* Ed25519 with libcrypto: is this file a public key, and did its owner sign these bytes?
 *
 * A key comes as PEM, as `openssl pkey -pubout` writes it. Inside is the DER SubjectPublicKeyInfo of RFC 8410, which
 * for Ed25519 has one form only, so that it is compared and not parsed:
 *
 *    0  12   30 2A 30 05 06 03 2B 65 70 03 21 00
 *   12  32   the public key
 *
 * Private keys are told by the name of their PEM block, and never decrypted: nobody is asked for a passphrase.
 */
#include <stdbool.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "digest.h"
#include "error.h"
#include "hupfast.h"

enum { HEAD = 12, DER = HEAD + 32, PEM_LIMIT = 64 << 10 };

static const uint8_t der_head[HEAD] = { 0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00 };

/* What PEM_read_bio hands out. Owned by whoever called read_block, until free_block. */
struct block {
    char *name;
    char *header; /* "Proc-Type: ..." lines; empty in a public key */
    unsigned char *data;
    long size;
};

static int read_block(BIO *bio, struct block *block)
{
    *block = (struct block){ 0 };
    return PEM_read_bio(bio, &block->name, &block->header, &block->data, &block->size);
}

static void free_block(struct block *block)
{
    OPENSSL_free(block->name);
    OPENSSL_free(block->header);
    if (block->data)
        OPENSSL_clear_free(block->data, (size_t)block->size); /* it may be a private key */
}

static int take_key(const struct block *block, hup_key *key, hup_error *error)
{
    if (strstr(block->name, "PRIVATE KEY"))
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "it holds a private key, which must not be here");
    if (strcmp(block->name, PEM_STRING_PUBLIC) != 0 || block->header[0])
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "it holds a \"%.40s\", not a public key", block->name);
    if (block->size != DER || memcmp(block->data, der_head, HEAD) != 0)
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "it holds a public key that is not an Ed25519 one");
    memcpy(key->bytes, block->data + HEAD, sizeof key->bytes);
    hup_digest_sha256(block->data, DER, key->id);
    return HUP_OK;
}

int hup_key_parse(const void *pem, size_t size, hup_key *key, hup_error *error)
{
    struct block block, more;
    BIO *bio = NULL;

    if (!pem || !key)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "hup_key_parse was given no memory");
    if (size > PEM_LIMIT)
        return hup_fail(error, HUP_E_FORMAT, 0, 0, "it has %zu bytes, too many for a key", size);
    ERR_set_mark();
    if (size > 0 && !(bio = BIO_new_mem_buf(pem, (int)size))) {
        ERR_pop_to_mark();
        return hup_fail(error, HUP_E_SYSTEM, 0, 0, "libcrypto has no memory");
    }
    int status;
    if (!bio || !read_block(bio, &block)) {
        status = hup_fail(error, HUP_E_FORMAT, 0, 0, "it holds no public key in PEM");
    } else {
        status = take_key(&block, key, error);
        free_block(&block);
        if (!status && read_block(bio, &more)) {
            free_block(&more);
            status = hup_fail(error, HUP_E_FORMAT, 0, 0, "it holds more than one public key");
        }
    }
    BIO_free(bio);
    ERR_pop_to_mark();
    return status;
}

int hup_signature_verify(const hup_key *key, const void *data, size_t size, const uint8_t signature[64],
                         hup_error *error)
{
    if (!key || !signature || (!data && size))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "hup_signature_verify was given no memory");
    ERR_set_mark();
    EVP_PKEY *public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof key->bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ready = public && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, public) == 1;
    int answer = ready ? EVP_DigestVerify(context, signature, 64, data, size) : 0;

    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public);
    ERR_pop_to_mark();
    if (!ready)
        return hup_fail(error, HUP_E_SYSTEM, 0, 0, "libcrypto cannot check Ed25519 signatures here");
    if (answer != 1)
        return hup_fail(error, HUP_E_DIGEST, 0, 0, "the signature is not one of this key over these bytes");
    return HUP_OK;
}

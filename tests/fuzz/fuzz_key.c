/* Public keys: any bytes are one, or are refused; what is one can be asked to verify, whatever its point is. */
#include <stdlib.h>

#include <openssl/err.h>

#include "fuzz.h"
#include "hupfast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t signature[64];
    hup_error error = { .status = HUP_OK };
    hup_key key;
    int status = hup_key_parse(data, size, &key, &error);

    if (status == HUP_OK) {
        status = hup_signature_verify(&key, data, size, signature, &error);
        if (status != HUP_OK && status != HUP_E_DIGEST)
            abort();
    } else if (status != HUP_E_FORMAT || error.message[0] == '\0') {
        abort();
    }
    if (ERR_peek_error())
        abort();
    return 0;
}

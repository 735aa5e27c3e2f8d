/* What looks at an image's first bytes: any bytes are either understood within sane bounds, or refused. */
#include <stdlib.h>

#include "fuzz.h"
#include "hupfast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hup_image image;
    hup_error error;

    if (hup_image_probe(data, size, &image, &error) == HUP_OK) {
        if (image.format < HUP_FORMAT_RAW || image.format > HUP_FORMAT_CHUNKED || image.memory == 0)
            abort();
        if (image.format == HUP_FORMAT_CHUNKED && (image.chunk_size < 1 << 16 || image.chunk_size > 1 << 26))
            abort();
    } else if (error.status != HUP_E_FORMAT) {
        abort();
    }
    return 0;
}

/* A raw image: the input is the output. */
#include <string.h>

#include "decode.h"
#include "sink.h"

int hup_decode_raw(struct hup_run *run, hup_error *error)
{
    enum { PIECE = 64 << 10 };
    struct hup_sink sink;
    int status = hup_sink_init(&sink, run, error);

    while (!status) {
        const uint8_t *data;
        size_t got;
        status = hup_input_claim(&run->input, 0, PIECE, &data, &got);
        if (status || got == 0)
            break;
        uint8_t *room = hup_sink_room(&sink, got);
        if (!room) {
            status = HUP_E_CANCELLED;
            break;
        }
        memcpy(room, data, got);
        hup_input_release(&run->input, 0);
        status = hup_sink_put(&sink, got, error);
    }
    if (!status)
        status = hup_sink_end(&sink, error);
    hup_sink_destroy(&sink);
    return status;
}

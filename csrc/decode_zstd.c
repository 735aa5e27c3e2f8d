/* Ordinary zstd: any number of frames, skippable ones among them, straight into the block ring.
 *
 * libzstd's streaming call decodes into a window of its own and copies from there. Its buffer-less calls decode to
 * where they are told, as long as the last `window` bytes stay in place; the block ring is large enough for that.
 * It saves the window's memory and a copy of the whole image. These calls are outside libzstd's stable API, so
 * meson.build checks that they are there. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "decode.h"
#include "error.h"
#include "sink.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

struct decoder {
    struct hup_run *run;
    struct hup_sink sink;
    ZSTD_DCtx *zstd;
    uint64_t consumed; /* bytes of input */
    uint64_t frame;    /* where the current frame starts in it */
};

static int cut_short(const struct decoder *decoder, hup_error *error)
{
    return hup_fail(error, HUP_E_FORMAT, decoder->consumed, 0,
                    "the image is cut short: its input ends at %" PRIu64 ", inside a zstd frame", decoder->consumed);
}

/* Claim exactly n bytes. 1: they are there; 0: the input ended before the first of them. */
static int claim(struct decoder *decoder, size_t n, const uint8_t **data, hup_error *error)
{
    size_t got;
    int status = hup_input_claim(&decoder->run->input, 0, n, data, &got);

    if (status)
        return status;
    decoder->consumed += got;
    if (got == 0 && n)
        return 0;
    return got == n ? 1 : cut_short(decoder, error);
}

static void release(struct decoder *decoder)
{
    hup_input_release(&decoder->run->input, 0);
}

/* Claim n bytes that the frame cannot do without. */
static int demand(struct decoder *decoder, size_t n, const uint8_t **data, hup_error *error)
{
    int status = claim(decoder, n, data, error);

    if (status == 0)
        return cut_short(decoder, error);
    return status < 0 ? status : HUP_OK;
}

static int skip_frame(struct decoder *decoder, uint8_t head[8], hup_error *error)
{
    enum { PIECE = 64 << 10 };
    const uint8_t *data;
    int status = demand(decoder, 3, &data, error);

    if (status)
        return status;
    memcpy(head + 5, data, 3);
    release(decoder);
    uint64_t left = (uint64_t)head[4] | (uint64_t)head[5] << 8 | (uint64_t)head[6] << 16 | (uint64_t)head[7] << 24;
    while (left && !status) {
        size_t part = left < PIECE ? (size_t)left : PIECE;
        status = demand(decoder, part, &data, error);
        if (!status)
            release(decoder);
        left -= part;
    }
    return status;
}

/* Read the rest of a frame's header behind its first 5 bytes, and see whether its window fits the ring. */
static int open_frame(struct decoder *decoder, const uint8_t prefix[5], hup_error *error)
{
    uint8_t head[ZSTD_FRAMEHEADERSIZE_MAX];
    ZSTD_frameHeader frame;
    const uint8_t *data;
    const struct hup_ring *ring = &decoder->run->ring;
    size_t size = ZSTD_frameHeaderSize(prefix, 5);

    if (ZSTD_isError(size))
        return hup_fail(error, HUP_E_FORMAT, decoder->frame, 0, "there is no zstd frame at %" PRIu64 " of the image",
                        decoder->frame);
    memcpy(head, prefix, 5);
    int status = demand(decoder, size - 5, &data, error);
    if (status)
        return status;
    memcpy(head + 5, data, size - 5);
    release(decoder);

    if (ZSTD_getFrameHeader(&frame, head, size) != 0 || frame.dictID)
        return hup_fail(error, HUP_E_FORMAT, decoder->frame, 0,
                        frame.dictID ? "the zstd frame at %" PRIu64 " of the image needs a dictionary"
                                     : "the zstd frame at %" PRIu64 " of the image has a bad header",
                        decoder->frame);
    uint64_t history = (uint64_t)ring->block * ring->count - HUP_RING_SLACK;
    if (frame.windowSize > history)
        return hup_fail(error, HUP_E_FORMAT, decoder->frame, 0,
                        "the zstd frame at %" PRIu64 " of the image has a window of %llu KiB, more than the first "
                        "frame: set the memory budget to %llu KiB",
                        decoder->frame, frame.windowSize >> 10, (frame.windowSize >> 10) + (4 << 10));

    size_t done = ZSTD_decompressBegin(decoder->zstd);
    if (!ZSTD_isError(done))
        done = ZSTD_decompressContinue(decoder->zstd, NULL, 0, head, 5);
    if (!ZSTD_isError(done))
        done = ZSTD_decompressContinue(decoder->zstd, NULL, 0, head + 5, size - 5);
    if (ZSTD_isError(done))
        return hup_fail(error, HUP_E_FORMAT, decoder->frame, 0, "the zstd frame at %" PRIu64 " of the image is bad: %s",
                        decoder->frame, ZSTD_getErrorName(done));
    return HUP_OK;
}

/* Decode one frame behind its header. */
static int decode_frame(struct decoder *decoder, hup_error *error)
{
    size_t n;

    while ((n = ZSTD_nextSrcSizeToDecompress(decoder->zstd)) > 0) {
        ZSTD_nextInputType_e type = ZSTD_nextInputType(decoder->zstd);
        size_t room = type == ZSTDnit_block || type == ZSTDnit_lastBlock ? HUP_ZSTD_BLOCK : 0;
        uint64_t at = decoder->consumed;
        const uint8_t *data;
        uint8_t *into = NULL;

        int status = demand(decoder, n, &data, error);
        if (status)
            return status;
        if (room && !(into = hup_sink_room(&decoder->sink, room)))
            return HUP_E_CANCELLED;
        size_t made = ZSTD_decompressContinue(decoder->zstd, into, room, data, n);
        release(decoder);
        if (ZSTD_isError(made))
            return hup_fail(error, HUP_E_FORMAT, at, n, "the image is corrupt at %" PRIu64 " (zstd: %s)", at,
                            ZSTD_getErrorName(made));
        if (made && (status = hup_sink_put(&decoder->sink, made, error)))
            return status;
    }
    return HUP_OK;
}

static int decode_all(struct decoder *decoder, hup_error *error)
{
    const uint8_t *data;
    uint8_t prefix[8];

    for (;;) {
        decoder->frame = decoder->consumed;
        int status = claim(decoder, 5, &data, error);
        if (status <= 0)
            return status;
        memcpy(prefix, data, 5);
        release(decoder);

        if ((prefix[0] & 0xF0) == 0x50 && prefix[1] == 0x2A && prefix[2] == 0x4D && prefix[3] == 0x18)
            status = skip_frame(decoder, prefix, error);
        else if (!(status = open_frame(decoder, prefix, error)))
            status = decode_frame(decoder, error);
        if (status)
            return status;
    }
}

int hup_decode_zstd(struct hup_run *run, hup_error *error)
{
    struct decoder decoder = { .run = run };
    int status = hup_sink_init(&decoder.sink, run, error);

    if (!status && !(decoder.zstd = ZSTD_createDCtx()))
        status = hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a zstd decoder");
    if (!status)
        status = decode_all(&decoder, error);
    if (!status)
        status = hup_sink_end(&decoder.sink, error);
    ZSTD_freeDCtx(decoder.zstd);
    hup_sink_destroy(&decoder.sink);
    return status;
}

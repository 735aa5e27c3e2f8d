/* Measuring a processor: the stages of a run that need no medium, on memory. */
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "digest.h"
#include "error.h"
#include "layout.h"
#include "run.h"

#include <zstd.h>

struct work {
    hup_bench_kind kind;
    const hup_bench_piece *pieces;
    size_t count;
    size_t largest;        /* raw bytes of a piece */
    uint64_t nanoseconds;  /* to go on for */
    pthread_mutex_t start; /* held until all threads are there */
    bool called_off;       /* under it: one of them could not be started */
};

struct hand {
    struct work *work;
    size_t first;    /* each starts with another piece */
    ZSTD_DCtx *zstd; /* owned */
    uint8_t *raw;    /* owned: room for the largest piece */
    uint64_t rate;   /* bytes a second, the result */
    bool failed;     /* a piece is no frame of that size */
    pthread_t thread;
};

static size_t do_piece(struct hand *hand, const hup_bench_piece *piece)
{
    uint8_t digest[HUP_SHA256_SIZE];

    switch (hand->work->kind) {
    case HUP_BENCH_SHA256:
        hup_digest_sha256(piece->data, piece->size, digest);
        return piece->size;
    case HUP_BENCH_XXH3: {
        /* Looked at, so that the compiler does not leave it out. */
        volatile uint8_t first = hup_digest_xxh3(piece->data, piece->size).bytes[0];
        (void)first;
        return piece->size;
    }
    default: {
        size_t made = ZSTD_decompressDCtx(hand->zstd, hand->raw, hand->work->largest, piece->data, piece->size);
        hand->failed = hand->failed || made != piece->raw;
        return piece->raw;
    }
    }
}

static void *do_pieces(void *argument)
{
    struct hand *hand = argument;
    struct work *work = hand->work;
    uint64_t bytes = 0, took;

    pthread_mutex_lock(&work->start);
    bool called_off = work->called_off;
    pthread_mutex_unlock(&work->start);
    if (called_off)
        return NULL;
    /* Once through: caches, page faults and clock frequency are not what is measured. */
    for (size_t i = 0; i < work->count; i++)
        do_piece(hand, &work->pieces[i]);
    uint64_t start = hup_clock_ns();
    size_t at = hand->first;
    do {
        bytes += do_piece(hand, &work->pieces[at]);
        at = at + 1 < work->count ? at + 1 : 0;
        took = hup_clock_ns() - start;
    } while ((took < work->nanoseconds || at != hand->first) && !hand->failed); /* whole rounds: pieces differ */
    /* In floating point, for the product of bytes and a billion does not fit. */
    hand->rate = (uint64_t)((double)bytes * 1e9 / (double)(took ? took : 1));
    return NULL;
}

static int make_hand(struct hand *hand, struct work *work, size_t first, hup_error *error)
{
    *hand = (struct hand){ .work = work, .first = first };
    if (work->kind == HUP_BENCH_DECOMPRESS &&
        (!(hand->zstd = ZSTD_createDCtx()) || !(hand->raw = malloc(work->largest ? work->largest : 1))))
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a decoder to measure");
    return HUP_OK;
}

/* Start a thread for each hand, and wait for all. */
static int run_hands(struct work *work, struct hand *hands, uint32_t count, hup_error *error)
{
    uint32_t started = 0;
    int status = HUP_OK;

    pthread_mutex_lock(&work->start);
    while (started < count && !(status = hup_run_thread(&hands[started].thread, do_pieces, &hands[started], error)))
        started++;
    work->called_off = status != HUP_OK;
    pthread_mutex_unlock(&work->start);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(hands[i].thread, NULL);
    return status;
}

int hup_bench_stage(hup_bench_kind kind, const hup_bench_piece *pieces, size_t count, uint32_t threads,
                    uint32_t milliseconds, uint64_t *rate, hup_error *error)
{
    struct hand hands[HUP_WORKERS_MAX] = { 0 };
    struct work work = {
        .kind = kind, .pieces = pieces, .count = count, .nanoseconds = (uint64_t)milliseconds * 1000000u
    };
    uint32_t made = 0;
    int status = HUP_OK;

    if (kind > HUP_BENCH_XXH3 || !count || threads < 1 || threads > HUP_WORKERS_MAX)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "there is no such stage, nothing for it, or not 1 to %d threads",
                        HUP_WORKERS_MAX);
    for (size_t i = 0; i < count; i++)
        if (pieces[i].raw > work.largest)
            work.largest = pieces[i].raw;
    int number = pthread_mutex_init(&work.start, NULL);
    if (number)
        return hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "cannot make a lock");

    while (made < threads && !status) {
        status = make_hand(&hands[made], &work, made % count, error);
        made++;
    }
    if (!status)
        status = run_hands(&work, hands, threads, error);
    *rate = 0;
    for (uint32_t i = 0; i < made; i++) {
        *rate += hands[i].rate;
        if (hands[i].failed && !status)
            status = hup_fail(error, HUP_E_FORMAT, 0, 0, "a piece is no zstd frame of the size that was told");
        ZSTD_freeDCtx(hands[i].zstd);
        free(hands[i].raw);
    }
    pthread_mutex_destroy(&work.start);
    return status;
}

size_t hup_bench_room(size_t size)
{
    return ZSTD_compressBound(size);
}

/* From LEVEL_LARGE on a compressor's tables would take 10 to 20 MiB, more than all else of a measurement. Smaller ones
 * make the frames of a MiB no larger than by 1%, and what is measured is only how they are decoded. */
enum { LEVEL_LARGE = 5, HASH_LOG = 17, CHAIN_LOG = 18 };

static size_t compress(ZSTD_CCtx *zstd, int level, const void *data, size_t size, void *frame, size_t room)
{
    size_t made = ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);

    if (!ZSTD_isError(made) && level >= LEVEL_LARGE)
        made = ZSTD_CCtx_setParameter(zstd, ZSTD_c_hashLog, HASH_LOG);
    if (!ZSTD_isError(made) && level >= LEVEL_LARGE)
        made = ZSTD_CCtx_setParameter(zstd, ZSTD_c_chainLog, CHAIN_LOG);
    return ZSTD_isError(made) ? made : ZSTD_compress2(zstd, frame, room, data, size);
}

int hup_bench_compress(const void *data, size_t size, int level, void *frame, size_t room, size_t *length,
                       uint8_t xxh3[16], hup_error *error)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();

    if (!zstd)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a compressor");
    size_t made = compress(zstd, level, data, size, frame, room);
    ZSTD_freeCCtx(zstd);
#ifdef __GLIBC__
    malloc_trim(0); /* it would keep what the compressor and the maker of the piece have had: some MiB */
#endif
    if (ZSTD_isError(made))
        return hup_fail(error, HUP_E_USAGE, 0, 0, "cannot compress %zu bytes (zstd: %s)", size,
                        ZSTD_getErrorName(made));
    hup_xxh3 digest = hup_digest_xxh3(data, size);
    memcpy(xxh3, digest.bytes, sizeof digest.bytes);
    *length = made;
    return HUP_OK;
}

/* A chunked image: each chunk is checked, decoded and checked again by whichever worker is free. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "error.h"

#include <zstd.h>

int hup_decode_table(struct hup_run *run, hup_error *error)
{
    enum { PIECE = 32 << 10 };
    const struct hup_table_header *header = &run->table_header;
    uint64_t have = 0;

    run->table = malloc((size_t)header->size);
    if (!run->table)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0,
                              "cannot allocate %" PRIu64 " bytes for the chunk table", header->size);
    while (have < header->size) {
        const uint8_t *data;
        size_t got, part = header->size - have < PIECE ? (size_t)(header->size - have) : PIECE;
        int status = hup_input_claim(&run->input, 0, part, &data, &got);
        if (status)
            return status;
        memcpy(run->table + have, data, got);
        hup_input_release(&run->input, 0);
        have += got;
        if (got < part)
            return hup_fail(error, HUP_E_FORMAT, have, 0, "the image is cut short in its chunk table");
    }
    return hup_table_check(run->table, header, run->config.table_sha256, error);
}

/* The workers' common part. */
struct chunks {
    struct hup_run *run;
    pthread_mutex_t turn;         /* the order of the chunks: who holds it claims the next one */
    uint32_t next;                /* under `turn`, as are the next two */
    uint64_t consumed;            /* bytes of input claimed */
    hup_xxh3 zeroes;              /* what a whole chunk of zeroes digests to */
    struct hup_range_check check; /* one worker only, when there is a block map */
};

struct worker {
    struct chunks *chunks;
    uint32_t index;
    ZSTD_DCtx *zstd;       /* owned */
    hup_xxh3_state *state; /* owned; with a block map only */
    pthread_t thread;
    bool started;
};

/* A chunk in a worker's hands. */
struct piece {
    uint32_t index;
    struct hup_chunk chunk;
    enum hup_verdict verdict; /* FETCH: it comes as a frame */
    const uint8_t *frame;
    uint64_t offset;   /* of its raw bytes in the image */
    uint64_t sequence; /* its first block in the ring */
    uint64_t input;    /* where its frame starts in the input */
};

/* Claim the next chunk's frame and its blocks: 1, or 0 when there is none left. */
static int claim(struct worker *worker, struct piece *piece, hup_error *error)
{
    struct chunks *chunks = worker->chunks;
    struct hup_run *run = chunks->run;
    const struct hup_table_header *header = &run->table_header;
    uint32_t blocks = header->chunk_size / run->ring.block;
    size_t got = 0;
    int status = 0;

    uint64_t since = hup_clock_ns();

    pthread_mutex_lock(&chunks->turn);
    if (chunks->next < header->count) {
        uint32_t index = chunks->next++;
        *piece = (struct piece){
            .index = index,
            .chunk = hup_table_chunk(run->table, header, index),
            .offset = (uint64_t)index * header->chunk_size,
            .sequence = (uint64_t)index * blocks,
            .verdict = hup_run_surveys(run) ? hup_survey_verdict(run, index) : HUP_VERDICT_FETCH,
            .input = chunks->consumed,
        };
        /* For its turn, which comes with the input of the chunk before, and for the verdict. */
        hup_trace_add(&run->gate.trace, HUP_STAGE_DECODE, HUP_SPAN_INPUT, since, 0, 0);
        if (piece->verdict == HUP_VERDICT_OPEN)
            status = HUP_E_CANCELLED;
        if (!status)
            status = hup_ring_reserve(&run->ring,
                                      piece->sequence + (piece->chunk.raw + run->ring.block - 1) / run->ring.block);
        if (!status && piece->verdict == HUP_VERDICT_FETCH)
            status = hup_input_claim(&run->input, worker->index, piece->chunk.length, &piece->frame, &got);
        else
            got = piece->chunk.length;
        chunks->consumed += got;
        if (!status && got < piece->chunk.length)
            status = hup_fail(error, HUP_E_FORMAT, chunks->consumed, 0,
                              "the image is cut short: its input ends at %" PRIu64 ", in chunk %" PRIu32 " of %" PRIu32,
                              chunks->consumed, index, header->count);
        if (!status)
            status = 1;
    }
    pthread_mutex_unlock(&chunks->turn);
    return status;
}

/* Check the frame before a byte of it is decoded, and the raw bytes before one of them is passed on. */
static int decode(struct worker *worker, const struct piece *piece, uint8_t *into, hup_error *error)
{
    const struct hup_chunk *chunk = &piece->chunk;
    uint8_t digest[HUP_SHA256_SIZE];

    hup_digest_sha256(piece->frame, chunk->length, digest);
    if (memcmp(digest, chunk->sha256, sizeof digest) != 0)
        return hup_fail(error, HUP_E_DIGEST, piece->input, chunk->length,
                        "chunk %" PRIu32 " of the image does not have its SHA-256 (input bytes %" PRIu64 " to %" PRIu64
                        ")",
                        piece->index, piece->input, piece->input + chunk->length - 1);
    size_t made = chunk->raw;
    if (!chunk->zero)
        made = ZSTD_decompressDCtx(worker->zstd, into, chunk->raw, piece->frame, chunk->length);
    if (ZSTD_isError(made) || made != chunk->raw)
        return hup_fail(error, HUP_E_FORMAT, piece->input, chunk->length,
                        "chunk %" PRIu32 " of the image cannot be decoded (zstd: %s)", piece->index,
                        ZSTD_isError(made) ? ZSTD_getErrorName(made) : "it has another size");
    hup_xxh3 is = !chunk->zero                                           ? hup_digest_xxh3(into, made)
                  : made == worker->chunks->run->table_header.chunk_size ? worker->chunks->zeroes
                                                                         : hup_digest_zeroes(made);
    if (memcmp(&is, &chunk->xxh3, sizeof is) != 0)
        return hup_fail(error, HUP_E_DIGEST, piece->offset, chunk->raw,
                        "chunk %" PRIu32 " of the image does not have its XXH3 after decoding", piece->index);
    return HUP_OK;
}

/* With a block map: check the sums of the ranges, and digest what will be written. */
static int apply_map(struct worker *worker, const struct piece *piece, const uint8_t *data, hup_error *error)
{
    struct chunks *chunks = worker->chunks;
    uint64_t end = piece->offset + piece->chunk.raw, until;
    int status = hup_range_check_update(&chunks->check, data, piece->chunk.raw, error);

    hup_digest_begin(worker->state);
    for (uint64_t at = piece->offset; hup_ranges_next(&chunks->run->ranges, &at, end, &until); at = until)
        hup_digest_update(worker->state, data + (at - piece->offset), (size_t)(until - at));
    chunks->run->records.items[piece->index] = hup_digest_end(worker->state);
    return status;
}

/* The target has it: only the blocks' turn is taken. */
static void pass(struct hup_run *run, const struct piece *piece)
{
    uint32_t block = run->ring.block;

    for (uint32_t at = 0, i = 0; at < piece->chunk.raw; at += block, i++)
        hup_ring_pass(&run->ring, piece->sequence + i, piece->offset + at,
                      piece->chunk.raw - at < block ? piece->chunk.raw - at : block);
}

static void publish(struct hup_run *run, const struct piece *piece, const uint8_t *data)
{
    uint32_t block = run->ring.block;
    /* With marks, only chunks that the table calls zero may be put off to the end of the run. */
    bool may_be_zero = !run->config.mark_ms || block < run->table_header.chunk_size;

    for (uint32_t at = 0, i = 0; at < piece->chunk.raw; at += block, i++) {
        uint32_t size = piece->chunk.raw - at < block ? piece->chunk.raw - at : block;
        hup_ring_publish(&run->ring, piece->sequence + i, piece->offset + at, size,
                         piece->chunk.zero || (may_be_zero && hup_all_zero(data + at, size)));
    }
}

static int decode_next(struct worker *worker, hup_error *error)
{
    struct hup_run *run = worker->chunks->run;
    struct piece piece;
    int status = claim(worker, &piece, error);

    if (status <= 0)
        return status;
    uint8_t *data = hup_ring_data(&run->ring, piece.sequence);
    uint64_t since = hup_clock_ns();
    status = HUP_OK;
    if (piece.verdict == HUP_VERDICT_COPY) {
        status = hup_survey_copy(run, piece.index, &piece.chunk, data, error);
        atomic_fetch_add(&run->copied, piece.chunk.raw);
    } else if (piece.verdict == HUP_VERDICT_FETCH) {
        status = decode(worker, &piece, data, error);
        hup_input_release(&run->input, worker->index);
    }
    if (!status && run->ranges.items) {
        if (piece.chunk.zero)
            memset(data, 0, piece.chunk.raw);
        status = apply_map(worker, &piece, data, error);
    } else if (!status) {
        run->records.items[piece.index] = piece.chunk.xxh3;
    }
    if (status)
        return status;
    if (piece.verdict == HUP_VERDICT_THERE)
        pass(run, &piece);
    else
        publish(run, &piece, data);
    if (piece.verdict != HUP_VERDICT_THERE)
        hup_trace_add(&run->gate.trace, HUP_STAGE_DECODE, HUP_SPAN_BUSY, since, piece.offset, piece.chunk.raw);
    atomic_fetch_add(&run->decoded, piece.chunk.raw);
    return 1;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    hup_error error;
    int status;

    hup_trace_thread(&worker->chunks->run->gate.trace, HUP_STAGE_DECODE);
    while ((status = decode_next(worker, &error)) > 0)
        ;
    if (status < 0 && !hup_gate_stopped(&worker->chunks->run->gate))
        hup_gate_fail(&worker->chunks->run->gate, &error);
    return NULL;
}

static int start(struct worker *worker, struct chunks *chunks, uint32_t index, hup_error *error)
{
    *worker =
        (struct worker){ .chunks = chunks, .index = index, .zstd = ZSTD_createDCtx(), .state = hup_digest_create() };
    if (!worker->zstd || !worker->state)
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate a zstd decoder");
    if (index == 0)
        return HUP_OK; /* the calling thread does its work */
    int status = hup_run_thread(&worker->thread, work, worker, error);
    worker->started = status == HUP_OK;
    return status;
}

/* After the last frame there is nothing, and the sums of a block map must have come to their end. */
static int check_end(struct chunks *chunks, hup_error *error)
{
    const uint8_t *data;
    size_t got;
    int status = hup_input_claim(&chunks->run->input, 0, 1, &data, &got);

    if (status)
        return status;
    if (got)
        return hup_fail(error, HUP_E_FORMAT, chunks->consumed, 0, "there are bytes behind the last chunk of the image");
    return hup_range_check_end(&chunks->check, error);
}

int hup_decode_chunks(struct hup_run *run, hup_error *error)
{
    const struct hup_table_header *header = &run->table_header;
    struct chunks chunks = { .run = run, .turn = PTHREAD_MUTEX_INITIALIZER, .consumed = header->size };
    struct worker workers[HUP_WORKERS_MAX];
    uint32_t made = 0;
    int status = hup_records_reserve(&run->records, header->count, error);

    run->records.count = header->count;
    chunks.zeroes = hup_digest_zeroes(header->chunk_size);
    hup_range_check_begin(&chunks.check, &run->ranges);
    while (made < run->layout.workers && !status) {
        status = start(&workers[made], &chunks, made, error);
        made++;
    }
    if (status)
        hup_gate_fail(&run->gate, error);
    else
        work(&workers[0]);
    for (uint32_t i = 0; i < made; i++) {
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
        ZSTD_freeDCtx(workers[i].zstd);
        hup_digest_free(workers[i].state);
    }
    pthread_mutex_destroy(&chunks.turn);

    if (hup_gate_stopped(&run->gate))
        return HUP_E_CANCELLED; /* the reason is in the gate */
    status = check_end(&chunks, error);
    if (!status)
        hup_ring_finish(&run->ring, (header->image_size + run->ring.block - 1) / run->ring.block);
    return status;
}

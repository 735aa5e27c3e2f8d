/* Looking for a chunked image's chunks on the board, so that only what is missing is asked for.
 *
 *   for each chunk      the target has it?  -> there: it is left alone
 *   (surveyors, ahead   the older system?   -> copied by a decoder, checked again on the way
 *   of the decoders)    else                -> its frame is asked for (hup_survey_next_range)
 *
 * A chunk is compared by XXH3 first, which is fast, and then by SHA-256: it does not come out of a frame that was
 * signed, and whoever owns a file on the board could make one with a wanted XXH3.
 *
 * What a run that was cut off had made durable is trusted without being read again, once its last chunks have been. But
 * zeroes are asked of the target at the end of a run only, so that these are always looked at. */
#include "survey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "run.h"

enum {
    RECHECKED = 8,          /* trusted chunks that are looked at nevertheless, the last ones */
    RANGE_ENOUGH = 1 << 20, /* a range of so many bytes does not wait for the next verdict */
    RANGE_MOST = 256 << 20, /* and none is longer, unless a single frame is */
};

/* -------- looking -------- */

static uint64_t chunk_offset(const struct hup_run *run, uint32_t index)
{
    return (uint64_t)index * run->table_header.chunk_size;
}

/* Read a piece of a chunk. A place that cannot be read does not hold it, and may be written all the same. */
static bool read_piece(struct hup_run *run, struct hup_target *place, uint64_t offset, uint8_t *memory, size_t size)
{
    size_t got;

    if (!hup_pace_begin(&run->pace, HUP_STAGE_SURVEY, size))
        return false;
    uint64_t since = hup_clock_ns();
    int status = hup_target_read(place, offset, memory, size, &got, NULL);
    hup_pace_end(&run->pace, HUP_STAGE_SURVEY, since);
    return status == HUP_OK && got == size;
}

/* Does the place hold the chunk? `memory` keeps a block; a chunk of several blocks is read twice when it seems so. */
static bool holds(struct hup_surveyor *surveyor, struct hup_target *place, uint32_t index)
{
    struct hup_run *run = surveyor->run;
    struct hup_chunk chunk = hup_table_chunk(run->table, &run->table_header, index);
    uint64_t offset = chunk_offset(run, index);
    uint32_t block = run->layout.block;
    uint8_t digest[HUP_SHA256_SIZE];
    SHA256_CTX sha256;

    hup_digest_begin(surveyor->state);
    for (uint32_t at = 0; at < chunk.raw; at += block) {
        uint32_t size = chunk.raw - at < block ? chunk.raw - at : block;
        if (!read_piece(run, place, offset + at, surveyor->memory, size))
            return false;
        hup_digest_update(surveyor->state, surveyor->memory, size);
    }
    hup_xxh3 is = hup_digest_end(surveyor->state);
    if (memcmp(&is, &chunk.xxh3, sizeof is) != 0)
        return false;
    SHA256_Init(&sha256);
    for (uint32_t at = 0; at < chunk.raw; at += block) {
        uint32_t size = chunk.raw - at < block ? chunk.raw - at : block;
        if (chunk.raw > block && !read_piece(run, place, offset + at, surveyor->memory, size))
            return false;
        SHA256_Update(&sha256, surveyor->memory, size);
    }
    SHA256_Final(digest, &sha256);
    return memcmp(digest, chunk.raw_sha256, sizeof digest) == 0;
}

static enum hup_verdict look_at(struct hup_surveyor *surveyor, uint32_t index)
{
    struct hup_run *run = surveyor->run;
    struct hup_survey *survey = &run->survey;
    struct hup_chunk chunk = hup_table_chunk(run->table, &run->table_header, index);

    if (index < survey->trusted && !chunk.zero)
        return HUP_VERDICT_THERE;
    if (!run->target.blank && holds(surveyor, &run->target, index))
        return HUP_VERDICT_THERE;
    /* Zeroes are cheaper than a copy: their frame is tiny, and the target is only told. */
    if (!chunk.zero && survey->older.fd >= 0 && holds(surveyor, &survey->older, index))
        return HUP_VERDICT_COPY;
    return HUP_VERDICT_FETCH;
}

static void *look(void *argument)
{
    struct hup_surveyor *surveyor = argument;
    struct hup_run *run = surveyor->run;
    struct hup_survey *survey = &run->survey;
    struct hup_gate *gate = &run->gate;

    hup_trace_thread(&gate->trace, HUP_STAGE_SURVEY);
    pthread_mutex_lock(&gate->lock);
    while (!gate->stopped && survey->next < run->table_header.count) {
        uint32_t index = survey->next++;
        pthread_mutex_unlock(&gate->lock);
        uint64_t since = hup_clock_ns();
        enum hup_verdict verdict = look_at(surveyor, index);
        hup_trace_add(&gate->trace, HUP_STAGE_SURVEY, HUP_SPAN_BUSY, since, chunk_offset(run, index),
                      hup_table_chunk(run->table, &run->table_header, index).raw);
        pthread_mutex_lock(&gate->lock);
        survey->verdicts[index] = (uint8_t)verdict;
        pthread_cond_broadcast(&survey->news);
    }
    pthread_mutex_unlock(&gate->lock);
    return NULL;
}

/* The promise of a run that was cut off is kept, or it counts for nothing. */
static void recheck(struct hup_run *run)
{
    struct hup_survey *survey = &run->survey;
    uint32_t looked_at = 0;

    for (uint32_t i = survey->trusted; i-- > 0 && looked_at < RECHECKED && !hup_gate_stopped(&run->gate);) {
        if (hup_table_chunk(run->table, &run->table_header, i).zero)
            continue;
        looked_at++;
        if (!holds(&survey->surveyors[0], &run->target, i))
            survey->trusted = 0;
    }
}

/* -------- threads -------- */

int hup_survey_init(struct hup_survey *survey, struct hup_run *run, const char *path, hup_error *error)
{
    *survey = (struct hup_survey){ .older = { .fd = -1 } };
    for (uint32_t i = 0; i < HUP_SURVEYORS; i++)
        survey->surveyors[i] = (struct hup_surveyor){ .run = run };
    int status = hup_gate_condition(&run->gate, &survey->news, error);
    if (status || !path)
        return status;
    hup_config config = { .target = path, .mode = HUP_MODE_VERIFY, .flags = run->config.flags & HUP_BUFFERED };
    if (hup_target_open(&survey->older, &config, NULL))
        survey->older.fd = -1; /* what cannot be opened has nothing: all is fetched then */
    return HUP_OK;
}

void hup_survey_destroy(struct hup_survey *survey)
{
    hup_target_close(&survey->older);
    free(survey->verdicts);
}

void hup_survey_head_known(struct hup_run *run)
{
    pthread_mutex_lock(&run->gate.lock);
    run->survey.has_table = true;
    pthread_cond_broadcast(&run->survey.news);
    pthread_mutex_unlock(&run->gate.lock);
}

int hup_survey_start(struct hup_run *run, hup_error *error)
{
    struct hup_survey *survey = &run->survey;
    int status = HUP_OK;

    survey->verdicts = calloc(run->table_header.count, 1);
    for (uint32_t i = 0; i < HUP_SURVEYORS; i++) {
        struct hup_surveyor *surveyor = &survey->surveyors[i];
        void *memory = mmap(NULL, run->layout.block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        surveyor->memory = memory == MAP_FAILED ? NULL : memory;
        surveyor->state = hup_digest_create();
        if (!survey->verdicts || !surveyor->memory || !surveyor->state)
            return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot allocate what a survey needs");
    }
    uint64_t trusted = run->config.trusted / run->table_header.chunk_size;
    survey->trusted = trusted < run->table_header.count ? (uint32_t)trusted : run->table_header.count;
    recheck(run);
    pthread_mutex_lock(&run->gate.lock);
    survey->begun = true;
    survey->asked_offset = run->table_header.size;
    pthread_cond_broadcast(&survey->news);
    pthread_mutex_unlock(&run->gate.lock);
    for (uint32_t i = 0; i < HUP_SURVEYORS && !status; i++) {
        status = hup_run_thread(&survey->surveyors[i].thread, look, &survey->surveyors[i], error);
        survey->surveyors[i].started = status == HUP_OK;
    }
    return status;
}

void hup_survey_join(struct hup_run *run)
{
    for (uint32_t i = 0; i < HUP_SURVEYORS; i++) {
        struct hup_surveyor *surveyor = &run->survey.surveyors[i];
        if (surveyor->started)
            pthread_join(surveyor->thread, NULL);
        if (surveyor->memory)
            munmap(surveyor->memory, run->layout.block);
        hup_digest_free(surveyor->state);
        *surveyor = (struct hup_surveyor){ .run = run };
    }
}

/* -------- what the others ask -------- */

enum hup_verdict hup_survey_verdict(struct hup_run *run, uint32_t index)
{
    struct hup_survey *survey = &run->survey;

    pthread_mutex_lock(&run->gate.lock);
    while (survey->verdicts[index] == HUP_VERDICT_OPEN && !run->gate.stopped)
        pthread_cond_wait(&survey->news, &run->gate.lock);
    enum hup_verdict verdict = run->gate.stopped ? HUP_VERDICT_OPEN : (enum hup_verdict)survey->verdicts[index];
    pthread_mutex_unlock(&run->gate.lock);
    return verdict;
}

int hup_survey_copy(struct hup_run *run, uint32_t index, const struct hup_chunk *chunk, uint8_t *memory,
                    hup_error *error)
{
    uint8_t digest[HUP_SHA256_SIZE];
    uint64_t offset = chunk_offset(run, index);

    if (read_piece(run, &run->survey.older, offset, memory, chunk->raw)) {
        hup_digest_sha256(memory, chunk->raw, digest);
        if (memcmp(digest, chunk->raw_sha256, sizeof digest) == 0)
            return HUP_OK;
    }
    return hup_fail(error, HUP_E_STALE, offset, chunk->raw,
                    "the older system has changed while chunk %" PRIu32 " was to be copied from it", index);
}

/* The next frames that are missing; *length is 0 when none are. Under the lock. False: a verdict must be waited for. */
static bool missing_range(struct hup_run *run, uint64_t *offset, uint64_t *length)
{
    struct hup_survey *survey = &run->survey;
    uint32_t count = run->table_header.count, end;

    *length = 0;
    while (survey->asked < count && (survey->verdicts[survey->asked] == HUP_VERDICT_THERE ||
                                     survey->verdicts[survey->asked] == HUP_VERDICT_COPY))
        survey->asked_offset += hup_table_chunk(run->table, &run->table_header, survey->asked++).length;
    for (end = survey->asked; end < count && survey->verdicts[end] == HUP_VERDICT_FETCH; end++) {
        uint32_t frame = hup_table_chunk(run->table, &run->table_header, end).length;
        if (*length && *length + frame > RANGE_MOST)
            break;
        *length += frame;
    }
    if (end < count && survey->verdicts[end] == HUP_VERDICT_OPEN && *length < RANGE_ENOUGH)
        return false;
    *offset = survey->asked_offset;
    survey->asked_offset += *length;
    survey->asked = end;
    return true;
}

/* Under the lock. False: it cannot be told yet. */
static bool next_range(struct hup_run *run, uint64_t *offset, uint64_t *length)
{
    struct hup_survey *survey = &run->survey;

    switch (survey->asking) {
    case HUP_ASK_HEAD:
        *offset = 0;
        *length = HUP_TABLE_HEADER;
        survey->asking = HUP_ASK_TABLE;
        return true;
    case HUP_ASK_TABLE:
        if (!survey->has_table)
            return false;
        *offset = HUP_TABLE_HEADER;
        *length = run->table_header.size - HUP_TABLE_HEADER;
        survey->asking = HUP_ASK_FRAMES;
        return true;
    default:
        *length = 0;
        return run->config.mode != HUP_MODE_WRITE || (survey->begun && missing_range(run, offset, length));
    }
}

int hup_survey_next_range(struct hup_run *run, uint32_t timeout_ms, uint64_t *offset, uint64_t *length,
                          hup_error *error)
{
    struct hup_gate *gate = &run->gate;
    struct timespec deadline = hup_clock_deadline(timeout_ms);
    int number = 0, status = HUP_OK;

    *offset = *length = 0;
    pthread_mutex_lock(&gate->lock);
    while (!gate->stopped && !next_range(run, offset, length) && !number)
        number = timeout_ms == UINT32_MAX ? pthread_cond_wait(&run->survey.news, &gate->lock)
                                          : pthread_cond_timedwait(&run->survey.news, &gate->lock, &deadline);
    if (gate->stopped) {
        status = gate->error.status;
        if (error)
            *error = gate->error;
    } else if (number) {
        *offset = *length = 0;
        status = HUP_RUNNING;
    }
    pthread_mutex_unlock(&gate->lock);
    return status;
}

void hup_survey_sum(struct hup_run *run, uint64_t *there, uint64_t *copied, uint64_t *needed)
{
    *there = *copied = 0;
    *needed = run->table_header.size;
    for (uint32_t i = 0; i < run->table_header.count; i++) {
        struct hup_chunk chunk = hup_table_chunk(run->table, &run->table_header, i);
        uint8_t verdict = run->survey.verdicts[i];
        *there += verdict == HUP_VERDICT_THERE ? chunk.raw : 0;
        *copied += verdict == HUP_VERDICT_COPY ? chunk.raw : 0;
        *needed += verdict == HUP_VERDICT_FETCH ? chunk.length : 0;
    }
}

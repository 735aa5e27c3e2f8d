/* What of a chunked image is on the board already: see survey.c. Internal. */
#ifndef HUPFAST_SURVEY_H
#define HUPFAST_SURVEY_H

#include "digest.h"
#include "gate.h"
#include "table.h"
#include "target.h"

struct hup_run;

enum { HUP_SURVEYORS = 2 }; /* threads, each with a block to read into */

/* Where a chunk comes from. */
enum hup_verdict {
    HUP_VERDICT_OPEN,  /* nobody has looked yet */
    HUP_VERDICT_THERE, /* the target holds it, at its place */
    HUP_VERDICT_COPY,  /* the older system holds it, at the same place */
    HUP_VERDICT_FETCH, /* its frame must be asked for */
};

struct hup_surveyor {
    struct hup_run *run;
    uint8_t *memory; /* owned: a block */
    hup_xxh3_state *state;
    pthread_t thread;
    bool started;
};

struct hup_survey {
    struct hup_target older; /* the older system; fd -1: there is none */
    uint8_t *verdicts; /* owned: an enum hup_verdict for each chunk; this and what follows under the gate's lock */
    uint32_t next;     /* the chunk that the next free surveyor looks at */
    uint32_t trusted;  /* chunks before this one are taken to be there, but for those of zeroes */
    enum { HUP_ASK_HEAD, HUP_ASK_TABLE, HUP_ASK_FRAMES } asking; /* what the next range is of */
    bool has_table;                                              /* the head of the table is known, and so its size */
    bool begun;                                                  /* the table is known, and the surveyors are at work */
    uint32_t asked;        /* chunks before this one were asked for, or need not be */
    uint64_t asked_offset; /* where the frame of that chunk is */
    pthread_cond_t news;   /* any of these has changed */
    struct hup_surveyor surveyors[HUP_SURVEYORS];
};

/* Open the older system at `path`. NULL, or one that cannot be opened: there is none. */
int hup_survey_init(struct hup_survey *survey, struct hup_run *run, const char *path, hup_error *error);
void hup_survey_destroy(struct hup_survey *survey);

/* The head of the table is known: the rest of it may be asked for. */
void hup_survey_head_known(struct hup_run *run);

/* The table is known and right: look at the last trusted chunks, then start the surveyors. */
int hup_survey_start(struct hup_run *run, hup_error *error);

/* Wait for all verdicts, or the end of the run, and join the surveyors. */
void hup_survey_join(struct hup_run *run);

/* Wait for the verdict on a chunk. HUP_VERDICT_OPEN: the run is over. */
enum hup_verdict hup_survey_verdict(struct hup_run *run, uint32_t index);

/* Bring a chunk over from the older system, into `memory`, which has room for whole sectors. HUP_E_STALE when it is
 * not what was seen there. */
int hup_survey_copy(struct hup_run *run, uint32_t index, const struct hup_chunk *chunk, uint8_t *memory,
                    hup_error *error);

/* See hup_writer_next_range. */
int hup_survey_next_range(struct hup_run *run, uint32_t timeout_ms, uint64_t *offset, uint64_t *length,
                          hup_error *error);

/* Once all verdicts are known: bytes of raw image that are there, that would be copied, and bytes of input. */
void hup_survey_sum(struct hup_run *run, uint64_t *there, uint64_t *copied, uint64_t *needed);

#endif

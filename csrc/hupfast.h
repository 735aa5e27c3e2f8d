/* libhupfast: stream an operating system image onto a block device or file, and prove that it is there.
 *
 * A hup_writer is one run: one image, one target. The caller gives it bytes (a file descriptor that the
 * engine reads on its own thread, or memory of the engine that the caller fills), and waits. The image may
 * be raw, ordinary zstd, or a chunked image (see csrc/table.c). Inside, on a few threads:
 *
 *   input ring -> check, decompress, hash -> block ring -> O_DIRECT writes -> flush -> O_DIRECT read-back
 *
 * Rules of this header
 *   - A function that can fail returns HUP_OK, or a negative hup_status and then has filled *error, which
 *     the caller owns and which may be NULL. Nothing prints, nothing exits, nothing is global.
 *   - Sizes and offsets are bytes, in uint64_t on every machine.
 *   - One writer may be used by two threads at once in this way only: one thread feeds it (acquire, commit, pull,
 *     read_fd, end), any thread may call wait, progress and cancel. close comes last, from one thread.
 *   - build_ffi.py gives all between the two cffi markers to cffi as it stands.
 */
#ifndef HUPFAST_H
#define HUPFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* How a call ended. Each negative value says what was done to the target by then. */
typedef enum {
    HUP_OK = 0,
    HUP_RUNNING = 1,       /* the time that the caller gave is over, the run is not */
    HUP_E_SYSTEM = -1,     /* the machine could not give memory, a thread or a descriptor: sys_errno */
    HUP_E_USAGE = -2,      /* the caller broke a rule of this header; nothing was written */
    HUP_E_MEMORY = -3,     /* the image needs a larger budget, in `needed`; nothing was written */
    HUP_E_TARGET = -4,     /* the target cannot take the image: busy, too small, read-only; nothing was written */
    HUP_E_FORMAT = -5,     /* the image is malformed or cut short; what came before `offset` may be written */
    HUP_E_DIGEST = -6,     /* the image is well formed, but not the one that was promised; as HUP_E_FORMAT */
    HUP_E_SOURCE = -7,     /* reading the image failed: sys_errno */
    HUP_E_MEDIUM = -8,     /* the target failed a write, a flush or a read: sys_errno, `offset`, `length` */
    HUP_E_MISMATCH = -9,   /* the target does not hold the image at [offset, offset + length) */
    HUP_E_TOO_LARGE = -10, /* an image of unknown size ran over the target's end; the target is written */
    HUP_E_CANCELLED = -11, /* hup_writer_cancel was called */
    HUP_E_STALE = -12      /* the older system has changed while chunks were copied from it: run again, all is as with
                              HUP_E_SOURCE */
} hup_status;

/* Why a call failed. Owned by the caller, written on failure only. */
typedef struct {
    int status;        /* a hup_status */
    int sys_errno;     /* errno of the system call that failed, or 0 */
    uint64_t offset;   /* where, in bytes of the target (of the image for HUP_E_FORMAT and HUP_E_DIGEST) */
    uint64_t length;   /* how many bytes from there are concerned; 0 where that has no meaning */
    uint64_t needed;   /* HUP_E_MEMORY: the budget that would do. HUP_E_TARGET: the size that would do, or 0 */
    char message[240]; /* one sentence without a full stop, with the numbers in it */
} hup_error;

/* What a run does. */
typedef enum {
    HUP_MODE_WRITE = 0,  /* write the image onto the target */
    HUP_MODE_VERIFY = 1, /* compare the target with the image; write nothing */
    HUP_MODE_CHECK = 2,  /* decode the image and check every digest; there is no target */
    HUP_MODE_SURVEY = 3  /* with HUP_SURVEY: find out what a write would ask for; write nothing */
} hup_mode;

/* How the bytes that are fed in are to be understood. */
typedef enum {
    HUP_FORMAT_AUTO = 0,   /* by the first four bytes: zstd (chunked or not), else raw */
    HUP_FORMAT_RAW = 1,    /* the bytes are the image */
    HUP_FORMAT_ZSTD = 2,   /* ordinary zstd: any number of frames, skippable ones included */
    HUP_FORMAT_CHUNKED = 3 /* zstd with a leading chunk table, as `hupfast pack` makes it */
} hup_format;

/* hup_config.flags */
enum {
    HUP_READ_BACK = 1,      /* after the flush, read the target past every cache and compare */
    HUP_SKIP_UNCHANGED = 2, /* read each block of the target first, and leave it alone when it is equal */
    HUP_CREATE = 4,         /* make the target as a regular file; fail when it exists; a failed run removes it */
    HUP_BUFFERED = 8,       /* do not try O_DIRECT */
    HUP_SURVEY = 16,    /* a chunked image: look first for its chunks on the target and in the older system; the input
                           is then not the whole image, but what hup_writer_next_range asks for */
    HUP_BACKGROUND = 32 /* others on the machine come first: idle class of I/O, lowest priority, one access of the
                           medium at a time (depth 1, and block 256 KiB, unless they are given), and a rest after each,
                           which gets longer when others wait for I/O meanwhile (pressure stall information) */
};

/* A part of the raw image that is to be written. */
typedef struct {
    uint64_t offset;
    uint64_t length;
    uint8_t digest[32];   /* of these bytes; the first digest_size bytes count */
    uint32_t digest_size; /* 32: SHA-256; 20: SHA-1, as in block maps of version 1.3; 0: not checked */
} hup_range;

/* What to do. All that it points to is borrowed until hup_writer_open returns. */
typedef struct {
    const char *target; /* path of a block device or a regular file; NULL in HUP_MODE_CHECK */
    hup_mode mode;
    hup_format format;
    uint32_t flags;
    uint32_t workers;        /* decoders of a chunked image; 0: one for each processor */
    uint32_t depth;          /* writes in flight, at most 32; 0: 4, or 1 with HUP_BACKGROUND */
    uint32_t block;          /* bytes of one write, a power of two from 64 KiB to 4 MiB; 0: 1 MiB or what fits,
                                or 256 KiB with HUP_BACKGROUND. Where both are 0, a write adapts to the target
                                as it goes (not with `rate`, HUP_BACKGROUND or HUP_SKIP_UNCHANGED): fewer writes in
                                flight, or several blocks in one */
    uint64_t memory;         /* budget of the whole engine in bytes; 0: HUP_MEMORY_DEFAULT. Not counted: 16 bytes
                                for each block (chunk) of the image, which the read-back compares with */
    uint64_t image_size;     /* bytes of the raw image, when the caller knows; else UINT64_MAX */
    const hup_range *ranges; /* sorted, not overlapping: what lies outside is not written; NULL: all */
    size_t range_count;
    const uint8_t *sha256;       /* 32 bytes: the digest that the bytes fed in must have; or NULL */
    const uint8_t *table_sha256; /* 32 bytes: the digest that the chunk table must have; or NULL */
    const char *older; /* HUP_SURVEY: device or file with an older system; chunks that are equal at the same place are
                          copied from it, and looked at again on the way; it may be in use. NULL, or
                          one that cannot be opened: there is none */
    uint64_t trusted;  /* HUP_SURVEY: hup_progress.durable of a run of the same table that was cut off; the last chunks
                          of it are read again before the rest is believed */
    uint32_t mark_ms;  /* a chunked image: flush so often while writing, for hup_progress.durable; 0: not */
    uint32_t events;   /* spans to keep for hup_writer_events; 0: none. Memory above the budget: 48 bytes each */
    uint64_t rate;     /* bytes a second that target and older system are read and written with; 0: no limit */
} hup_config;

typedef enum {
    HUP_PHASE_WRITE = 0,  /* decode and write (or compare, in HUP_MODE_VERIFY) */
    HUP_PHASE_FLUSH = 1,  /* the last zeroes, the tail, the flush */
    HUP_PHASE_VERIFY = 2, /* read back */
    HUP_PHASE_DONE = 3
} hup_phase;

/* Where a run stands. A snapshot without locks: each field is right, together they may be a moment apart. */
typedef struct {
    int phase;           /* a hup_phase */
    uint64_t bytes_in;   /* bytes of input taken */
    uint64_t decoded;    /* bytes of raw image decoded */
    uint64_t done;       /* bytes of raw image that this phase is finished with */
    uint64_t image_size; /* UINT64_MAX while unknown; an estimate until the input has ended, for ordinary zstd */
    uint64_t durable;    /* with mark_ms: bytes from the start that are flushed, but for chunks of zeroes */
} hup_progress;

/* The stages of a run, in the order in which bytes go through them. */
typedef enum {
    HUP_STAGE_READ = 0,   /* into the input ring: from a descriptor, or by the caller between acquire and commit */
    HUP_STAGE_SURVEY = 1, /* looking for chunks on the target and in the older system */
    HUP_STAGE_DECODE = 2, /* input, checked, decompressed and digested; copies from the older system */
    HUP_STAGE_WRITE = 3,  /* blocks onto the target; their comparison with it, in HUP_MODE_VERIFY */
    HUP_STAGE_FLUSH = 4,  /* zeroes that were put off, the tail, the flush */
    HUP_STAGE_VERIFY = 5, /* reading back */
    HUP_STAGES = 6
} hup_stage_name;

/* What a thread of a stage does with its time. */
typedef enum {
    HUP_SPAN_BUSY = 0,
    HUP_SPAN_INPUT = 1, /* it waits for the stage before it */
    HUP_SPAN_OUTPUT = 2 /* it waits for the stage behind it, or for its turn under hup_config.rate */
} hup_span;

/* Where the time of one stage went. Nanoseconds of all its threads together. */
typedef struct {
    uint64_t busy_ns;
    uint64_t input_ns;
    uint64_t output_ns;
    uint64_t bytes;   /* that it has worked on */
    uint32_t pieces;  /* in so many pieces */
    uint32_t threads; /* that worked for it */
} hup_stage;

/* A span of one thread, for a timeline. */
typedef struct {
    int stage;         /* a hup_stage_name */
    int span;          /* a hup_span */
    uint32_t thread;   /* its number in the kernel */
    uint64_t start_ns; /* since the run was opened */
    uint64_t ns;
    uint64_t offset; /* of the image (of the input for HUP_STAGE_READ), and bytes of it: what it was busy with */
    uint64_t bytes;
} hup_event;

/* What a run did. Times are nanoseconds of wall clock. */
typedef struct {
    int format;        /* the hup_format that was found */
    int direct;        /* 1 when the target was written and read past the page cache by O_DIRECT */
    int verified;      /* 1 when the target was read back and compared, whole */
    uint32_t workers;  /* decoders that ran */
    uint32_t depth;    /* writes in flight, at most */
    uint32_t block;    /* bytes of one write, at least */
    uint64_t memory;   /* bytes that the engine allocated for rings and decoders */
    uint64_t bytes_in; /* bytes of input */
    uint64_t image_size;
    uint64_t written;   /* bytes written as data */
    uint64_t zeroed;    /* bytes zeroed without sending data */
    uint64_t unchanged; /* bytes left alone by HUP_SKIP_UNCHANGED or HUP_SURVEY */
    uint64_t copied;    /* bytes that came from the older system; they are among those written */
    uint64_t needed;    /* HUP_SURVEY: bytes of input that were asked for, or would be */
    uint64_t unmapped;  /* bytes outside the ranges */
    uint64_t write_ns;
    uint64_t flush_ns;
    uint64_t verify_ns;
    uint32_t in_flight;  /* what adapting ended with: writes in flight, at most `depth` */
    uint32_t write_size; /* and bytes of one, at least `block`; the same where nothing adapts */
    hup_stage stages[6]; /* by hup_stage_name */
} hup_report;

/* What the first bytes of an image say. */
typedef struct {
    int format;          /* a hup_format, never AUTO */
    uint64_t image_size; /* raw bytes of a chunked image; else UINT64_MAX, for the start does not say */
    uint64_t least_size; /* raw bytes that the image has at least: of a zstd image's first frame, else 0 */
    uint64_t window;     /* zstd: bytes of history that decoding needs */
    uint64_t memory;     /* the smallest budget that this image can be written with */
    uint32_t chunk_size; /* chunked: raw bytes of a chunk, else 0 */
    uint32_t chunk_count;
} hup_image;

typedef struct hup_writer hup_writer;

/* Understand the first bytes of an image. Pure. HUP_PROBE_SIZE bytes are enough; fewer, when the image is shorter.
 * HUP_E_FORMAT when they are a zstd magic with nonsense behind it. */
int hup_image_probe(const void *data, size_t size, hup_image *image, hup_error *error);

/* Open the target and start a run. On failure *writer is NULL and nothing was written.
 * The target is opened O_EXCL: a device that is mounted or held is HUP_E_TARGET with EBUSY. */
int hup_writer_open(const hup_config *config, hup_writer **writer, hup_error *error);

/* Give free input memory, *size bytes at *memory. Waits for room, timeout_ms at most (UINT32_MAX: for ever), and
 * returns HUP_RUNNING when there is none by then. *size is 0 when the run needs no more input.
 * The memory is the engine's; the caller may write to it until it calls commit, end or close.
 * A failed run is reported here too, so that a feeding loop ends by itself. */
int hup_writer_acquire(hup_writer *writer, uint32_t timeout_ms, void **memory, size_t *size, hup_error *error);

/* The first `used` bytes of the acquired memory are input now. 0 gives all of it back. */
int hup_writer_commit(hup_writer *writer, size_t used, hup_error *error);

/* HUP_SURVEY: where the next bytes of input are in the image file, and how many. What is put in must be just these, in
 * order. Waits until that is known, timeout_ms at most, and returns HUP_RUNNING when it is not by then. *length is 0
 * when nothing more is needed: then call hup_writer_end. */
int hup_writer_next_range(hup_writer *writer, uint32_t timeout_ms, uint64_t *offset, uint64_t *length,
                          hup_error *error);

/* Let the engine read the image from fd, on a thread of its own: from its current position, `length` bytes
 * (UINT64_MAX: to its end). Then the input has ended. fd is borrowed until close. Returns at once. With HUP_SURVEY
 * the fd can seek, and no more of it is read than is needed. */
int hup_writer_read_fd(hup_writer *writer, int fd, uint64_t length, hup_error *error);

/* Move bytes from a socket or pipe into the input, on the calling thread, instead of acquire and commit: `length` at
 * most, and for timeout_ms at most (below 2^31). *moved is how many came, whatever is returned.
 *   HUP_OK        all of them, or the run needs no more
 *   HUP_RUNNING   the time is over
 *   HUP_E_SOURCE  fd has given no more, and error->sys_errno says why: ETIMEDOUT: there was room, and nothing came any
 *                 more; EINTR: nor until a signal came, before the time was over; ENODATA: it has ended. The run
 *                 goes on, with another fd or with acquire.
 * Other negative values are those of the run, as with acquire. */
int hup_writer_pull(hup_writer *writer, int fd, uint64_t length, uint32_t timeout_ms, uint64_t *moved,
                    hup_error *error);

/* There is no more input. Returns at once. */
int hup_writer_end(hup_writer *writer, hup_error *error);

/* Wait for the end of the run, timeout_ms at most. HUP_RUNNING: not yet. HUP_OK: *report (may be NULL) is
 * filled. Negative: the run failed, and no thread touches the target any more. */
int hup_writer_wait(hup_writer *writer, uint32_t timeout_ms, hup_report *report, hup_error *error);

/* Copy the timeline of a run that has ended: at most `room` events, in no certain order. Returns how many there were,
 * which may be more than were kept. */
size_t hup_writer_events(const hup_writer *writer, hup_event *events, size_t room);

void hup_writer_progress(const hup_writer *writer, hup_progress *progress);

/* Ask the run to stop: wait and acquire then report HUP_E_CANCELLED. May be called at any time, by any thread,
 * but not from a signal handler: it takes a lock. */
void hup_writer_cancel(hup_writer *writer);

/* Stop if need be, join every thread, close and free all. NULL is allowed. */
void hup_writer_close(hup_writer *writer);

/* -------- measuring: what a medium and a processor can do, by the means that a run uses -------- */

typedef enum {
    HUP_BENCH_WRITE = 0,  /* noise in each block, and no two sectors that are the same */
    HUP_BENCH_READ = 1,   /* past every cache */
    HUP_BENCH_ZERO = 2,   /* zeroes that are asked for, as a run does */
    HUP_BENCH_DISCARD = 3 /* BLKDISCARD, or a hole in a file; a run never does that */
} hup_bench_operation;

typedef enum {
    HUP_BENCH_THREADS = 0, /* a thread for each operation in flight, as a run does */
    HUP_BENCH_URING = 1    /* io_uring, reads and writes past the page cache only */
} hup_bench_method;

/* What to measure. All that it points to is borrowed until hup_bench_open returns. */
typedef struct {
    const char *target; /* path of a block device or a regular file; it is overwritten, but by HUP_BENCH_READ */
    hup_bench_operation operation;
    hup_bench_method method;
    uint32_t block;       /* bytes of one operation, a power of two from 64 KiB to 4 MiB */
    uint32_t depth;       /* operations in flight, 1 to 32 */
    uint64_t offset;      /* of the part of the target that is used, a multiple of 4096 */
    uint64_t length;      /* of that part, a multiple of the block; what is moved goes round in it */
    uint64_t first;       /* where in that part it begins, a multiple of the block and less than the length */
    uint64_t total;       /* bytes to move, rounded up to blocks; UINT64_MAX: until the time is over */
    uint32_t limit_ms;    /* start no operation after that; 0: no limit */
    uint64_t flush_every; /* wait for all that is in flight and flush, each time that so many bytes are written, a
                             multiple of the block; 0: at the end only. At the end there is a flush in any case */
    size_t room;          /* samples to keep, 24 bytes each; later operations are counted only */
    uint32_t abandon_ms;  /* of an io_uring that has failed: wait so long for what is in flight; 0: 30 s */
} hup_bench_config;

/* One operation. Times are nanoseconds, from the start of the measurement. */
typedef struct {
    uint64_t start_ns;
    uint64_t ns; /* that it took */
    uint64_t offset;
} hup_bench_sample;

/* What was done. Times are nanoseconds of wall clock. */
typedef struct {
    int direct;     /* 1 when the page cache was bypassed to the end */
    uint32_t align; /* bytes of a sector */
    uint64_t bytes;
    uint64_t operations;
    uint64_t ns;           /* all of it, flushes included */
    uint64_t flush_ns;     /* of these, in flushes */
    uint64_t flush_max_ns; /* the longest flush */
    uint64_t flushes;
} hup_bench_result;

typedef struct hup_bench hup_bench;

/* Open the target, as hup_writer_open does, and start to measure. On failure *bench is NULL and nothing was written.
 * HUP_E_SYSTEM with ENOSYS, EPERM or EOPNOTSUPP: there is no io_uring here, it is forbidden, or the target takes no
 * direct I/O. */
int hup_bench_open(const hup_bench_config *config, hup_bench **bench, hup_error *error);

/* Wait for the end, timeout_ms at most. HUP_RUNNING: not yet. HUP_OK: *result is filled. Negative: it failed, and
 * nothing is in flight any more (but with a broken io_uring, on a medium that takes more than abandon_ms for an
 * operation: its memory and the ring are then left to the kernel).
 * HUP_E_SYSTEM with EOPNOTSUPP: the target knows no HUP_BENCH_DISCARD. */
int hup_bench_wait(hup_bench *bench, uint32_t timeout_ms, hup_bench_result *result, hup_error *error);

/* The samples, in the order in which the operations ended. They are the engine's, until hup_bench_close; only after
 * hup_bench_wait has returned HUP_OK. */
const hup_bench_sample *hup_bench_samples(const hup_bench *bench, size_t *count);

/* Stop early; hup_bench_wait then returns HUP_E_CANCELLED. Any thread, any time. */
void hup_bench_cancel(hup_bench *bench);

/* Stop if need be, wait for what is in flight, close and free all. NULL is allowed. */
void hup_bench_close(hup_bench *bench);

/* Compress a piece of an image into a zstd frame of its own, whatever the level in no more than 4 MiB of memory for a
 * piece of 1 MiB. room: hup_bench_room(size) is enough. xxh3: of the raw bytes, as in a chunk table. HUP_E_USAGE: it is
 * not. */
int hup_bench_compress(const void *data, size_t size, int level, void *frame, size_t room, size_t *length,
                       uint8_t xxh3[16], hup_error *error);
size_t hup_bench_room(size_t size);

typedef enum { HUP_BENCH_DECOMPRESS = 0, HUP_BENCH_SHA256 = 1, HUP_BENCH_XXH3 = 2 } hup_bench_kind;

/* What a stage is given. */
typedef struct {
    const void *data; /* borrowed */
    size_t size;
    size_t raw; /* HUP_BENCH_DECOMPRESS: bytes that the frame gives */
} hup_bench_piece;

/* Let `threads` (1 to 16) threads do one stage over and over with these pieces, for milliseconds. *rate: bytes a second
 * of all together, raw ones for HUP_BENCH_DECOMPRESS. HUP_E_FORMAT: a piece is no frame of that size. */
int hup_bench_stage(hup_bench_kind kind, const hup_bench_piece *pieces, size_t count, uint32_t threads,
                    uint32_t milliseconds, uint64_t *rate, hup_error *error);

/* SHA-256 of memory. */
int hup_sha256(const void *data, size_t size, uint8_t digest[32], hup_error *error);

/* A public key of Ed25519. id: SHA-256 of its DER SubjectPublicKeyInfo, by which signatures name it. */
typedef struct {
    uint8_t bytes[32];
    uint8_t id[32];
} hup_key;

/* Read the one public key in a PEM file. HUP_E_FORMAT, with what is there instead, for all that is not exactly that:
 * another kind of key, a private key, several. */
int hup_key_parse(const void *pem, size_t size, hup_key *key, hup_error *error);

/* Plain Ed25519 (RFC 8032, not the pre-hashed one) over all of data. HUP_E_DIGEST: the signature is wrong. */
int hup_signature_verify(const hup_key *key, const void *data, size_t size, const uint8_t signature[64],
                         hup_error *error);

/* Give an empty file of a filesystem its room for `size` bytes; its size stays 0. HUP_OK too where the filesystem
 * cannot do that. size is above 0. HUP_E_SYSTEM: sys_errno, ENOSPC among them. */
int hup_reserve(int fd, uint64_t size, hup_error *error);

/* "hupfast 0.1.0, zstd 1.5.4". Static storage. */
const char *hup_version(void);

/* cffi: end */

#define HUP_PROBE_SIZE 4096
#define HUP_MEMORY_DEFAULT (16u << 20)
#define HUP_UNKNOWN UINT64_MAX

#ifdef __cplusplus
}
#endif

#endif

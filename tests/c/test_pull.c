/* Pulling from a socket: every byte arrives, no byte too many is taken, and what goes wrong with the socket is told. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "hupfast.h"
#include "image.h"

enum { SIZE = 5 * 1024 * 1024 + 777 };

/* A run onto a file of its own, and a socket whose other end a test holds. */
struct job {
    hup_writer *writer;
    char *target;
    int ours, theirs;
    hup_error error;
};

static struct job job_open(uint64_t rate)
{
    struct job job = { 0 };
    uint8_t *empty = calloc(1, SIZE);
    int ends[2];

    CHECK(empty && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    job.ours = ends[0];
    job.theirs = ends[1];
    job.target = image_file(empty, SIZE);
    free(empty);
    hup_config config = { .image_size = HUP_UNKNOWN, .memory = 4 << 20, .target = job.target, .rate = rate };
    CHECK_EQUAL(hup_writer_open(&config, &job.writer, &job.error), HUP_OK);
    return job;
}

/* The run ends, and the target holds these bytes. */
static void job_finish(struct job *job, const struct bytes *raw)
{
    int status;

    CHECK_EQUAL(hup_writer_end(job->writer, &job->error), HUP_OK);
    while ((status = hup_writer_wait(job->writer, 1000, NULL, &job->error)) == HUP_RUNNING)
        ;
    CHECK_EQUAL(status, HUP_OK);
    struct bytes now = image_load(job->target);
    CHECK(now.size >= raw->size && memcmp(now.data, raw->data, raw->size) == 0);
    free(now.data);
}

static void job_close(struct job *job)
{
    hup_writer_close(job->writer);
    close(job->ours);
    close(job->theirs);
    unlink(job->target);
    free(job->target);
}

static int pull(struct job *job, uint64_t length, uint32_t timeout_ms, uint64_t *moved)
{
    return hup_writer_pull(job->writer, job->ours, length, timeout_ms, moved, &job->error);
}

struct sender {
    int fd;
    const struct bytes *bytes;
};

static void *send_all(void *argument)
{
    struct sender *sender = argument;

    for (size_t at = 0, piece = 1; at < sender->bytes->size; piece = piece * 7 % 100003) {
        size_t left = sender->bytes->size - at;
        ssize_t sent = send(sender->fd, sender->bytes->data + at, piece < left ? piece : left, MSG_NOSIGNAL);
        CHECK(sent > 0);
        at += (size_t)sent;
    }
    return NULL;
}

/* In time-outs much shorter than the whole takes, and from a thread that sends pieces of all sizes. */
static void arrives(const struct bytes *image, const struct bytes *raw)
{
    struct job job = job_open(0);
    struct sender sender = { job.theirs, image };
    pthread_t thread;

    CHECK_EQUAL(pthread_create(&thread, NULL, send_all, &sender), 0);
    for (uint64_t done = 0, moved; done < image->size; done += moved) {
        int status = pull(&job, image->size - done, 1, &moved);
        CHECK(status == HUP_OK || status == HUP_RUNNING ||
              (status == HUP_E_SOURCE && job.error.sys_errno == ETIMEDOUT));
        CHECK((status == HUP_OK) == (done + moved == image->size));
    }
    pthread_join(thread, NULL);
    job_finish(&job, raw);
    job_close(&job);
}

/* What stands behind `length` stays in the socket: the next answer of a server. */
static void takes_no_more(void)
{
    struct job job = job_open(0);
    char next[8] = "";
    uint64_t moved;

    CHECK_EQUAL(send(job.theirs, "0123456789", 10, 0), 10);
    CHECK_EQUAL(pull(&job, 7, 1000, &moved), HUP_OK);
    CHECK_EQUAL(moved, 7);
    CHECK_EQUAL(recv(job.ours, next, sizeof next, MSG_DONTWAIT), 3);
    CHECK(memcmp(next, "789", 3) == 0);
    job_close(&job);
}

/* Silence, then a few bytes, then the end; and from another socket the rest: the run has not been harmed. */
static void goes_on_elsewhere(const struct bytes *image, const struct bytes *raw)
{
    struct job job = job_open(0);
    uint64_t moved, since = hup_clock_ns();

    CHECK_EQUAL(pull(&job, image->size, 50, &moved), HUP_E_SOURCE);
    CHECK_EQUAL(job.error.sys_errno, ETIMEDOUT);
    CHECK_EQUAL(moved, 0);
    CHECK(hup_clock_ns() - since >= 50000000);

    CHECK_EQUAL(send(job.theirs, image->data, 1000, 0), 1000);
    CHECK_EQUAL(pull(&job, image->size, 50, &moved), HUP_E_SOURCE);
    CHECK_EQUAL(job.error.sys_errno, ETIMEDOUT);
    CHECK_EQUAL(moved, 1000);

    CHECK_EQUAL(send(job.theirs, image->data + 1000, 500, 0), 500);
    close(job.theirs);
    CHECK_EQUAL(pull(&job, image->size, 1000, &moved), HUP_E_SOURCE);
    CHECK_EQUAL(job.error.sys_errno, ENODATA);
    CHECK_EQUAL(moved, 500);

    int ends[2];
    struct bytes rest = { image->data + 1500, image->size - 1500 };
    close(job.ours);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    job.ours = ends[0];
    job.theirs = ends[1];
    struct sender sender = { job.theirs, &rest };
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, send_all, &sender), 0);
    CHECK_EQUAL(pull(&job, rest.size, 60000, &moved), HUP_OK);
    CHECK_EQUAL(moved, rest.size);
    pthread_join(thread, NULL);
    job_finish(&job, raw);
    job_close(&job);
}

/* A descriptor that cannot be read at all. */
static void tells_errno(void)
{
    struct job job = job_open(0);
    uint64_t moved;

    close(job.ours);
    job.ours = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQUAL(pull(&job, 10, 1000, &moved), HUP_E_SOURCE);
    CHECK_EQUAL(job.error.sys_errno, EISDIR);
    job_close(&job);
}

/* The target takes 64 KiB a second: soon the time ends without room, however much the socket has. */
static void waits_for_room(void)
{
    struct job job = job_open(64 << 10);
    uint8_t noise[4096];
    uint64_t moved;
    int status;

    fill(noise, sizeof noise, 1);
    do {
        while (send(job.theirs, noise, sizeof noise, MSG_DONTWAIT) > 0)
            ;
        status = pull(&job, SIZE, 50, &moved);
    } while (moved);
    CHECK_EQUAL(status, HUP_RUNNING);
    job_close(&job);
}

static void on_alarm(int number)
{
    (void)number;
}

/* A signal ends a pull early, and can be told from a run without room: the fd has been silent until then. */
static void hears_a_signal(void)
{
    struct job job = job_open(0);
    struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
    uint64_t moved, since = hup_clock_ns();

    CHECK(sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm, .sa_flags = SA_RESTART }, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    CHECK_EQUAL(pull(&job, 10, 60000, &moved), HUP_E_SOURCE);
    CHECK_EQUAL(job.error.sys_errno, EINTR);
    CHECK(hup_clock_ns() - since < 30000000000u);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    job_close(&job);
}

static void *cancel_soon(void *argument)
{
    usleep(100000);
    hup_writer_cancel(argument);
    return NULL;
}

/* A pull that waits for the network hears that the run is over. */
static void hears_the_end(void)
{
    struct job job = job_open(0);
    pthread_t thread;
    uint64_t moved, since = hup_clock_ns();

    CHECK_EQUAL(pthread_create(&thread, NULL, cancel_soon, job.writer), 0);
    CHECK_EQUAL(pull(&job, 10, 60000, &moved), HUP_E_CANCELLED);
    CHECK(hup_clock_ns() - since < 30000000000u);
    pthread_join(thread, NULL);
    job_close(&job);
}

int main(void)
{
    struct bytes raw = image_raw(SIZE);
    struct bytes frame = image_frame(raw.data, raw.size, 3, 1, 1, 20);
    struct bytes chunked = image_chunked(raw.data, raw.size, 256 << 10);

    arrives(&frame, &raw);
    arrives(&chunked, &raw);
    takes_no_more();
    goes_on_elsewhere(&chunked, &raw);
    tells_errno();
    waits_for_room();
    hears_a_signal();
    hears_the_end();
    free(raw.data);
    free(frame.data);
    free(chunked.data);
    return 0;
}

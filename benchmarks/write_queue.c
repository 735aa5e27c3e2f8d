/* Which way of keeping several writes in flight is cheaper: a pool of pwrite threads, or io_uring?
 *
 *     cc -O2 -D_GNU_SOURCE benchmarks/write_queue.c -luring -lpthread -o build/write_queue
 *     build/write_queue TARGET [MIB]          overwrites TARGET
 *
 * Both write the same bytes with O_DIRECT, in turn, five rounds; each line is the median of the rounds. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>

enum { ROUNDS = 5, DEPTH_MAX = 16 };

struct job {
    int fd;
    uint8_t *memory; /* depth blocks */
    size_t block;
    unsigned depth;
    uint64_t blocks;
    _Atomic uint64_t next;
};

struct cost {
    double wall, cpu;
};

static void die(const char *what, int number)
{
    fprintf(stderr, "%s: %s\n", what, strerror(number));
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct thread {
    struct job *job;
    unsigned index;
};

static void *write_blocks(void *argument)
{
    struct thread *thread = argument;
    struct job *job = thread->job;
    uint64_t i;

    while ((i = atomic_fetch_add(&job->next, 1)) < job->blocks)
        if (pwrite(job->fd, job->memory + thread->index * job->block, job->block, (off_t)(i * job->block)) !=
            (ssize_t)job->block)
            die("pwrite", errno);
    return NULL;
}

static void with_threads(struct job *job)
{
    pthread_t ids[DEPTH_MAX];
    struct thread threads[DEPTH_MAX];

    for (unsigned i = 0; i < job->depth; i++) {
        threads[i] = (struct thread){ job, i };
        pthread_create(&ids[i], NULL, write_blocks, &threads[i]);
    }
    for (unsigned i = 0; i < job->depth; i++)
        pthread_join(ids[i], NULL);
}

static void submit(struct io_uring *ring, struct job *job, unsigned index)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    uint64_t i = job->next++;

    io_uring_prep_write_fixed(sqe, 0, job->memory + index * job->block, (unsigned)job->block, i * job->block,
                              (int)index);
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, index);
}

static void with_ring(struct job *job)
{
    struct io_uring ring;
    struct iovec buffers[DEPTH_MAX];
    struct io_uring_cqe *cqe;
    unsigned flying = 0;
    int failed;

    if ((failed = io_uring_queue_init(job->depth, &ring, 0)) < 0)
        die("io_uring", -failed);
    for (unsigned i = 0; i < job->depth; i++)
        buffers[i] = (struct iovec){ job->memory + i * job->block, job->block };
    if ((failed = io_uring_register_buffers(&ring, buffers, job->depth)) < 0 ||
        (failed = io_uring_register_files(&ring, &job->fd, 1)) < 0)
        die("io_uring register", -failed);
    for (; flying < job->depth && job->next < job->blocks; flying++)
        submit(&ring, job, flying);
    while (flying) {
        if ((failed = io_uring_submit_and_wait(&ring, 1)) < 0)
            die("io_uring submit", -failed);
        while (io_uring_peek_cqe(&ring, &cqe) == 0) {
            unsigned index = (unsigned)io_uring_cqe_get_data64(cqe);
            if (cqe->res != (int)job->block)
                die("io_uring write", cqe->res < 0 ? -cqe->res : EIO);
            io_uring_cqe_seen(&ring, cqe);
            flying--;
            if (job->next < job->blocks) {
                submit(&ring, job, index);
                flying++;
            }
        }
    }
    io_uring_queue_exit(&ring);
}

static struct cost measure(struct job *job, void (*way)(struct job *))
{
    job->next = 0;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    way(job);
    if (fsync(job->fd) < 0)
        die("fsync", errno);
    return (struct cost){ seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu };
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct cost *costs, int cpu)
{
    double values[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        values[i] = cpu ? costs[i].cpu : costs[i].wall;
    qsort(values, ROUNDS, sizeof values[0], by_size);
    return values[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    static const size_t blocks[] = { 64 << 10, 256 << 10, 1 << 20, 4 << 20 };
    static const unsigned depths[] = { 1, 4, 8 };
    uint64_t total = (argc > 2 ? strtoull(argv[2], NULL, 10) : 512) << 20;

    if (argc < 2)
        return fprintf(stderr, "usage: %s TARGET [MIB]\n", argv[0]), 2;
    int fd = open(argv[1], O_WRONLY | O_DIRECT | O_EXCL | O_CLOEXEC);
    if (fd < 0)
        die(argv[1], errno);
    uint8_t *memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap", errno);
    memset(memory, 'x', 64 << 20);

    printf("| block | depth | pwrite pool MB/s | io_uring MB/s | ratio | pool CPU s | io_uring CPU s |\n");
    printf("|---|---|---|---|---|---|---|\n");
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
            struct job job = { fd, memory, blocks[b], depths[d], total / blocks[b], 0 };
            struct cost pool[ROUNDS], ring[ROUNDS];
            for (int i = 0; i < ROUNDS; i++) {
                pool[i] = measure(&job, with_threads);
                ring[i] = measure(&job, with_ring);
            }
            double p = median(pool, 0), r = median(ring, 0);
            printf("| %zu KiB | %u | %.0f | %.0f | %.2f | %.2f | %.2f |\n", blocks[b] >> 10, depths[d],
                   (double)total / p / 1e6, (double)total / r / 1e6, r / p, median(pool, 1), median(ring, 1));
        }
    return 0;
}

/* The input ring.
 *
 *      0            claimed    filled      capacity
 *      |  free  |held|  ready  |   free     |slack|
 *
 * A piece that a decoder asks for must lie in one piece. Where it goes over the end of the ring, its rest is
 * copied from the start of the ring to the slack behind the end. That copy is safe until the ring has gone
 * round once more, and by then whoever held it has released it. */
#include "input.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "error.h"

int hup_input_init(struct hup_input *input, struct hup_gate *gate, uint64_t most, bool hashing, hup_error *error)
{
    *input = (struct hup_input){ .gate = gate, .reserved = (size_t)most, .hashing = hashing };
    for (size_t i = 0; i < HUP_WORKERS_MAX; i++)
        input->held[i] = UINT64_MAX;
    if (hashing)
        SHA256_Init(&input->hash);
    input->memory =
        mmap(NULL, input->reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (input->memory == MAP_FAILED)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "cannot allocate the input ring");
    int status = hup_gate_condition(gate, &input->room, error);
    if (!status)
        status = hup_gate_condition(gate, &input->data, error);
    if (status)
        munmap(input->memory, input->reserved);
    return status;
}

void hup_input_destroy(struct hup_input *input)
{
    munmap(input->memory, input->reserved);
}

void hup_input_resize(struct hup_input *input, uint64_t capacity)
{
    pthread_mutex_lock(&input->gate->lock);
    if (capacity > input->capacity) {
        input->capacity = (size_t)capacity;
        pthread_cond_signal(&input->room);
    }
    pthread_mutex_unlock(&input->gate->lock);
}

/* Bytes up to here may be overwritten. Under the lock. */
static uint64_t released(const struct hup_input *input)
{
    uint64_t least = input->claimed;

    for (size_t i = 0; i < HUP_WORKERS_MAX; i++)
        if (input->held[i] < least)
            least = input->held[i];
    return least;
}

/* Wait until the ring has room, or the producer has to know something else. Under the lock. False: time is over. */
static bool wait_for_room(struct hup_input *input, uint32_t timeout_ms)
{
    struct hup_gate *gate = input->gate;
    struct timespec deadline = hup_clock_deadline(timeout_ms);
    uint64_t since = hup_clock_ns();
    int number = 0;

    while (input->filled - released(input) == input->capacity && !gate->stopped && !input->closed && !number)
        number = timeout_ms == UINT32_MAX ? pthread_cond_wait(&input->room, &gate->lock)
                                          : pthread_cond_timedwait(&input->room, &gate->lock, &deadline);
    hup_trace_add(&gate->trace, HUP_STAGE_READ, HUP_SPAN_OUTPUT, since, 0, 0);
    return number == 0;
}

int hup_input_acquire(struct hup_input *input, uint32_t timeout_ms, void **memory, size_t *size, hup_error *error)
{
    struct hup_gate *gate = input->gate;
    int status = HUP_OK;

    *memory = NULL;
    *size = 0;
    pthread_mutex_lock(&gate->lock);
    if (input->acquired || input->ended) {
        status = hup_fail(error, HUP_E_USAGE, 0, 0,
                          input->ended ? "input was given after its end" : "input was acquired twice");
    } else if (!wait_for_room(input, timeout_ms)) {
        status = HUP_RUNNING;
    } else if (gate->stopped) {
        status = gate->error.status;
        if (error)
            *error = gate->error;
    } else if (!input->closed) {
        size_t at = (size_t)(input->filled % input->capacity);
        size_t room = (size_t)(input->capacity - (input->filled - released(input)));
        *memory = input->memory + at;
        *size = input->acquired = room < input->capacity - at ? room : input->capacity - at;
    }
    pthread_mutex_unlock(&gate->lock);
    return status;
}

int hup_input_commit(struct hup_input *input, size_t used, hup_error *error)
{
    struct hup_gate *gate = input->gate;
    int status = HUP_OK;

    pthread_mutex_lock(&gate->lock);
    if (!input->acquired) {
        status = hup_fail(error, HUP_E_USAGE, 0, 0, "input was committed that was not acquired");
    } else if (used > input->acquired) {
        status = hup_fail(error, HUP_E_USAGE, 0, 0, "more input was committed than was acquired");
    } else {
        input->filled += used;
        input->acquired = 0;
        pthread_cond_broadcast(&input->data);
    }
    pthread_mutex_unlock(&gate->lock);
    return status;
}

void hup_input_end(struct hup_input *input)
{
    pthread_mutex_lock(&input->gate->lock);
    input->ended = true;
    pthread_cond_broadcast(&input->data);
    pthread_mutex_unlock(&input->gate->lock);
}

void hup_input_close(struct hup_input *input)
{
    pthread_mutex_lock(&input->gate->lock);
    input->closed = true;
    pthread_cond_broadcast(&input->room);
    pthread_mutex_unlock(&input->gate->lock);
}

/* Wait until n bytes are ready, or all there will be. Under the lock. Negative: the run is over. */
static int wait_for(struct hup_input *input, size_t n, size_t *got)
{
    struct hup_gate *gate = input->gate;

    while (input->filled - input->claimed < n && !input->ended && !gate->stopped) {
        uint64_t since = hup_clock_ns();
        pthread_cond_wait(&input->data, &gate->lock);
        hup_trace_add(&gate->trace, HUP_STAGE_DECODE, HUP_SPAN_INPUT, since, 0, 0);
    }
    uint64_t ready = input->filled - input->claimed;
    *got = ready < n ? (size_t)ready : n;
    return gate->stopped ? HUP_E_CANCELLED : HUP_OK; /* the reason is in the gate */
}

int hup_input_peek(struct hup_input *input, size_t n, const uint8_t **data, size_t *got)
{
    pthread_mutex_lock(&input->gate->lock);
    int status = wait_for(input, n, got);
    pthread_mutex_unlock(&input->gate->lock);
    *data = input->memory;
    return status;
}

int hup_input_claim(struct hup_input *input, uint32_t worker, size_t n, const uint8_t **data, size_t *got)
{
    struct hup_gate *gate = input->gate;

    pthread_mutex_lock(&gate->lock);
    if (wait_for(input, n, got)) {
        pthread_mutex_unlock(&gate->lock);
        return HUP_E_CANCELLED;
    }
    size_t at = (size_t)(input->claimed % input->capacity);
    input->held[worker] = input->claimed;
    input->claimed += *got;
    atomic_store_explicit(&input->taken, input->claimed, memory_order_relaxed);
    pthread_mutex_unlock(&gate->lock);

    if (at + *got > input->capacity)
        memcpy(input->memory + input->capacity, input->memory, at + *got - input->capacity);
    *data = input->memory + at;
    if (input->hashing)
        SHA256_Update(&input->hash, *data, *got);
    return HUP_OK;
}

void hup_input_release(struct hup_input *input, uint32_t worker)
{
    pthread_mutex_lock(&input->gate->lock);
    input->held[worker] = UINT64_MAX;
    pthread_cond_signal(&input->room);
    pthread_mutex_unlock(&input->gate->lock);
}

void hup_input_digest(struct hup_input *input, uint8_t digest[32])
{
    SHA256_Final(digest, &input->hash);
}

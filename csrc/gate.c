/* What the threads of one run share. */
#include "gate.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "error.h"

int hup_gate_init(struct hup_gate *gate, uint32_t events, hup_error *error)
{
    *gate = (struct hup_gate){ .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (gate->wake_fd < 0)
        return hup_fail_errno(error, HUP_E_SYSTEM, errno, 0, 0, "cannot make an eventfd");
    int status = hup_trace_init(&gate->trace, events, error);
    if (status) {
        close(gate->wake_fd);
        return status;
    }
    int number = pthread_mutex_init(&gate->lock, NULL);
    if (number) {
        hup_trace_destroy(&gate->trace);
        close(gate->wake_fd);
        return hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "cannot make a lock");
    }
    return HUP_OK;
}

void hup_gate_destroy(struct hup_gate *gate)
{
    for (size_t i = 0; i < gate->condition_count; i++)
        pthread_cond_destroy(gate->conditions[i]);
    pthread_mutex_destroy(&gate->lock);
    hup_trace_destroy(&gate->trace);
    close(gate->wake_fd);
}

int hup_gate_condition(struct hup_gate *gate, pthread_cond_t *condition, hup_error *error)
{
    pthread_condattr_t attributes;
    int number = pthread_condattr_init(&attributes);

    if (!number) {
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        number = pthread_cond_init(condition, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    if (number)
        return hup_fail_errno(error, HUP_E_SYSTEM, number, 0, 0, "cannot make a condition");
    pthread_mutex_lock(&gate->lock);
    gate->conditions[gate->condition_count++] = condition;
    pthread_mutex_unlock(&gate->lock);
    return HUP_OK;
}

int hup_gate_fail(struct hup_gate *gate, const hup_error *error)
{
    pthread_mutex_lock(&gate->lock);
    bool lower =
        gate->error.status == HUP_E_MISMATCH && error->status == HUP_E_MISMATCH && error->offset < gate->error.offset;
    if (!gate->stopped || lower)
        gate->error = *error;
    if (!gate->stopped) {
        atomic_store(&gate->stopped, true);
        for (size_t i = 0; i < gate->condition_count; i++)
            pthread_cond_broadcast(gate->conditions[i]);
        uint64_t one = 1;
        /* A counter of 1 cannot overflow, so that this write cannot fail. */
        ssize_t ignored = write(gate->wake_fd, &one, sizeof one);
        (void)ignored;
    }
    pthread_mutex_unlock(&gate->lock);
    return error->status;
}

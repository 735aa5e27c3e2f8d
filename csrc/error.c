/* Filling a hup_error. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(hup_error *error, int status, const char *format, va_list args)
{
    *error = (hup_error){ .status = status };
    vsnprintf(error->message, sizeof error->message, format, args);
}

int hup_fail(hup_error *error, int status, uint64_t offset, uint64_t length, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        fill(error, status, format, args);
        va_end(args);
        error->offset = offset;
        error->length = length;
    }
    return status;
}

int hup_fail_errno(hup_error *error, int status, int number, uint64_t offset, uint64_t length, const char *format, ...)
{
    if (error) {
        char text[96] = "";
        va_list args;
        va_start(args, format);
        fill(error, status, format, args);
        va_end(args);
        error->sys_errno = number;
        error->offset = offset;
        error->length = length;
        /* The GNU strerror_r returns its text, which need not be in the buffer; strerror is not thread-safe. */
        const char *reason = strerror_r(number, text, sizeof text);
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used, ": %s", reason);
    }
    return status;
}

int hup_fail_needed(hup_error *error, int status, uint64_t needed, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        fill(error, status, format, args);
        va_end(args);
        error->needed = needed;
    }
    return status;
}

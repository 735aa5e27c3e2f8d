/* Filling a hup_error. Internal. */
#ifndef HUPFAST_ERROR_H
#define HUPFAST_ERROR_H

#include "hupfast.h"

/* Record a failure in *error (NULL is allowed) and return its status, so that a caller can write
 * `return hup_fail(...)`. offset and length as in hup_error. */
__attribute__((format(printf, 5, 6))) int hup_fail(hup_error *error, int status, uint64_t offset, uint64_t length,
                                                   const char *format, ...);

/* The same for a failed system call: `number` is its errno, whose text is put behind the message. */
__attribute__((format(printf, 6, 7))) int hup_fail_errno(hup_error *error, int status, int number, uint64_t offset,
                                                         uint64_t length, const char *format, ...);

/* The same for HUP_E_MEMORY and HUP_E_TARGET, which say how many bytes would do. */
__attribute__((format(printf, 4, 5))) int hup_fail_needed(hup_error *error, int status, uint64_t needed,
                                                          const char *format, ...);

#endif

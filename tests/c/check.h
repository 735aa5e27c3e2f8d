/* The whole of the test framework: a C test is a program that exits with 0 (passed), 1 (failed) or 77 (skipped). */
#ifndef HUPFAST_CHECK_H
#define HUPFAST_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_EQUAL(is, should)                                                                                        \
    do {                                                                                                               \
        long long is_ = (long long)(is), should_ = (long long)(should);                                                \
        if (is_ != should_) {                                                                                          \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #is, is_, should_);                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Bytes that look like nothing in particular, the same each time. */
static inline void fill(unsigned char *data, size_t size, unsigned seed)
{
    unsigned long long state = seed * 2654435761u + 1;

    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = (unsigned char)(state >> 56);
    }
}

#endif

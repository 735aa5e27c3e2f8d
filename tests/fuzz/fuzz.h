/* A fuzz target is this one function, on bytes. Without libFuzzer, main.c calls it with the files it is given. */
#ifndef HUPFAST_FUZZ_H
#define HUPFAST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

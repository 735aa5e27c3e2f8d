/* Runs a fuzz target over files, as an ordinary test: each file whole, cut short, and with each of its bits flipped in
 * its first kilobyte. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

enum { FLIPPED = 1024, SIZE_MAX_READ = 1 << 20 };

static void try_all(uint8_t *data, size_t size)
{
    LLVMFuzzerTestOneInput(data, size);
    for (size_t cut = 0; cut < size && cut < FLIPPED; cut++)
        LLVMFuzzerTestOneInput(data, cut);
    for (size_t bit = 0; bit < 8 * size && bit < 8 * FLIPPED; bit += 5) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        LLVMFuzzerTestOneInput(data, size);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(int argc, char **argv)
{
    uint8_t *data = malloc(SIZE_MAX_READ);

    for (int i = 1; data && i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file)
            return perror(argv[i]), 1;
        try_all(data, fread(data, 1, SIZE_MAX_READ, file));
        fclose(file);
    }
    free(data);
    return argc > 1 ? 0 : 1;
}

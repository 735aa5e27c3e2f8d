/* A failing medium for tests: see faults.c. */
#ifndef HUPFAST_TEST_FAULTS_H
#define HUPFAST_TEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* -------- for the tests -------- */

/* From now on make these faults ("op:kind:n[:times]", commas between several) on the file at path. NULL: none.
 * Call it while no other thread uses the file. Ends the program when the text is nonsense. */
void hup_faults_set(const char *path, const char *text);

/* How many calls went wrong since then. */
unsigned hup_faults_hits(void);

/* Where the first of them was: the bytes that it was asked for; of a flip, the byte that was changed. */
uint64_t hup_faults_offset(void);
uint64_t hup_faults_length(void);

/* -------- between faults.c and calls.c -------- */

enum fault_op { OP_WRITE, OP_FLUSH, OP_SETTLE, OP_READ, OP_ZERO, OP_SPACE, OP_SOURCE, OP_RING, OP_SUBMIT };
enum fault_kind { KIND_NONE, KIND_ERRNO, KIND_FLIP, KIND_DROP, KIND_SHORT, KIND_ODD, KIND_NODIRECT, KIND_SLOW };

/* Is it this file that suffers? */
bool hup_faults_on(int fd);

/* What this call is to suffer, or KIND_NONE. For KIND_ERRNO, errno is set; else it is kept. */
enum fault_kind hup_faults_suffer(enum fault_op op, int fd, uint64_t offset, uint64_t length);

#endif

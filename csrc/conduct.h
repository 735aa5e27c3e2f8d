/* The order of a run's stages. Internal. */
#ifndef HUPFAST_CONDUCT_H
#define HUPFAST_CONDUCT_H

#include "run.h"

/* Carry out the whole run: identify the image, decode and write it, flush, read back. Returns with no thread of its
 * own left. HUP_OK, or negative with the reason in the gate. */
int hup_conduct(struct hup_run *run);

#endif

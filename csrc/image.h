/* What the first bytes of an image say. Internal. */
#ifndef HUPFAST_IMAGE_H
#define HUPFAST_IMAGE_H

#include "layout.h"
#include "table.h"

/* As hup_image_probe, for a format that the caller may know better; *table is filled for a chunked image. */
int hup_image_identify(const void *data, size_t size, int format, hup_image *image, struct hup_table_header *table,
                       hup_error *error);

/* What such an image asks of the memory budget. */
struct hup_demand hup_image_demand(const hup_image *image, const struct hup_table_header *table);

#endif

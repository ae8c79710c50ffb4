/* Fuzzes picture decoding: any bytes give a picture within the limits or a sentence, and header and
 * pixels agree. Sides are limited so that a run stays quick. */
/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "base/limits.h"
#include "media/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    limits_table[LIMIT_image_pixels].value = 1 << 18;
    limits_table[LIMIT_image_scans].value = 20;
    struct image_options options = {(enum image_alpha)(size % IMAGE_ALPHA_COUNT), size % 3 != 0};
    struct image_info info;
    struct image img;
    int known = image_probe(span_of(data, size), &options, &info);
    int rc = image_decode(span_of(data, size), &options, &img);
    if (rc < 0 && img.data)
        abort();
    if (rc == 0 && (known < 0 || info.width != img.width || info.height != img.height))
        abort();
    if (rc == 0 && image_bytes(&img) > LIMIT_OF(image_pixels) * 4)
        abort();
    uint32_t sum = 0; /* reads every byte, for the sanitizers */
    for (size_t i = 0; i < image_bytes(&img); i++)
        sum = sum * 31 + img.data[i];
    volatile uint32_t sink = sum;
    (void)sink;
    image_free(&img);
    return 0;
}

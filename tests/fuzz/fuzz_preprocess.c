/* Fuzzes preprocessor_config.json: any bytes are refused or give facts that can be run on a small
 * picture and written back. */
/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "base/limits.h"
#include "media/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { FLOATS = 3 * 256 * 256 };
    static float out[FLOATS];
    struct preprocess_facts facts, back;
    limits_table[LIMIT_image_side].value = 1024;
    if (preprocess_parse(span_of(data, size), "fuzz", &facts) < 0)
        return 0;
    json_t *json = NULL;
    if (preprocess_json(&facts, &json) < 0 || preprocess_read(json, "again", &back) < 0)
        abort();
    json_decref(json);
    uint8_t pixels[5 * 4 * 3] = {1, 2, 3};
    struct image img = {.width = 5, .height = 4, .channels = 3, .data = pixels};
    int width, height;
    if (preprocess_size(&facts, 5, 4, &width, &height) < 0)
        return 0;
    int rc = (int64_t)width * height <= FLOATS / 3 ? preprocess_run(&facts, &img, out, FLOATS) : 0;
    (void)rc; /* a resize far beyond the crop may run into a limit */
    return 0;
}

/* Fuzzes preprocessor_config.json and sizes: any bytes are refused or give facts that can be written
 * back, planned within a budget and run on a small picture. The first bytes choose sides and budget. */
/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "media/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOATS = 3 * 256 * 256, HEAD = 6 };

/* One picture of at most 64 x 64 or a video of them, as the head says; a JSON text begins with a
 * brace, so that plain configs are read whole. */
static struct preprocess_input input_of(const uint8_t *head)
{
    return (struct preprocess_input){
        .width = 1 + head[0] % 64, .height = 1 + head[1] % 64, .frames = head[2] % 4, .together = head[3] % 3,
        .budget = {.max_tiles = head[4] % 8, .max_pixels = head[5] * 64, .max_tokens = 0,
                   .detail = (enum preprocess_detail)(head[3] % 2)},
    };
}

static void run(const struct preprocess_facts *f, const struct preprocess_input *in)
{
    static float out[FLOATS];
    static uint8_t pixels[64 * 64 * 3];
    struct preprocess_plan p;
    struct image img = {.width = in->width, .height = in->height, .channels = 3, .data = pixels};
    size_t n;
    if (preprocess_plan(f, in, &p) < 0 || preprocess_floats(f, &p, &n) < 0)
        return;
    if ((in->budget.max_tiles && p.tiles > in->budget.max_tiles) || p.tiles < 1)
        abort();
    n /= (size_t)p.frames;
    if (n <= FLOATS && preprocess_frame(f, &p, &img, out, n) == 0 && !(out[0] == out[0]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t plain[HEAD] = {4, 3, 0, 0, 0, 0};
    bool headed = size >= HEAD && data[0] != '{';
    struct preprocess_facts facts, back;
    limits_table[LIMIT_image_side].value = 1024;
    if (preprocess_parse(span_of(data + (headed ? HEAD : 0), size - (headed ? HEAD : 0)), "fuzz", &facts) < 0)
        return 0;
    json_t *json = NULL;
    if (preprocess_json(&facts, &json) < 0 || preprocess_read(json, "again", &back) < 0)
        abort();
    json_decref(json);
    struct preprocess_input in = input_of(headed ? data : plain);
    run(&facts, &in);
    return 0;
}

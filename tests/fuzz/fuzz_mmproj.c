/* Fuzz target: a decoder's GGUF file and its tower's, as one model: how many bytes the first has (u64), then both. What
 * opens must have readable tensors, each under its name; the processor is read from the tower alone. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/log.h"
#include "models/gguf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double read_tensor(const struct st_tensor *t)
{
    enum { PIECE = 256 };
    const struct dtype_info *d = &dtype_table[t->dtype];
    double sum = 0;
    float y[PIECE];
    for (size_t b = 0; b < t->bytes; b += d->block_bytes) {
        dtype_to_f32(t->dtype, (const char *)t->data + b, y, d->block_values);
        sum += (double)y[0];
    }
    return sum;
}

static void read_pair(struct span text, struct span tower)
{
    json_t *config = NULL;
    struct safetensors *st = NULL;
    double sum = 0;
    if (gguf_sight_open_bytes(text, tower, &config, &st) < 0)
        return;
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        sum += read_tensor(t);
        if (st_find(st, span_str(t->name)) != t)
            __builtin_trap();
    }
    if (!json_is_object(json_object_get(config, "vision_config")))
        __builtin_trap();
    volatile double sink = sum;
    (void)sink;
    json_decref(config);
    st_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *processor;
    uint64_t n;
    if (size < sizeof n)
        return 0;
    memcpy(&n, data, sizeof n);
    struct span rest = span_of(data + sizeof n, size - sizeof n);
    size_t first = n < rest.len ? (size_t)n : rest.len;
    struct span text = span_of(rest.ptr, first), tower = span_of(rest.ptr + first, rest.len - first);
    log_set_level(LOG_ERROR);
    read_pair(text, tower);
    for (int video = 0; video < 2; video++)
        if (gguf_sight_processor_bytes(tower, video, &processor) == 0)
            json_decref(processor);
    return 0;
}

/* Fuzz target: a GGUF file as a model. What opens must have readable tensors under other names, and must be refused
 * or written again without harm. */
/* SPDX-License-Identifier: MIT */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config = NULL;
    struct safetensors *st = NULL;
    double sum = 0;
    log_set_level(LOG_ERROR);
    if (gguf_model_open_bytes(span_of(data, size), "input", &config, &st) < 0)
        return 0;
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        sum += read_tensor(t);
        if (st_find(st, span_str(t->name)) != t)
            __builtin_trap();
    }
    if (!json_is_object(config))
        __builtin_trap();
    volatile double sink = sum;
    (void)sink;
    json_decref(config);
    st_close(st);
    return 0;
}

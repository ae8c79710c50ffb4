/* Fuzz target: a GGUF file. What opens must be readable: every value, every tensor to its last byte. */
/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "formats/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double read_value(const struct gguf_value *v)
{
    double sum = (double)v->key.len;
    struct span s;
    size_t at = 0;
    if (v->type == GGUF_STRING) {
        while (gguf_next_string(v, &at, &s))
            sum += s.len ? s.ptr[s.len - 1] : 0;
        return sum;
    }
    for (size_t i = 0; i < v->count; i++)
        sum += v->type == GGUF_BOOL ? gguf_item_bool(v, i) : gguf_item_double(v, i);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { PIECE = 256 };
    struct gguf *g = NULL;
    double sum = 0;
    float y[PIECE];
    log_set_level(LOG_ERROR);
    if (gguf_open_bytes(span_of(data, size), "input", &g) != 0)
        return 0;
    for (size_t i = 0; i < gguf_value_count(g); i++)
        sum += read_value(gguf_value_at(g, i));
    for (size_t i = 0; i < gguf_count(g); i++) {
        const struct st_tensor *t = gguf_at(g, i);
        const struct dtype_info *d = &dtype_table[t->dtype];
        for (size_t b = 0; b < t->bytes; b += d->block_bytes) {
            dtype_to_f32(t->dtype, (const char *)t->data + b, y, d->block_values);
            sum += y[0];
        }
        if (gguf_find(g, span_str(t->name)) != t)
            __builtin_trap();
    }
    volatile double sink = sum;
    (void)sink;
    gguf_close(g);
    return 0;
}

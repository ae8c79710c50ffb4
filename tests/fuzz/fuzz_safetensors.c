/* Fuzz target: a safetensors file. What opens must be readable to its last byte. */
/* SPDX-License-Identifier: MIT */
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *st = NULL;
    if (st_open_bytes(span_of(data, size), "input", &st) != 0)
        return 0;
    unsigned sum = 0;
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        for (size_t b = 0; b < t->bytes; b++)
            sum += ((const uint8_t *)t->data)[b];
        if (st_find(st, span_str(t->name)) != t)
            __builtin_trap();
    }
    volatile unsigned sink = sum;
    (void)sink;
    st_close(st);
    return 0;
}

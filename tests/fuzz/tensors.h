/* What fuzz targets do with weights that opened: every block must be readable, and every tensor found under its name. */
/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_TENSORS_H
#define TESTS_FUZZ_TENSORS_H
#include "formats/safetensors.h"

static inline double fuzz_read_tensor(const struct st_tensor *t)
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

static inline void fuzz_read_tensors(const struct safetensors *st)
{
    double sum = 0;
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        sum += fuzz_read_tensor(t);
        if (st_find(st, span_str(t->name)) != t)
            __builtin_trap();
    }
    volatile double sink = sum;
    (void)sink;
}

#endif

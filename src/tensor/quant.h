/* Block formats: what their decoders share, and the decoders' names. Only dtype.c calls them; fast
 * kernels are tested against them. Layouts are GGML's, bit for bit. */
/* SPDX-License-Identifier: MIT */
#ifndef TENSOR_QUANT_H
#define TENSOR_QUANT_H
#include <string.h>
#include "tensor/dtype.h"

#define DTYPE(name, gguf, block_values, block_bytes, st, doc)
#define DTYPE_BLOCK(name, gguf, block_values, block_bytes, st, doc) dtype_decode_fn quant_decode_##name;
#include "tensor/dtype.def"
#undef DTYPE

/* Define quant_decode_NAME from decode_NAME, which does one block. */
#define QUANT_DECODE(name)                                                                     \
    void quant_decode_##name(const void *src, float *dst, size_t n)                            \
    {                                                                                          \
        const struct dtype_info *d = &dtype_table[DT_##name];                                  \
        const uint8_t *b = src;                                                                \
        for (size_t i = 0; i < n; i += d->block_values, b += d->block_bytes)                   \
            decode_##name(b, dst + i);                                                         \
    }

static inline uint16_t quant_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t quant_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float quant_f16(const uint8_t *p) { return dtype_f16_to_f32(quant_u16(p)); }

/* Points of the lattices: 8 fields of 2 bits (IQ2, IQ1) or 4 of 4 bits (IQ3), lowest first. */
extern const uint16_t quant_grid_iq2xxs[256], quant_grid_iq2xs[512], quant_grid_iq2s[1024];
extern const uint16_t quant_grid_iq3xxs[256], quant_grid_iq3s[512], quant_grid_iq1[2048];

#endif

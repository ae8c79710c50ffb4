/* Writing block formats: what the encoders share, and their names. A scale is searched such that the
 * squared error is least, each value weighing what its block's format says. Only dtype.c and enc_*.c
 * include this. */
/* SPDX-License-Identifier: MIT */
#ifndef TENSOR_ENC_H
#define TENSOR_ENC_H
#include <math.h>
#include <string.h>
#include "tensor/dtype.h"

#define DTYPE(name, gguf, block_values, block_bytes, st, doc)
#define DTYPE_BLOCK(name, gguf, block_values, block_bytes, st, doc)
#define DTYPE_CODED(name, gguf, block_values, block_bytes, st, doc) dtype_encode_fn enc_##name;
#include "tensor/dtype.def"
#undef DTYPE

/* Define enc_NAME from encode_NAME, which does one block. */
#define ENC(name)                                                                              \
    void enc_##name(const float *src, void *dst, size_t n)                                     \
    {                                                                                          \
        const struct dtype_info *d = &dtype_table[DT_##name];                                  \
        uint8_t *b = dst;                                                                      \
        for (size_t i = 0; i < n; i += d->block_values, b += d->block_bytes)                   \
            encode_##name(src + i, b);                                                         \
    }

enum { ENC_MOST = 32 }; /* values under one scale */

/* To the nearest integer within [lo, hi], |lo|, |hi| < 2^22; NaN gives lo. Without a call, so that loops
 * become vectors on every machine. */
static inline float enc_level(float x, float lo, float hi)
{
    x = x > lo ? (x < hi ? x : hi) : lo;
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float enc_inverse(float x) { return x != 0 && isfinite(1 / x) ? 1 / x : 0; }

static inline float enc_put_f16(uint8_t *p, float x)
{
    uint16_t h = dtype_f32_to_f16(x);
    memcpy(p, &h, sizeof h);
    return dtype_f16_to_f32(h);
}

/* x ~ s q with integers lo <= q <= -lo - 1: the s of least squared error, with weights w (NULL: all 1).
 * The value farthest from 0 lies near lo. */
float enc_fit_scale(int n, const float *x, const float *w, float lo);
/* x ~ s q + o with integers 0 <= q <= hi, s >= 0; with `below`, o <= 0. */
void enc_fit_line(int n, const float *x, const float *w, float hi, bool below, float *s, float *o);

#endif

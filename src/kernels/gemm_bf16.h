/* bfloat16 the way the dot-product instructions take it (see docs/numerics.md): subnormals count as
 * zero on the way in and out, rounding is to nearest even. The portable twin of vcvtneps2bf16 and
 * vdpbf16ps; the vector files must equal it bit for bit. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_GEMM_BF16_H
#define KERNELS_GEMM_BF16_H
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bf16_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float bf16_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* Subnormals become a zero of their sign. */
static inline float bf16_flush(float x)
{
    uint32_t u = bf16_bits(x);
    return (u & 0x7f800000u) ? x : bf16_float(u & 0x80000000u);
}

static inline uint16_t bf16_round(float x)
{
    uint32_t u = bf16_bits(bf16_flush(x));
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40); /* a quiet NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float bf16_widen(uint16_t h)
{
    return bf16_flush(bf16_float((uint32_t)h << 16));
}

/* One fused step. A result whose 24-bit rounding is below the least normal number is flushed, as is
 * one that only rounding to a subnormal's fewer bits would lift to it. */
static inline float bf16_fma(float a, float b, float c)
{
    float r = fmaf(a, b, c);
    if (fabsf(r) == 0x1p-126f && fabs((double)a * b + c) < 0x1p-126 - 0x1p-151)
        return copysignf(0.0f, r);
    return bf16_flush(r);
}

#endif

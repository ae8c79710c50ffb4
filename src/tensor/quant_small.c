/* Decoders of the small blocks: 32 values with one scale (Q4_0 .. Q8_0, IQ4, MXFP4, NVFP4), and the
 * ternary ones. Letters: d scale, m offset, q packed integers, y values out. */
/* SPDX-License-Identifier: MIT */
#include "tensor/quant.h"

static void decode_Q4_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    const uint8_t *q = b + 2;
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((q[i] & 15) - 8) * d;
        y[i + 16] = (float)((q[i] >> 4) - 8) * d;
    }
}

static void decode_Q4_1(const uint8_t *b, float *y)
{
    float d = quant_f16(b), m = quant_f16(b + 2);
    const uint8_t *q = b + 4;
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(q[i] & 15) * d + m;
        y[i + 16] = (float)(q[i] >> 4) * d + m;
    }
}

/* The fifth bits of value i and value i + 16. */
static int fifth(uint32_t bits, int i) { return (int)(bits >> i & 1) << 4; }

static void decode_Q5_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    uint32_t high = quant_u32(b + 2);
    const uint8_t *q = b + 6;
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(((q[i] & 15) | fifth(high, i)) - 16) * d;
        y[i + 16] = (float)(((q[i] >> 4) | fifth(high, i + 16)) - 16) * d;
    }
}

static void decode_Q5_1(const uint8_t *b, float *y)
{
    float d = quant_f16(b), m = quant_f16(b + 2);
    uint32_t high = quant_u32(b + 4);
    const uint8_t *q = b + 8;
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((q[i] & 15) | fifth(high, i)) * d + m;
        y[i + 16] = (float)((q[i] >> 4) | fifth(high, i + 16)) * d + m;
    }
}

/* d, 8 bytes of high pairs (values i, i + 16 in a nibble; bytes shared by i and i + 8), nibbles. */
static void decode_Q6_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    const uint8_t *q = b + 10;
    for (int i = 0; i < 16; i++) {
        int high = b[2 + i % 8] >> 4 * (i / 8);
        y[i] = (float)(((q[i] & 15) | (high & 3) << 4) - 32) * d;
        y[i + 16] = (float)(((q[i] >> 4) | (high & 12) << 2) - 32) * d;
    }
}

static void decode_Q8_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    for (int i = 0; i < 32; i++)
        y[i] = (float)(int8_t)b[2 + i] * d;
}

/* ---- levels from a table ------------------------------------------------------------------- */

static const int8_t levels_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/* 4-bit floats (2 exponent, 1 fraction bit), doubled to be integers */
static const int8_t levels_fp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2 * half values: low nibbles first, then high ones. */
static void decode_levels(const int8_t levels[16], const uint8_t *q, int half, float d, float *y)
{
    for (int i = 0; i < half; i++) {
        y[i] = d * (float)levels[q[i] & 15];
        y[i + half] = d * (float)levels[q[i] >> 4];
    }
}

static void decode_IQ4_NL(const uint8_t *b, float *y)
{
    decode_levels(levels_nl, b + 2, 16, quant_f16(b), y);
}

static void decode_IQ4_XS(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    uint32_t high = quant_u16(b + 2);
    for (int i = 0; i < 8; i++) {
        int low = b[4 + i / 2] >> 4 * (i % 2) & 15;
        int scale = (low | (int)(high >> 2 * i & 3) << 4) - 32;
        decode_levels(levels_nl, b + 8 + 16 * i, 16, d * (float)scale, y + 32 * i);
    }
}

/* 2^(e - 128): half the scale, for the doubled levels. The two smallest are subnormal. */
static float half_e8m0(uint8_t e)
{
    return dtype_bits_f32(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static void decode_MXFP4(const uint8_t *b, float *y)
{
    decode_levels(levels_fp4, b + 1, 16, half_e8m0(b[0]), y);
}

/* Half of an 8-bit float whose sign bit is not used; the NaN pattern counts as 0. */
static float half_e4m3(uint8_t e)
{
    float x = 0;
    e &= 0x7f;
    if (e != 0x7f)
        dtype_to_f32(DT_F8_E4M3, &e, &x, 1);
    return 0.5f * x;
}

static void decode_NVFP4(const uint8_t *b, float *y)
{
    for (int i = 0; i < 4; i++)
        decode_levels(levels_fp4, b + 4 + 8 * i, 8, half_e4m3(b[i]), y + 16 * i);
}

/* ---- ternary ------------------------------------------------------------------------------- */

/* Base-3 digit n of each byte, most significant first: the byte is a fixed-point fraction, so that
 * multiplying by 3^n and taking the carry of another 3 gives the digit. */
static float *decode_trits(const uint8_t *q, int bytes, int digits, float d, float *y)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int n = 0; n < digits; n++)
        for (int i = 0; i < bytes; i++) {
            uint8_t f = (uint8_t)(q[i] * power[n]);
            *y++ = (float)((f * 3 >> 8) - 1) * d;
        }
    return y;
}

static void decode_TQ1_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b + 52);
    y = decode_trits(b, 32, 5, d, y);
    y = decode_trits(b + 32, 16, 5, d, y);
    decode_trits(b + 48, 4, 4, d, y);
}

static void decode_TQ2_0(const uint8_t *b, float *y)
{
    float d = quant_f16(b + 64);
    for (int part = 0; part < 64; part += 32)
        for (int shift = 0; shift < 8; shift += 2)
            for (int i = 0; i < 32; i++)
                *y++ = (float)((b[part + i] >> shift & 3) - 1) * d;
}

QUANT_DECODE(Q4_0)
QUANT_DECODE(Q4_1)
QUANT_DECODE(Q5_0)
QUANT_DECODE(Q5_1)
QUANT_DECODE(Q6_0)
QUANT_DECODE(Q8_0)
QUANT_DECODE(IQ4_NL)
QUANT_DECODE(IQ4_XS)
QUANT_DECODE(MXFP4)
QUANT_DECODE(NVFP4)
QUANT_DECODE(TQ1_0)
QUANT_DECODE(TQ2_0)

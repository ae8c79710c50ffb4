/* Decoders of the "K" super-blocks: 256 values, sub-blocks of 16 or 32 with small integer scales under
 * one or two 16-bit floats. Letters: d scale, m offset, q packed integers, y values out. */
/* SPDX-License-Identifier: MIT */
#include "tensor/quant.h"

/* 16 scale bytes (4 bits scale, 4 bits offset), 64 bytes of 2-bit values, d, m. */
static void decode_Q2_K(const uint8_t *b, float *y)
{
    float d = quant_f16(b + 80), m = quant_f16(b + 82);
    const uint8_t *scale = b;
    for (const uint8_t *q = b + 16; q < b + 80; q += 32)
        for (int shift = 0; shift < 8; shift += 2)
            for (int half = 0; half < 32; half += 16, scale++) {
                float ds = d * (float)(*scale & 15), ms = m * (float)(*scale >> 4);
                for (int i = 0; i < 16; i++)
                    *y++ = ds * (float)(q[half + i] >> shift & 3) - ms;
            }
}

/* Scale j of 16: 4 low bits in bytes 0..7, 2 high bits in bytes 8..11. */
static int scale_q3(const uint8_t *s, int j)
{
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    return (low | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

/* 32 bytes of third bits, 64 bytes of 2-bit values, 12 bytes of scales, d. */
static void decode_Q3_K(const uint8_t *b, float *y)
{
    float d = quant_f16(b + 108);
    const uint8_t *high = b, *q = b + 32, *scales = b + 96;
    for (int j = 0; j < 16; j++) {
        int bit = j / 2, half = 16 * (j % 2), shift = 2 * (bit % 4);
        float ds = d * (float)scale_q3(scales, j);
        for (int i = 0; i < 16; i++) {
            int v = (q[32 * (bit / 4) + half + i] >> shift & 3) - (high[half + i] >> bit & 1 ? 0 : 4);
            *y++ = ds * (float)v;
        }
    }
}

/* Scale and offset j of 8, 6 bits each: the first four plain, the others in what these leave free. */
static void scale_q4(const uint8_t *s, int j, int *scale, int *offset)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *offset = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
}

/* d, m, 12 bytes of scales, 128 bytes of nibbles; a 64-value stretch has its low nibbles first. */
static void decode_Q4_K(const uint8_t *b, float *y)
{
    float d = quant_f16(b), m = quant_f16(b + 2);
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = b + 16 + 32 * (j / 2);
        int scale, offset, shift = 4 * (j % 2);
        scale_q4(b + 4, j, &scale, &offset);
        float ds = d * (float)scale, ms = m * (float)offset;
        for (int i = 0; i < 32; i++)
            *y++ = ds * (float)(q[i] >> shift & 15) - ms;
    }
}

/* As Q4_K, with 32 bytes of fifth bits before the nibbles. */
static void decode_Q5_K(const uint8_t *b, float *y)
{
    float d = quant_f16(b), m = quant_f16(b + 2);
    const uint8_t *high = b + 16;
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = b + 48 + 32 * (j / 2);
        int scale, offset, shift = 4 * (j % 2);
        scale_q4(b + 4, j, &scale, &offset);
        float ds = d * (float)scale, ms = m * (float)offset;
        for (int i = 0; i < 32; i++)
            *y++ = ds * (float)((q[i] >> shift & 15) | (high[i] >> j & 1) << 4) - ms;
    }
}

/* 128 bytes of low nibbles, 64 bytes of high pairs, 16 signed scales, d. */
static void decode_Q6_K(const uint8_t *b, float *y)
{
    float d = quant_f16(b + 208);
    for (int j = 0; j < 8; j++) { /* 32 values each */
        int part = j / 4, lane = j % 4;
        const uint8_t *low = b + 64 * part + 32 * (lane % 2), *high = b + 128 + 32 * part;
        for (int i = 0; i < 32; i++) {
            int v = ((low[i] >> 4 * (lane / 2) & 15) | (high[i] >> 2 * lane & 3) << 4) - 32;
            *y++ = d * (float)(int8_t)b[192 + 2 * j + i / 16] * (float)v;
        }
    }
}

QUANT_DECODE(Q2_K)
QUANT_DECODE(Q3_K)
QUANT_DECODE(Q4_K)
QUANT_DECODE(Q5_K)
QUANT_DECODE(Q6_K)

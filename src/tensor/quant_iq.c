/* Decoders of the lattice ("IQ") super-blocks: 256 values as indices of points with 8 or 4 values,
 * signs apart, a small scale for each stretch. Letters: d scale, y values out. */
/* SPDX-License-Identifier: MIT */
#include "tensor/quant.h"

/* Seven sign bits; the eighth makes their number even. */
static uint8_t even_signs(uint32_t seven)
{
    return (uint8_t)(seven | (uint32_t)__builtin_parity(seven) << 7);
}

static void decode_point8(uint16_t point, uint8_t signs, float d, float *y)
{
    static const float level[4] = {8, 25, 43, 0};
    for (int i = 0; i < 8; i++) {
        float v = d * level[point >> 2 * i & 3];
        y[i] = signs >> i & 1 ? -v : v;
    }
}

/* Four values; signs in the low bits. */
static void decode_point4(uint16_t point, const float level[8], uint8_t signs, float d, float *y)
{
    for (int i = 0; i < 4; i++) {
        float v = d * level[point >> 4 * i & 7];
        y[i] = signs >> i & 1 ? -v : v;
    }
}

/* ---- two bits ------------------------------------------------------------------------------ */

/* d, then for each 32 values: 4 index bytes, and 4 x 7 sign bits under a 4-bit scale. */
static void decode_IQ2_XXS(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    for (const uint8_t *g = b + 2; g < b + 66; g += 8) {
        uint32_t bits = quant_u32(g + 4);
        float ds = d * (0.5f + (float)(bits >> 28)) * 0.25f;
        for (int i = 0; i < 4; i++, y += 8)
            decode_point8(quant_grid_iq2xxs[g[i]], even_signs(bits >> 7 * i & 127), ds, y);
    }
}

/* d, 32 words of 9 index and 7 sign bits, 16 scales of 4 bits. */
static void decode_IQ2_XS(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    for (int i = 0; i < 32; i++, y += 8) {
        uint32_t word = quant_u16(b + 2 + 2 * i);
        float ds = d * (0.5f + (float)(b[66 + i / 4] >> 4 * (i / 2 % 2) & 15)) * 0.25f;
        decode_point8(quant_grid_iq2xs[word & 511], even_signs(word >> 9), ds, y);
    }
}

/* d, 32 low index bytes, 32 sign bytes, 8 bytes of high index pairs, 16 scales of 4 bits. */
static void decode_IQ2_S(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    for (int i = 0; i < 32; i++, y += 8) {
        int index = b[2 + i] | (b[66 + i / 4] >> 2 * (i % 4) & 3) << 8;
        float ds = d * (0.5f + (float)(b[74 + i / 4] >> 4 * (i / 2 % 2) & 15)) * 0.25f;
        decode_point8(quant_grid_iq2s[index], b[34 + i], ds, y);
    }
}

/* ---- three bits ---------------------------------------------------------------------------- */

/* d, 64 index bytes, then for each 32 values 4 x 7 sign bits under a 4-bit scale. */
static void decode_IQ3_XXS(const uint8_t *b, float *y)
{
    static const float level[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    float d = quant_f16(b);
    for (int i = 0; i < 64; i++, y += 4) {
        uint32_t bits = quant_u32(b + 66 + 4 * (i / 8));
        float ds = d * (0.5f + (float)(bits >> 28)) * 0.5f;
        uint8_t signs = even_signs(bits >> 7 * (i / 2 % 4) & 127);
        decode_point4(quant_grid_iq3xxs[b[2 + i]], level, (uint8_t)(signs >> 4 * (i % 2)), ds, y);
    }
}

/* d, 64 low index bytes, 8 bytes of ninth bits, 32 sign bytes, 8 scales of 4 bits. */
static void decode_IQ3_S(const uint8_t *b, float *y)
{
    static const float level[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    float d = quant_f16(b);
    for (int i = 0; i < 64; i++, y += 4) {
        int index = b[2 + i] | (b[66 + i / 8] >> i % 8 & 1) << 8;
        float ds = d * (float)(1 + 2 * (b[106 + i / 16] >> 4 * (i / 8 % 2) & 15));
        decode_point4(quant_grid_iq3s[index], level, (uint8_t)(b[74 + i / 2] >> 4 * (i % 2)), ds, y);
    }
}

/* ---- one bit and a half -------------------------------------------------------------------- */

/* -1, 0, 1, each shifted by an eighth up or down. */
static void decode_ternary8(int index, bool down, float d, float *y)
{
    float shift = down ? -0.125f : 0.125f;
    for (int i = 0; i < 8; i++)
        y[i] = d * ((float)((quant_grid_iq1[index] >> 2 * i & 3) - 1) + shift);
}

/* d, 32 low index bytes, 8 words: 4 x 3 high index bits, a 3-bit scale, the shift. */
static void decode_IQ1_S(const uint8_t *b, float *y)
{
    float d = quant_f16(b);
    for (int i = 0; i < 32; i++, y += 8) {
        int word = quant_u16(b + 34 + 2 * (i / 4));
        float ds = d * (float)(2 * (word >> 12 & 7) + 1);
        decode_ternary8(b[2 + i] | (word >> 3 * (i % 4) & 7) << 8, word >> 15, ds, y);
    }
}

/* 32 low index bytes, 32 nibbles of 3 high index bits and the shift, 4 words of four 3-bit scales; the
 * words' upper nibbles together are d. */
static void decode_IQ1_M(const uint8_t *b, float *y)
{
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)(quant_u16(b + 48 + 2 * i) >> 12) << 4 * i;
    float d = dtype_f16_to_f32((uint16_t)bits);
    for (int i = 0; i < 32; i++, y += 8) {
        int nibble = b[32 + i / 2] >> 4 * (i % 2) & 15;
        int scale = quant_u16(b + 48 + 2 * (i / 8)) >> 3 * (i / 2 % 4) & 7;
        decode_ternary8(b[i] | (nibble & 7) << 8, nibble >> 3, d * (float)(2 * scale + 1), y);
    }
}

QUANT_DECODE(IQ2_XXS)
QUANT_DECODE(IQ2_XS)
QUANT_DECODE(IQ2_S)
QUANT_DECODE(IQ3_XXS)
QUANT_DECODE(IQ3_S)
QUANT_DECODE(IQ1_S)
QUANT_DECODE(IQ1_M)

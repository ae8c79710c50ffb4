/* Encoders of the small blocks: 32 values with one scale (Q4_0, Q5_0, Q8_0), or scale and offset (Q4_1,
 * Q5_1). Layouts as in quant_small.c. */
/* SPDX-License-Identifier: MIT */
#include "tensor/enc.h"

enum { N = 32 };

static void pack_nibbles(const uint8_t *q, uint8_t *out)
{
    for (int i = 0; i < N / 2; i++)
        out[i] = (uint8_t)((q[i] & 15) | (q[i + N / 2] & 15) << 4);
}

static void pack_fifths(const uint8_t *q, uint8_t *out)
{
    uint32_t bits = 0;
    for (int i = 0; i < N; i++)
        bits |= (uint32_t)(q[i] >> 4 & 1) << i;
    memcpy(out, &bits, sizeof bits);
}

/* Scale into b, levels q - lo into q. */
static void scaled(const float *x, float lo, uint8_t *b, uint8_t *q)
{
    float id = enc_inverse(enc_put_f16(b, enc_fit_scale(N, x, NULL, lo)));
    for (int i = 0; i < N; i++)
        q[i] = (uint8_t)(enc_level(x[i] * id, lo, -lo - 1) - lo);
}

static void shifted(const float *x, float hi, uint8_t *b, uint8_t *q)
{
    float scale, offset;
    enc_fit_line(N, x, NULL, hi, false, &scale, &offset);
    float id = enc_inverse(enc_put_f16(b, scale)), from = enc_put_f16(b + 2, offset);
    for (int i = 0; i < N; i++)
        q[i] = (uint8_t)enc_level((x[i] - from) * id, 0, hi);
}

static void encode_Q4_0(const float *x, uint8_t *b)
{
    uint8_t q[N];
    scaled(x, -8, b, q);
    pack_nibbles(q, b + 2);
}

static void encode_Q4_1(const float *x, uint8_t *b)
{
    uint8_t q[N];
    shifted(x, 15, b, q);
    pack_nibbles(q, b + 4);
}

static void encode_Q5_0(const float *x, uint8_t *b)
{
    uint8_t q[N];
    scaled(x, -16, b, q);
    pack_fifths(q, b + 2);
    pack_nibbles(q, b + 6);
}

static void encode_Q5_1(const float *x, uint8_t *b)
{
    uint8_t q[N];
    shifted(x, 31, b, q);
    pack_fifths(q, b + 4);
    pack_nibbles(q, b + 8);
}

/* So many levels that a search gains nothing. */
static void encode_Q8_0(const float *x, uint8_t *b)
{
    float far = 0;
    for (int i = 0; i < N; i++)
        far = fabsf(x[i]) > far ? fabsf(x[i]) : far;
    float id = enc_inverse(enc_put_f16(b, far / 127));
    for (int i = 0; i < N; i++)
        b[2 + i] = (uint8_t)(int8_t)enc_level(x[i] * id, -127, 127);
}

ENC(Q4_0)
ENC(Q4_1)
ENC(Q5_0)
ENC(Q5_1)
ENC(Q8_0)

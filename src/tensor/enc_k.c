/* Encoders of the "K" super-blocks: 256 values in sub-blocks whose scales are small integers under one or
 * two 16-bit floats. Each sub-block is fitted alone, its scale rounded, the floats fitted again to the
 * rounded scales, and then the values rounded. Values weigh by their size, since large weights matter
 * more than their share of the squared error. Layouts as in quant_k.c. */
/* SPDX-License-Identifier: MIT */
#include "tensor/enc.h"

enum { SUPER = 256, MOST_SUBS = 16 };

static void weigh(const float *x, int n, float *w)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    float mean = sqrtf(sum / (float)n);
    for (int i = 0; i < n; i++)
        w[i] = mean > 0 ? mean + fabsf(x[i]) : 1;
}

/* ---- scales alone: Q3_K, Q6_K -------------------------------------------------------------------- */

/* sub: values of a sub-block; lo: of values; scale_lo: of scales. Puts d at `b`; scales and values are signed. */
struct signed_block { float d; int8_t scale[MOST_SUBS]; int8_t q[SUPER]; };

static void round_signed(const float *x, int sub, float lo, struct signed_block *out)
{
    for (int j = 0; j < SUPER / sub; j++) {
        float id = enc_inverse(out->d * (float)out->scale[j]);
        for (int i = 0; i < sub; i++)
            out->q[j * sub + i] = (int8_t)enc_level(x[j * sub + i] * id, lo, -lo - 1);
    }
}

/* The d of least error for these scales and values. */
static float refit_signed(const float *x, const float *w, int sub, const struct signed_block *k)
{
    float xa = 0, aa = 0;
    for (int i = 0; i < SUPER; i++) {
        float a = (float)k->scale[i / sub] * (float)k->q[i];
        xa += w[i] * x[i] * a;
        aa += w[i] * a * a;
    }
    return aa > 0 ? xa / aa : k->d;
}

static void fit_signed(const float *x, int sub, float lo, float scale_lo, uint8_t *b, struct signed_block *out)
{
    float w[SUPER], scale[MOST_SUBS], far = 0;
    weigh(x, SUPER, w);
    for (int j = 0; j < SUPER / sub; j++) {
        scale[j] = enc_fit_scale(sub, x + j * sub, w + j * sub, lo);
        if (fabsf(scale[j]) > fabsf(far))
            far = scale[j];
    }
    out->d = enc_put_f16(b, far / scale_lo);
    float id = enc_inverse(out->d);
    for (int j = 0; j < SUPER / sub; j++)
        out->scale[j] = (int8_t)enc_level(scale[j] * id, scale_lo, -scale_lo - 1);
    round_signed(x, sub, lo, out);
    out->d = enc_put_f16(b, refit_signed(x, w, sub, out));
    round_signed(x, sub, lo, out);
}

static void encode_Q6_K(const float *x, uint8_t *b)
{
    struct signed_block k;
    fit_signed(x, 16, -32, -128, b + 208, &k);
    memset(b, 0, 192);
    for (int j = 0; j < 8; j++) { /* 32 values each */
        int part = j / 4, lane = j % 4;
        uint8_t *low = b + 64 * part + 32 * (lane % 2), *high = b + 128 + 32 * part;
        for (int i = 0; i < 32; i++) {
            int v = k.q[32 * j + i] + 32;
            low[i] |= (uint8_t)((v & 15) << 4 * (lane / 2));
            high[i] |= (uint8_t)(v >> 4 << 2 * lane);
        }
    }
    memcpy(b + 192, k.scale, 16);
}

static void encode_Q3_K(const float *x, uint8_t *b)
{
    struct signed_block k;
    uint8_t *high = b, *q = b + 32, *scales = b + 96;
    fit_signed(x, 16, -4, -32, b + 108, &k);
    memset(b, 0, 108);
    for (int j = 0; j < 16; j++) {
        int s = k.scale[j] + 32, bit = j / 2, half = 16 * (j % 2), shift = 2 * (bit % 4);
        scales[j % 8] |= (uint8_t)((s & 15) << 4 * (j / 8));
        scales[8 + j % 4] |= (uint8_t)(s >> 4 << 2 * (j / 4));
        for (int i = 0; i < 16; i++) {
            int v = k.q[16 * j + i] + 4;
            q[32 * (bit / 4) + half + i] |= (uint8_t)((v & 3) << shift);
            high[half + i] |= (uint8_t)(v >> 2 << bit);
        }
    }
}

/* ---- scales and offsets: Q2_K, Q4_K, Q5_K -------------------------------------------------------- */

/* x ~ d scale q - m offset */
struct line_block { float d, m; uint8_t scale[MOST_SUBS], offset[MOST_SUBS], q[SUPER]; };

static void round_line(const float *x, int sub, float hi, struct line_block *out)
{
    for (int j = 0; j < SUPER / sub; j++) {
        float id = enc_inverse(out->d * (float)out->scale[j]), o = out->m * (float)out->offset[j];
        for (int i = 0; i < sub; i++)
            out->q[j * sub + i] = (uint8_t)enc_level((x[j * sub + i] + o) * id, 0, hi);
    }
}

/* The d and m of least error for these scales, offsets and values. */
static void refit_line(const float *x, const float *w, int sub, struct line_block *k)
{
    float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < SUPER; i++) {
        float a = (float)k->scale[i / sub] * (float)k->q[i], o = -(float)k->offset[i / sub];
        aa += w[i] * a * a;
        ab += w[i] * a * o;
        bb += w[i] * o * o;
        xa += w[i] * x[i] * a;
        xb += w[i] * x[i] * o;
    }
    float det = aa * bb - ab * ab;
    if (det > 1e-6f * aa * bb) {
        k->d = (xa * bb - xb * ab) / det;
        k->m = (aa * xb - ab * xa) / det;
    } else if (aa > 0 && bb == 0) {
        k->d = xa / aa;
    }
}

/* b: where d and m go; most: greatest scale and offset; hi: greatest value */
static void fit_line(const float *x, int sub, float hi, float most, uint8_t *b, struct line_block *out)
{
    float w[SUPER], scale[MOST_SUBS], offset[MOST_SUBS], top = 0, deep = 0;
    for (int j = 0; j < SUPER / sub; j++) {
        weigh(x + j * sub, sub, w + j * sub);
        enc_fit_line(sub, x + j * sub, w + j * sub, hi, true, &scale[j], &offset[j]);
        top = scale[j] > top ? scale[j] : top;
        deep = -offset[j] > deep ? -offset[j] : deep;
    }
    out->d = enc_put_f16(b, top / most);
    out->m = enc_put_f16(b + 2, deep / most);
    float id = enc_inverse(out->d), im = enc_inverse(out->m);
    for (int j = 0; j < SUPER / sub; j++) {
        out->scale[j] = (uint8_t)enc_level(scale[j] * id, 0, most);
        out->offset[j] = (uint8_t)enc_level(-offset[j] * im, 0, most);
    }
    round_line(x, sub, hi, out);
    refit_line(x, w, sub, out);
    out->d = enc_put_f16(b, out->d);
    out->m = enc_put_f16(b + 2, out->m);
    round_line(x, sub, hi, out);
}

static void encode_Q2_K(const float *x, uint8_t *b)
{
    struct line_block k;
    fit_line(x, 16, 3, 15, b + 80, &k);
    memset(b, 0, 80);
    for (int j = 0; j < 16; j++) {
        uint8_t *q = b + 16 + 32 * (j / 8) + 16 * (j % 2);
        b[j] = (uint8_t)(k.scale[j] | k.offset[j] << 4);
        for (int i = 0; i < 16; i++)
            q[i] |= (uint8_t)(k.q[16 * j + i] << 2 * (j / 2 % 4));
    }
}

/* 6 bits each: the first four plain, the others in what these leave free. */
static void pack_scales(const struct line_block *k, uint8_t *s)
{
    memset(s, 0, 12);
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(k->scale[j] | k->scale[j + 4] >> 4 << 6);
        s[j + 4] = (uint8_t)(k->offset[j] | k->offset[j + 4] >> 4 << 6);
        s[j + 8] = (uint8_t)((k->scale[j + 4] & 15) | (k->offset[j + 4] & 15) << 4);
    }
}

static void pack_pairs(const uint8_t *q, uint8_t *out)
{
    for (int j = 0; j < 8; j += 2)
        for (int i = 0; i < 32; i++)
            *out++ = (uint8_t)((q[32 * j + i] & 15) | (q[32 * j + 32 + i] & 15) << 4);
}

static void encode_Q4_K(const float *x, uint8_t *b)
{
    struct line_block k;
    fit_line(x, 32, 15, 63, b, &k);
    pack_scales(&k, b + 4);
    pack_pairs(k.q, b + 16);
}

static void encode_Q5_K(const float *x, uint8_t *b)
{
    struct line_block k;
    fit_line(x, 32, 31, 63, b, &k);
    pack_scales(&k, b + 4);
    memset(b + 16, 0, 32);
    for (int i = 0; i < SUPER; i++)
        b[16 + i % 32] |= (uint8_t)(k.q[i] >> 4 << i / 32);
    pack_pairs(k.q, b + 48);
}

ENC(Q2_K)
ENC(Q3_K)
ENC(Q4_K)
ENC(Q5_K)
ENC(Q6_K)

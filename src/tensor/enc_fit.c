/* The two searches of the encoders. Candidates of the scale lie around the one that uses all levels; for
 * each, values are rounded, and the best line through (level, value) has a closed form. */
/* SPDX-License-Identifier: MIT */
#include "tensor/enc.h"

/* Candidates use `levels * (1 + k / STEPS_PER)`, k in [-DOWN, UP]: fewer levels clip nothing and waste some,
 * more clip the farthest value. Wider searches changed the error by less than 0.5 %. */
enum { DOWN = 4, UP = 8 };
static const float spread = 0.025f;

float enc_fit_scale(int n, const float *x, const float *w, float lo)
{
    float far = 0, best = 0, scale = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(far))
            far = x[i];
    float inverse = enc_inverse(far);
    for (int k = -DOWN; k <= UP && inverse != 0; k++) {
        float id = lo * inverse * (1 + spread * (float)k), xq = 0, qq = 0;
        for (int i = 0; i < n; i++) {
            float q = enc_level(x[i] * id, lo, -lo - 1), weight = w ? w[i] : 1;
            xq += weight * x[i] * q;
            qq += weight * q * q;
        }
        /* the error is sum w x x - xq^2 / qq */
        if (qq > 0 && xq * xq > best * qq) {
            best = xq * xq / qq;
            scale = xq / qq;
        }
    }
    return scale;
}

struct sums { float w, x, q, qq, xq, xx; };

static struct sums sum_levels(int n, const float *x, const float *w, float id, float from, float hi)
{
    struct sums s = {0};
    for (int i = 0; i < n; i++) {
        float q = enc_level((x[i] - from) * id, 0, hi), weight = w ? w[i] : 1;
        s.w += weight;
        s.x += weight * x[i];
        s.q += weight * q;
        s.qq += weight * q * q;
        s.xq += weight * x[i] * q;
        s.xx += weight * x[i] * x[i];
    }
    return s;
}

static void best_line(const struct sums *s, bool below, float *scale, float *offset)
{
    float det = s->w * s->qq - s->q * s->q;
    *scale = det > 0 ? (s->w * s->xq - s->x * s->q) / det : 0;
    *offset = det > 0 ? (s->qq * s->x - s->q * s->xq) / det : s->x / s->w;
    if (below && *offset > 0) {
        *offset = 0;
        *scale = s->qq > 0 ? s->xq / s->qq : 0;
    }
    if (!(*scale > 0))
        *scale = 0;
}

static float line_error(const struct sums *s, float a, float o)
{
    return s->xx - 2 * a * s->xq - 2 * o * s->x + a * a * s->qq + 2 * a * o * s->q + o * o * s->w;
}

void enc_fit_line(int n, const float *x, const float *w, float hi, bool below, float *scale, float *offset)
{
    float lo = x[0], top = x[0], best = INFINITY;
    for (int i = 1; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        top = x[i] > top ? x[i] : top;
    }
    if (below && lo > 0)
        lo = 0;
    *scale = 0;
    *offset = below && lo > 0 ? 0 : lo;
    float inverse = enc_inverse(top - lo);
    for (int k = -DOWN; k <= UP && inverse != 0; k++) {
        float a, o;
        struct sums s = sum_levels(n, x, w, hi * inverse * (1 + spread * (float)k), lo, hi);
        best_line(&s, below, &a, &o);
        float error = line_error(&s, a, o);
        if (error < best) {
            best = error;
            *scale = a;
            *offset = o;
        }
    }
}

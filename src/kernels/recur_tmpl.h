/* The recurrent kernels, written once on the sixteen lanes of a vec_*.h and compiled by every
 * instruction set's file with its own flags; the contract is recur.h. Lanes are channels, so nothing is
 * summed across lanes. Must not use any number operation but those of vec_*.h and vecmath.h on floats
 * that reach a result: all variants agree bit for bit. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_RECUR_TMPL_H
#define KERNELS_RECUR_TMPL_H
#include <string.h>
#include "kernels/kernels.h"
#include "kernels/vecmath.h"

/* for (each chunk of up to 16 of n channels: i its first, c its length) */
#define LANES(i, c, n) for (int i = 0, c; i < (n) && (c = (n) - i < VEC ? (n) - i : VEC, true); i += VEC)

/* The inputs of the last taps - 1 tokens, those of earlier runs among them. */
static void conv_keep(const struct conv_run *r)
{
    for (int j = 0; j < r->taps - 1; j++) {
        int t = r->rows - (r->taps - 1) + j;
        const float *from = t >= 0 ? r->x + t * r->ld : r->state + (r->taps - 1 + t) * r->ld;
        memmove(r->state + j * r->ld, from, (size_t)r->cols * sizeof *from);
    }
}

static void conv_rows(const struct conv_run *r)
{
    LANES(i, c, r->cols)
        for (int t = 0; t < r->rows; t++) {
            vec sum = r->bias ? v_load(r->bias + i, c) : v_set(0.0f);
            for (int k = 0; k < r->taps; k++) {
                int at = t - r->taps + 1 + k;
                const float *x = at >= 0 ? r->x + at * r->ld : r->state + (r->taps - 1 + at) * r->ld;
                sum = v_fma(v_load(r->w + k * r->ld + i, c), v_load(x + i, c), sum);
            }
            v_store(r->y + t * r->ld + i, c, sum);
        }
    conv_keep(r);
}

static void mix_map(size_t n, const float *x, const float *past, const float *mix, float *y)
{
    for (size_t i = 0; i < n; i += VEC) {
        int c = n - i < VEC ? (int)(n - i) : VEC;
        vec m = v_load(mix + i, c), rest = v_mul(v_load(past + i, c), v_sub(v_set(1.0f), m));
        v_store(y + i, c, v_fma(v_load(x + i, c), m, rest));
    }
}

static void s6_rows(const struct s6_run *r)
{
    LANES(i, c, r->cols)
        for (int t = 0; t < r->rows; t++) {
            const float *B = r->B + (ptrdiff_t)t * r->states, *C = r->C + (ptrdiff_t)t * r->states;
            vec x = v_load(r->x + t * r->ld + i, c), dt = v_load(r->dt + t * r->ld + i, c);
            vec in = v_mul(dt, x), y = v_mul(v_load(r->D + i, c), x);
            for (int n = 0; n < r->states; n++) {
                float *at = r->state + n * r->ld + i;
                vec keep = v_exp(v_mul(dt, v_load(r->a + n * r->ld + i, c)));
                vec s = v_fma(v_set(B[n]), in, v_mul(keep, v_load(at, c)));
                v_store(at, c, s);
                y = v_fma(v_set(C[n]), s, y);
            }
            v_store(r->y + t * r->ld + i, c, y);
        }
}

static void ssd_head(const struct ssd_run *r, int h)
{
    ptrdiff_t x_at = (ptrdiff_t)h * r->head_dim, bc_at = (ptrdiff_t)(h / r->group) * r->states;
    float *state = r->state + x_at * r->states;
    LANES(i, c, r->head_dim)
        for (int t = 0; t < r->rows; t++) {
            const float *B = r->B + t * r->ld_bc + bc_at, *C = r->C + t * r->ld_bc + bc_at;
            vec dt = v_min(v_set(r->dt_max), v_max(v_set(r->dt_min), v_set(r->dt[t * r->ld_dt + h])));
            vec x = v_load(r->x + t * r->ld + x_at + i, c), keep = v_exp(v_mul(dt, v_set(r->a[h])));
            vec in = v_mul(dt, x), y = v_mul(v_set(r->D[h]), x);
            for (int n = 0; n < r->states; n++) {
                float *at = state + (ptrdiff_t)n * r->head_dim + i;
                vec s = v_fma(v_set(B[n]), in, v_mul(keep, v_load(at, c)));
                v_store(at, c, s);
                y = v_fma(v_set(C[n]), s, y);
            }
            v_store(r->y + t * r->ld + x_at + i, c, y);
        }
}
static void ssd_rows(const struct ssd_run *r)
{
    for (int h = r->first; h < r->first + r->heads; h++)
        ssd_head(r, h);
}

static void delta_head(const struct delta_run *r, int h)
{
    ptrdiff_t v_at = (ptrdiff_t)h * r->head_dim, qk_at = (ptrdiff_t)(h / r->group) * r->states;
    float *state = r->state + v_at * r->states;
    LANES(i, c, r->head_dim)
        for (int t = 0; t < r->rows; t++) {
            const float *q = r->q + t * r->ld_qk + qk_at, *k = r->k + t * r->ld_qk + qk_at;
            vec keep = v_exp(v_mul(v_set(r->dt[t * r->ld_dt + h]), v_set(r->a[h]))), seen = v_set(0.0f), y = v_set(0.0f);
            for (int n = 0; n < r->states; n++) {
                float *at = state + (ptrdiff_t)n * r->head_dim + i;
                vec s = v_mul(keep, v_load(at, c));
                v_store(at, c, s);
                seen = v_fma(v_set(k[n]), s, seen);
            }
            vec v = v_load(r->v + t * r->ld + v_at + i, c), add = v_mul(v_set(r->beta[t * r->ld_dt + h]), v_sub(v, seen));
            for (int n = 0; n < r->states; n++) {
                float *at = state + (ptrdiff_t)n * r->head_dim + i;
                vec s = v_fma(v_set(k[n]), add, v_load(at, c));
                v_store(at, c, s);
                y = v_fma(v_set(q[n]), s, y);
            }
            v_store(r->y + t * r->ld + v_at + i, c, y);
        }
}
static void delta_rows(const struct delta_run *r)
{
    for (int h = r->first; h < r->first + r->heads; h++)
        delta_head(r, h);
}

static void lru_rows(const struct lru_run *r)
{
    vec one = v_set(1.0f);
    LANES(i, c, r->cols) {
        vec h = v_load(r->state + i, c), rate = v_mul(v_set(-8.0f), v_softplus(v_load(r->param + i, c)));
        for (int t = 0; t < r->rows; t++) {
            ptrdiff_t at = t * r->ld + i;
            vec log_a = v_mul(v_sigmoid(v_load(r->gate_a + at, c)), rate), a = v_exp(log_a);
            vec root = v_sqrt(v_sub(one, v_exp(v_add(log_a, log_a))));
            vec x = v_mul(v_load(r->x + at, c), v_sigmoid(v_load(r->gate_x + at, c)));
            h = v_fma(a, h, v_mul(x, r->first && t == 0 ? one : root));
            v_store(r->y + at, c, h);
        }
        v_store(r->state + i, c, h);
    }
}

static void wkv_rows(const struct wkv_run *r)
{
    LANES(i, c, r->cols) {
        float *state = r->state + i;
        vec num = v_load(state, c), den = v_load(state + r->ld, c);
        vec max = v_if_gt(den, v_set(0.0f), v_load(state + 2 * r->ld, c), v_set(-1e38f));
        vec decay = v_load(r->decay + i, c), bonus = v_load(r->bonus + i, c);
        for (int t = 0; t < r->rows; t++) {
            ptrdiff_t at = t * r->ld + i;
            vec k = v_load(r->k + at, c), v = v_load(r->v + at, c);
            vec now = v_add(k, bonus), top = v_max(max, now);
            vec old = v_exp(v_sub(max, top)), new = v_exp(v_sub(now, top));
            v_store(r->y + at, c, v_div(v_fma(old, num, v_mul(new, v)), v_fma(old, den, new)));
            vec past = v_add(max, decay);
            top = v_max(past, k);
            old = v_exp(v_sub(past, top));
            new = v_exp(v_sub(k, top));
            num = v_fma(old, num, v_mul(new, v));
            den = v_fma(old, den, new);
            max = top;
        }
        v_store(state, c, num);
        v_store(state + r->ld, c, den);
        v_store(state + 2 * r->ld, c, max);
    }
}

static void recur_fill(struct kernels *k)
{
#define RECUR_KERNEL(name, ret, ...) k->name = name;
#include "kernels/recur.def"
#undef RECUR_KERNEL
}

#undef LANES
#endif

/* The kernels on feature maps, written once on the sixteen lanes of a vec_*.h and compiled by every instruction
 * set's file with its own flags; the contract is depthwise.h. Lanes are channels. The including file says how many
 * pixels' sums its registers hold: enum { PIXELS = ... }. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_CONV_TMPL_H
#define KERNELS_CONV_TMPL_H
#include "kernels/kernels.h"
#include "kernels/vecmath.h"

/* n pixels from p on, channels [i, i + c). n and c are constants where it is called with constants. */
VEC_FN void depthwise_pixels(const struct depthwise_run *r, int p, int n, int i, int c)
{
    const float *x = r->x + p * r->step + i, *w = r->w + i;
    vec sum[PIXELS];
    for (int k = 0; k < n; k++)
        sum[k] = v_set(0.0f);
    for (int l = 0; l < r->lines; l++)
        for (int t = 0; t < r->taps; t++) {
            const float *at = x + l * r->line + t * r->ld;
            vec tap = v_load(w + l * r->w_line + t * r->ld, c);
            for (int k = 0; k < n; k++)
                sum[k] = v_fma(tap, v_load(at + k * r->step, c), sum[k]);
        }
    for (int k = 0; k < n; k++)
        v_store(r->y + (p + k) * r->ld + i, c, sum[k]);
}

VEC_FN void depthwise_lanes(const struct depthwise_run *r, int i, int c)
{
    int p = 0;
    for (; p + PIXELS <= r->pixels; p += PIXELS)
        depthwise_pixels(r, p, PIXELS, i, c);
    for (; p < r->pixels; p++)
        depthwise_pixels(r, p, 1, i, c);
}

static void depthwise_line(const struct depthwise_run *r)
{
    int i = 0;
    for (; i + VEC <= r->cols; i += VEC)
        depthwise_lanes(r, i, VEC);
    if (i < r->cols)
        depthwise_lanes(r, i, r->cols - i);
}

static void scale_rows(const struct scale_run *r)
{
    for (int row = 0; row < r->rows; row++)
        for (int i = 0; i < r->cols; i += VEC) {
            int c = r->cols - i < VEC ? r->cols - i : VEC;
            float *y = r->y + row * r->ld + i;
            vec v = v_load(y, c);
            vec shift = r->shift ? v_load(r->shift + i, c) : v_set(0.0f);
            if (r->scale)
                v = v_fma(v, v_load(r->scale + i, c), shift);
            else if (r->shift)
                v = v_add(v, shift);
            if (r->residual)
                v = v_add(v, v_load(r->residual + row * r->ld + i, c));
            v_store(y, c, v);
        }
}

static void conv_fill(struct kernels *k)
{
#define CONV_KERNEL(name, ret, ...) k->name = name;
#include "kernels/conv.def"
#undef CONV_KERNEL
}

#endif

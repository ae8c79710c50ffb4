/* Kernels on feature maps [B, h, w, C], the contract. One float32 profile, as rows.h: every instruction set gives
 * the same bits, and a value depends on its own taps alone, never on its neighbours in the call.
 * Who calls: the operation conv2d of graph/.
 *
 *   depthwise_line  a run of pixels in one line of the result: y[p][c] = sum over the taps of w x, one chain of fused
 *                   multiply-adds from zero, by lines of the kernel and then along them
 *   scale_rows      y = fma(y, scale, shift) + residual in place; what is NULL is left out */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_DEPTHWISE_H
#define KERNELS_DEPTHWISE_H
#include <stddef.h>

struct depthwise_run {
    int pixels, cols;        /* of the result */
    int lines, taps;         /* of the kernel, those inside the picture */
    ptrdiff_t ld;            /* floats from pixel to pixel of x and of y, from tap to tap of w */
    ptrdiff_t line, step;    /* of x: from line to line, from one result's first tap to the next's */
    ptrdiff_t w_line;
    const float *x;          /* the first result's first tap */
    const float *w;          /* its weights [cols] */
    float *y;                /* [pixels, cols] */
};

struct scale_run {
    int rows, cols;
    ptrdiff_t ld;            /* of y and residual */
    const float *scale, *shift; /* [cols] or NULL */
    const float *residual;   /* [rows, cols] or NULL */
    float *y;                /* [rows, cols] */
};

#endif

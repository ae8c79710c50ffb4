/* Recurrent kernels, the contract: consecutive tokens of one sequence walk through a carried state, in
 * time order, a token after the other. So how a sequence is cut into runs does not show, and neither do
 * neighbours: a channel's result depends on that channel's past alone. One float32 profile, as rows.h.
 * Who calls: the recurrent operations of graph/, each thread with its own range of channels.
 *
 * Pointers are to the first row and the first channel of the range; ld floats lie from row to row. The
 * state is read before and written after; a sequence begins with zeros.
 *
 *   conv_rows   causal depthwise convolution: y[t] = bias + sum over k of w[k] x[t - taps + 1 + k]
 *   mix_map     y = x mix + past (1 - mix)
 *   s6_rows     Mamba (arXiv:2312.00752): s[n] = exp(dt a[n]) s[n] + B[n] dt x; y = D x + sum of C[n] s[n]
 *   ssd_rows    Mamba-2 (arXiv:2405.21060): the same with one dt and one a a head of channels
 *   delta_rows  gated delta rule (arXiv:2412.06464): S = exp(dt a) S; S += k (beta (v - S^T k))^T; y = S^T q
 *   lru_rows    RG-LRU (arXiv:2402.19427): a = exp(-8 sigmoid(gate_a) softplus(param));
 *               h = a h + sqrt(1 - a^2) sigmoid(gate_x) x; the root is 1 at a sequence's first token
 *   wkv_rows    RWKV-4 (arXiv:2305.13048), scaled by a running maximum */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_RECUR_H
#define KERNELS_RECUR_H
#include <stdbool.h>
#include <stddef.h>

struct conv_run {
    int rows, cols, taps;
    ptrdiff_t ld;
    const float *x;          /* [rows, cols] */
    const float *w;          /* [taps, cols] */
    const float *bias;       /* [cols]; NULL: none */
    float *state;            /* [taps - 1, cols]: the inputs before the run */
    float *y;                /* [rows, cols] */
};

struct s6_run {
    int rows, cols, states;
    ptrdiff_t ld;
    const float *x, *dt;     /* [rows, cols] */
    const float *a;          /* [states, cols], negative */
    const float *B, *C;      /* [rows, states], dense */
    const float *D;          /* [cols] */
    float *state;            /* [states, cols] */
    float *y;                /* [rows, cols] */
};

struct ssd_run {
    int rows, first, heads;  /* heads [first, first + heads) */
    int head_dim, states, group; /* group: heads that share B and C */
    ptrdiff_t ld, ld_dt, ld_bc;
    /* whole rows, from head 0 on: */
    const float *x, *dt;     /* [rows, all heads * head_dim], [rows, all heads] */
    const float *a, *D;      /* [all heads]; a negative */
    const float *B, *C;      /* [rows, groups * states] */
    float dt_min, dt_max;
    float *state;            /* [all heads, states, head_dim] */
    float *y;
};

struct delta_run {
    int rows, first, heads;  /* heads [first, first + heads) */
    int head_dim, states, group; /* group: heads that share q and k */
    ptrdiff_t ld, ld_dt, ld_qk;
    /* whole rows, from head 0 on: */
    const float *v;          /* [rows, all heads * head_dim] */
    const float *dt, *beta;  /* [rows, all heads] */
    const float *a;          /* [all heads], negative */
    const float *q, *k;      /* [rows, groups * states] */
    float *state;            /* [all heads, states, head_dim] */
    float *y;
};

struct lru_run {
    int rows, cols;
    bool first;              /* row 0 begins the sequence */
    ptrdiff_t ld;
    const float *x, *gate_x, *gate_a; /* [rows, cols] */
    const float *param;      /* [cols] */
    float *state;            /* [cols] */
    float *y;
};

struct wkv_run {
    int rows, cols;
    ptrdiff_t ld;
    const float *k, *v;      /* [rows, cols] */
    const float *decay, *bonus; /* [cols]: -exp(time_decay), time_first */
    float *state;            /* [3, cols]: numerator, denominator (0: nothing seen), maximum */
    float *y;
};

#endif

/* Feature maps F32 [B,h,w,C] (channels last: a pixel is a row), as functions that make nodes: what nn/conv.c is
 * written in. The operations themselves are rows of ops.def; linear, norms and elements work on maps as on any rows. */
/* SPDX-License-Identifier: MIT */
#ifndef GRAPH_MAPS_H
#define GRAPH_MAPS_H
#include "graph/graph.h"

struct conv2d_how {
    int stride, before, after; /* padding: above and to the left, below and to the right */
    int groups;
    enum act_kind act;
};

/* act(conv(x, w[O,kh,kw,C/groups]) * scale[O] + bias[O] + residual[B,h,w,O]); the last three may be NULL */
struct g_tensor *g_conv2d(struct graph *g, const struct conv2d_how *how, struct g_tensor *x, struct g_tensor *w,
                          struct g_tensor *bias, struct g_tensor *scale, struct g_tensor *residual);
struct g_tensor *g_max_pool(struct graph *g, struct g_tensor *x, int kernel, int stride, int padding);
/* x * s[B,C] */
struct g_tensor *g_scale_maps(struct graph *g, struct g_tensor *x, struct g_tensor *s);
/* Batch norm by running statistics: scale[C] and shift[C] of a convolution. */
struct g_tensor *g_stats_scale(struct graph *g, struct g_tensor *w, struct g_tensor *var, float eps);
struct g_tensor *g_stats_shift(struct graph *g, struct g_tensor *b, struct g_tensor *mean, struct g_tensor *scale);

#endif

/* The operations on feature maps as functions. */
/* SPDX-License-Identifier: MIT */
#include "graph/maps.h"

#define IN(...) (struct g_tensor *const[]){__VA_ARGS__}

struct g_tensor *g_conv2d(struct graph *g, const struct conv2d_how *how, struct g_tensor *x, struct g_tensor *w,
                          struct g_tensor *bias, struct g_tensor *scale, struct g_tensor *residual)
{
    union g_attr a = {.conv2d = {how->stride, how->before, how->after, how->groups, how->act}};
    return g_op(g, OP_conv2d, &a, 5, IN(x, w, bias, scale, residual));
}

struct g_tensor *g_max_pool(struct graph *g, struct g_tensor *x, int kernel, int stride, int padding)
{
    union g_attr a = {.pool = {kernel, stride, padding}};
    return g_op(g, OP_max_pool, &a, 1, IN(x));
}

struct g_tensor *g_scale_maps(struct graph *g, struct g_tensor *x, struct g_tensor *s)
{
    return g_op(g, OP_scale_maps, NULL, 2, IN(x, s));
}

struct g_tensor *g_stats_scale(struct graph *g, struct g_tensor *w, struct g_tensor *var, float eps)
{
    union g_attr a = {.norm = {eps, 0}};
    return g_op(g, OP_stats_scale, &a, 2, IN(w, var));
}

struct g_tensor *g_stats_shift(struct graph *g, struct g_tensor *b, struct g_tensor *mean, struct g_tensor *scale)
{
    return g_op(g, OP_stats_shift, NULL, 3, IN(b, mean, scale));
}

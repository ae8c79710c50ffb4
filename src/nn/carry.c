/* What recurrent mixers share: where their state lies, and norms of parts of a row. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

struct g_tensor *nn_where(const struct nn_env *e)
{
    return e->seq->kv ? e->seq->kv : e->seq->pos;
}

int64_t nn_place(const struct nn_env *e, int layer, size_t offset)
{
    return e->seq->kv ? (int64_t)(nn_state_floats(e->f, layer) + offset) : -1;
}

struct g_tensor *nn_part_norm(struct graph *g, struct g_tensor *x, int n, struct g_param *w, float eps)
{
    if (!x)
        return NULL;
    if (n == 1 && w)
        return g_rms_norm(g, x, g_param(g, w), eps, 0);
    struct shape whole = x->shape;
    int64_t width = g_last(x) / n;
    float *ones;
    struct g_tensor *one = nn_const(g, SHAPE1(width), &ones);
    for (int64_t i = 0; one && i < width; i++)
        ones[i] = 1;
    x = g_rms_norm(g, g_reshape(g, x, SHAPE2(g_count(x) / width, width)), one, eps, 0);
    x = g_reshape(g, x, whole);
    return w ? g_mul(g, x, g_param(g, w)) : x;
}

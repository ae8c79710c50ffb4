/* Griffin's recurrent mixer: two branches, one through a short convolution and a gated linear recurrence,
 * the other the gate of its result. */
/* SPDX-License-Identifier: MIT */
#include "graph/experts.h"
#include "nn/nn.h"

/* [taps - 1, inner] of the convolution, then [inner]. */
static size_t conv_floats(const struct nn_ssm *s) { return (size_t)(s->taps - 1) * (size_t)s->inner; }

struct nn_keep nn_keep_rg_lru(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = conv_floats(&f->ssm) + (size_t)f->ssm.inner};
}

/* A matrix for each head of x[rows, inner], before the gate's sigmoid. */
static struct g_tensor *gate(struct graph *g, const struct nn_ssm *s, struct g_param *w, struct g_param *b, struct g_tensor *x)
{
    if (!x)
        return NULL;
    struct shape flat = x->shape;
    x = g_reshape(g, x, SHAPE3(flat.d[0], s->heads, s->inner / s->heads));
    return g_reshape(g, g_add(g, g_group_linear(g, x, g_param(g, w), true), g_param(g, b)), flat);
}

struct g_tensor *nn_mix_rg_lru(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                               struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_ssm *s = &f->ssm;
    struct g_tensor *where = nn_where(e), *bias = w[NN_conv_b] ? g_param(g, w[NN_conv_b]) : NULL;
    struct g_tensor *over = nn_linear(g, w[NN_ssm_gate_w], w[NN_ssm_gate_b], x, NULL, (enum act_kind)f->act);
    struct g_tensor *u = nn_linear(g, w[NN_ssm_in_w], w[NN_ssm_in_b], x, NULL, ACT_NONE);
    u = g_conv1d(g, u, g_param(g, w[NN_conv_w]), bias, where, nn_place(e, layer, 0));
    struct g_tensor *in = gate(g, s, w[NN_lru_x_w], w[NN_lru_x_b], u), *keep = gate(g, s, w[NN_lru_a_w], w[NN_lru_a_b], u);
    struct g_tensor *h = g_rg_lru(g, u, in, keep, g_param(g, w[NN_lru_param]), where, nn_place(e, layer, conv_floats(s)));
    return nn_join(g, f, w[NN_ssm_out_w], w[NN_ssm_out_b], g_mul(g, h, over), residual);
}

/* Mamba-2's mixer: one projection for gate, x, B, C and step sizes, a short convolution over x, B and C, a
 * scan with a step size for each head, a gated norm. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

static int side_of(const struct nn_ssm *s) { return s->groups * s->states; } /* of B, of C */

/* [taps - 1, x B C] of the convolution, then [heads, states, head]. */
static size_t conv_floats(const struct nn_ssm *s)
{
    return (size_t)(s->taps - 1) * (size_t)(s->inner + 2 * side_of(s));
}

struct nn_keep nn_keep_mamba2(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = conv_floats(&f->ssm) + (size_t)f->ssm.states * (size_t)f->ssm.inner};
}

/* The parts of the projection times their factors. */
static struct g_tensor *scale_parts(struct graph *g, const struct nn_ssm *s, struct g_tensor *p)
{
    const int width[5] = {s->inner, s->inner, side_of(s), side_of(s), s->heads};
    bool any = false;
    float *by;
    for (int i = 0; i < 5; i++)
        any = any || (s->part[i] != 0 && s->part[i] != 1);
    if (!any || !p)
        return p;
    struct g_tensor *factors = nn_const(g, SHAPE1(g_last(p)), &by);
    for (int i = 0, at = 0; i < 5 && factors; at += width[i++])
        for (int k = 0; k < width[i]; k++)
            by[at + k] = s->part[i] == 0 ? 1 : s->part[i];
    return g_mul(g, p, factors);
}

static struct g_tensor *gated(struct graph *g, const struct nn_facts *f, struct g_param *norm, struct g_tensor *gate,
                              struct g_tensor *y)
{
    const struct nn_ssm *s = &f->ssm;
    float eps = s->norm_eps > 0 ? s->norm_eps : f->norm_eps;
    if (norm && s->norm_first)
        y = nn_part_norm(g, y, s->groups, norm, eps);
    y = g_glu(g, gate, y, ACT_SILU);
    return norm && !s->norm_first ? nn_part_norm(g, y, s->groups, norm, eps) : y;
}

struct g_tensor *nn_mix_mamba2(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                               struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_ssm *s = &f->ssm;
    int side = side_of(s), mixed = s->inner + 2 * side;
    struct g_tensor *where = nn_where(e), *bias = w[NN_conv_b] ? g_param(g, w[NN_conv_b]) : NULL;
    struct g_tensor *p = nn_linear(g, w[NN_ssm_in_w], w[NN_ssm_in_b], nn_scale(g, x, s->in), NULL, ACT_NONE);
    p = scale_parts(g, s, p);
    struct g_tensor *gate = g_slice(g, p, 1, 0, s->inner), *u = g_slice(g, p, 1, s->inner, s->inner + mixed);
    struct g_tensor *dt = g_slice(g, p, 1, s->inner + mixed, s->inner + mixed + s->heads);
    u = g_act(g, g_conv1d(g, u, g_param(g, w[NN_conv_w]), bias, where, nn_place(e, layer, 0)), ACT_SILU);
    dt = g_act(g, g_add(g, dt, g_param(g, w[NN_ssm_dt_b])), ACT_SOFTPLUS);
    struct g_tensor *in[] = {g_slice(g, u, 1, 0, s->inner), dt, g_param(g, w[NN_ssm_a]),
                             g_slice(g, u, 1, s->inner, s->inner + side), g_slice(g, u, 1, s->inner + side, mixed),
                             g_param(g, w[NN_ssm_d])};
    struct g_tensor *y = g_ssd_scan(g, in, s->groups, s->dt_min, s->dt_max, where, nn_place(e, layer, conv_floats(s)));
    y = gated(g, f, w[NN_ssm_norm_w], gate, y);
    if (s->out == 0 || s->out == 1)
        return nn_join(g, f, w[NN_ssm_out_w], w[NN_ssm_out_b], y, residual);
    y = nn_scale(g, nn_join(g, f, w[NN_ssm_out_w], w[NN_ssm_out_b], y, NULL), s->out);
    return residual ? g_add(g, y, residual) : y;
}

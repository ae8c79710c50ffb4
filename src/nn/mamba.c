/* Mamba's mixer: a short convolution, a selective scan with a step size for each channel, a gate. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

/* [taps - 1, inner] of the convolution, then [states, inner]. */
static size_t conv_floats(const struct nn_ssm *s) { return (size_t)(s->taps - 1) * (size_t)s->inner; }

struct nn_keep nn_keep_mamba(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = conv_floats(&f->ssm) + (size_t)f->ssm.states * (size_t)f->ssm.inner};
}

static struct g_tensor *columns(struct graph *g, struct g_tensor *x, int from, int n)
{
    return g_slice(g, x, 1, from, from + n);
}

/* dt, B or C, normalised where the family does so. */
static struct g_tensor *parameter(struct graph *g, const struct nn_facts *f, struct g_tensor *x, struct g_param *norm)
{
    float eps = f->ssm.norm_eps > 0 ? f->ssm.norm_eps : f->norm_eps;
    return f->ssm.norm_parts ? nn_part_norm(g, x, 1, norm, eps) : x;
}

struct g_tensor *nn_mix_mamba(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                              struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_ssm *s = &f->ssm;
    enum act_kind act = (enum act_kind)f->act;
    struct g_tensor *where = nn_where(e), *bias = w[NN_conv_b] ? g_param(g, w[NN_conv_b]) : NULL;
    struct g_tensor *both = nn_linear(g, w[NN_ssm_in_w], w[NN_ssm_in_b], x, NULL, ACT_NONE);
    struct g_tensor *u = columns(g, both, 0, s->inner), *gate = columns(g, both, s->inner, s->inner);
    u = g_act(g, g_conv1d(g, u, g_param(g, w[NN_conv_w]), bias, where, nn_place(e, layer, 0)), act);
    struct g_tensor *p = nn_linear(g, w[NN_ssm_x_w], NULL, u, NULL, ACT_NONE);
    struct g_tensor *dt = parameter(g, f, columns(g, p, 0, s->rank), w[NN_ssm_dt_norm_w]);
    struct g_tensor *B = parameter(g, f, columns(g, p, s->rank, s->states), w[NN_ssm_b_norm_w]);
    struct g_tensor *C = parameter(g, f, columns(g, p, s->rank + s->states, s->states), w[NN_ssm_c_norm_w]);
    dt = nn_linear(g, w[NN_ssm_dt_w], w[NN_ssm_dt_b], dt, NULL, ACT_SOFTPLUS);
    struct g_tensor *in[] = {u, dt, g_param(g, w[NN_ssm_a]), B, C, g_param(g, w[NN_ssm_d])};
    struct g_tensor *y = g_selective_scan(g, in, where, nn_place(e, layer, conv_floats(s)));
    return nn_join(g, f, w[NN_ssm_out_w], w[NN_ssm_out_b], g_glu(g, gate, y, act), residual);
}

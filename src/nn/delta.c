/* The gated delta rule as a mixer (Qwen3-Next; arXiv:2412.06464): queries, keys and values through a short convolution,
 * a recurrence with a step size and a rate of correction a head, a norm of each head, a gate. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "nn/nn.h"

static int side_of(const struct nn_ssm *s) { return s->groups * s->states; } /* of q, of k */

/* [taps - 1, q k v] of the convolution, then [heads, states, head]. */
static size_t conv_floats(const struct nn_ssm *s)
{
    return (size_t)(s->taps - 1) * (size_t)(s->inner + 2 * side_of(s));
}

struct nn_keep nn_keep_delta(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = conv_floats(&f->ssm) + (size_t)f->ssm.states * (size_t)f->ssm.inner};
}

/* x [rows, groups * states]: each group's part times `length` / sqrt(|part|^2 + 1e-6). */
static struct g_tensor *unit(struct graph *g, const struct nn_ssm *s, struct g_tensor *x, float length)
{
    float *values;
    struct g_tensor *w = nn_const(g, SHAPE1(s->states), &values);
    for (int i = 0; w && i < s->states; i++)
        values[i] = length / sqrtf((float)s->states);
    if (!x)
        return NULL;
    struct g_tensor *parts = g_reshape(g, x, SHAPE2(g_count(x) / s->states, s->states));
    return g_reshape(g, g_rms_norm(g, parts, w, 1e-6f / (float)s->states, 0), x->shape);
}

/* y [rows, inner]: the norm of each head, then the gate. */
static struct g_tensor *gated(struct graph *g, const struct nn_facts *f, struct g_param *norm, struct g_tensor *gate, struct g_tensor *y)
{
    int64_t P = f->ssm.inner / f->ssm.heads;
    if (!y)
        return NULL;
    struct g_tensor *heads = g_rms_norm(g, g_reshape(g, y, SHAPE2(g_count(y) / P, P)), g_param(g, norm), f->norm_eps, 0);
    return g_glu(g, gate, g_reshape(g, heads, y->shape), ACT_SILU);
}

struct g_tensor *nn_mix_delta(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                              struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_ssm *s = &f->ssm;
    int side = side_of(s);
    struct g_tensor *where = nn_where(e), *parts[] = {nn_linear(g, w[NN_delta_q_w], NULL, x, NULL, ACT_NONE),
                                                      nn_linear(g, w[NN_delta_k_w], NULL, x, NULL, ACT_NONE),
                                                      nn_linear(g, w[NN_delta_v_w], NULL, x, NULL, ACT_NONE)};
    struct g_tensor *gate = nn_linear(g, w[NN_ssm_gate_w], NULL, x, NULL, ACT_NONE);
    struct g_tensor *beta = nn_linear(g, w[NN_delta_b_w], NULL, x, NULL, ACT_SIGMOID);
    struct g_tensor *dt = g_add(g, nn_linear(g, w[NN_delta_a_w], NULL, x, NULL, ACT_NONE), g_param(g, w[NN_ssm_dt_b]));
    struct g_tensor *u = g_concat(g, 1, 3, parts);
    u = g_act(g, g_conv1d(g, u, g_param(g, w[NN_conv_w]), NULL, where, nn_place(e, layer, 0)), ACT_SILU);
    struct g_tensor *in[] = {unit(g, s, g_slice(g, u, 1, 0, side), 1.0f / sqrtf((float)s->states)),
                             unit(g, s, g_slice(g, u, 1, side, 2 * side), 1),
                             g_slice(g, u, 1, 2 * side, 2 * side + s->inner), g_act(g, dt, ACT_SOFTPLUS),
                             g_param(g, w[NN_ssm_a]), beta};
    struct g_tensor *y = g_delta_scan(g, in, s->groups, where, nn_place(e, layer, conv_floats(s)));
    return nn_join(g, f, w[NN_ssm_out_w], NULL, gated(g, f, w[NN_ssm_norm_w], gate, y), residual);
}

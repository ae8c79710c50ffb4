/* A short convolution as a mixer (LFM2): one projection to two gates and a signal, which one gate meets before the
 * convolution and the other after. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

/* [taps - 1, inner] */
struct nn_keep nn_keep_short_conv(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = (size_t)(f->ssm.taps - 1) * (size_t)f->ssm.inner};
}

struct g_tensor *nn_mix_short_conv(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                   struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    int64_t D = f->ssm.inner;
    struct g_tensor *p = nn_linear(g, w[NN_ssm_in_w], w[NN_ssm_in_b], x, NULL, ACT_NONE);
    struct g_tensor *bias = w[NN_conv_b] ? g_param(g, w[NN_conv_b]) : NULL;
    struct g_tensor *u = g_mul(g, g_slice(g, p, 1, 0, D), g_slice(g, p, 1, 2 * D, 3 * D));
    u = g_conv1d(g, u, g_param(g, w[NN_conv_w]), bias, nn_where(e), nn_place(e, layer, 0));
    return nn_join(g, f, w[NN_ssm_out_w], w[NN_ssm_out_b], g_mul(g, g_slice(g, p, 1, D, 2 * D), u), residual);
}

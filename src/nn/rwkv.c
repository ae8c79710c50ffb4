/* RWKV-4: time mixing as a mixer, channel mixing as a channel part. Both mix each token with the one before
 * it, so both keep a row; the layer's state is [H | 3 * inner | H]. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

static size_t wkv_at(const struct nn_facts *f) { return (size_t)f->hidden; }
static size_t channel_at(const struct nn_facts *f) { return wkv_at(f) + 3 * (size_t)f->ssm.inner; }

struct nn_keep nn_keep_rwkv(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.fixed = channel_at(f) + (size_t)f->hidden};
}

/* n mixes of x[rows, hidden] with the rows before. */
static void mixes(struct graph *g, const struct nn_env *e, struct g_tensor *x, int n, struct g_param *const *mix, int64_t at,
                  struct g_tensor **out)
{
    struct g_tensor *weights[3] = {0};
    for (int i = 0; i < n; i++)
        weights[i] = g_param(g, mix[i]);
    struct g_tensor *all = g_token_shift(g, x, n, weights, nn_where(e), at);
    for (int i = 0; i < n; i++)
        out[i] = all ? g_view(g, all, (size_t)i * (size_t)g_count(x), x->shape) : NULL;
}

/* The part of layers done whose hidden state was halved: what is added must be too. */
static float halved(const struct nn_ssm *s, int layer)
{
    float scale = 1;
    for (int i = s->halve; s->halve > 0 && i <= layer; i += s->halve)
        scale *= 0.5f;
    return scale;
}

/* x W^T, halved as the residual is, and added. */
static struct g_tensor *join(struct graph *g, const struct nn_facts *f, struct g_tensor *y, struct g_tensor *residual, int layer)
{
    y = nn_scale(g, y, halved(&f->ssm, layer));
    return residual ? g_add(g, y, residual) : y;
}

struct g_tensor *nn_mix_rwkv(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                             struct g_tensor *residual, int layer)
{
    struct g_tensor *in[3];
    mixes(g, e, x, 3, (struct g_param *[]){w[NN_mix_k], w[NN_mix_v], w[NN_mix_r]}, nn_place(e, layer, 0), in);
    struct g_tensor *k = nn_linear(g, w[NN_attn_k_w], NULL, in[0], NULL, ACT_NONE);
    struct g_tensor *v = nn_linear(g, w[NN_attn_v_w], NULL, in[1], NULL, ACT_NONE);
    struct g_tensor *r = nn_linear(g, w[NN_attn_q_w], NULL, in[2], NULL, ACT_NONE);
    struct g_tensor *decay = g_param(g, w[NN_wkv_decay]), *first = g_param(g, w[NN_wkv_first]);
    struct g_tensor *y = g_wkv(g, k, v, decay, first, nn_where(e), nn_place(e, layer, wkv_at(e->f)));
    y = nn_linear(g, w[NN_attn_o_w], NULL, g_glu(g, r, y, ACT_SIGMOID), NULL, ACT_NONE);
    return join(g, e->f, y, residual, layer);
}

struct g_tensor *nn_channel_rwkv_mix(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                     struct g_tensor *residual, int layer)
{
    struct g_tensor *in[2];
    mixes(g, e, x, 2, (struct g_param *[]){w[NN_mix2_k], w[NN_mix2_r]}, nn_place(e, layer, channel_at(e->f)), in);
    struct g_tensor *k = nn_linear(g, w[NN_up_w], NULL, in[0], NULL, ACT_RELU2);
    struct g_tensor *r = nn_linear(g, w[NN_gate_w], NULL, in[1], NULL, ACT_NONE);
    struct g_tensor *y = g_glu(g, r, nn_linear(g, w[NN_down_w], NULL, k, NULL, ACT_NONE), ACT_SIGMOID);
    y = join(g, e->f, y, residual, layer);
    bool halve = e->f->ssm.halve > 0 && (layer + 1) % e->f->ssm.halve == 0;
    return halve && residual ? g_scale(g, y, 0.5f) : y;
}

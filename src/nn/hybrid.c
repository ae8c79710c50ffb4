/* Mixers made of two: attention beside mamba2 (Falcon-H1), and mamba2 behind a transformer block that several
 * layers share (Zamba2), which sees the embeddings too and to which each layer adds a part of low rank. */
/* SPDX-License-Identifier: MIT */
#include "nn/nn.h"

/* ---- beside -------------------------------------------------------------------------------- */

struct nn_keep nn_keep_beside(const struct nn_facts *f, int layer)
{
    struct nn_keep keep = nn_keep_attention(f, layer);
    keep.fixed = nn_keep_mamba2(f, layer).fixed;
    return keep;
}

struct g_tensor *nn_mix_beside(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                               struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_tensor *y = nn_mix_attention(g, e, w, nn_scale(g, x, f->attention_in), NULL, layer);
    y = nn_scale(g, y, f->attention_out);
    return nn_mix_mamba2(g, e, w, x, residual ? g_add(g, y, residual) : y, layer);
}

/* ---- shared -------------------------------------------------------------------------------- */

struct nn_keep nn_keep_shared(const struct nn_facts *f, int layer)
{
    return nn_keep_beside(f, layer);
}

/* x W^T + (x A^T) B^T: the block's own matrix and the layer's addition. */
static struct g_tensor *adapted(struct graph *g, struct g_param *w, struct g_param *a, struct g_param *b, struct g_tensor *x)
{
    struct g_tensor *more = a ? nn_linear(g, b, NULL, nn_linear(g, a, NULL, x, NULL, ACT_NONE), NULL, ACT_NONE) : NULL;
    return nn_linear(g, w, NULL, x, more, ACT_NONE);
}

/* [rows, n * head_dim] -> [rows, n, head_dim] */
static struct g_tensor *heads(struct graph *g, const struct nn_env *e, struct g_tensor *x, int n)
{
    return g_reshape(g, x, SHAPE3((int64_t)e->seq->batch * e->seq->tokens, n, e->f->head_dim));
}

static struct g_tensor *shared_attention(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_tensor *q = heads(g, e, adapted(g, w[NN_share_q_w], w[NN_adapt_q1_w], w[NN_adapt_q2_w], x), f->heads);
    struct g_tensor *k = heads(g, e, adapted(g, w[NN_share_k_w], w[NN_adapt_k1_w], w[NN_adapt_k2_w], x), f->kv_heads);
    struct g_tensor *v = heads(g, e, adapted(g, w[NN_share_v_w], w[NN_adapt_v1_w], w[NN_adapt_v2_w], x), f->kv_heads);
    struct g_tensor *y = nn_attend(g, e, nn_turn(g, e, q, layer), nn_turn(g, e, k, layer), v, layer);
    return nn_linear(g, w[NN_attn_o_w], w[NN_attn_o_b], y, NULL, ACT_NONE);
}

struct g_tensor *nn_mix_shared(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                               struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_tensor *wide[] = {x, e->input};
    struct g_tensor *h = nn_norm(g, f, w[NN_share_norm_w], NULL, g_concat(g, 1, 2, wide));
    h = shared_attention(g, e, w, h, layer);
    h = nn_norm(g, f, w[NN_norm2_w], NULL, h);
    h = adapted(g, w[NN_share_up_w], w[NN_adapt_up1_w], w[NN_adapt_up2_w], h);
    h = g_glu(g, g_slice(g, h, 1, 0, f->intermediate), g_slice(g, h, 1, f->intermediate, 2 * (int64_t)f->intermediate),
              (enum act_kind)f->act);
    h = nn_linear(g, w[NN_down_w], w[NN_down_b], h, NULL, ACT_NONE);
    h = nn_linear(g, w[NN_share_out_w], NULL, h, x, ACT_NONE);
    return nn_mix_mamba2(g, e, w, nn_norm(g, f, w[NN_ssm_pre_w], NULL, h), residual, layer);
}

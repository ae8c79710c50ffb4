/* Latent attention (DeepSeek; arXiv:2405.04434): keys and values of all heads come from one small vector a token, and
 * only that vector and one rotated key are kept.
 *
 *   c[R] = norm(W_kv_a x), k_r[r] = rope(...)          kept: R + r floats a position, whatever the heads
 *   score of a head = q_n . (W_k c) + q_r . k_r = (W_k^T q_n) . c + q_r . k_r
 *   value of a head = sum p_j (W_v c_j)            = W_v (sum p_j c_j)
 *
 * The right-hand sides are computed, always: the queries absorb W_k, the answers W_v, and between them lies plain
 * attention of all heads over one key head [c | k_r] whose values are the keys. Whole sequences, chunks and single
 * tokens go the same way, so that their bits are the same; nothing is expanded again when a token is added. The
 * price is R + r instead of head_dim multiplications a pair in long prefills. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "graph/experts.h"
#include "nn/nn.h"

struct nn_keep nn_keep_latent(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.keys = 1, .width = f->latent.kv_rank + f->latent.rope};
}

/* q of all heads: W_k^T q_n beside the rotated q_r; [rows, heads, R + r] */
static struct g_tensor *queries(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_latent *l = &f->latent;
    if (w[NN_q_a_w]) {
        x = nn_linear(g, w[NN_q_a_w], w[NN_q_a_b], x, NULL, ACT_NONE);
        x = g_rms_norm(g, x, g_param(g, w[NN_q_a_norm_w]), f->norm_eps, f->norm_offset);
        x = nn_linear(g, w[NN_q_b_w], NULL, x, NULL, ACT_NONE);
    } else {
        x = nn_linear(g, w[NN_attn_q_w], w[NN_attn_q_b], x, NULL, ACT_NONE);
    }
    x = g_reshape(g, x, SHAPE3((int64_t)e->seq->batch * e->seq->tokens, f->heads, l->nope + l->rope));
    struct g_tensor *plain = g_slice(g, x, 2, 0, l->nope), *turned = g_slice(g, x, 2, l->nope, l->nope + l->rope);
    struct g_tensor *both[] = {g_group_linear(g, plain, g_param(g, w[NN_kv_k_w]), true), nn_turn(g, e, turned, layer)};
    return g_concat(g, 2, 2, both);
}

/* [rows, 1, R + r]: what is kept */
static struct g_tensor *latents(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x, int layer)
{
    const struct nn_latent *l = &e->f->latent;
    int64_t rows = (int64_t)e->seq->batch * e->seq->tokens;
    x = nn_linear(g, w[NN_kv_a_w], w[NN_kv_a_b], x, NULL, ACT_NONE);
    struct g_tensor *c = g_slice(g, x, 1, 0, l->kv_rank), *key = g_slice(g, x, 1, l->kv_rank, l->kv_rank + l->rope);
    c = g_rms_norm(g, c, g_param(g, w[NN_kv_a_norm_w]), e->f->norm_eps, e->f->norm_offset);
    struct g_tensor *both[] = {g_reshape(g, c, SHAPE3(rows, 1, l->kv_rank)),
                               nn_turn(g, e, g_reshape(g, key, SHAPE3(rows, 1, l->rope)), layer)};
    return g_concat(g, 2, 2, both);
}

struct g_tensor *nn_mix_latent(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                               struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_latent *l = &f->latent;
    int64_t rows = (int64_t)e->seq->batch * e->seq->tokens;
    struct g_tensor *q = queries(g, e, w, x, layer), *k = latents(g, e, w, x, layer);
    struct g_tensor *y = nn_attend(g, e, q, k, e->seq->kv ? NULL : k, layer);
    y = g_slice(g, g_reshape(g, y, SHAPE3(rows, f->heads, l->kv_rank + l->rope)), 2, 0, l->kv_rank);
    y = g_group_linear(g, y, g_param(g, w[NN_kv_v_w]), false);
    return nn_join(g, f, w[NN_attn_o_w], w[NN_attn_o_b], g_reshape(g, y, SHAPE2(rows, (int64_t)f->heads * l->value)), residual);
}

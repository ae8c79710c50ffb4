/* Attention over pictures beside the sequence: queries are tokens, keys and values are rows of features, which do not
 * turn and do not depend on the text. Training computes them with the rest; serving once a picture, and keeps them
 * (nn_keep_pictures). Which rows a token sees is the caller's to say. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

struct nn_keep nn_keep_cross(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.keys = f->kv_heads, .values = f->kv_heads, .width = f->head_dim, .beside = true};
}

/* rows [n, hidden] -> [n, kv_heads, head_dim] */
static struct g_tensor *keys(struct graph *g, const struct nn_facts *f, struct g_param *const *w, struct g_tensor *rows)
{
    return nn_heads(g, f, nn_linear(g, w[NN_attn_k_w], w[NN_attn_k_b], rows, NULL, ACT_NONE), f->kv_heads, w[NN_k_norm_w],
                    w[NN_k_norm_b]);
}

static struct g_tensor *values(struct graph *g, const struct nn_facts *f, struct g_param *const *w, struct g_tensor *rows)
{
    return nn_heads(g, f, nn_linear(g, w[NN_attn_v_w], w[NN_attn_v_b], rows, NULL, ACT_NONE), f->kv_heads, NULL, NULL);
}

void nn_keep_pictures(struct graph *g, const struct nn_stack *s, struct g_tensor *rows, struct g_tensor *kv)
{
    for (int i = 0; i < s->facts.layers; i++)
        if (nn_looks(&s->facts, i))
            g_output(g_keep_rows(g, keys(g, &s->facts, s->layer[i], rows), values(g, &s->facts, s->layer[i], rows), kv, i));
}

/* [batch * n, heads, D] -> [batch, n, heads, D] */
static struct g_tensor *apart(struct graph *g, struct g_tensor *x, int batch)
{
    return x ? g_reshape(g, x, SHAPE4(batch, x->shape.d[0] / batch, x->shape.d[1], x->shape.d[2])) : NULL;
}

struct g_tensor *nn_mix_cross(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                              struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    const struct nn_seq *seq = e->seq;
    const struct nn_sight *sight = seq->sight;
    float scale = f->layer[layer].scale != 0 ? f->layer[layer].scale : 1.0f / sqrtf((float)f->head_dim);
    struct g_tensor *q = nn_heads(g, f, nn_linear(g, w[NN_attn_q_w], w[NN_attn_q_b], x, NULL, ACT_NONE), f->heads,
                                  w[NN_q_norm_w], w[NN_q_norm_b]), *y;
    if (seq->kv)
        y = g_attention_kept(g, q, seq->kv, layer, f->kv_heads, scale, f->softcap);
    else
        y = g_attention(g, apart(g, q, seq->batch), apart(g, keys(g, f, w, sight->rows), seq->batch),
                        apart(g, values(g, f, w, sight->rows), seq->batch), sight->spans, scale, f->softcap);
    y = g_reshape(g, y, SHAPE2((int64_t)seq->batch * seq->tokens, (int64_t)f->heads * f->head_dim));
    return nn_join(g, f, w[NN_attn_o_w], w[NN_attn_o_b], y, residual);
}

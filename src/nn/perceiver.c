/* Resampling: in every block the latents look at the context and at themselves. */
/* SPDX-License-Identifier: MIT */
#include "nn/perceiver.h"

#include <math.h>

/* Heads of the context, and of the latents behind them: [batch, tokens + latents, kv_heads, D]. */
static struct g_tensor *keys(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_tensor *context, struct g_tensor *latents,
                             int batch)
{
    struct g_tensor *side[] = {nn_linear(g, w, NULL, context, NULL, ACT_NONE), nn_linear(g, w, NULL, latents, NULL, ACT_NONE)};
    for (int i = 0; i < 2 && side[i]; i++)
        side[i] = g_reshape(g, side[i], SHAPE4(batch, side[i]->shape.d[0] / batch, f->kv_heads, f->head_dim));
    return g_concat(g, 1, 2, side);
}

static struct g_tensor *block(struct graph *g, const struct nn_stack *s, int layer, struct g_tensor *context, struct g_tensor *x, int batch,
                              const struct g_tensor *spans)
{
    const struct nn_facts *f = &s->facts;
    struct g_param *const *w = s->layer[layer];
    int n = f->positions, Q = f->heads * f->head_dim;
    struct g_tensor *seen = nn_norm(g, f, w[NN_context_norm_w], NULL, context), *own = nn_norm(g, f, w[NN_norm1_w], NULL, x);
    struct g_tensor *q = g_reshape(g, nn_linear(g, w[NN_attn_q_w], NULL, own, NULL, ACT_NONE), SHAPE4(batch, n, f->heads, f->head_dim));
    struct g_tensor *y = g_attention(g, q, keys(g, f, w[NN_attn_k_w], seen, own, batch), keys(g, f, w[NN_attn_v_w], seen, own, batch),
                                     (struct g_tensor *)(uintptr_t)spans, 1.0f / sqrtf((float)f->head_dim), 0);
    x = nn_linear(g, w[NN_attn_o_w], NULL, g_reshape(g, y, SHAPE2((int64_t)batch * n, Q)), x, ACT_NONE);
    struct g_tensor *h = nn_norm(g, f, w[NN_norm2_w], NULL, x);
    h = g_glu(g, nn_linear(g, w[NN_gate_w], NULL, h, NULL, ACT_NONE), nn_linear(g, w[NN_up_w], NULL, h, NULL, ACT_NONE), (enum act_kind)f->act);
    return nn_linear(g, w[NN_down_w], NULL, h, x, ACT_NONE);
}

struct g_tensor *nn_resample(struct graph *g, const struct nn_stack *s, struct g_tensor *context, int batch, int tokens)
{
    const struct nn_facts *f = &s->facts;
    struct g_tensor *x = g_repeat_rows(g, g_param(g, s->w[NN_latents_w]), batch);
    struct nn_seq seq = nn_seq_full(g, batch, f->positions);
    for (int i = 0; !g->error && i < batch * f->positions; i++)
        g_i32(seq.spans)[2 * i + 1] = tokens + f->positions;
    for (int i = 0; i < f->layers && !g->error; i++)
        x = block(g, s, i, context, x, batch, seq.spans);
    return nn_norm(g, f, s->w[NN_final_norm_w], NULL, x);
}

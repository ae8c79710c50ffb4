/* Transformer blocks and what lies around them, built from facts and present weights. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

const struct nn_role_info nn_roles[NN_ROLES] = {
#define ROLE(name, scope, shape, doc) {#name, #scope[0], shape, doc},
#include "nn/roles.def"
#undef ROLE
};

int nn_dim(const struct nn_facts *f, char letter)
{
    switch (letter) {
    case 'H': return f->hidden;
    case 'Q': return f->heads * f->head_dim;
    case 'K': return f->kv_heads * f->head_dim;
    case 'I': return f->intermediate;
    case 'V': return f->vocab;
    case 'N': return f->positions;
    case 'C': return f->channels;
    case 'P': return f->patch;
    case 'J': return f->projection;
    case 'D': return f->head_dim;
    case 'T': return 3 * f->hidden;
    case '1': return 1;
    case '3': return 3;
    default: return 0;
    }
}

void nn_rope_frequencies(const struct nn_facts *f, float *inv_freq)
{
    const struct nn_rope *r = &f->rope;
    int half = f->head_dim / 2;
    for (int i = 0; i < half; i++) {
        float freq = 1.0f / powf(r->theta, (float)(2 * i) / (float)f->head_dim);
        if (r->kind == NN_ROPE_LINEAR)
            freq /= r->factor;
        if (r->kind == NN_ROPE_LLAMA3) {
            float wavelength = 6.283185307179586f / freq, old = (float)r->original_positions;
            float low = old / r->low_freq_factor, high = old / r->high_freq_factor;
            float smooth = (old / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
            if (wavelength > low)
                freq /= r->factor;
            else if (wavelength >= high)
                freq = (1.0f - smooth) * freq / r->factor + smooth * freq;
        }
        inv_freq[i] = freq;
    }
}

struct g_tensor *nn_linear(struct graph *g, struct g_param *w, struct g_param *b, struct g_tensor *x,
                           struct g_tensor *residual, enum act_kind act)
{
    /* A trained activation needs its input kept: apart, it is not recomputed. */
    bool apart = g->training && act != ACT_NONE;
    struct g_tensor *bias = b ? g_param(g, b) : NULL;
    struct g_tensor *y = g_linear(g, x, g_param(g, w), bias, residual, apart ? ACT_NONE : act);
    return apart ? g_act(g, y, act) : y;
}

struct g_tensor *nn_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x)
{
    if (f->norm == NN_RMS)
        return g_rms_norm(g, x, g_param(g, w), f->norm_eps, f->norm_offset);
    return g_layer_norm(g, x, g_param(g, w), g_param(g, b), f->norm_eps);
}

/* What the blocks of one stack share. */
struct block_env {
    const struct nn_facts *f;
    const struct nn_seq *seq;
    struct g_tensor *inv_freq; /* NULL without rope */
};

/* [rows, n*head_dim] -> heads, normalised and rotated as the facts say: [B,T,n,D], or [rows,n,D] for cached. */
static struct g_tensor *heads(struct graph *g, const struct block_env *e, struct g_tensor *x, int n,
                              struct g_param *norm, bool rotate)
{
    const struct nn_facts *f = e->f;
    int rows = e->seq->batch * e->seq->tokens;
    x = g_reshape(g, x, SHAPE3(rows, n, f->head_dim));
    if (norm)
        x = g_rms_norm(g, x, g_param(g, norm), f->norm_eps, f->norm_offset);
    if (rotate && e->inv_freq)
        x = g_rope(g, x, e->seq->pos, e->inv_freq, f->head_dim, f->rope.interleaved, 1.0f);
    if (e->seq->kv)
        return x;
    return g_reshape(g, x, SHAPE4(e->seq->batch, e->seq->tokens, n, f->head_dim));
}

static struct g_tensor *attention(struct graph *g, const struct block_env *e, struct g_param *const *w,
                                  struct g_tensor *x, struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    float scale = 1.0f / sqrtf((float)f->head_dim);
    struct g_tensor *q = nn_linear(g, w[NN_attn_q_w], w[NN_attn_q_b], x, NULL, ACT_NONE);
    struct g_tensor *k = nn_linear(g, w[NN_attn_k_w], w[NN_attn_k_b], x, NULL, ACT_NONE);
    struct g_tensor *v = nn_linear(g, w[NN_attn_v_w], w[NN_attn_v_b], x, NULL, ACT_NONE);
    q = heads(g, e, q, f->heads, w[NN_q_norm_w], true);
    k = heads(g, e, k, f->kv_heads, w[NN_k_norm_w], true);
    v = heads(g, e, v, f->kv_heads, NULL, false);
    struct g_tensor *y = e->seq->kv ? g_attention_cached(g, q, k, v, e->seq->kv, layer, scale, f->softcap)
                                    : g_attention(g, q, k, v, e->seq->spans, scale, f->softcap);
    y = g_reshape(g, y, SHAPE2(e->seq->batch * e->seq->tokens, f->heads * f->head_dim));
    if (g->training && f->dropout > 0)
        return g_add(g, g_dropout(g, nn_linear(g, w[NN_attn_o_w], w[NN_attn_o_b], y, NULL, ACT_NONE), f->dropout), residual);
    return nn_linear(g, w[NN_attn_o_w], w[NN_attn_o_b], y, residual, ACT_NONE);
}

static struct g_tensor *mlp(struct graph *g, const struct nn_facts *f, struct g_param *const *w, struct g_tensor *x,
                            struct g_tensor *residual)
{
    struct g_tensor *h;
    if (f->gated)
        h = g_glu(g, nn_linear(g, w[NN_gate_w], w[NN_gate_b], x, NULL, ACT_NONE),
                  nn_linear(g, w[NN_up_w], w[NN_up_b], x, NULL, ACT_NONE), (enum act_kind)f->act);
    else
        h = nn_linear(g, w[NN_up_w], w[NN_up_b], x, NULL, (enum act_kind)f->act);
    if (g->training && f->dropout > 0)
        return g_add(g, g_dropout(g, nn_linear(g, w[NN_down_w], w[NN_down_b], h, NULL, ACT_NONE), f->dropout), residual);
    return nn_linear(g, w[NN_down_w], w[NN_down_b], h, residual, ACT_NONE);
}

struct g_tensor *nn_blocks(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct nn_seq *seq,
                           int from, int to)
{
    const struct nn_facts *f = &s->facts;
    struct block_env e = {f, seq, NULL};
    if (f->rope.kind != NN_ROPE_NONE) {
        struct g_tensor *freq = g_const(g, DT_F32, SHAPE1(f->head_dim / 2), NULL, false);
        float *values = arena_array(&g->arena, (size_t)f->head_dim / 2 + 1, sizeof *values);
        if (!freq || !values) {
            g->error = g->error ? g->error : NUN_ENOMEM;
            return NULL;
        }
        nn_rope_frequencies(f, values);
        freq->data = values;
        e.inv_freq = freq;
    }
    for (int i = from; i < to; i++) {
        struct g_param *const *w = s->layer[i];
        if (seq->recompute)
            g_segment_begin(g);
        struct g_tensor *h = nn_norm(g, f, w[NN_norm1_w], w[NN_norm1_b], x);
        x = attention(g, &e, w, h, x, i);
        h = nn_norm(g, f, w[NN_norm2_w], w[NN_norm2_b], x);
        x = mlp(g, f, w, h, x);
        if (seq->recompute)
            g_segment_end(g);
    }
    return x;
}

struct g_tensor *nn_tokens(struct graph *g, const struct nn_stack *s, struct g_tensor *ids, const struct nn_seq *seq)
{
    struct g_tensor *x = g_embedding(g, g_param(g, s->w[NN_embed_w]), ids);
    if (s->w[NN_pos_w])
        x = g_add(g, x, g_embedding(g, g_param(g, s->w[NN_pos_w]), seq->pos));
    return x;
}

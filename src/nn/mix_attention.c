/* Softmax attention: projections, norms of queries and keys, rotation, and the sequence's spans or pages. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "nn/nn.h"

struct nn_keep nn_keep_attention(const struct nn_facts *f, int layer)
{
    return (struct nn_keep){.keys = f->kv_heads, .values = f->kv_heads, .width = f->head_dim + (f->alibi > 0)};
}

/* x [rows, W] over the root mean square of its first columns. The others are made so small that an ordinary norm does not
 * feel them; what that and its division by W change, the weights' factors take back, powers of two but for the root. */
static struct g_tensor *norm_by_first(struct graph *g, struct g_tensor *x, struct g_param *w, int first, float eps)
{
    int64_t W = g_last(x);
    float *small, *back, *one, share = (float)first / (float)W;
    struct g_tensor *down = nn_const(g, SHAPE1(W), &small), *up = nn_const(g, SHAPE1(W), &back), *ones = nn_const(g, SHAPE1(W), &one);
    for (int64_t i = 0; ones && i < W; i++) {
        small[i] = i < first ? 1 : 0x1p-40f;
        back[i] = sqrtf(share) / small[i];
        one[i] = 1;
    }
    x = g_rms_norm(g, g_mul(g, x, down), ones, eps * share, 0);
    return g_mul(g, g_mul(g, x, up), g_param(g, w));
}

/* x [rows, n, D] by heads: one weight for all heads [D], for the whole row [n * D], or for each head [n, D]. */
static struct g_tensor *head_norm(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b,
                                  struct g_tensor *x)
{
    if (!w || !x)
        return x;
    struct shape heads = x->shape;
    bool whole = w->shape.n == 1 && w->shape.d[0] != f->head_dim;
    if (whole)
        x = g_reshape(g, x, SHAPE2(heads.d[0], heads.d[1] * heads.d[2]));
    if (w->shape.n == 2) {
        float *ones;
        struct g_tensor *one = nn_const(g, SHAPE1(f->head_dim), &ones);
        for (int i = 0; one && i < f->head_dim; i++)
            ones[i] = 1;
        x = f->qk_norm_layer ? g_layer_norm(g, x, one, NULL, f->norm_eps) : g_rms_norm(g, x, one, f->norm_eps, 0);
        return g_mul(g, x, g_param(g, w));
    }
    if (whole && f->qk_norm_first)
        x = norm_by_first(g, x, w, f->qk_norm_first, f->norm_eps);
    else if (f->qk_norm_layer)
        x = g_layer_norm(g, x, g_param(g, w), b ? g_param(g, b) : NULL, f->norm_eps);
    else
        x = g_rms_norm(g, x, g_param(g, w), f->norm_eps, f->norm_offset);
    return whole ? g_reshape(g, x, heads) : x;
}

struct g_tensor *nn_turn(struct graph *g, const struct nn_env *e, struct g_tensor *x, int layer)
{
    int at = e->f->layer[layer].rope;
    if (at == NN_NONE || e->f->rope[at].kind == NN_ROPE_none)
        return x;
    const struct nn_rope *r = &e->f->rope[at];
    return g_rope(g, x, e->seq->pos, e->freq[at], nn_rope_dims(e->f, r), r->interleaved, r->mscale == 0 ? 1.0f : r->mscale);
}

struct g_tensor *nn_heads(struct graph *g, const struct nn_facts *f, struct g_tensor *x, int n, struct g_param *w, struct g_param *b)
{
    return x ? head_norm(g, f, w, b, g_reshape(g, x, SHAPE3(x->shape.d[0], n, f->head_dim))) : NULL;
}

/* The same, normalised and rotated as the facts say. */
static struct g_tensor *heads(struct graph *g, const struct nn_env *e, struct g_tensor *x, int n, struct g_param *norm_w,
                              struct g_param *norm_b, int layer)
{
    const struct nn_facts *f = e->f;
    x = g_reshape(g, x, SHAPE3((int64_t)e->seq->batch * e->seq->tokens, n, f->head_dim));
    if (!f->qk_norm_late)
        x = head_norm(g, f, norm_w, norm_b, x);
    x = nn_turn(g, e, x, layer);
    return f->qk_norm_late ? head_norm(g, f, norm_w, norm_b, x) : x;
}

/* Spans cut to the layer's window, made once for all layers that share it. */
static struct g_tensor *spans_of(struct graph *g, struct nn_env *e, int window)
{
    if (window == 0)
        return e->seq->spans;
    if (e->window != window) {
        e->window_spans = g_window_spans(g, e->seq->spans, window);
        e->window = window;
    }
    return e->window_spans;
}

static struct g_tensor *by_sequence(struct graph *g, const struct nn_seq *seq, struct g_tensor *x)
{
    return x ? g_reshape(g, x, SHAPE4(seq->batch, seq->tokens, x->shape.d[1], x->shape.d[2])) : NULL;
}

struct g_tensor *nn_attend(struct graph *g, struct nn_env *e, struct g_tensor *q, struct g_tensor *k, struct g_tensor *v,
                           int layer)
{
    const struct nn_seq *seq = e->seq;
    const struct nn_layer *l = &e->f->layer[layer];
    struct g_tensor *y;
    if (!q)
        return NULL;
    float scale = l->scale != 0 ? l->scale : 1.0f / sqrtf((float)q->shape.d[2]);
    struct shape flat = SHAPE2(q->shape.d[0], q->shape.d[1] * q->shape.d[2]);
    struct g_param *const *w = e->s->layer ? e->s->layer[layer] : NULL;
    struct g_tensor *sinks = w && w[NN_sinks] ? g_param(g, w[NN_sinks]) : NULL;
    if (seq->kv) {
        y = g_attention_cached_sunk(g, q, k, v, seq->kv, sinks, layer, scale, e->f->softcap, l->window);
    } else {
        q = by_sequence(g, seq, q);
        k = by_sequence(g, seq, k);
        v = by_sequence(g, seq, v);
        struct g_tensor *spans = spans_of(g, e, l->window);
        y = sinks ? g_attention_sunk(g, q, k, v, spans, sinks, scale) : g_attention(g, q, k, v, spans, scale, e->f->softcap);
    }
    return g_reshape(g, y, flat);
}

/* ---- scores that fall with distance (arXiv:2108.12409) --------------------------------------- */

/* slope[h] = 2^-(i * most / n), n the next power of two of the heads; of more than there are heads, the second, the
 * fourth ... come first. */
static float slope_of(int h, int heads, float most)
{
    int n = 1;
    while (n < heads)
        n *= 2;
    int i = n == heads ? h + 1 : h < n / 2 ? 2 * h + 2 : 2 * (h - n / 2) + 1;
    return exp2f(-(float)i * most / (float)n);
}

/* x [rows, n, D] and one column more. */
static struct g_tensor *widened(struct graph *g, struct g_tensor *x, struct g_tensor *column)
{
    struct g_tensor *both[] = {x, column};
    return g_concat(g, 2, 2, both);
}

/* The slopes of heads that have a key head each. */
static struct g_tensor *key_slopes(struct graph *g, const struct nn_facts *f)
{
    float *slopes;
    struct g_tensor *t = nn_const(g, SHAPE1(f->heads), &slopes);
    for (int h = 0; t && h < f->heads; h++)
        slopes[h] = slope_of(h, f->heads, f->alibi);
    return t;
}

/* A softmax does not see what all scores of a row share, so slope * (j - i) may be slope * j: one more dimension, the
 * slope in queries, the position in keys, nothing in values. Or all of it in keys, as Falcon rounds it. */
static struct g_tensor *attend_sloped(struct graph *g, struct nn_env *e, struct g_tensor *q, struct g_tensor *k,
                                      struct g_tensor *v, int layer)
{
    const struct nn_facts *f = e->f;
    int rows = e->seq->batch * e->seq->tokens, D = f->head_dim;
    float *slopes, *zeros, scale = f->layer[layer].scale;
    struct g_tensor *by = nn_const(g, SHAPE3(rows, f->heads, 1), &slopes), *none = nn_const(g, SHAPE3(rows, f->kv_heads, 1), &zeros);
    for (int i = 0; by && i < rows * f->heads; i++)
        slopes[i] = f->alibi_keys ? 1 : slope_of(i % f->heads, f->heads, f->alibi) / scale;
    struct g_tensor *at = g_positions(g, e->seq->pos, f->kv_heads, f->alibi_keys ? key_slopes(g, f) : NULL);
    at = g_reshape(g, at, SHAPE3(rows, f->kv_heads, 1));
    struct g_tensor *y = nn_attend(g, e, widened(g, q, by), widened(g, k, at), widened(g, v, none), layer);
    y = g_slice(g, g_reshape(g, y, SHAPE3(rows, f->heads, D + 1)), 2, 0, D);
    return g_reshape(g, y, SHAPE2(rows, (int64_t)f->heads * D));
}

/* A projection, cut where the facts say so. */
static struct g_tensor *project(struct graph *g, const struct nn_facts *f, struct g_param *w, struct g_param *b, struct g_tensor *x)
{
    x = nn_linear(g, w, b, x, NULL, ACT_NONE);
    return f->clip_qkv > 0 ? g_clamp(g, x, -f->clip_qkv, f->clip_qkv) : x;
}

struct g_tensor *nn_mix_attention(struct graph *g, struct nn_env *e, struct g_param *const *w, struct g_tensor *x,
                                  struct g_tensor *residual, int layer)
{
    const struct nn_facts *f = e->f;
    struct g_tensor *q = project(g, f, w[NN_attn_q_w], w[NN_attn_q_b], x);
    struct g_tensor *k = project(g, f, w[NN_attn_k_w], w[NN_attn_k_b], x);
    struct g_tensor *v = project(g, f, w[NN_attn_v_w], w[NN_attn_v_b], x);
    q = heads(g, e, q, f->heads, w[NN_q_norm_w], w[NN_q_norm_b], layer);
    k = heads(g, e, k, f->kv_heads, w[NN_k_norm_w], w[NN_k_norm_b], layer);
    v = g_reshape(g, v, SHAPE3((int64_t)e->seq->batch * e->seq->tokens, f->kv_heads, f->head_dim));
    struct g_tensor *y = f->alibi > 0 ? attend_sloped(g, e, q, k, v, layer) : nn_attend(g, e, q, k, v, layer);
    if (w[NN_attn_gate_w])
        y = g_mul(g, y, nn_linear(g, w[NN_attn_gate_w], w[NN_attn_gate_b], x, NULL, ACT_SIGMOID));
    return nn_join(g, f, w[NN_attn_o_w], w[NN_attn_o_b], y, residual);
}

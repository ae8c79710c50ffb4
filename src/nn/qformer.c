/* Blocks of BERT's kind over queries and text: norms of sums, an MLP of its own for either. */
/* SPDX-License-Identifier: MIT */
#include "nn/qformer.h"

#include <math.h>

struct matrices { struct g_param *q, *qb, *k, *kb, *v, *vb, *o, *ob, *norm, *norm_b; };

/* Rows x [batch * n, H] look at y [batch * m, W]: the normalised sum. */
static struct g_tensor *look(struct graph *g, const struct nn_facts *f, const struct matrices *w, struct g_tensor *x, struct g_tensor *y,
                             int batch)
{
    if (!x || !y)
        return NULL;
    int n = (int)(x->shape.d[0] / batch), m = (int)(y->shape.d[0] / batch), D = f->head_dim;
    struct nn_seq seq = nn_seq_full(g, batch, n);
    for (int i = 0; !g->error && i < batch * n; i++)
        g_i32(seq.spans)[2 * i + 1] = m;
    struct g_tensor *q = g_reshape(g, nn_linear(g, w->q, w->qb, x, NULL, ACT_NONE), SHAPE4(batch, n, f->heads, D));
    struct g_tensor *k = g_reshape(g, nn_linear(g, w->k, w->kb, y, NULL, ACT_NONE), SHAPE4(batch, m, f->heads, D));
    struct g_tensor *v = g_reshape(g, nn_linear(g, w->v, w->vb, y, NULL, ACT_NONE), SHAPE4(batch, m, f->heads, D));
    struct g_tensor *seen = g_attention(g, q, k, v, seq.spans, 1.0f / sqrtf((float)D), 0);
    seen = g_reshape(g, seen, SHAPE2((int64_t)batch * n, (int64_t)f->heads * D));
    return nn_norm(g, f, w->norm, w->norm_b, nn_linear(g, w->o, w->ob, seen, x, ACT_NONE));
}

/* Rows [from, to) of every picture's `all` rows. */
static struct g_tensor *part(struct graph *g, const struct nn_facts *f, struct g_tensor *x, int batch, int all, int from, int to)
{
    x = g_slice(g, g_reshape(g, x, SHAPE3(batch, all, f->hidden)), 1, from, to);
    return g_reshape(g, x, SHAPE2((int64_t)batch * (to - from), f->hidden));
}

static struct g_tensor *joined(struct graph *g, const struct nn_facts *f, struct g_tensor *queries, struct g_tensor *text, int batch, int nq,
                               int nt)
{
    struct g_tensor *both[] = {g_reshape(g, queries, SHAPE3(batch, nq, f->hidden)), g_reshape(g, text, SHAPE3(batch, nt, f->hidden))};
    return g_reshape(g, g_concat(g, 1, 2, both), SHAPE2((int64_t)batch * (nq + nt), f->hidden));
}

static struct g_tensor *mlp(struct graph *g, const struct nn_facts *f, struct g_param *const *w, const enum nn_role role[6], struct g_tensor *x)
{
    struct g_tensor *h = nn_linear(g, w[role[0]], w[role[1]], x, NULL, (enum act_kind)f->act);
    return nn_norm(g, f, w[role[4]], w[role[5]], nn_linear(g, w[role[2]], w[role[3]], h, x, ACT_NONE));
}

static struct g_tensor *block(struct graph *g, const struct nn_stack *s, int layer, struct g_tensor *x, const struct nn_qformer *in)
{
    static const enum nn_role own[] = {NN_up_w, NN_up_b, NN_down_w, NN_down_b, NN_norm2_w, NN_norm2_b};
    static const enum nn_role of_text[] = {NN_text_up_w, NN_text_up_b, NN_text_down_w, NN_text_down_b, NN_text_norm_w, NN_text_norm_b};
    const struct nn_facts *f = &s->facts;
    struct g_param *const *w = s->layer[layer];
    struct matrices self = {w[NN_attn_q_w], w[NN_attn_q_b], w[NN_attn_k_w], w[NN_attn_k_b], w[NN_attn_v_w],
                            w[NN_attn_v_b], w[NN_attn_o_w], w[NN_attn_o_b], w[NN_norm1_w], w[NN_norm1_b]};
    struct matrices cross = {w[NN_cross_q_w], w[NN_cross_q_b], w[NN_cross_k_w], w[NN_cross_k_b], w[NN_cross_v_w],
                             w[NN_cross_v_b], w[NN_cross_o_w], w[NN_cross_o_b], w[NN_cross_norm_w], w[NN_cross_norm_b]};
    int all = in->n_queries + in->n_words;
    x = look(g, f, &self, x, x, in->batch);
    struct g_tensor *queries = in->words ? part(g, f, x, in->batch, all, 0, in->n_queries) : x;
    if (w[NN_cross_q_w])
        queries = look(g, f, &cross, queries, in->context, in->batch);
    queries = mlp(g, f, w, own, queries);
    if (!in->words)
        return queries;
    struct g_tensor *text = mlp(g, f, w, of_text, part(g, f, x, in->batch, all, in->n_queries, all));
    return joined(g, f, queries, text, in->batch, in->n_queries, in->n_words);
}

/* Words and where they stand, the same positions for every picture. */
static struct g_tensor *embed(struct graph *g, const struct nn_stack *s, const struct nn_qformer *in)
{
    int32_t *at;
    struct g_tensor *pos = nn_ints(g, SHAPE1((int64_t)in->batch * in->n_words), &at);
    for (int i = 0; pos && i < in->batch * in->n_words; i++)
        at[i] = i % in->n_words;
    return g_add(g, g_embedding(g, g_param(g, s->w[NN_embed_w]), in->words), g_embedding(g, g_param(g, s->w[NN_pos_w]), pos));
}

struct g_tensor *nn_qformer(struct graph *g, const struct nn_stack *s, const struct nn_qformer *in)
{
    const struct nn_facts *f = &s->facts;
    struct g_tensor *x = g_repeat_rows(g, in->queries, in->batch);
    if (in->words)
        x = joined(g, f, x, embed(g, s, in), in->batch, in->n_queries, in->n_words);
    x = nn_norm(g, f, s->w[NN_embed_norm_w], s->w[NN_embed_norm_b], x);
    for (int i = 0; i < f->layers && !g->error; i++)
        x = block(g, s, i, x, in);
    return in->words ? part(g, f, x, in->batch, in->n_queries + in->n_words, 0, in->n_queries) : x;
}

/* What models compute, as graphs: pictures to features, tokens to logits, pairs to scores. Written once
 * for all families; the differences are facts. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/model.h"

/* Part `i` of the features, each `hidden` wide. */
static struct g_tensor *feature_part(struct graph *g, const struct model_text *in, int parts, int i, int hidden)
{
    return parts > 1 ? g_slice(g, in->images, 1, (int64_t)i * hidden, (int64_t)(i + 1) * hidden) : in->images;
}

/* Embedded x through the first `layers` blocks, with what a picture has for its rows before and behind them. */
static struct g_tensor *run_blocks(struct graph *g, const struct nn_stack *s, struct g_tensor *x, const struct model_text *in,
                                   int layers)
{
    int H = s->facts.hidden, parts = in->images ? (int)(g_last(in->images) / H) : 0, done = 0;
    if (parts)
        x = g_scatter_rows(g, x, in->image_rows, feature_part(g, in, parts, 0, H));
    x = nn_stand(g, s, x, in->ids, &in->seq);
    for (int i = 1; i < parts && done < layers; i++, done++) {
        x = nn_blocks(g, s, x, &in->seq, done, done + 1);
        struct g_tensor *more = g_add(g, g_gather_rows(g, x, in->image_rows), feature_part(g, in, parts, i, H));
        x = g_scatter_rows(g, x, in->image_rows, more);
    }
    return nn_blocks(g, s, x, &in->seq, done, layers);
}

struct g_tensor *model_logits(struct graph *g, const struct model *m, const struct model_text *in)
{
    const struct nn_stack *s = &m->text;
    struct g_tensor *x = nn_embed(g, s, in->ids);
    x = run_blocks(g, s, x, in, in->layers > 0 && in->layers < s->facts.layers ? in->layers : s->facts.layers);
    if (in->pick)
        x = g_gather_rows(g, x, in->pick);
    return nn_logits(g, s, x);
}

/* Row 0 of each sequence: the class token. */
static struct g_tensor *first_rows(struct graph *g, struct g_tensor *x, int batch, int tokens, int width)
{
    x = g_slice(g, g_reshape(g, x, SHAPE3(batch, tokens, width)), 1, 0, 1);
    return g_reshape(g, x, SHAPE2(batch, width));
}

int model_vision(struct graph *g, const struct model *m, struct g_tensor *pixels, struct model_pooled *out)
{
    const struct nn_stack *v = &m->vision;
    int tokens = 0, batch = pixels ? (int)pixels->shape.d[0] : 0, H = v->facts.hidden;
    struct g_tensor *x = nn_patches(g, v, pixels, &tokens);
    struct nn_seq seq = nn_seq_full(g, batch, tokens);
    x = nn_blocks(g, v, x, &seq, 0, v->facts.layers);
    *out = (struct model_pooled){0};
    if (v->w[NN_class_w]) { /* CLIP: the hidden state is before the norm, the class token is normed */
        out->hidden = x;
        out->pooled = nn_norm(g, &v->facts, v->w[NN_post_norm_w], v->w[NN_post_norm_b], first_rows(g, x, batch, tokens, H));
        out->embeds = v->w[NN_head_w] ? nn_linear(g, v->w[NN_head_w], NULL, out->pooled, NULL, ACT_NONE) : NULL;
    } else {
        out->hidden = nn_norm(g, &v->facts, v->w[NN_post_norm_w], v->w[NN_post_norm_b], x);
        out->pooled = v->w[NN_pool_probe] ? nn_pool(g, v, out->hidden, &(struct nn_pictures){.batch = batch, .tokens = tokens}) : NULL;
        out->embeds = out->pooled;
    }
    return graph_error(g);
}

int model_text_encoder(struct graph *g, const struct model *m, struct g_tensor *ids, const struct nn_seq *seq,
                       struct g_tensor *pool_rows, struct model_pooled *out)
{
    const struct nn_stack *s = &m->text;
    struct g_tensor *x = nn_blocks(g, s, nn_tokens(g, s, ids, seq), seq, 0, s->facts.layers);
    out->hidden = nn_norm(g, &s->facts, s->w[NN_final_norm_w], s->w[NN_final_norm_b], x);
    out->pooled = g_gather_rows(g, out->hidden, pool_rows);
    out->embeds = nn_linear(g, s->w[NN_head_w], s->w[NN_head_b], out->pooled, NULL, ACT_NONE);
    if (m->facts.sigmoid)
        out->pooled = out->embeds; /* SigLIP calls the projected state pooled */
    return graph_error(g);
}

struct g_tensor *model_contrast(struct graph *g, const struct model *m, struct g_tensor *image, struct g_tensor *text)
{
    struct g_tensor *scores = g_matmul(g, g_l2_norm(g, image, 0), g_l2_norm(g, text, 0), false, true);
    struct g_tensor *shift = m->w[NN_logit_bias] ? g_param(g, m->w[NN_logit_bias]) : NULL;
    return g_affine(g, scores, g_param(g, m->w[NN_logit_scale]), shift);
}

struct g_tensor *model_contrast_loss(struct graph *g, const struct model *m, struct g_tensor *logits)
{
    int32_t *own;
    int n = logits ? (int)logits->shape.d[0] : 0;
    if (!logits || m->facts.sigmoid)
        return g_sigmoid_loss(g, logits);
    struct g_tensor *labels = nn_ints(g, SHAPE1(n), &own);
    for (int i = 0; labels && i < n; i++)
        own[i] = i;
    struct g_tensor *columns = g_transpose(g, logits, (const int[4]){1, 0, 2, 3});
    return g_scale(g, g_add(g, g_cross_entropy(g, logits, labels), g_cross_entropy(g, columns, labels)), 0.5f);
}

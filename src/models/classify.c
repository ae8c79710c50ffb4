/* Towers of every kind as graphs: pictures to states, to one state a picture, to scores of classes. The differences
 * are facts. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/model.h"

static struct g_tensor *by_picture(struct graph *g, struct g_tensor *x, const struct nn_pictures *in)
{
    return x ? g_reshape(g, x, SHAPE3(in->batch, in->tokens, g_last(x))) : NULL;
}

static struct g_tensor *first_of(struct graph *g, struct g_tensor *x, const struct nn_pictures *in)
{
    return x ? g_reshape(g, g_slice(g, by_picture(g, x, in), 1, 0, 1), SHAPE2(in->batch, g_last(x))) : NULL;
}

static struct g_tensor *mean_of(struct graph *g, struct g_tensor *x, const struct nn_pictures *in)
{
    return g_mean_pool(g, by_picture(g, x, in));
}

static struct g_tensor *first_and_mean(struct graph *g, struct g_tensor *x, const struct nn_pictures *in)
{
    struct g_tensor *parts[] = {first_of(g, x, in), g_mean_pool(g, g_slice(g, by_picture(g, x, in), 1, 1, in->tokens))};
    return g_concat(g, 1, 2, parts);
}

/* What the classes are told from, and the state that stands for the picture elsewhere. */
typedef struct g_tensor *state_fn(struct graph *g, struct g_tensor *x, const struct nn_pictures *in);
static const struct { state_fn *classes, *pooled; } summaries[] = {
    [NN_SUMMARY_FIRST] = {first_of, first_of},
    [NN_SUMMARY_MEAN] = {mean_of, mean_of},
    [NN_SUMMARY_FIRST_MEAN] = {first_and_mean, first_of},
};

static void summarise(struct graph *g, const struct nn_stack *v, const struct nn_pictures *in, struct model_pooled *out)
{
    int how = v->facts.summary;
    out->pooled = summaries[how].pooled(g, out->hidden, in);
    if (v->w[NN_pooler_w])
        out->pooled = nn_linear(g, v->w[NN_pooler_w], v->w[NN_pooler_b], out->pooled, NULL, ACT_TANH);
    if (v->w[NN_classifier_w])
        out->logits = nn_linear(g, v->w[NN_classifier_w], v->w[NN_classifier_b], summaries[how].classes(g, out->hidden, in),
                                NULL, ACT_NONE);
}

int model_view(struct graph *g, const struct model *m, struct nn_pictures *in, struct model_pooled *out)
{
    const struct nn_stack *v = &m->vision;
    if (m->conv.n_blocks)
        return model_conv(g, m, in->pixels, out);
    if (v->facts.summary == NN_SUMMARY_OWN && v->w[NN_class_w]) /* as CLIP: states that no norm has seen */
        return model_vision(g, m, in->pixels, out);
    *out = (struct model_pooled){0};
    out->hidden = nn_towers[v->facts.tower].build(g, v, in);
    if (v->w[NN_pool_probe])
        out->embeds = out->pooled = nn_pool(g, v, out->hidden, in);
    else if (v->facts.summary != NN_SUMMARY_OWN)
        summarise(g, v, in, out);
    return graph_error(g);
}

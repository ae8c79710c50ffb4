/* One matrix between tower and decoder: PaliGemma, whose first prompt all sees itself, and Gemma 3, which averages
 * patches and lets the tokens of one picture see each other. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/sight.h"
#include "nn/connector.h"

/* ---- PaliGemma ----------------------------------------------------------------------------- */

static int prefix_features(const struct model *m, const struct preprocess_plan *p)
{
    return p->tiles * sight_tower_tokens(m);
}

static struct g_tensor *prefix_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                     const struct preprocess_plan *p, int n)
{
    int tokens;
    struct g_tensor *x = nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], sight_tower(g, m, pixels, &tokens), NULL, ACT_NONE);
    /* the decoder's embeddings are scaled, features are not: the reference divides before it scales all */
    float root = sqrtf((float)m->text.facts.hidden);
    return g_scale(g, g_scale(g, x, 1.0f / root), root);
}

const struct sight_row sight_prefix = {
    "prefix", "every patch through one matrix; the first prompt sees itself both ways", prefix_features, prefix_build,
    .mark = "<image>", .prefix = true,
    .template = "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}"
                "{% endfor %}{% endfor %}{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
                "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{{ '\\n' }}"};

/* ---- Gemma 3 ------------------------------------------------------------------------------- */

static int side_of(int n)
{
    int side = (int)lround(sqrt(n));
    return side * side == n ? side : 0;
}

static int averages_features(const struct model *m, const struct preprocess_plan *p)
{
    int from = side_of(sight_tower_tokens(m)), to = side_of(m->facts.tile_tokens);
    return to && from % to == 0 ? p->tiles * m->facts.tile_tokens : 0;
}

static struct g_tensor *averages_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                       const struct preprocess_plan *p, int n)
{
    int tokens, tiles = n * p->tiles, to = side_of(m->facts.tile_tokens);
    struct g_tensor *x = sight_tower(g, m, pixels, &tokens);
    int from = side_of(tokens), step = from / to;
    x = g_reshape(g, nn_squares(g, x, tiles, from, from, step, false), SHAPE3((int64_t)tiles * to * to, step * step, m->vision.facts.hidden));
    x = g_rms_norm(g, g_mean_pool(g, x), g_param(g, m->w[NN_conn_norm_w]), m->vision.facts.norm_eps, 1);
    return nn_linear(g, m->w[NN_conn_1_w], NULL, x, NULL, ACT_NONE);
}

static void put_tile(const struct sight_text *t, struct buf *out)
{
    buf_str(out, "\n\n");
    buf_span(out, t->begin);
    for (int i = 0; i < t->m->facts.tile_tokens; i++)
        buf_span(out, t->token);
    buf_span(out, t->end);
    buf_str(out, "\n\n");
}

/* Crops are announced, as in training. */
static int averages_spell(const struct sight_text *t, struct buf *out)
{
    bool crops = t->plan->tiles > 1;
    if (crops)
        buf_str(out, "Here is the original image ");
    put_tile(t, out);
    if (crops)
        buf_str(out, " and here are some crops to help you see better");
    for (int i = 1; i < t->plan->tiles; i++) {
        buf_str(out, " ");
        put_tile(t, out);
    }
    return buf_error(out);
}

const struct sight_row sight_averages = {
    "averages", "averages of squares of patches, a norm, one matrix; tokens of a picture see each other", averages_features,
    averages_build, .mark = "<start_of_image>", .spell = averages_spell, .both_ways = true};

/* Ways of seeing: the tower's states, the connector, and the plainest row: one square, all its patches. */
/* SPDX-License-Identifier: MIT */
#include "models/sight.h"

#include "base/err.h"
#include "formats/gguf.h"
#include "models/gguf_model.h"

#define SIGHT(name) &sight_##name,
const struct sight_row *const sight_rows[] = {
#include "models/sights.def"
    NULL
};
#undef SIGHT

int sight_of(const struct model *m, const char *place, const struct sight_row **out)
{
    *out = m->family->sight;
    if (!*out && m->folder && gguf_is_file(m->folder) && gguf_sight_exists(m->family->architecture))
        return err_set(NUN_EUNSUP, "%s: %s takes no pictures without the GGUF file of its tower: give it with --mmproj", place, m->folder);
    return *out ? 0 : err_set(NUN_EUNSUP, "%s: %s takes no pictures", place, m->family->architecture);
}

struct sight_side sight_side_of(const struct model *m, const struct preprocess_plan *p)
{
    const struct sight_row *row = m->family->sight;
    return row->side ? row->side(m, p) : (struct sight_side){0};
}

int sight_tokens_of(const struct model *m, const struct preprocess_plan *p)
{
    const struct sight_row *row = m->family->sight;
    return row->tokens ? row->tokens(m, p) : row->features(m, p);
}

/* Where a picture of a sequence lies among its rows: struct placed says the same of one that is served. */
struct rows { int first, group, shown, all; const int32_t *at; int tokens; };

static struct rows rows_behind(const struct model *m, const struct sight_place *p, const struct rows *before)
{
    struct sight_side side = sight_side_of(m, p->plan);
    struct rows r = {.shown = side.shown, .all = side.rows, .at = p->at, .tokens = sight_tokens_of(m, p->plan)};
    r.first = r.group = before ? before->first + before->shown : 0;
    r.all += before ? before->all : 0;
    if (before && (m->family->sight->looks_back || before->at[before->tokens - 1] + 1 == p->at[0]))
        r.group = before->group;
    return r;
}

/* Of tokens [from, to), the last of them the picture's placeholder i, or behind its last one. */
static struct sight_range seen_at(const struct model *m, const struct sight_place *p, const struct rows *r, int i)
{
    const struct sight_row *row = m->family->sight;
    if (!row->looks || i >= r->tokens)
        return (struct sight_range){r->group, r->first + r->shown};
    struct sight_range own = row->looks(m, p->plan, i);
    return (struct sight_range){r->first + own.from, r->first + own.to};
}

void sight_spans(const struct model *m, const struct sight_place *pictures, int n, int tokens, int32_t first, int32_t (*spans)[2],
                 int32_t *lit)
{
    struct rows r = {0};
    struct sight_range blind = {0};
    int t = 0;
    for (int k = 0; k < n && m->text.facts.blind_sees; k++)
        blind.to += sight_side_of(m, pictures[k].plan).rows;
    for (; t < tokens && (!n || t < pictures[0].at[0]); t++) {
        spans[t][0] = 0;
        spans[t][1] = blind.to;
        lit[t] = -1;
    }
    for (int k = 0; k < n; k++) {
        int end = k + 1 < n ? pictures[k + 1].at[0] : tokens, i = 0;
        r = rows_behind(m, &pictures[k], k ? &r : NULL);
        for (; t < end && t < tokens; t++) {
            while (i < r.tokens && r.at[i] < t)
                i++;
            struct sight_range seen = seen_at(m, &pictures[k], &r, i);
            spans[t][0] = seen.from;
            spans[t][1] = seen.to;
            lit[t] = first + t;
        }
    }
}

struct preprocess_plan sight_key(const struct model *m, const struct preprocess_plan *p)
{
    struct preprocess_plan key = *p;
    if (!m->family->sight->by_size)
        key.width = key.height = 0;
    key.together = p->together > 1;
    return key;
}

struct preprocess_plan sight_square_plan(const struct model *m)
{
    int side = model_image_size(m);
    return (struct preprocess_plan){
        .width = side, .height = side, .frames = 1, .tiles = 1, .columns = 1, .rows = 1, .overview = -1, .tile_width = side,
        .tile_height = side, .canvas_width = side, .canvas_height = side, .inside_width = side, .inside_height = side,
        .aspect_id = m->vision.facts.tiles.most > 0};
}

/* ---- for all families ---------------------------------------------------------------------- */

int model_image_size(const struct model *m)
{
    return m->vision.facts.image_size;
}

int model_features(const struct model *m, const struct preprocess_plan *plan)
{
    struct preprocess_plan square = sight_square_plan(m);
    return m->family->sight ? m->family->sight->features(m, plan ? plan : &square) : 0;
}

int model_feature_width(const struct model *m)
{
    return m->text.facts.hidden * (1 + m->vision.facts.deep);
}

struct g_tensor *model_images(struct graph *g, const struct model *m, struct g_tensor *pixels,
                              const struct preprocess_plan *plan, int n)
{
    struct preprocess_plan square = sight_square_plan(m);
    return pixels ? m->family->sight->build(g, m, pixels, plan ? plan : &square, n) : NULL;
}

struct g_tensor *model_images_told(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                   const struct preprocess_plan *plan, int n, struct g_tensor *words)
{
    return pixels ? m->family->sight->build_told(g, m, pixels, plan, n, words) : NULL;
}

/* ---- tower and connector ------------------------------------------------------------------- */

/* Hidden state `index` as transformers counts them: 0 the embeddings, i after block i, negative from the end. */
static int blocks_for(const struct nn_facts *f, int index)
{
    return index < 0 ? f->layers + 1 + index : index;
}

static bool drops_class(const struct model *m)
{
    return m->facts.drop_class && m->vision.w[NN_class_w];
}

int sight_tower_tokens(const struct model *m)
{
    const struct nn_facts *f = &m->vision.facts;
    return f->layers ? f->positions - drops_class(m) : 0;
}

/* The states of the wanted layers, joined along the width. */
static struct g_tensor *wanted_layers(struct graph *g, const struct model *m, const struct nn_stack *v, struct g_tensor *x,
                                      int batch, int tokens)
{
    int n = m->facts.n_feature_layers, most = 0;
    struct nn_seq seq = nn_seq_full(g, batch, tokens);
    struct g_tensor *pick[8] = {0};
    for (int i = 0; i < n; i++)
        if (blocks_for(&v->facts, m->facts.feature_layers[i]) > most)
            most = blocks_for(&v->facts, m->facts.feature_layers[i]);
    for (int done = 0; done <= most; done++) {
        for (int i = 0; i < n; i++)
            if (blocks_for(&v->facts, m->facts.feature_layers[i]) == done)
                pick[i] = x;
        if (done < most)
            x = nn_blocks(g, v, x, &seq, done, done + 1);
    }
    for (int i = 0; i < n && m->facts.tower_norm; i++)
        pick[i] = nn_norm(g, &v->facts, v->w[NN_post_norm_w], v->w[NN_post_norm_b], pick[i]);
    return n == 1 ? pick[0] : g_concat(g, 1, n, pick);
}

struct g_tensor *sight_tower_of(struct graph *g, const struct model *m, const struct nn_stack *v, bool drop_class,
                                struct g_tensor *pixels, int *tokens)
{
    int batch = pixels ? (int)pixels->shape.d[0] : 0, T = 0, drop = drop_class && v->w[NN_class_w];
    int64_t width = (int64_t)m->facts.n_feature_layers * v->facts.hidden;
    struct g_tensor *x = nn_patches(g, v, pixels, &T);
    x = wanted_layers(g, m, v, x, batch, T);
    *tokens = T - drop;
    if (!drop)
        return x;
    x = g_slice(g, g_reshape(g, x, SHAPE3(batch, T, width)), 1, 1, T);
    return g_reshape(g, x, SHAPE2((int64_t)batch * (T - 1), width));
}

struct g_tensor *sight_tower(struct graph *g, const struct model *m, struct g_tensor *pixels, int *tokens)
{
    return sight_tower_of(g, m, &m->vision, m->facts.drop_class, pixels, tokens);
}

struct g_tensor *sight_connect(struct graph *g, const struct model *m, struct g_tensor *x)
{
    if (m->w[NN_conn_norm_w])
        x = g_layer_norm(g, x, g_param(g, m->w[NN_conn_norm_w]), g_param(g, m->w[NN_conn_norm_b]), m->facts.connector_eps);
    x = nn_linear(g, m->w[NN_conn_1_w], m->w[NN_conn_1_b], x, NULL, (enum act_kind)m->facts.projector_act);
    return nn_linear(g, m->w[NN_conn_2_w], m->w[NN_conn_2_b], x, NULL, ACT_NONE);
}

/* ---- one square ---------------------------------------------------------------------------- */

static int square_features(const struct model *m, const struct preprocess_plan *p)
{
    return p->tiles * sight_tower_tokens(m);
}

static struct g_tensor *square_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                     const struct preprocess_plan *p, int n)
{
    int tokens;
    return sight_connect(g, m, sight_tower(g, m, pixels, &tokens));
}

const struct sight_row sight_square = {
    "square", "every patch of one square picture, through a two-layer connector", square_features, square_build};

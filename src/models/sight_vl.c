/* nunchi_vl's three ways of seeing, the same tower and connector under all (arXiv:2409.11402): tiles in the sequence; tiles
 * beside it, for layers that look at them; the thumbnail in it and the tiles beside it, each behind its tag's embeddings.
 * Tags are ordinary text. A picture of one tile has no thumbnail: it is its own. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/sight.h"
#include "models/tags.h"
#include "nn/connector.h"

/* ---- a tile -------------------------------------------------------------------------------- */

/* Rows that a tile becomes. */
static int tile_rows(const struct model *m)
{
    const struct vl_facts *vl = &m->facts.vl;
    int side = vl->grid / vl->step;
    return nn_connectors[vl->connector].queries ? m->facts.tile_tokens : side * side;
}

static bool fits(const struct model *m, const struct preprocess_plan *p)
{
    const struct vl_facts *vl = &m->facts.vl;
    return p->tile_width == vl->side && p->tile_height == vl->side && p->columns * p->rows <= vl->most;
}

/* A patch lies row by row, its colours together, as Fuyu's. */
static struct g_tensor *patches(struct graph *g, const struct model *m, struct g_tensor *pixels)
{
    const struct nn_facts *f = &m->vision.facts;
    int64_t n = pixels->shape.d[0] * f->positions, area = (int64_t)f->patch * f->patch;
    struct g_tensor *x = g_reshape(g, g_unfold(g, pixels, f->patch), SHAPE3(n, f->channels, area));
    x = g_reshape(g, g_transpose(g, x, (const int[4]){0, 2, 1}), SHAPE2(n, f->hidden));
    if (!m->w[NN_conn_pos_w])
        return x;
    x = g_add(g, g_reshape(g, x, SHAPE3(pixels->shape.d[0], f->positions, f->hidden)), g_param(g, m->w[NN_conn_pos_w]));
    return g_reshape(g, x, SHAPE2(n, f->hidden));
}

/* pixels [tiles, 3, H, W] -> [tiles * tile_rows, hidden] */
static struct g_tensor *tiles_through(struct graph *g, const struct model *m, struct g_tensor *pixels)
{
    struct nn_pictures in = {.batch = (int)pixels->shape.d[0], .pixels = pixels};
    struct nn_connector c = {m->w[NN_conn_1_w], m->w[NN_conn_1_b], m->w[NN_conn_2_w], m->w[NN_conn_2_b], m->w[NN_queries_w], &m->more[0],
                             m->facts.vl.step};
    struct g_tensor *x;
    if (!m->vision.facts.layers)
        x = patches(g, m, pixels);
    else if (m->vision.facts.tower == NN_TOWER_patches)
        x = sight_tower(g, m, pixels, &in.tokens);
    else
        x = nn_towers[m->vision.facts.tower].build(g, &m->vision, &in);
    return nn_connectors[m->facts.vl.connector].build(g, &c, x, in.batch, m->facts.vl.grid);
}

static struct g_tensor *tiles_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    return tiles_through(g, m, pixels);
}

/* ---- tags ---------------------------------------------------------------------------------- */

static bool is_whole(const struct preprocess_plan *p, int tile)
{
    return p->tiles == 1 || tile == p->overview;
}

static void put_tag(const struct sight_text *t, int tile, struct buf *out)
{
    const struct vl_facts *vl = &t->m->facts.vl;
    const struct preprocess_plan *p = t->plan;
    if (vl->tags != TAGS_none && is_whole(p, tile))
        buf_str(out, TAG_WHOLE);
    else
        tag_write((enum tag_kind)vl->tags, (struct tag_place){tile, tile % p->columns, tile / p->columns, vl->side}, out);
}

static void put_tokens(const struct sight_text *t, int n, struct buf *out)
{
    for (int i = 0; i < n; i++)
        buf_span(out, t->token);
}

/* ---- in the sequence ----------------------------------------------------------------------- */

static int decoder_features(const struct model *m, const struct preprocess_plan *p)
{
    return fits(m, p) ? p->tiles * tile_rows(m) : 0;
}

static int decoder_spell(const struct sight_text *t, struct buf *out)
{
    for (int i = 0; i < t->plan->tiles; i++) {
        put_tag(t, i, out);
        put_tokens(t, tile_rows(t->m), out);
    }
    return buf_error(out);
}

/* What folders without a template do: parts of messages one after the other. */
#define IN_ORDER                                                                                                              \
    "{{ bos_token }}{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"     \
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"     \
    "{% endfor %}{% endif %}{% endfor %}"

const struct sight_row sight_vl_decoder = {
    "vl_decoder", "tiles, then the whole picture, in the sequence, each behind a tag in text", decoder_features, tiles_build,
    .mark = "<image>", .spell = decoder_spell, .template = IN_ORDER};

/* ---- beside it ----------------------------------------------------------------------------- */

static int cross_features(const struct model *m, const struct preprocess_plan *p)
{
    return 0;
}

static struct sight_side cross_side(const struct model *m, const struct preprocess_plan *p)
{
    int rows = fits(m, p) ? p->tiles * tile_rows(m) : 0;
    return (struct sight_side){rows, rows};
}

/* A picture with tags opens with a placeholder, so that the first tag too stands behind one. */
static int opening(const struct model *m)
{
    return m->facts.vl.tags != TAGS_none;
}

static int cross_tokens(const struct model *m, const struct preprocess_plan *p)
{
    return p->tiles + opening(m);
}

static struct sight_range cross_looks(const struct model *m, const struct preprocess_plan *p, int i)
{
    int tile = i - opening(m), rows = tile_rows(m);
    tile = tile < 0 ? 0 : tile;
    return (struct sight_range){tile * rows, (tile + 1) * rows};
}

static int cross_spell(const struct sight_text *t, struct buf *out)
{
    put_tokens(t, opening(t->m), out);
    for (int i = 0; i < t->plan->tiles; i++) {
        put_tag(t, i, out);
        put_tokens(t, 1, out);
    }
    return buf_error(out);
}

const struct sight_row sight_vl_cross = {
    "vl_cross", "tiles and the whole picture beside the sequence, a tag in text and a placeholder for each", cross_features, tiles_build,
    .side = cross_side, .tokens = cross_tokens, .looks = cross_looks, .looks_back = true, .mark = "<image>", .spell = cross_spell,
    .template = IN_ORDER};

/* ---- both ---------------------------------------------------------------------------------- */

static int hybrid_features(const struct model *m, const struct preprocess_plan *p)
{
    return fits(m, p) && (p->tiles == 1 || p->overview >= 0) ? tile_rows(m) : 0;
}

/* Ids of the tag that stands before a tile's rows. */
static int tag_of(const struct model *m, const struct preprocess_plan *p, int tile, int *from)
{
    const struct vl_facts *vl = &m->facts.vl;
    int k = vl->tags == TAGS_1d ? tile : tile / p->columns * vl->most + tile % p->columns;
    if (vl->tags == TAGS_none)
        return 0;
    *from = vl->tag_at[k];
    return vl->tag_at[k + 1] - vl->tag_at[k];
}

static struct sight_side hybrid_side(const struct model *m, const struct preprocess_plan *p)
{
    int rows = 0, from;
    for (int i = 0; i < p->columns * p->rows && hybrid_features(m, p); i++)
        rows += tag_of(m, p, i, &from) + tile_rows(m);
    return (struct sight_side){rows, rows};
}

/* Rows of x [n * tiles * rows of a tile] and behind them embeddings of all tags, in the order in which pictures want them. */
static int32_t *hybrid_order(struct graph *g, const struct model *m, const struct preprocess_plan *p, int n, int all)
{
    int each = tile_rows(m), tags = n * p->tiles * each, whole = p->tiles == 1 ? 0 : p->overview, at = 0, from = 0;
    int32_t *order = arena_array(&g->arena, (size_t)all, sizeof *order);
    for (int b = 0; order && b < n; b++) {
        int first = b * p->tiles;
        for (int i = 0; i < each; i++)
            order[at++] = (first + whole) * each + i;
        for (int tile = 0; tile < p->columns * p->rows; tile++) {
            for (int i = 0, ids = tag_of(m, p, tile, &from); i < ids; i++)
                order[at++] = tags + from + i;
            for (int i = 0; i < each; i++)
                order[at++] = (first + tile) * each + i;
        }
    }
    return order;
}

static struct g_tensor *hybrid_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    const struct vl_facts *vl = &m->facts.vl;
    int all = n * (hybrid_features(m, p) + hybrid_side(m, p).rows);
    struct g_tensor *x = tiles_through(g, m, pixels);
    int32_t *order = hybrid_order(g, m, p, n, all);
    if (!order || !x)
        return NULL;
    if (vl->n_tags) {
        struct g_tensor *ids = g_const(g, DT_I32, SHAPE1(vl->tag_at[vl->n_tags]), vl->tag_id, true);
        x = g_concat(g, 0, 2, (struct g_tensor *[]){x, nn_embed(g, &m->text, ids)});
    }
    return g_gather_rows(g, x, g_const(g, DT_I32, SHAPE1(all), order, true));
}

static int hybrid_spell(const struct sight_text *t, struct buf *out)
{
    put_tag(t, t->plan->tiles == 1 ? 0 : t->plan->overview, out);
    put_tokens(t, tile_rows(t->m), out);
    return buf_error(out);
}

const struct sight_row sight_vl_hybrid = {
    "vl_hybrid", "the whole picture in the sequence, its tiles beside it, each behind the embeddings of its tag", hybrid_features, hybrid_build,
    .side = hybrid_side, .looks_back = true, .mark = "<image>", .spell = hybrid_spell, .template = IN_ORDER};

/* Layout of a large picture: which things, where, in which colours. What finds no free place in a fixed number of
 * tries is left out, so that making one always ends. Knows no pixels but their count. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>
#include "data/hd.h"
#include "data/scenes_font.h"
#include "data/scenes_layout.h"
#include "data/scenes_words.h"

enum {
    TRIES = 60,        /* before a thing is left out */
    GAP = 8,           /* between the boxes of two things, and of a thing and the border */
    OBJECT_GAP = 10,   /* between the nominal circles of two objects */
    ORDER_GAP = 8,     /* least difference in x of objects, and of words: the order by x is never a matter of taste */
    CELL_GAP = 12,     /* of centres from the borders of the nine places */
    LINE = 4,          /* of a chart's axes */
    MIXED_OBJECTS = 8, MIXED_TILE_OBJECTS = 2,
};

struct box { float left, top, right, bottom; };
struct maker {
    const struct hd_config *cfg;
    struct hd_scene *s;
    struct rng rng;
    struct box taken[HD_MAX_WORDS + 2]; /* by the chart, words and the heading */
    int boxes;
};

static float whole(float v) { return floorf(v + 0.5f); }
static float cap_height(int px) { return ceilf(0.74f * (float)px); }

static bool boxes_meet(const struct box *a, const struct box *b)
{
    return a->left - GAP < b->right && b->left - GAP < a->right && a->top - GAP < b->bottom && b->top - GAP < a->bottom;
}

static bool circle_meets(const struct box *b, const struct scene_object *o)
{
    float reach = 1.1f * o->radius + GAP;
    return o->x + reach > b->left && o->x - reach < b->right && o->y + reach > b->top && o->y - reach < b->bottom;
}

static bool box_is_free(const struct maker *m, const struct box *b)
{
    for (int i = 0; i < m->boxes; i++)
        if (boxes_meet(&m->taken[i], b))
            return false;
    for (int i = 0; i < m->s->count; i++)
        if (circle_meets(b, &m->s->object[i]))
            return false;
    return true;
}

/* Move a box of that size, its corners on whole pixels, to a free place within `area`. */
static bool place_box(struct maker *m, const struct box *area, float width, float height, struct box *out)
{
    float free_x = area->right - area->left - 2 * GAP - width, free_y = area->bottom - area->top - 2 * GAP - height;
    if (free_x < 0 || free_y < 0)
        return false;
    for (int i = 0; i < TRIES; i++) {
        out->left = floorf(area->left + GAP + layout_between(&m->rng, 0, free_x));
        out->top = floorf(area->top + GAP + layout_between(&m->rng, 0, free_y));
        out->right = out->left + width;
        out->bottom = out->top + height;
        if (box_is_free(m, out))
            return true;
    }
    return false;
}

static struct box whole_picture(const struct maker *m)
{
    return (struct box){0, 0, (float)m->s->width, (float)m->s->height};
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* Heights that differ by at least APART: sorted draws spread out, then dealt in a random order. */
static void pick_heights(struct maker *m, float *h, int n, float most)
{
    const float least = 40, apart = 22;
    float sorted[HD_MAX_BARS], room = most - least - apart * (float)(n - 1);
    for (int i = 0; i < n; i++) {
        float v = layout_between(&m->rng, 0, room);
        int at = i;
        for (; at > 0 && sorted[at - 1] > v; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = v;
    }
    uint64_t order = rng_u64(&m->rng);
    for (int i = 0; i < n; i++) {
        int rank = (int)rng_permute(order, 1, (uint64_t)n, (uint64_t)i);
        h[i] = whole(least + sorted[rank] + apart * (float)rank);
    }
}

static void make_chart(struct maker *m)
{
    static const uint8_t axis[3] = {60, 60, 64};
    struct hd_chart *c = &m->s->chart;
    struct box area = whole_picture(m), b;
    float width = whole(layout_between(&m->rng, 340, 410)), height = whole(layout_between(&m->rng, 320, 400));
    int n = rng_range(&m->rng, HD_MIN_BARS, HD_MAX_BARS);
    if (!place_box(m, &area, width + LINE, height + LINE, &b))
        return;
    m->taken[m->boxes++] = b;
    *c = (struct hd_chart){.count = n, .left = b.left + LINE, .base = b.bottom - LINE, .width = width, .height = height};
    layout_jitter(&m->rng, axis, 20, c->axis);
    float heights[HD_MAX_BARS], slot = width / (float)n, wide = slot * layout_between(&m->rng, 0.6f, 0.85f);
    pick_heights(m, heights, n, height - 6);
    layout_bars(&m->rng, c->left, slot, wide, heights, n, c->bar);
}

/* ---- print ----------------------------------------------------------------------------------- */

static void make_heading(struct maker *m)
{
    static const uint8_t ink[3] = {30, 30, 34};
    struct scene_word w = {.font = (int)rng_below(&m->rng, SCENE_FONTS)};
    struct box area = whole_picture(m), b;
    int size = (int)rng_below(&m->rng, HD_LARGE_SIZES);
    layout_chars(&m->rng, HD_MIN_CHARS, HD_MAX_CHARS, w.chars);
    layout_jitter(&m->rng, ink, 25, w.rgb);
    for (; size >= 0; size--) { /* a wide word may need to be smaller */
        w.px = hd_large_px[size];
        w.width = scene_text_width(m->cfg->fonts, w.font, w.px, w.chars);
        float hang = ceilf(0.2f * (float)w.px); /* of a Q */
        if (!place_box(m, &area, ceilf(w.width), cap_height(w.px) + hang, &b))
            continue;
        w.x = b.left;
        w.y = b.bottom - hang;
        m->taken[m->boxes++] = b;
        m->s->heading = w;
        return;
    }
}

/* Dark ink on light plates and on the ground, light ink on dark plates. */
static void pick_ink(struct maker *m, const struct hd_word *w, uint8_t out[3])
{
    static const uint8_t dark[3] = {28, 28, 32}, light[3] = {245, 245, 245};
    int luma = (77 * w->rgb[0] + 150 * w->rgb[1] + 29 * w->rgb[2]) / 256;
    layout_jitter(&m->rng, w->inside && luma < 125 ? light : dark, 8, out);
}

/* Where the plate and its print are in the box that both take; what a Q hangs down is in its padding. */
static void set_word(struct hd_word *w, const struct box *b, float pad, float plate)
{
    w->left = b->left;
    w->top = b->top;
    w->right = w->inside ? b->right : b->left + plate;
    w->bottom = b->bottom;
    w->print.x = w->inside ? b->left + pad : w->right + pad;
    w->print.y = b->bottom - pad;
}

static bool order_is_clear(const struct hd_scene *s, float left)
{
    for (int i = 0; i < s->words; i++)
        if (fabsf(s->word[i].left - left) < ORDER_GAP)
            return false;
    return true;
}

/* Small print never lies across a border of tiles. */
static void add_word(struct maker *m, uint8_t colour)
{
    struct hd_scene *s = m->s;
    struct hd_word w = {.colour = colour, .inside = layout_chance(&m->rng, 0.6f)};
    const float pad = 9, plate = 60; /* wider than high: no square */
    layout_chars(&m->rng, HD_MIN_CHARS, HD_MAX_CHARS, w.print.chars);
    w.print.font = (int)rng_below(&m->rng, SCENE_FONTS);
    w.print.px = hd_small_px[rng_below(&m->rng, HD_SMALL_SIZES)];
    w.print.width = scene_text_width(m->cfg->fonts, w.print.font, w.print.px, w.print.chars);
    layout_jitter(&m->rng, scene_colours[colour].rgb, LAYOUT_COLOUR_JITTER, w.rgb);
    pick_ink(m, &w, w.print.rgb);
    float width = ceilf(w.print.width) + (w.inside ? 2 * pad : plate + pad);
    float height = cap_height(w.print.px) + 2 * pad;
    for (int i = 0; i < 4; i++) {
        float x = (float)((int)rng_below(&m->rng, (uint32_t)s->grid.columns) * HD_TILE);
        float y = (float)((int)rng_below(&m->rng, (uint32_t)s->grid.rows) * HD_TILE);
        struct box b, tile = {x, y, x + HD_TILE, y + HD_TILE};
        if (!place_box(m, &tile, width, height, &b) || !order_is_clear(s, b.left))
            continue;
        m->taken[m->boxes++] = b;
        set_word(&w, &b, pad, plate);
        int at = s->words++;
        for (; at > 0 && s->word[at - 1].left > w.left; at--)
            s->word[at] = s->word[at - 1];
        s->word[at] = w;
        return;
    }
}

static void make_words(struct maker *m, int least, int most)
{
    int n = rng_range(&m->rng, least, most);
    uint64_t order = rng_u64(&m->rng);
    for (int i = 0; i < n; i++)
        add_word(m, (uint8_t)rng_permute(order, 0, SCENE_COLOURS, (uint64_t)i));
}

/* ---- objects --------------------------------------------------------------------------------- */

static bool clear_of_cells(float v, int side)
{
    float third = (float)side / 3;
    return fabsf(v - third) >= CELL_GAP && fabsf(v - 2 * third) >= CELL_GAP;
}

static bool object_fits(const struct maker *m, const struct scene_object *o)
{
    const struct hd_scene *s = m->s;
    int here = 0;
    if (!clear_of_cells(o->x, s->width) || !clear_of_cells(o->y, s->height))
        return false;
    for (int i = 0; i < m->boxes; i++)
        if (circle_meets(&m->taken[i], o))
            return false;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *p = &s->object[i];
        float dx = o->x - p->x, dy = o->y - p->y, least = o->radius + p->radius + OBJECT_GAP;
        if (fabsf(dx) < ORDER_GAP || dx * dx + dy * dy < least * least)
            return false;
        here += (int)o->x / HD_TILE == (int)p->x / HD_TILE && (int)o->y / HD_TILE == (int)p->y / HD_TILE;
    }
    return here < HD_TILE_OBJECTS;
}

static void add_object(struct maker *m, struct scene_pair pair)
{
    struct hd_scene *s = m->s;
    uint8_t size = (uint8_t)rng_below(&m->rng, SCENE_SIZES);
    struct scene_object o = {.shape = pair.shape, .colour = pair.colour, .size = size};
    o.radius = layout_between(&m->rng, hd_radius[size][0], hd_radius[size][1]);
    layout_jitter(&m->rng, scene_colours[o.colour].rgb, LAYOUT_COLOUR_JITTER, o.rgb);
    float margin = 1.1f * o.radius + GAP;
    for (int i = 0; i < TRIES; i++) {
        o.x = layout_between(&m->rng, margin, (float)s->width - margin);
        o.y = layout_between(&m->rng, margin, (float)s->height - margin);
        if (!object_fits(m, &o))
            continue;
        int at = s->count++;
        for (; at > 0 && s->object[at - 1].x > o.x; at--)
            s->object[at] = s->object[at - 1];
        s->object[at] = o;
        return;
    }
}

static void make_objects(struct maker *m)
{
    struct hd_scene *s = m->s;
    bool mixed = s->picture == SCENE_MIXED, held = m->cfg->split == SCENE_HELDOUT;
    int tiles = s->grid.columns * s->grid.rows, max = tiles * (mixed ? MIXED_TILE_OBJECTS : HD_TILE_OBJECTS);
    int most = mixed && m->cfg->max_objects > MIXED_OBJECTS ? MIXED_OBJECTS : m->cfg->max_objects;
    int n = rng_range(&m->rng, 1, max < most ? max : most);
    struct layout_theme theme = layout_theme(&m->rng);
    for (int i = 0; i < n; i++) {
        struct scene_pair pair = layout_pair(&m->rng, &theme);
        if (held && (i == 0 || layout_chance(&m->rng, 0.25f)))
            pair = scene_held_pairs[rng_below(&m->rng, SCENE_HELD_PAIRS)];
        add_object(m, pair);
    }
}

/* ---- pictures -------------------------------------------------------------------------------- */

static enum scene_picture pick_picture(struct maker *m)
{
    float w[SCENE_PICTURE_COUNT];
    for (int i = 0; i < SCENE_PICTURE_COUNT; i++) {
        bool without = i == SCENE_TEXT || i == SCENE_BARS; /* no object to hold out */
        w[i] = m->cfg->split == SCENE_HELDOUT && without ? 0 : m->cfg->picture_weight[i];
    }
    return (enum scene_picture)words_pick(w, SCENE_PICTURE_COUNT, rng_float(&m->rng));
}

void hd_make(const struct hd_config *cfg, uint64_t seed, uint64_t index, struct hd_scene *out)
{
    memset(out, 0, sizeof *out);
    out->seed = seed;
    out->stream = (uint64_t)cfg->split << 60 | (index & (UINT64_MAX >> 8));
    out->grid = hd_grid_of(cfg, seed, index / (uint64_t)cfg->group);
    out->width = out->grid.columns * HD_TILE;
    out->height = out->grid.rows * HD_TILE;
    out->fonts = cfg->fonts;
    struct maker m = {.cfg = cfg, .s = out, .rng = rng_at(seed, hd_stream(out->stream, HD_STREAM_LAYOUT))};
    int tiles = out->grid.columns * out->grid.rows;
    out->picture = pick_picture(&m);
    layout_ground(&m.rng, &out->ground);
    bool chart = layout_chance(&m.rng, 0.4f), heading = layout_chance(&m.rng, 0.5f);
    if (out->picture == SCENE_BARS || (out->picture == SCENE_MIXED && chart && tiles > 1))
        make_chart(&m);
    if (out->picture == SCENE_OBJECTS || out->picture == SCENE_MIXED)
        make_objects(&m);
    if (out->picture == SCENE_TEXT || out->picture == SCENE_MIXED)
        make_words(&m, out->picture == SCENE_TEXT ? 2 : 1, out->picture == SCENE_TEXT ? HD_MAX_WORDS : HD_MAX_WORDS - 1);
    if (out->picture != SCENE_OBJECTS && heading && (!out->chart.count || tiles > 1))
        make_heading(&m);
}

/* Layout of a scene: which things, where, in which colours. Everything is drawn from one counter-based
 * stream, so that a picture depends on nothing but (config, seed, index). Knows no pixels. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>
#include "base/rng.h"
#include "data/scenes.h"
#include "data/scenes_font.h"
#include "data/scenes_layout.h"
#include "data/scenes_words.h"

enum {
    OBJECT_TRIES = 80, LAYOUT_TRIES = 24, /* before an object, then the layout, is given up */
    OBJECT_GAP = 4,    /* between the nominal circles of two objects */
    ORDER_GAP = 6,     /* least difference in x: the order by x is never a matter of taste */
    CELL_GAP = 4,      /* from the borders of the 3x3 grid: positions likewise */
    TEXT_MARGIN = 4, MIXED_OBJECTS = 4,
};

struct maker { const struct scene_config *cfg; struct scene *s; struct rng rng; };

static enum scene_picture pick_picture(struct maker *m)
{
    float w[SCENE_PICTURE_COUNT];
    for (int i = 0; i < SCENE_PICTURE_COUNT; i++) {
        bool without = i == SCENE_TEXT || i == SCENE_BARS; /* no object to hold out */
        w[i] = m->cfg->split == SCENE_HELDOUT && without ? 0 : m->cfg->picture_weight[i];
    }
    return (enum scene_picture)words_pick(w, SCENE_PICTURE_COUNT, rng_float(&m->rng));
}

static float cap_height(int px) { return 0.74f * (float)px; }

static void make_word(struct maker *m)
{
    struct scene_word *w = &m->s->word;
    static const uint8_t ink[3] = {30, 30, 34};
    layout_chars(&m->rng, m->cfg->text_min, m->cfg->text_max, w->chars);
    w->font = (int)rng_below(&m->rng, SCENE_FONTS);
    w->px = rng_range(&m->rng, SCENE_PX_MIN, SCENE_PX_MAX);
    w->width = scene_text_width(m->cfg->fonts, w->font, w->px, w->chars);
    float free_x = SCENE_UNITS - 2 * TEXT_MARGIN - w->width, free_y = SCENE_UNITS - 2 * TEXT_MARGIN - cap_height(w->px);
    float half = 0.5f * m->cfg->text_spread;
    w->x = TEXT_MARGIN + free_x * layout_between(&m->rng, 0.5f - half, 0.5f + half);
    w->y = TEXT_MARGIN + free_y * layout_between(&m->rng, 0.5f - half, 0.5f + half) + cap_height(w->px);
    layout_jitter(&m->rng, ink, 25, w->rgb);
}

static bool clear_of_cells(float v)
{
    const float third = SCENE_UNITS / 3.0f;
    return fabsf(v - third) >= CELL_GAP && fabsf(v - 2 * third) >= CELL_GAP;
}

static bool clear_of_word(const struct scene_word *w, const struct scene_object *o)
{
    if (!w->chars[0])
        return true;
    float reach = 1.1f * o->radius + 2;
    return o->x + reach < w->x || o->x - reach > w->x + w->width || o->y - reach > w->y ||
           o->y + reach < w->y - cap_height(w->px);
}

static bool place_fits(const struct scene *s, const struct scene_object *o)
{
    if (!clear_of_cells(o->x) || !clear_of_cells(o->y) || !clear_of_word(&s->word, o))
        return false;
    for (int i = 0; i < s->count; i++) {
        const struct scene_object *p = &s->object[i];
        float dx = o->x - p->x, dy = o->y - p->y, least = o->radius + p->radius + OBJECT_GAP;
        if (fabsf(dx) < ORDER_GAP || dx * dx + dy * dy < least * least)
            return false;
    }
    return true;
}

static bool add_object(struct maker *m, struct scene_pair pair)
{
    struct scene *s = m->s;
    uint8_t size = (uint8_t)rng_below(&m->rng, SCENE_SIZES);
    struct scene_object o = {.shape = pair.shape, .colour = pair.colour, .size = size};
    o.radius = scene_radii[o.size] + layout_between(&m->rng, -1, 1);
    layout_jitter(&m->rng, scene_colours[o.colour].rgb, LAYOUT_COLOUR_JITTER, o.rgb);
    float margin = 1.1f * o.radius + 1;
    for (int i = 0; i < OBJECT_TRIES; i++) {
        o.x = layout_between(&m->rng, margin, SCENE_UNITS - margin);
        o.y = layout_between(&m->rng, margin, SCENE_UNITS - margin);
        if (!place_fits(s, &o))
            continue;
        int at = s->count++;
        for (; at > 0 && s->object[at - 1].x > o.x; at--)
            s->object[at] = s->object[at - 1];
        s->object[at] = o;
        return true;
    }
    return false;
}

static void make_objects(struct maker *m)
{
    struct scene *s = m->s;
    int max = m->cfg->max_objects;
    if (s->picture == SCENE_MIXED && max > MIXED_OBJECTS)
        max = MIXED_OBJECTS;
    int n = rng_range(&m->rng, 1, max);
    struct layout_theme theme = layout_theme(&m->rng);
    struct scene_pair pair[SCENE_MAX_OBJECTS];
    for (int i = 0; i < n; i++)
        pair[i] = layout_pair(&m->rng, &theme);
    if (m->cfg->split == SCENE_HELDOUT)
        pair[0] = scene_held_pairs[rng_below(&m->rng, SCENE_HELD_PAIRS)];
    for (int tries = 0; tries < LAYOUT_TRIES; tries++) {
        s->count = 0;
        for (int i = 0; i < n && add_object(m, pair[i]); i++)
            ;
        if (s->count == n)
            return;
    }
}

static void pick_heights(struct maker *m, float *h, int n)
{
    enum { LEAST = 12, MOST = 80, APART = 7 };
    for (int i = 0; i < n; i++) {
        bool fits;
        do {
            h[i] = layout_between(&m->rng, LEAST, MOST);
            fits = true;
            for (int j = 0; j < i; j++)
                fits = fits && fabsf(h[i] - h[j]) >= APART;
        } while (!fits);
    }
}

static void make_chart(struct maker *m)
{
    struct scene_chart *c = &m->s->chart;
    static const uint8_t axis[3] = {60, 60, 64};
    c->count = rng_range(&m->rng, 3, SCENE_MAX_BARS);
    c->left = 14 + layout_between(&m->rng, -4, 4);
    c->base = 98 + layout_between(&m->rng, -4, 4);
    layout_jitter(&m->rng, axis, 20, c->axis);
    float heights[SCENE_MAX_BARS], slot = 84.0f / (float)c->count, width = slot * layout_between(&m->rng, 0.5f, 0.7f);
    pick_heights(m, heights, c->count);
    layout_bars(&m->rng, c->left, slot, width, heights, c->count, c->bar);
}

static void make_artefacts(struct maker *m)
{
    struct scene_artefacts *a = &m->s->artefacts;
    struct rng *r = &m->rng;
    float p = m->cfg->augment;
    if (p <= 0)
        return;
    if (layout_chance(r, p))
        a->blur = layout_between(r, 0.1f, 0.8f);
    if (layout_chance(r, p))
        a->rescale = layout_chance(r, 0.5f) ? layout_between(r, 0.72f, 0.95f) : layout_between(r, 1.05f, 1.3f);
    a->chroma = layout_chance(r, p);
    if (layout_chance(r, p)) {
        a->bright = rng_range(r, -12, 12);
        a->contrast = rng_range(r, -20, 20);
    }
    if (layout_chance(r, p))
        a->noise = rng_range(r, 2, 8);
}

void scene_make(const struct scene_config *cfg, uint64_t seed, uint64_t index, struct scene *out)
{
    memset(out, 0, sizeof *out);
    out->seed = seed;
    out->stream = (uint64_t)cfg->split << 60 | (index & (UINT64_MAX >> 8));
    out->side = cfg->side;
    out->fonts = cfg->fonts;
    struct maker m = {cfg, out, rng_at(seed, out->stream)};
    out->picture = pick_picture(&m);
    layout_ground(&m.rng, &out->ground);
    if (out->picture == SCENE_TEXT || out->picture == SCENE_MIXED)
        make_word(&m);
    if (out->picture == SCENE_OBJECTS || out->picture == SCENE_MIXED)
        make_objects(&m);
    if (out->picture == SCENE_BARS)
        make_chart(&m);
    make_artefacts(&m);
}

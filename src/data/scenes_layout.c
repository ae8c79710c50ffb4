/* Draws that both worlds make alike. The order of the draws is part of the world: a change makes other pictures. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_layout.h"

static const uint8_t grounds[][3] = {
    {252, 252, 252}, {228, 228, 230}, {250, 245, 228}, {226, 236, 250},
    {229, 244, 231}, {250, 233, 236}, {238, 232, 250}, {240, 231, 216},
};
enum { GROUNDS = sizeof grounds / sizeof grounds[0] };

static uint8_t clamp8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

bool layout_chance(struct rng *r, float p) { return rng_float(r) < p; }
float layout_between(struct rng *r, float lo, float hi) { return lo + (hi - lo) * rng_float(r); }

void layout_jitter(struct rng *r, const uint8_t in[3], int range, uint8_t out[3])
{
    for (int c = 0; c < 3; c++)
        out[c] = clamp8(in[c] + rng_range(r, -range, range));
}

void layout_ground(struct rng *r, struct scene_ground *out)
{
    const uint8_t *from = grounds[rng_below(r, GROUNDS)], *to = grounds[rng_below(r, GROUNDS)];
    bool ramp = layout_chance(r, 0.4f);
    layout_jitter(r, from, 3, out->from);
    layout_jitter(r, to, 3, out->to);
    int dx = rng_range(r, -1, 1), dy = rng_range(r, -1, 1);
    out->dx = (int8_t)(ramp ? dx : 0);
    out->dy = (int8_t)(ramp ? dy : 0);
}

void layout_chars(struct rng *r, int min, int max, char *out)
{
    static const char plain[] = "ABCDEFGHJKLMNPQRSTUVWXYZ", digits[] = "23456789";
    int n = rng_range(r, min, max);
    float style = rng_float(r);
    int letters = style < 0.45f ? n : style < 0.8f || n < 2 ? 0 : rng_range(r, 1, n - 1);
    for (int i = 0; i < n; i++) {
        if (letters == n)
            out[i] = n == 1 ? plain[rng_below(r, 24)] : (char)('A' + rng_below(r, 26));
        else if (letters == 0)
            out[i] = (char)('0' + rng_below(r, 10));
        else
            out[i] = i < letters ? plain[rng_below(r, 24)] : digits[rng_below(r, 8)];
    }
    out[n] = 0;
}

struct layout_theme layout_theme(struct rng *r)
{
    struct layout_theme t = {-1, -1};
    float which = rng_float(r);
    if (which < 0.15f)
        t.colour = (int)rng_below(r, SCENE_COLOURS);
    else if (which < 0.3f)
        t.shape = (int)rng_below(r, SCENE_SHAPES);
    return t;
}

struct scene_pair layout_pair(struct rng *r, const struct layout_theme *t)
{
    struct scene_pair p;
    do {
        p.colour = (uint8_t)rng_below(r, SCENE_COLOURS);
        p.shape = (uint8_t)rng_below(r, SCENE_SHAPES);
        if (layout_chance(r, 0.2f))
            p = scene_popular_pairs[rng_below(r, SCENE_POPULAR_PAIRS)];
        if (t->colour >= 0 && layout_chance(r, 0.5f))
            p.colour = (uint8_t)t->colour;
        if (t->shape >= 0 && layout_chance(r, 0.5f))
            p.shape = (uint8_t)t->shape;
    } while (scene_pair_held(p.colour, p.shape));
    return p;
}

void layout_bars(struct rng *r, float left, float slot, float width, const float *heights, int n, struct scene_bar *out)
{
    uint64_t order = rng_u64(r);
    for (int i = 0; i < n; i++) {
        struct scene_bar *b = &out[i];
        b->colour = (uint8_t)rng_permute(order, 0, SCENE_COLOURS, (uint64_t)i);
        layout_jitter(r, scene_colours[b->colour].rgb, LAYOUT_COLOUR_JITTER, b->rgb);
        b->left = left + slot * ((float)i + 0.5f) - width / 2;
        b->right = b->left + width;
        b->height = heights[i];
    }
}

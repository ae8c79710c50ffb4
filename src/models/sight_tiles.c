/* Tiles one after the other, the thumbnail last: squares of patches side by side through a two-layer connector (pixel
 * shuffle, InternVL), and with a tag before every tile (NVLM-D). */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "models/sight.h"
#include "nn/connector.h"

static int step_of(const struct model *m)
{
    int step = (int)lroundf(1 / m->facts.downsample);
    return fabsf(m->facts.downsample * (float)step - 1) < 1e-3f ? step : 0;
}

/* Tokens of a tile; 0 where the squares do not fit. */
static int tile_tokens(const struct model *m)
{
    int tokens = sight_tower_tokens(m), side = (int)lround(sqrt(tokens)), step = step_of(m);
    return step && side * side == tokens && side % step == 0 ? tokens / (step * step) : 0;
}

static int tiles_features(const struct model *m, const struct preprocess_plan *p)
{
    return p->tiles * tile_tokens(m);
}

static struct g_tensor *tiles_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p,
                                    int n)
{
    int tokens, tiles = n * p->tiles, step = step_of(m);
    struct g_tensor *x = sight_tower(g, m, pixels, &tokens);
    int side = (int)lround(sqrt(tokens));
    int64_t rows = (int64_t)tiles * tokens / (step * step);
    x = nn_squares(g, x, tiles, side, side, step, m->facts.turned_squares);
    return sight_connect(g, m, g_reshape(g, x, SHAPE2(rows, (int64_t)step * step * m->vision.facts.hidden)));
}

/* ---- in words ------------------------------------------------------------------------------ */

static void put_tokens(const struct sight_text *t, int n, struct buf *out)
{
    for (int i = 0; i < n; i++)
        buf_span(out, t->token);
}

static int tiles_spell(const struct sight_text *t, struct buf *out)
{
    buf_str(out, "<img>");
    put_tokens(t, t->features, out);
    buf_str(out, "</img>");
    return buf_error(out);
}

const struct sight_row sight_tiles = {
    "tiles", "tiles and a thumbnail, squares of patches side by side", tiles_features, tiles_build, .mark = "<image>",
    .token = "<IMG_CONTEXT>", .spell = tiles_spell};

/* A line for every frame of a video. */
static int tiles_hf_spell(const struct sight_text *t, struct buf *out)
{
    char name[32];
    int each = t->plan->video ? t->features / t->plan->frames : t->features;
    for (int i = 0; i < (t->plan->video ? t->plan->frames : 1); i++) {
        snprintf(name, sizeof name, "%sFrame%d: ", i ? "\n" : "", i + 1);
        buf_str(out, t->plan->video ? name : "");
        buf_str(out, "<img>");
        put_tokens(t, each, out);
        buf_str(out, "</img>");
    }
    return buf_error(out);
}

const struct sight_row sight_tiles_hf = {
    "tiles_hf", "the same, and videos whose frames are a tile each", tiles_features, tiles_build, .video_mark = "<video>",
    .spell = tiles_hf_spell, .videos_alike = true};

static int tagged_spell(const struct sight_text *t, struct buf *out)
{
    char tag[32];
    int each = t->features / t->plan->tiles;
    buf_str(out, "<Image>");
    for (int i = 0; i < t->plan->tiles; i++) {
        bool whole = t->plan->tiles == 1 || i == t->plan->overview;
        snprintf(tag, sizeof tag, "<tile_%d>", i + 1);
        buf_str(out, whole ? "<tile_global_thumbnail>" : tag);
        put_tokens(t, each, out);
    }
    buf_str(out, "</Image>");
    return buf_error(out);
}

const struct sight_row sight_tagged_tiles = {
    "tagged_tiles", "tiles and a thumbnail, each behind a tag in text", tiles_features, tiles_build, .mark = "<image>",
    .token = "<|vision_pad|>", .spell = tagged_spell};

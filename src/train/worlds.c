/* The worlds that are drawn on the fly. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "train/world.h"

/* ---- scenes -------------------------------------------------------------------------------- */

static int scenes_open(struct world *w, int side)
{
    if (side < 32 || side > SCENE_SIDE_MAX)
        return err_set(NUN_EFORMAT, "world scenes: pictures of %d pixels, expected 32 to %d", side, SCENE_SIDE_MAX);
    w->scene = scene_config_default;
    w->scene.side = side;
    TRY(scene_fonts_open(side, &w->fonts));
    w->scene.fonts = w->fonts;
    return 0;
}

static void scenes_close(struct world *w)
{
    scene_fonts_close(w->fonts);
}

static const char *const pictures[SCENE_PICTURE_COUNT] = {"objects", "text", "bars", "mixed"};

static int scenes_set(struct world *w, const struct recipe_stage *s, enum scene_split split)
{
    struct scene_config *c = &w->scene;
    int side = c->side;
    *c = scene_config_default;
    c->side = side;
    c->fonts = w->fonts;
    c->split = split;
    c->max_objects = s->max_objects ? (int)s->max_objects : c->max_objects;
    c->text_min = s->text_min ? (int)s->text_min : c->text_min;
    c->text_max = s->text_max ? (int)s->text_max : c->text_max;
    c->text_spread = s->text_spread;
    c->augment = s->augment;
    TRY(recipe_mix(s->pictures_mix, s->pictures_mix_count, pictures, SCENE_PICTURE_COUNT, c->picture_weight, s->name));
    TRY(recipe_mix(s->questions_mix, s->questions_mix_count, scene_kind_names, SCENE_KIND_COUNT, c->question_weight, s->name));
    return scene_config_check(c);
}

static void scenes_sides(const struct world *w, uint64_t first, int *width, int *height)
{
    *width = *height = w->scene.side;
}

static size_t scenes_scratch(int width, int height)
{
    return scene_scratch_bytes(width);
}

static int scenes_draw(const struct world *w, uint64_t first, uint64_t index, uint8_t *rgb, void *scratch, struct scene_qa *qa, int max,
                       int *n)
{
    struct scene scene;
    scene_make(&w->scene, w->seed, index, &scene);
    TRY(scene_draw(&scene, rgb, scratch));
    *n = scene_questions(&w->scene, &scene, qa, max);
    return 0;
}

static int scenes_corpus(const struct world *w, int n, struct buf *out)
{
    return scene_corpus(&w->scene, w->seed, n, out);
}

#define WORDS "[A-Z](?![a-z])|[0-9]| ?[A-Z]?[a-z]+| ?[^\\sA-Za-z0-9]+|\\s+"

static const struct world_row scenes = {
    "scenes", "small pictures of shapes, words and bars (docs/scenes.md)", scenes_open, scenes_close, scenes_set, scenes_sides,
    scenes_scratch, scenes_draw, NULL, scenes_corpus, WORDS};

/* ---- scenes-hd ----------------------------------------------------------------------------- */

static int hd_open(struct world *w, int side)
{
    w->hd = hd_config_default;
    TRY(hd_fonts_open(&w->fonts));
    w->hd.fonts = w->fonts;
    return 0;
}

/* All pictures of a micro-batch share their grid. */
static int hd_set(struct world *w, const struct recipe_stage *s, enum scene_split split)
{
    struct hd_config *c = &w->hd;
    *c = hd_config_default;
    c->fonts = w->fonts;
    c->split = split;
    c->group = (int)(s->batch / (s->accumulate ? s->accumulate : 1));
    c->max_objects = s->max_objects ? (int)s->max_objects : c->max_objects;
    for (int i = 0; s->most_tiles && i < HD_GRIDS; i++)
        if (hd_grids[i].columns * hd_grids[i].rows > (int)s->most_tiles)
            c->grid_weight[i] = 0;
    TRY(recipe_mix(s->pictures_mix, s->pictures_mix_count, pictures, SCENE_PICTURE_COUNT, c->picture_weight, s->name));
    TRY(recipe_mix(s->questions_mix, s->questions_mix_count, scene_kind_names, SCENE_KIND_COUNT, c->question_weight, s->name));
    return hd_config_check(c);
}

static void hd_sides(const struct world *w, uint64_t first, int *width, int *height)
{
    struct hd_grid grid = hd_grid_of(&w->hd, w->seed, first / (uint64_t)w->hd.group);
    *width = grid.columns * HD_TILE;
    *height = grid.rows * HD_TILE;
}

static size_t hd_scratch(int width, int height)
{
    return 0;
}

static int hd_picture(const struct world *w, uint64_t first, uint64_t index, uint8_t *rgb, void *scratch, struct scene_qa *qa, int max, int *n)
{
    struct hd_scene scene;
    hd_make(&w->hd, w->seed, index, &scene);
    *n = hd_questions(&w->hd, &scene, qa, max);
    return hd_draw(&scene, rgb);
}

static int hd_tell(const struct world *w, uint64_t first, uint64_t index, struct buf *words, struct scene_qa *qa, int max, int *n)
{
    struct hd_scene scene;
    hd_make(&w->hd, w->seed, index, &scene);
    *n = hd_questions(&w->hd, &scene, qa, max);
    return hd_describe(&scene, words);
}

static int hd_text(const struct world *w, int n, struct buf *out)
{
    return hd_corpus(&w->hd, w->seed, n, out);
}

static const struct world_row scenes_hd = {
    "scenes-hd", "large pictures of 1 to 6 tiles with small print and dense charts (docs/scenes-hd.md)", hd_open, scenes_close, hd_set,
    hd_sides, hd_scratch, hd_picture, hd_tell, hd_text, WORDS};

/* -------------------------------------------------------------------------------------------- */

const struct world_row *const world_rows[] = {&scenes, &scenes_hd, NULL};

int world_open(const char *name, uint64_t seed, int side, struct world *out)
{
    *out = (struct world){.seed = seed};
    for (size_t i = 0; world_rows[i] && !out->row; i++)
        if (!strcmp(world_rows[i]->name, name ? name : "scenes"))
            out->row = world_rows[i];
    if (!out->row)
        return err_set(NUN_EFORMAT, "recipe: there is no world \"%s\"", name);
    int rc = out->row->open(out, side);
    if (rc < 0)
        world_close(out);
    return rc;
}

void world_close(struct world *w)
{
    if (w->row)
        w->row->close(w);
    *w = (struct world){0};
}

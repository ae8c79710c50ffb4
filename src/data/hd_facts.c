/* The facts of large pictures: grids, sizes of print and objects, the default mix, what a config may say. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "base/rng.h"
#include "data/hd.h"
#include "data/scenes_font.h"
#include "data/scenes_words.h"

const struct hd_grid hd_grids[HD_GRIDS] = {
    {1, 1}, {1, 2}, {2, 1}, {1, 3}, {3, 1}, {2, 2}, {2, 3}, {3, 2}, {1, 4}, {4, 1}, {1, 5}, {5, 1}, {1, 6}, {6, 1},
};
const int hd_small_px[HD_SMALL_SIZES] = {26, 28, 30, 32, 34};
const int hd_large_px[HD_LARGE_SIZES] = {60, 66, 72, 78, 84, 90};
const float hd_radius[SCENE_SIZES][2] = {{14, 18}, {28, 40}};

const struct hd_config hd_config_default = {
    .split = SCENE_TRAIN, .group = 1, .max_objects = HD_MAX_OBJECTS,
    .grid_weight = {10, 10, 10, 8, 8, 14, 16, 16, 2, 2, 1, 1, 1, 1},
    .picture_weight = {[SCENE_OBJECTS] = 40, [SCENE_TEXT] = 20, [SCENE_BARS] = 10, [SCENE_MIXED] = 30},
    .question_weight = {
        [SCENE_ASK_EXISTENCE] = 4, [SCENE_ASK_COUNT] = 3, [SCENE_ASK_COLOUR] = 3, [SCENE_ASK_SHAPE] = 3,
        [SCENE_ASK_SIZE] = 2, [SCENE_ASK_POSITION] = 3, [SCENE_ASK_RELATION] = 3, [SCENE_ASK_TEXT] = 6,
        [SCENE_ASK_BARS] = 3, [SCENE_ASK_CAPTION] = 1, [SCENE_ASK_LIST] = 2,
    },
};

int hd_fonts_open(struct scene_fonts **out)
{
    int px[HD_SMALL_SIZES + HD_LARGE_SIZES];
    for (int i = 0; i < HD_SMALL_SIZES; i++)
        px[i] = hd_small_px[i];
    for (int i = 0; i < HD_LARGE_SIZES; i++)
        px[HD_SMALL_SIZES + i] = hd_large_px[i];
    return scene_fonts_open_sizes(SCENE_UNITS, px, COUNT_OF(px), true, out);
}

static int check_weights(const char *name, const float *w, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++) {
        if (!(w[i] >= 0 && w[i] <= 1e6f))
            return err_set(NUN_EARG, "scenes-hd: %s %d: expected 0 to 1000000, found %g", name, i, (double)w[i]);
        sum += w[i];
    }
    return sum > 0 ? 0 : err_set(NUN_EARG, "scenes-hd: %s: expected one above 0, found none", name);
}

static int check_range(const char *name, int value, int lo, int hi)
{
    if (value >= lo && value <= hi)
        return 0;
    return err_set(NUN_EARG, "scenes-hd: %s: expected %d to %d, found %d", name, lo, hi, value);
}

int hd_config_check(const struct hd_config *cfg)
{
    TRY(check_range("split", (int)cfg->split, 0, SCENE_SPLIT_COUNT - 1));
    TRY(check_range("group", cfg->group, 1, 1 << 20));
    TRY(check_range("max_objects", cfg->max_objects, 1, HD_MAX_OBJECTS));
    TRY(check_weights("grid_weight", cfg->grid_weight, HD_GRIDS));
    TRY(check_weights("picture_weight", cfg->picture_weight, SCENE_PICTURE_COUNT));
    TRY(check_weights("question_weight", cfg->question_weight, SCENE_KIND_COUNT));
    for (int k = SCENE_ASK_JSON; k <= SCENE_ASK_ORDER; k++)
        if (cfg->question_weight[k] > 0)
            return err_set(NUN_EARG, "scenes-hd: question_weight of %s: expected 0, found %g", scene_kind_names[k],
                           (double)cfg->question_weight[k]);
    if (!cfg->fonts)
        return err_set(NUN_EARG, "scenes-hd: expected open fonts, found none");
    bool objects = cfg->picture_weight[SCENE_OBJECTS] > 0 || cfg->picture_weight[SCENE_MIXED] > 0;
    if (cfg->split == SCENE_HELDOUT && !objects)
        return err_set(NUN_EARG, "scenes-hd: split heldout: expected pictures with objects, found weight 0");
    return 0;
}

struct hd_grid hd_grid_of(const struct hd_config *cfg, uint64_t seed, uint64_t group)
{
    uint64_t stream = (uint64_t)cfg->split << 60 | (group & (UINT64_MAX >> 8));
    struct rng r = rng_at(seed, hd_stream(stream, HD_STREAM_GRID));
    return hd_grids[words_pick(cfg->grid_weight, HD_GRIDS, rng_float(&r))];
}

int hd_position(const struct hd_scene *s, float x, float y)
{
    float w = (float)s->width / 3, h = (float)s->height / 3;
    return 3 * ((y >= h) + (y >= 2 * h)) + (x >= w) + (x >= 2 * w);
}

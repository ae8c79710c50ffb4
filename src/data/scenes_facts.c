/* The facts of the world: names, colours, outlines, held-out and popular pairs, the default mix.
 * docs/scenes.md repeats these numbers; the drawer in tests/scripts reads only that page. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes.h"
#include "base/err.h"

const struct scene_colour scene_colours[SCENE_COLOURS] = {
    {"red", {220, 35, 40}},    {"green", {35, 150, 60}},   {"blue", {35, 75, 215}},  {"yellow", {245, 210, 30}},
    {"purple", {135, 40, 175}}, {"orange", {245, 130, 25}}, {"cyan", {30, 190, 215}}, {"pink", {250, 130, 190}},
};

/* A circle is drawn as a regular polygon of 32 points: off by 0.005 of the radius. */
static const float circle[32][2] = {
    {1, 0}, {.98079f, .19509f}, {.92388f, .38268f}, {.83147f, .55557f}, {.70711f, .70711f}, {.55557f, .83147f},
    {.38268f, .92388f}, {.19509f, .98079f}, {0, 1}, {-.19509f, .98079f}, {-.38268f, .92388f}, {-.55557f, .83147f},
    {-.70711f, .70711f}, {-.83147f, .55557f}, {-.92388f, .38268f}, {-.98079f, .19509f}, {-1, 0},
    {-.98079f, -.19509f}, {-.92388f, -.38268f}, {-.83147f, -.55557f}, {-.70711f, -.70711f}, {-.55557f, -.83147f},
    {-.38268f, -.92388f}, {-.19509f, -.98079f}, {0, -1}, {.19509f, -.98079f}, {.38268f, -.92388f},
    {.55557f, -.83147f}, {.70711f, -.70711f}, {.83147f, -.55557f}, {.92388f, -.38268f}, {.98079f, -.19509f},
};
static const float square[4][2] = {{-.88f, -.88f}, {.88f, -.88f}, {.88f, .88f}, {-.88f, .88f}};
static const float triangle[3][2] = {{0, -1}, {1, .8f}, {-1, .8f}};
/* Five points of radius 1.1, five of 0.45 between them, the first straight up. */
static const float star[10][2] = {
    {0, -1.1f}, {.2645f, -.36406f}, {1.04616f, -.33992f}, {.42798f, .13906f}, {.64656f, .88992f},
    {0, .45f}, {-.64656f, .88992f}, {-.42798f, .13906f}, {-1.04616f, -.33992f}, {-.2645f, -.36406f},
};
static const float cross[12][2] = {
    {-.33f, -1}, {.33f, -1}, {.33f, -.33f}, {1, -.33f}, {1, .33f}, {.33f, .33f},
    {.33f, 1}, {-.33f, 1}, {-.33f, .33f}, {-1, .33f}, {-1, -.33f}, {-.33f, -.33f},
};
static const float diamond[4][2] = {{0, -1.1f}, {.75f, 0}, {0, 1.1f}, {-.75f, 0}};

const struct scene_shape scene_shapes[SCENE_SHAPES] = {
    {"circle", "circles", 32, circle}, {"square", "squares", 4, square}, {"triangle", "triangles", 3, triangle},
    {"star", "stars", 10, star}, {"cross", "crosses", 12, cross}, {"diamond", "diamonds", 4, diamond},
};

const char *const scene_size_names[SCENE_SIZES] = {"small", "large"};
const float scene_radii[SCENE_SIZES] = {8, 14};
const char *const scene_position_names[SCENE_POSITIONS] = {
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right",
};
const char *const scene_kind_names[SCENE_KIND_COUNT] = {
    "existence", "count", "colour", "shape", "size", "position", "relation", "text", "bars", "caption", "list", "json",
    "order",
};
const char *const scene_split_names[SCENE_SPLIT_COUNT] = {"train", "val", "test", "heldout"};
const char *const scene_negative_names[SCENE_NEG_COUNT] = {"none", "random", "popular", "co-occurring"};

enum { RED, GREEN, BLUE, YELLOW, PURPLE, ORANGE, CYAN, PINK };
enum { CIRCLE, SQUARE, TRIANGLE, STAR, CROSS, DIAMOND };
const struct scene_pair scene_held_pairs[SCENE_HELD_PAIRS] = {{PURPLE, STAR}, {CYAN, TRIANGLE}};
const struct scene_pair scene_popular_pairs[SCENE_POPULAR_PAIRS] = {
    {RED, CIRCLE}, {BLUE, SQUARE}, {GREEN, TRIANGLE}, {YELLOW, STAR}, {ORANGE, DIAMOND}, {PINK, CROSS},
};

bool scene_pair_held(int colour, int shape)
{
    for (int i = 0; i < SCENE_HELD_PAIRS; i++)
        if (scene_held_pairs[i].colour == colour && scene_held_pairs[i].shape == shape)
            return true;
    return false;
}

int scene_position(float x, float y)
{
    const float third = SCENE_UNITS / 3.0f;
    int column = (x >= third) + (x >= 2 * third), row = (y >= third) + (y >= 2 * third);
    return 3 * row + column;
}

const struct scene_config scene_config_default = {
    .side = 112, .split = SCENE_TRAIN, .max_objects = SCENE_MAX_OBJECTS, .text_min = 2, .text_max = SCENE_MAX_TEXT,
    .text_spread = 1, .augment = 0.15f,
    .picture_weight = {[SCENE_OBJECTS] = 60, [SCENE_TEXT] = 16, [SCENE_BARS] = 10, [SCENE_MIXED] = 14},
    .question_weight = {
        [SCENE_ASK_EXISTENCE] = 4, [SCENE_ASK_COUNT] = 3, [SCENE_ASK_COLOUR] = 2, [SCENE_ASK_SHAPE] = 2,
        [SCENE_ASK_SIZE] = 1, [SCENE_ASK_POSITION] = 2, [SCENE_ASK_RELATION] = 3, [SCENE_ASK_TEXT] = 3,
        [SCENE_ASK_BARS] = 3, [SCENE_ASK_CAPTION] = 1, [SCENE_ASK_LIST] = 1, [SCENE_ASK_JSON] = 1,
        [SCENE_ASK_ORDER] = 0, /* an exercise for the relations: asked where a recipe says so */
    },
};

static int check_range(const char *name, int value, int lo, int hi)
{
    if (value >= lo && value <= hi)
        return 0;
    return err_set(NUN_EARG, "scenes: %s: expected %d to %d, found %d", name, lo, hi, value);
}

static int check_weights(const char *name, const float *w, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++) {
        if (!(w[i] >= 0 && w[i] <= 1e6f))
            return err_set(NUN_EARG, "scenes: %s %d: expected 0 to 1000000, found %g", name, i, (double)w[i]);
        sum += w[i];
    }
    return sum > 0 ? 0 : err_set(NUN_EARG, "scenes: %s: expected one above 0, found none", name);
}

int scene_config_check(const struct scene_config *cfg)
{
    TRY(check_range("side", cfg->side, 32, SCENE_SIDE_MAX));
    TRY(check_range("split", (int)cfg->split, 0, SCENE_SPLIT_COUNT - 1));
    TRY(check_range("max_objects", cfg->max_objects, 1, SCENE_MAX_OBJECTS));
    TRY(check_range("text_max", cfg->text_max, 1, SCENE_MAX_TEXT));
    TRY(check_range("text_min", cfg->text_min, 1, cfg->text_max));
    TRY(check_weights("picture_weight", cfg->picture_weight, SCENE_PICTURE_COUNT));
    TRY(check_weights("question_weight", cfg->question_weight, SCENE_KIND_COUNT));
    if (!(cfg->text_spread >= 0 && cfg->text_spread <= 1) || !(cfg->augment >= 0 && cfg->augment <= 1))
        return err_set(NUN_EARG, "scenes: text_spread and augment: expected 0 to 1, found %g and %g",
                       (double)cfg->text_spread, (double)cfg->augment);
    bool words = cfg->picture_weight[SCENE_TEXT] > 0 || cfg->picture_weight[SCENE_MIXED] > 0;
    if (words && !cfg->fonts)
        return err_set(NUN_EARG, "scenes: pictures with words: expected open fonts, found none");
    bool objects = cfg->picture_weight[SCENE_OBJECTS] > 0 || cfg->picture_weight[SCENE_MIXED] > 0;
    if (cfg->split == SCENE_HELDOUT && !objects)
        return err_set(NUN_EARG, "scenes: split heldout: expected pictures with objects, found weight 0");
    return 0;
}

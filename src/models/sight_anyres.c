/* A grid of tiles and the whole picture before it: the grid's features are put together, what was padding is cut off,
 * and every row ends with a learned vector (LLaVA-NeXT; arXiv:2408.03326 for OneVision, which shrinks large grids
 * and gives videos fewer features a frame). */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/sight.h"

static int side_of(const struct model *m)
{
    return (int)lround(sqrt(sight_tower_tokens(m)));
}

/* ---- what is where ------------------------------------------------------------------------- */

/* The grid's rectangle, and what it is shrunk to. */
struct grid { struct preprocess_rect rect; int width, height; };

static struct grid grid_of(const struct model *m, const struct preprocess_plan *p)
{
    int side = side_of(m), most = m->facts.max_tiles_kept;
    struct grid g = {.rect = preprocess_unpadded(p, side)};
    g.width = g.rect.width;
    g.height = g.rect.height;
    double ratio = most ? sqrt((double)g.height * g.width / ((double)most * side * side)) : 0;
    if (ratio > 1.1) {
        g.height = (int)(g.height / ratio);
        g.width = (int)(g.width / ratio);
    }
    return g;
}

static int shrunk_side(const struct model *m)
{
    return (side_of(m) + 1) / 2;
}

static int anyres_features(const struct model *m, const struct preprocess_plan *p)
{
    int tower = sight_tower_tokens(m);
    struct grid g = grid_of(m, p);
    if (side_of(m) * side_of(m) != tower)
        return 0;
    if (p->video)
        return p->frames * shrunk_side(m) * shrunk_side(m) + m->facts.newline;
    return p->overview < 0 ? tower + m->facts.newline : tower + g.height * (g.width + m->facts.newline);
}

/* ---- graphs -------------------------------------------------------------------------------- */

/* x [side * side * ..., width] resampled to [h * w, width], bilinear as torch has it. */
static struct g_tensor *shrink(struct graph *g, struct g_tensor *x, int gh, int gw, int h, int w)
{
    union g_attr a = {.interpolate = {.gh = gh, .gw = gw, .h = h, .w = w}};
    return gh == h && gw == w ? x : g_op(g, OP_interpolate, &a, 1, (struct g_tensor *[]){x});
}

static struct g_tensor *pick(struct graph *g, struct g_tensor *x, const int32_t *rows, int n)
{
    return g_gather_rows(g, x, g_const(g, DT_I32, SHAPE1(n), rows, true));
}

/* Rows of features [tiles * side * side] that are the grid's rectangle, in reading order. */
static struct g_tensor *put_together(struct graph *g, struct g_tensor *x, const struct preprocess_plan *p, int side,
                                     struct preprocess_rect r)
{
    int32_t *rows = arena_array(&g->arena, (size_t)r.width * (size_t)r.height, sizeof *rows), n = 0;
    int first = p->overview == 0;
    for (int y = r.y; rows && y < r.y + r.height; y++)
        for (int c = r.x; c < r.x + r.width; c++) {
            int tile = first + y / side * p->columns + c / side;
            rows[n++] = tile * side * side + y % side * side + c % side;
        }
    return rows ? pick(g, x, rows, n) : NULL;
}

/* x [h * w, width] with the newline behind every row, if there is one. */
static struct g_tensor *end_rows(struct graph *g, const struct model *m, struct g_tensor *x, int h, int w)
{
    int64_t H = m->text.facts.hidden;
    if (!m->facts.newline)
        return x;
    struct g_tensor *line = g_repeat_rows(g, g_reshape(g, g_param(g, m->w[NN_newline_w]), SHAPE2(1, H)), h);
    struct g_tensor *both[] = {g_reshape(g, x, SHAPE3(h, w, H)), g_reshape(g, line, SHAPE3(h, 1, H))};
    return g_reshape(g, g_concat(g, 1, 2, both), SHAPE2((int64_t)h * (w + 1), H));
}

/* The features of one picture out of those of its tiles. */
static struct g_tensor *arrange(struct graph *g, const struct model *m, struct g_tensor *x, const struct preprocess_plan *p)
{
    int side = side_of(m), tokens = side * side;
    struct grid grid = grid_of(m, p);
    if (p->overview < 0)
        return end_rows(g, m, x, 1, tokens);
    struct g_tensor *base = g_slice(g, x, 0, 0, tokens);
    struct g_tensor *y = put_together(g, x, p, side, grid.rect);
    y = shrink(g, y, grid.rect.height, grid.rect.width, grid.height, grid.width);
    struct g_tensor *parts[] = {base, end_rows(g, m, y, grid.height, grid.width)};
    return g_concat(g, 0, 2, parts);
}

/* Every frame shrunk to half its side, and one newline at the end. */
static struct g_tensor *arrange_video(struct graph *g, const struct model *m, struct g_tensor *x, const struct preprocess_plan *p)
{
    int side = side_of(m), tokens = side * side, to = shrunk_side(m);
    struct g_tensor *all = NULL;
    for (int i = 0; i < p->frames; i++) {
        struct g_tensor *frame = shrink(g, g_slice(g, x, 0, i * tokens, (i + 1) * tokens), side, side, to, to);
        struct g_tensor *both[] = {all, frame};
        all = all ? g_concat(g, 0, 2, both) : frame;
    }
    return end_rows(g, m, all, 1, p->frames * to * to);
}

static struct g_tensor *anyres_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                     const struct preprocess_plan *p, int n)
{
    int tokens;
    struct g_tensor *x = sight_connect(g, m, sight_tower(g, m, pixels, &tokens)), *all = NULL;
    for (int i = 0; i < n && x; i++) {
        struct g_tensor *one = n == 1 ? x : g_slice(g, x, 0, (int64_t)i * p->tiles * tokens, (int64_t)(i + 1) * p->tiles * tokens);
        one = p->video ? arrange_video(g, m, one, p) : arrange(g, m, one, p);
        struct g_tensor *both[] = {all, one};
        all = all ? g_concat(g, 0, 2, both) : one;
    }
    return all;
}

const struct sight_row sight_anyres = {
    "anyres", "the whole picture, then a grid of tiles put together, rows ended by a learned vector", anyres_features, anyres_build,
    .by_size = true, .video_mark = "<video>"};

/* ---- two towers ---------------------------------------------------------------------------- */

/* Video-LLaVA: a tower for pictures, one for frames whose class tokens stay. arXiv:2311.10122. */
static int frames_features(const struct model *m, const struct preprocess_plan *p)
{
    return p->video ? p->frames * m->more[0].facts.positions : sight_tower_tokens(m);
}

static struct g_tensor *frames_build(struct graph *g, const struct model *m, struct g_tensor *pixels,
                                     const struct preprocess_plan *p, int n)
{
    int tokens;
    const struct nn_stack *tower = p->video ? &m->more[0] : &m->vision;
    return sight_connect(g, m, sight_tower_of(g, m, tower, m->facts.drop_class && !p->video, pixels, &tokens));
}

const struct sight_row sight_frames = {
    "frames", "a tower for pictures and one for frames", frames_features, frames_build, .video_mark = "<video>",
    .template = "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif %}"
                "{% for part in message['content'] %}{% if part['type'] != 'text' %}{{ '<' + part['type'] + '>\n' }}{% endif %}{% endfor %}"
                "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}"
                "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"};

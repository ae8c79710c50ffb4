/* An HD grid of tiles put together, rows ended by a learned vector; another one; then the whole picture likewise: Phi 3
 * Vision. arXiv:2404.06512, arXiv:2404.14219. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/err.h"
#include "models/sight.h"
#include "nn/connector.h"

/* Features along a tile's side; 0 where squares do not fit, or tiles are not the tower's. */
static int side_of(const struct model *m, const struct preprocess_plan *p)
{
    const struct nn_facts *f = &m->vision.facts;
    int side = f->image_size / f->patch, step = m->facts.merge;
    bool fits = p->tile_width == f->image_size && p->tile_height == f->image_size && side % step == 0;
    return fits ? side / step : 0;
}

static int rows_of(int side, int columns, int rows)
{
    return rows * side * (columns * side + 1);
}

static int hd_features(const struct model *m, const struct preprocess_plan *p)
{
    int side = side_of(m, p), whole = rows_of(side, 1, 1);
    if (p->overview < 0 || !side)
        return p->tiles * whole;
    return p->frames * (rows_of(side, p->columns, p->rows) + 1 + whole);
}

/* ---- where each feature comes from ----------------------------------------------------------- */

/* Rows of a picture's squares, of the newline and of the divider behind all squares. */
struct layout { int side, newline, n; int32_t *rows; };

/* A grid of tiles from the tile at `first` on, row by row. */
static void lay_grid(struct layout *l, int first, int columns, int rows)
{
    for (int y = 0; y < rows * l->side; y++) {
        for (int x = 0; x < columns * l->side; x++) {
            int tile = first + y / l->side * columns + x / l->side;
            l->rows[l->n++] = (tile * l->side + y % l->side) * l->side + x % l->side;
        }
        l->rows[l->n++] = l->newline;
    }
}

static void lay_frame(struct layout *l, const struct preprocess_plan *p, int first)
{
    if (p->overview == 0) {
        lay_grid(l, first + 1, p->columns, p->rows);
        l->rows[l->n++] = l->newline + 1;
    }
    lay_grid(l, first, 1, 1);
}

/* ---- graph ----------------------------------------------------------------------------------- */

static struct g_tensor *learned(struct graph *g, const struct model *m, enum nn_role role, int64_t width)
{
    return g_reshape(g, g_param(g, m->w[role]), SHAPE2(1, width));
}

static struct g_tensor *hd_build(struct graph *g, const struct model *m, struct g_tensor *pixels, const struct preprocess_plan *p, int n)
{
    int tokens, tiles = n * p->tiles, step = m->facts.merge, each = p->tiles / p->frames;
    struct layout l = {.side = side_of(m, p)};
    int squares = tiles * l.side * l.side, side = l.side * step;
    int64_t width = (int64_t)step * step * m->vision.facts.hidden;
    l.newline = squares;
    l.rows = arena_array(&g->arena, (size_t)n * (size_t)hd_features(m, p), sizeof *l.rows);
    if (!l.rows)
        return NULL;
    for (int i = 0; i < n * p->frames; i++)
        lay_frame(&l, p, i * each);
    struct g_tensor *x = nn_squares(g, sight_tower(g, m, pixels, &tokens), tiles, side, side, step, false);
    struct g_tensor *all[] = {g_reshape(g, x, SHAPE2(squares, width)), learned(g, m, NN_newline_w, width),
                              learned(g, m, NN_divider_w, width)};
    x = g_gather_rows(g, g_concat(g, 0, 3, all), g_const(g, DT_I32, SHAPE1(l.n), l.rows, true));
    return sight_connect(g, m, x);
}

/* ---- in words -------------------------------------------------------------------------------- */

/* The original tokenises what stands between pictures piece by piece, each from the start of a text on. */
static int hd_spell(const struct sight_text *t, struct buf *out)
{
    for (int i = 0; i < t->features; i++)
        buf_span(out, t->token);
    buf_span(out, t->start);
    return buf_error(out);
}

const struct sight_row sight_hd_grid = {
    "hd_grid", "an HD grid of tiles, then the whole picture, rows ended and parts divided by learned vectors", hd_features, hd_build,
    .token = "<|image|>", .spell = hd_spell};

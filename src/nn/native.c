/* Towers of native sizes: where patches lie, how they turn, whom they see, and what becomes of a group. Everything
 * that depends on sizes alone is a constant of the graph. Called by models/sight_*.c. */
/* SPDX-License-Identifier: MIT */
#include "nn/native.h"

#include <math.h>

#include "base/err.h"

int nn_native_features(const struct nn_facts *f, int grids, int rows, int cols)
{
    return grids * (rows / f->merge) * (cols / f->merge);
}

/* ---- where patches lie --------------------------------------------------------------------- */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* The order of one grid: window by window, in a window group by group, in a group patch by patch. back[group in reading
 * order]: where it stands; spans [rows * cols, 2]: the window of each row. */
static void lay_grid(const struct nn_native *t, int32_t *order, int32_t *back, int32_t *spans)
{
    int m = t->s->facts.merge, down = t->rows / m, across = t->cols / m, n = 0;
    int side = t->s->facts.window_side ? t->s->facts.window_side : down > across ? down : across;
    for (int top = 0; top < down; top += side)
        for (int left = 0; left < across; left += side) {
            int h = smaller(side, down - top), w = smaller(side, across - left), first = n, end = n + h * w * m * m;
            for (; n < end; n++) {
                int group = (n - first) / (m * m), inner = (n - first) % (m * m);
                int y = top + group / w, x = left + group % w;
                order[n] = (y * m + inner / m) * t->cols + x * m + inner % m;
                back[y * across + x] = n / (m * m);
                spans[2 * n] = first;
                spans[2 * n + 1] = end;
            }
        }
}

/* The rows of all grids from those of the first: values count on by `step` from grid to grid. */
static void repeat_grid(int32_t *rows, int grids, int n, int step)
{
    for (int i = n; i < grids * n; i++)
        rows[i] = rows[i - n] + step;
}

/* ---- how they turn ------------------------------------------------------------------------- */

/* Half of a head's pairs turn by the row, half by the column: through the same frequencies, or through every other one of
 * a head's. F32 [rows, pairs] */
static struct g_tensor *angles(struct graph *g, const struct nn_native *t, const int32_t *order)
{
    const struct nn_facts *f = &t->s->facts;
    struct nn_rope half = f->rope[0];
    float *out, inv_freq[2048];
    int n = t->grids * t->rows * t->cols, grid = t->rows * t->cols, pairs = nn_rope_dims(f, &half) / 2;
    struct g_tensor *freq = nn_const(g, SHAPE2(n, pairs), &out);
    half.dims = half.odd_columns ? 2 * pairs : pairs;
    if (pairs % 2 || pairs > 2048) {
        g->error = g->error ? g->error : err_set(NUN_EUNSUP, "vision tower: %d pairs of a head cannot turn by row and column", pairs);
        return NULL;
    }
    nn_rope_frequencies(f, &half, 0, inv_freq);
    for (int i = 0; freq && i < n; i++, out += pairs)
        for (int k = 0; k < pairs / 2; k++) {
            out[k] = (float)(order[i % grid] / t->cols) * inv_freq[half.odd_columns ? 2 * k : k];
            out[pairs / 2 + k] = (float)(order[i % grid] % t->cols) * inv_freq[half.odd_columns ? 2 * k + 1 : k];
        }
    return freq;
}

static struct g_tensor *ones(struct graph *g, int n)
{
    int32_t *out;
    struct g_tensor *t = nn_ints(g, SHAPE1(n), &out);
    for (int i = 0; t && i < n; i++)
        out[i] = 1;
    return t;
}

/* ---- beginning ----------------------------------------------------------------------------- */

struct nn_native nn_native_begin(struct graph *g, const struct nn_stack *s, int grids, int rows, int cols)
{
    const struct nn_facts *f = &s->facts;
    struct nn_native t = {.s = s, .grids = grids, .rows = rows, .cols = cols};
    int grid = rows * cols, features = nn_native_features(f, grids, rows, cols);
    int32_t *order, *back, *windows, *all;
    if (grids < 1 || rows < f->merge || cols < f->merge || rows % f->merge || cols % f->merge) {
        g->error = g->error ? g->error : err_set(NUN_EARG, "vision tower: %d grids of %d x %d patches in groups of %d x %d", grids, rows,
                                                 cols, f->merge, f->merge);
        return t;
    }
    t.order = nn_ints(g, SHAPE1((int64_t)grids * grid), &order);
    t.back = nn_ints(g, SHAPE1(features), &back);
    t.windows = nn_ints(g, SHAPE3(grids, grid, 2), &windows);
    t.all = nn_ints(g, SHAPE3(grids, grid, 2), &all);
    if (!t.order || !t.back || !t.windows || !t.all)
        return t;
    lay_grid(&t, order, back, windows);
    for (int i = 0; i < grids * grid; i++)
        all[2 * i + 1] = grid;
    repeat_grid(windows, grids, 2 * grid, 0);
    repeat_grid(order, grids, grid, grid);
    repeat_grid(back, grids, features / grids, features / grids);
    t.seq = (struct nn_seq){.batch = grids, .tokens = grid, .pos = ones(g, grids * grid), .freq = angles(g, &t, order)};
    return t;
}

/* pixels [n * frames, C, H, W] -> [grids, C * F, H, W], F frames of a step side by side; the last stands for those that
 * are missing. */
static struct g_tensor *steps_of(struct graph *g, const struct nn_native *t, struct g_tensor *pixels, int frames)
{
    const int64_t *d = pixels->shape.d;
    int64_t n = d[0] / frames, C = d[1], area = d[2] * d[3], F = t->s->facts.frames;
    struct shape steps = SHAPE4(t->grids, C * F, d[2], d[3]);
    struct g_tensor *x = g_reshape(g, pixels, SHAPE4(n, frames, C, area));
    struct g_tensor *last = frames % F ? g_slice(g, x, 1, frames - 1, frames) : NULL;
    for (; frames % F && x; frames++) {
        struct g_tensor *both[] = {x, last};
        x = g_concat(g, 1, 2, both);
    }
    if (F == 1)
        return g_reshape(g, x, steps);
    x = g_reshape(g, x, SHAPE4(t->grids, F, C, area));
    return g_reshape(g, g_transpose(g, x, (const int[4]){0, 2, 1, 3}), steps);
}

struct g_tensor *nn_native_patches(struct graph *g, const struct nn_native *t, struct g_tensor *pixels, int frames)
{
    const struct nn_stack *s = t->s;
    const struct nn_facts *f = &s->facts;
    int grid = t->rows * t->cols;
    if (!pixels || g->error)
        return NULL;
    struct g_tensor *x = g_unfold(g, steps_of(g, t, pixels, frames), f->patch);
    x = nn_linear(g, s->w[NN_patch_w], s->w[NN_patch_b], x, NULL, ACT_NONE);
    if (s->w[NN_pos_w]) {
        int side = (int)lround(sqrt(f->positions));
        union g_attr how = {.interpolate = {.gh = side, .gw = side, .h = t->rows, .w = t->cols, .align_corners = true}};
        struct g_tensor *table = g_param(g, s->w[NN_pos_w]);
        x = g_add(g, g_reshape(g, x, SHAPE3(t->grids, grid, f->hidden)), g_op(g, OP_interpolate, &how, 1, &table));
        x = g_reshape(g, x, SHAPE2((int64_t)t->grids * grid, f->hidden));
    }
    return g_gather_rows(g, x, t->order);
}

/* ---- through and out ----------------------------------------------------------------------- */

struct g_tensor *nn_native_blocks(struct graph *g, const struct nn_native *t, struct g_tensor *x, int from, int to)
{
    const struct nn_layer *layer = t->s->facts.layer;
    for (int end; from < to; from = end) {
        struct nn_seq seq = t->seq;
        seq.spans = layer[from].windowed ? t->windows : t->all;
        for (end = from + 1; end < to && layer[end].windowed == layer[from].windowed;)
            end++;
        x = nn_blocks(g, t->s, x, &seq, from, end);
    }
    return x;
}

struct g_tensor *nn_native_join(struct graph *g, const struct nn_native *t, struct g_tensor *x, const struct nn_native_out *w)
{
    const struct nn_facts *f = &t->s->facts;
    int64_t features = nn_native_features(f, t->grids, t->rows, t->cols), group = (int64_t)f->merge * f->merge * f->hidden;
    bool each = w->norm_w->shape.d[0] == f->hidden; /* else a norm of groups */
    if (each)
        x = nn_norm(g, f, w->norm_w, w->norm_b, x);
    x = g_reshape(g, x, SHAPE2(features, group));
    if (!each)
        x = nn_norm(g, f, w->norm_w, w->norm_b, x);
    return nn_linear(g, w->w2, w->b2, nn_linear(g, w->w1, w->b1, x, NULL, ACT_GELU), NULL, ACT_NONE);
}

struct g_tensor *nn_native_reading(struct graph *g, const struct nn_native *t, struct g_tensor *x)
{
    return g_gather_rows(g, x, t->back);
}

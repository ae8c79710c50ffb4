/* Operations on pictures and patch grids: patches, resampled position tables, pooling. Resampling follows
 * torch.nn.functional.interpolate. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "graph/op_shape.h"

/* ---- unfold ---- */

struct patches { size_t c, h, w, p, gh, gw; }; /* channels, picture, patch, grid */

static struct patches patches_of(const struct g_tensor *t)
{
    const int64_t *d = t->in[0]->shape.d;
    size_t p = (size_t)t->attr.unfold.patch;
    return (struct patches){(size_t)d[1], (size_t)d[2], (size_t)d[3], p, (size_t)d[2] / p, (size_t)d[3] / p};
}

int shape_unfold(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    int64_t p = t->attr.unfold.patch;
    if (t->in[0]->dt != DT_F32 || s->n != 4 || p < 1 || s->d[2] % p || s->d[3] % p)
        return op_bad(t, 0, "F32 pictures [B, C, H, W], H and W multiples of the patch");
    t->dt = DT_F32;
    t->shape = SHAPE2(s->d[0] * (s->d[2] / p) * (s->d[3] / p), s->d[1] * p * p);
    return 0;
}
void cost_unfold(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    *out = (struct g_cost){.bytes = 2.0 * (double)g_bytes(t)};
}
/* Copies patches [r.lo, r.hi) between pictures [B,C,H,W] and rows [B gh gw, C p p]. */
static void copy_patches(struct patches s, struct op_range r, float *pictures, float *rows, bool to_rows)
{
    for (size_t i = r.lo; i < r.hi; i++) {
        size_t b = i / (s.gh * s.gw), y = i / s.gw % s.gh * s.p, x = i % s.gw * s.p;
        float *row = rows + i * s.c * s.p * s.p;
        for (size_t c = 0; c < s.c; c++)
            for (size_t k = 0; k < s.p; k++, row += s.p) {
                float *line = pictures + ((b * s.c + c) * s.h + y + k) * s.w + x;
                memcpy(to_rows ? row : line, to_rows ? line : row, s.p * sizeof *row);
            }
    }
}
void run_unfold(const struct g_tensor *t, const struct g_env *env)
{
    copy_patches(patches_of(t), op_share(env, t->shape.d[0], 1), g_f32(t->in[0]), g_f32(t), true);
}
void grad_unfold(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_unfold_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

/* Patches do not overlap and cover the picture: putting them back is the whole gradient. */
int shape_unfold_dx(struct g_tensor *t)
{
    TRY(shape_unfold(t));
    if (t->in[1]->dt != DT_F32 || !shape_eq(&t->shape, &t->in[1]->shape))
        return op_bad(t, 1, "F32 patches of the pictures");
    return op_like(t, 0);
}
void cost_unfold_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_unfold(g, t, out);
}
void run_unfold_dx(const struct g_tensor *t, const struct g_env *env)
{
    copy_patches(patches_of(t), op_share(env, t->in[1]->shape.d[0], 1), g_f32(t), g_f32(t->in[1]), false);
}

/* ---- interpolate ---- */

enum { MAX_TAPS = 4 };
struct taps { int n; int at[MAX_TAPS]; float weight[MAX_TAPS]; };

static float cubic_near(float x) /* |x| <= 1, a = -0.75 */
{
    return (1.25f * x - 2.25f) * x * x + 1.0f;
}
static float cubic_far(float x) /* 1 < |x| < 2 */
{
    return ((-0.75f * x + 3.75f) * x - 6.0f) * x + 3.0f;
}

/* Which of `in` points make point i of `out`, and by what weights. */
static struct taps taps_at(const struct g_tensor *t, int i, int in, int out)
{
    float scale = (float)in / (float)out, x = scale * ((float)i + 0.5f) - 0.5f;
    if (t->attr.interpolate.align_corners) {
        scale = out > 1 ? (float)(in - 1) / (float)(out - 1) : 0.0f;
        x = scale * (float)i;
    }
    struct taps taps = {0};
    bool cubic = t->attr.interpolate.bicubic;
    if (!cubic && x < 0.0f)
        x = 0.0f;
    int base = (int)floorf(x);
    float f = x - (float)base;
    const float linear_w[] = {1.0f - f, f};
    const float cubic_w[] = {cubic_far(f + 1.0f), cubic_near(f), cubic_near(1.0f - f), cubic_far(2.0f - f)};
    taps.n = cubic ? 4 : 2;
    for (int k = 0; k < taps.n; k++) {
        int at = base + k - (cubic ? 1 : 0);
        taps.at[k] = at < 0 ? 0 : at >= in ? in - 1 : at;
        taps.weight[k] = cubic ? cubic_w[k] : linear_w[k];
    }
    return taps;
}

static int interpolate_ok(const struct g_tensor *t)
{
    if (t->attr.interpolate.antialias)
        return err_set(NUN_EUNSUP, "interpolate: antialias is not supported");
    if (t->attr.interpolate.gh < 1 || t->attr.interpolate.gw < 1 || t->attr.interpolate.h < 1 || t->attr.interpolate.w < 1)
        return err_set(NUN_EARG, "interpolate: from %dx%d to %dx%d", t->attr.interpolate.gh, t->attr.interpolate.gw,
                       t->attr.interpolate.h, t->attr.interpolate.w);
    return 0;
}
static int table_ok(const struct g_tensor *t, int h, int w)
{
    if (t->in[0]->dt != DT_F32 || t->in[0]->shape.n != 2 || t->in[0]->shape.d[0] != (int64_t)h * w)
        return op_bad(t, 0, "F32, a row a point of the grid");
    return 0;
}

int shape_interpolate(struct g_tensor *t)
{
    TRY(interpolate_ok(t));
    TRY(table_ok(t, t->attr.interpolate.gh, t->attr.interpolate.gw));
    TRY(op_like(t, 0));
    t->shape.d[0] = (int64_t)t->attr.interpolate.h * t->attr.interpolate.w;
    return 0;
}
void cost_interpolate(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, t->attr.interpolate.bicubic ? 40 : 12, out);
}
/* Columns [c.lo, c.hi) of one output row: along x for every tap of y, then along y. */
static void resample_row(const float *table, size_t d, int gw, const struct taps *ty, const struct taps *tx,
                         struct op_range c, float *y)
{
    for (size_t k = c.lo; k < c.hi; k++) {
        float sum = 0.0f;
        for (int a = 0; a < ty->n; a++) {
            const float *row = table + (size_t)ty->at[a] * (size_t)gw * d + k;
            float line = 0.0f;
            for (int b = 0; b < tx->n; b++)
                line = line + row[(size_t)tx->at[b] * d] * tx->weight[b];
            sum = sum + line * ty->weight[a];
        }
        y[k] = sum;
    }
}
void run_interpolate(const struct g_tensor *t, const struct g_env *env)
{
    int gh = t->attr.interpolate.gh, gw = t->attr.interpolate.gw, h = t->attr.interpolate.h, w = t->attr.interpolate.w;
    size_t d = (size_t)g_last(t);
    struct op_range r = op_share(env, t->shape.d[0], 1), all = {0, d};
    for (size_t i = r.lo; i < r.hi; i++) {
        struct taps ty = taps_at(t, (int)(i / (size_t)w), gh, h), tx = taps_at(t, (int)(i % (size_t)w), gw, w);
        resample_row(g_f32(t->in[0]), d, gw, &ty, &tx, all, g_f32(t) + i * d);
    }
}
void grad_interpolate(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_interpolate_dx, &t->attr, 1, OP_IN(op_as(g, dt, t))));
}

int shape_interpolate_dx(struct g_tensor *t)
{
    TRY(interpolate_ok(t));
    TRY(table_ok(t, t->attr.interpolate.h, t->attr.interpolate.w));
    TRY(op_like(t, 0));
    t->shape.d[0] = (int64_t)t->attr.interpolate.gh * t->attr.interpolate.gw;
    return 0;
}
void cost_interpolate_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, t->attr.interpolate.bicubic ? 40 : 12, out);
}
/* Every output row adds to its taps, in order; threads share the columns. */
void run_interpolate_dx(const struct g_tensor *t, const struct g_env *env)
{
    int gh = t->attr.interpolate.gh, gw = t->attr.interpolate.gw, h = t->attr.interpolate.h, w = t->attr.interpolate.w;
    size_t d = (size_t)g_last(t);
    struct op_range c = op_share(env, (int64_t)d, 16);
    for (int64_t i = 0; i < t->shape.d[0]; i++)
        memset(g_f32(t) + (size_t)i * d + c.lo, 0, (c.hi - c.lo) * sizeof(float));
    for (int i = 0; i < h * w; i++) {
        struct taps ty = taps_at(t, i / w, gh, h), tx = taps_at(t, i % w, gw, w);
        const float *dy = g_f32(t->in[0]) + (size_t)i * d;
        for (int a = 0; a < ty.n * tx.n; a++) {
            float weight = ty.weight[a / tx.n] * tx.weight[a % tx.n];
            float *to = g_f32(t) + ((size_t)ty.at[a / tx.n] * (size_t)gw + (size_t)tx.at[a % tx.n]) * d;
            for (size_t k = c.lo; k < c.hi; k++)
                to[k] += weight * dy[k];
        }
    }
}

/* ---- mean_pool ---- */

int shape_mean_pool(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    if (t->in[0]->dt != DT_F32 || s->n != 3 || s->d[1] < 1)
        return op_bad(t, 0, "F32 [B, T, D]");
    t->dt = DT_F32;
    t->shape = SHAPE2(s->d[0], s->d[2]);
    return 0;
}
void cost_mean_pool(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, (double)t->in[0]->shape.d[1], out);
}
void run_mean_pool(const struct g_tensor *t, const struct g_env *env)
{
    size_t b = (size_t)t->shape.d[0], d = (size_t)t->shape.d[1], rows = (size_t)t->in[0]->shape.d[1];
    struct op_range c = op_share(env, (int64_t)d, 16);
    size_t n = c.hi - c.lo;
    for (size_t i = 0; i < b; i++) {
        const float *x = g_f32(t->in[0]) + i * rows * d + c.lo;
        float *y = g_f32(t) + i * d + c.lo;
        memcpy(y, x, n * sizeof *y);
        for (size_t r = 1; r < rows; r++)
            env->kernels->add_map(n, y, x + r * d, y);
        env->kernels->scale_map(n, y, 1.0f / (float)rows, y);
    }
}
/* dt / T, repeated before the batch and then moved behind it. */
void grad_mean_pool(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    int64_t b = t->shape.d[0], d = t->shape.d[1], rows = t->in[0]->shape.d[1];
    if (!g_wants(t->in[0]) || !dt)
        return;
    struct g_tensor *share = g_reshape(g, g_scale(g, dt, 1.0f / (float)rows), SHAPE2(1, b * d));
    share = g_reshape(g, g_repeat_rows(g, share, rows), SHAPE3(rows, b, d));
    op_give(g, t, 0, g_transpose(g, share, (const int[4]){1, 0, 2, 3}));
}

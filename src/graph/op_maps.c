/* Operations on feature maps [B,h,w,C] besides the convolution: the greatest of a window, a factor a channel of each
 * picture, and batch norm by running statistics as the scale and shift of a convolution. Threads share channels or
 * pixels. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "graph/op_conv2d.h"

/* ---- max_pool ---- */

int shape_max_pool(struct g_tensor *t)
{
    int64_t k = t->attr.pool.kernel, s = t->attr.pool.stride, pad = t->attr.pool.padding;
    const struct shape *x = &t->in[0]->shape;
    if (k < 1 || k > 1 << 15 || s < 1 || pad < 0 || 2 * pad > k)
        return err_set(NUN_EARG, "%s: kernel %lld, stride %lld, padding %lld", op_table[t->op].name, (long long)k, (long long)s,
                       (long long)pad);
    if (t->in[0]->dt != DT_F32 || x->n != 4 || x->d[1] + 2 * pad < k || x->d[2] + 2 * pad < k)
        return op_bad(t, 0, "F32 maps [B, H, W, C], padded no smaller than the window");
    t->dt = DT_F32;
    t->shape = SHAPE4(x->d[0], (x->d[1] + 2 * pad - k) / s + 1, (x->d[2] + 2 * pad - k) / s + 1, x->d[3]);
    return 0;
}

/* As a convolution of one channel a group; y: the pooled maps. */
static struct conv2d windows_of(const struct g_tensor *t, const struct g_tensor *y)
{
    const int64_t *x = t->in[0]->shape.d, *d = y->shape.d;
    size_t k = (size_t)t->attr.pool.kernel;
    return (struct conv2d){.B = (size_t)x[0], .H = (size_t)x[1], .W = (size_t)x[2], .C = (size_t)x[3], .h = (size_t)d[1],
                           .w = (size_t)d[2], .kh = k, .kw = k, .stride = (size_t)t->attr.pool.stride,
                           .before = t->attr.pool.padding};
}

void cost_max_pool(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, (double)t->attr.pool.kernel * (double)t->attr.pool.kernel, out);
}

/* The part of pixel p's window that lies inside the map, and its first pixel. */
struct window { struct op_range y, x; const float *at; };
static struct window window_of(const struct conv2d *c, const float *x, size_t p)
{
    ptrdiff_t top = (ptrdiff_t)(p / c->w % c->h * c->stride) - c->before, left = (ptrdiff_t)(p % c->w * c->stride) - c->before;
    struct window v = {conv2d_inside(top, c->kh, c->H), conv2d_inside(left, c->kw, c->W), NULL};
    size_t row = p / (c->h * c->w) * c->H + (size_t)(top + (ptrdiff_t)v.y.lo);
    v.at = x + (row * c->W + (size_t)(left + (ptrdiff_t)v.x.lo)) * c->C;
    return v;
}

void run_max_pool(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = windows_of(t, t);
    struct op_range mine = op_share(env, (int64_t)conv2d_pixels(&c), 1);
    for (size_t p = mine.lo; p < mine.hi; p++) {
        struct window v = window_of(&c, g_f32(t->in[0]), p);
        float *y = g_f32(t) + p * c.C;
        memcpy(y, v.at, c.C * sizeof *y);
        for (size_t i = 0; i < v.y.hi - v.y.lo; i++)
            for (size_t j = 0; j < v.x.hi - v.x.lo; j++) {
                const float *x = v.at + (i * c.W + j) * c.C;
                for (size_t a = 0; a < c.C; a++)
                    y[a] = x[a] > y[a] || x[a] != x[a] ? x[a] : y[a];
            }
    }
}

void grad_max_pool(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_max_pool_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

int shape_max_pool_dx(struct g_tensor *t)
{
    TRY(shape_max_pool(t));
    if (t->in[1]->dt != DT_F32 || !shape_eq(&t->in[1]->shape, &t->shape))
        return op_bad(t, 1, "F32, shaped as the pooled maps");
    return op_like(t, 0);
}

void cost_max_pool_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2, out);
}

/* Channel a of the window's gradient goes to its first greatest value. */
static size_t greatest(const struct conv2d *c, const struct window *v, size_t a)
{
    size_t best = 0;
    for (size_t i = 0; i < v->y.hi - v->y.lo; i++)
        for (size_t j = 0; j < v->x.hi - v->x.lo; j++) {
            float x = v->at[(i * c->W + j) * c->C + a];
            if (x > v->at[best * c->C + a] || x != x)
                best = i * c->W + j;
        }
    return best;
}

void run_max_pool_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = windows_of(t, t->in[1]);
    struct op_range mine = op_share(env, (int64_t)c.C, 16);
    for (size_t p = 0; p < c.B * c.H * c.W; p++)
        memset(g_f32(t) + p * c.C + mine.lo, 0, (mine.hi - mine.lo) * sizeof(float));
    for (size_t p = 0; p < conv2d_pixels(&c); p++) {
        struct window v = window_of(&c, g_f32(t->in[0]), p);
        float *dx = g_f32(t) + (v.at - g_f32(t->in[0]));
        for (size_t a = mine.lo; a < mine.hi; a++)
            dx[greatest(&c, &v, a) * c.C + a] += g_f32(t->in[1])[p * c.C + a];
    }
}

/* ---- scale_maps ---- */

int shape_scale_maps(struct g_tensor *t)
{
    const struct shape *x = &t->in[0]->shape, *s = &t->in[1]->shape;
    TRY(op_all_f32(t, 2));
    if (x->n < 3)
        return op_bad(t, 0, "F32 maps [B, .., C]");
    if (s->n != 2 || s->d[0] != x->d[0] || s->d[1] != g_last(t->in[0]))
        return op_bad(t, 1, "F32 [B, C], a factor for each channel of each picture");
    return op_like(t, 0);
}
void cost_scale_maps(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 1, out);
}
void run_scale_maps(const struct g_tensor *t, const struct g_env *env)
{
    size_t C = (size_t)g_last(t), pixels = (size_t)g_rows(t) / (size_t)(t->shape.d[0] ? t->shape.d[0] : 1);
    struct op_range mine = op_my_rows(t, env);
    for (size_t p = mine.lo; p < mine.hi; p++)
        env->kernels->mul_map(C, g_f32(t->in[0]) + p * C, g_f32(t->in[1]) + p / pixels * C, g_f32(t) + p * C);
}
/* ds: over a picture's pixels, as their number times the mean. */
void grad_scale_maps(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *x = t->in[0], *s = t->in[1];
    int64_t B = x->shape.d[0], C = g_last(x), pixels = g_rows(x) / (B ? B : 1);
    dt = op_as(g, dt, t);
    if (g_wants(x))
        op_give(g, t, 0, g_op(g, OP_scale_maps, NULL, 2, OP_IN(dt, s)));
    if (g_wants(s))
        op_give(g, t, 1, g_scale(g, g_mean_pool(g, g_reshape(g, g_mul(g, dt, x), SHAPE3(B, pixels, C))), (float)pixels));
}

/* ---- batch norm by running statistics: y = x scale + shift; arXiv:1502.03167 ---- */

int shape_stats_scale(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    return op_like(t, 0);
}
void cost_stats_scale(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 3, out);
}
void run_stats_scale(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range mine = op_my_values(t, env);
    for (size_t i = mine.lo; i < mine.hi; i++)
        g_f32(t)[i] = g_f32(t->in[0])[i] * (1.0f / sqrtf(g_f32(t->in[1])[i] + t->attr.norm.eps));
}
void grad_stats_scale(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_stats_scale, &t->attr, 2, OP_IN(op_as(g, dt, t), t->in[1])));
}

int shape_stats_shift(struct g_tensor *t)
{
    TRY(op_all_f32(t, 3));
    TRY(op_same(t, 0, 1));
    TRY(op_same(t, 0, 2));
    return op_like(t, 0);
}
void cost_stats_shift(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2, out);
}
void run_stats_shift(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range mine = op_my_values(t, env);
    for (size_t i = mine.lo; i < mine.hi; i++)
        g_f32(t)[i] = g_f32(t->in[0])[i] - g_f32(t->in[1])[i] * g_f32(t->in[2])[i];
}
void grad_stats_shift(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    op_give(g, t, 0, dt);
    if (g_wants(t->in[2]))
        op_give(g, t, 2, g_scale(g, g_mul(g, op_as(g, dt, t), t->in[1]), -1.0f));
}

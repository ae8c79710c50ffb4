/* The norms and their gradients, by rows of the last dimension. Rows are shared among threads; a weight's
 * gradient is one chain over the rows for each column, columns shared. Called through the table of
 * operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_shape.h"

static int norm_ok(const struct g_tensor *t)
{
    if (g_last(t->in[0]) < 1)
        return op_bad(t, 0, "rows that are not empty");
    return 0;
}

/* ---- rms_norm ---- */

int shape_rms_norm(struct g_tensor *t)
{
    TRY(norm_ok(t));
    TRY(op_width(t, 1));
    return op_like(t, 0);
}
void cost_rms_norm(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 5, out);
}
void run_rms_norm(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t);
    env->kernels->rms_norm_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + r.lo * d, g_f32(t->in[1]),
                                t->attr.norm.eps, t->attr.norm.offset, g_f32(t) + r.lo * d);
}
void grad_rms_norm(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_rms_norm_dx, &t->attr, 3, OP_IN(t->in[0], t->in[1], dt)));
    if (g_wants(t->in[1]))
        g_op(g, OP_rms_norm_dw, &t->attr, 3, OP_IN(t->in[0], dt, g_grad_into(g, t->in[1])));
}

int shape_rms_norm_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 3));
    TRY(op_same(t, 0, 2));
    return shape_rms_norm(t);
}
void cost_rms_norm_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 11, out);
}
void run_rms_norm_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t), at = r.lo * d;
    env->kernels->rms_norm_dx_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + at, g_f32(t->in[1]),
                                   g_f32(t->in[2]) + at, t->attr.norm.eps, t->attr.norm.offset, g_f32(t) + at);
}

/* ---- gradients of norm weights ---- */

static int norm_dw_shape(struct g_tensor *t)
{
    TRY(norm_ok(t));
    TRY(op_all_f32(t, 3));
    TRY(op_same(t, 0, 1));
    TRY(op_width(t, 2));
    return op_into(t);
}
static void norm_dw_cost(const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 6.0 * (double)g_rows(t->in[0]), out);
    out->scratch = 2 * sizeof(float) * (size_t)g_rows(t->in[0]);
}

typedef void stats_fn(int rows, int cols, const float *x, float eps, float *stats);

static void norm_dw_run(const struct g_tensor *t, const struct g_env *env, stats_fn *stats_of)
{
    const struct g_tensor *x = t->in[0];
    size_t d = (size_t)g_last(x);
    float *stats = env->scratch; /* [rows, 2] */
    struct op_range r = op_my_rows(x, env), c = op_share(env, (int64_t)d, 16);
    stats_of((int)(r.hi - r.lo), (int)d, g_f32(x) + r.lo * d, t->attr.norm.eps, stats + 2 * r.lo);
    par_barrier(&env->par);
    env->kernels->norm_dw_cols((int)g_rows(x), (int)(c.hi - c.lo), (ptrdiff_t)d, g_f32(x) + c.lo,
                               g_f32(t->in[1]) + c.lo, stats, g_f32(t->in[2]) + c.lo);
}

int shape_rms_norm_dw(struct g_tensor *t)
{
    return norm_dw_shape(t);
}
void cost_rms_norm_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    norm_dw_cost(t, out);
}
void run_rms_norm_dw(const struct g_tensor *t, const struct g_env *env)
{
    norm_dw_run(t, env, env->kernels->rms_stats);
}

/* ---- layer_norm ---- */

int shape_layer_norm(struct g_tensor *t)
{
    TRY(norm_ok(t));
    TRY(op_width(t, 1));
    if (t->in[2])
        TRY(op_width(t, 2));
    return op_like(t, 0);
}
void cost_layer_norm(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 8, out);
}
void run_layer_norm(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t);
    env->kernels->layer_norm_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + r.lo * d, g_f32(t->in[1]),
                                  t->in[2] ? g_f32(t->in[2]) : NULL, t->attr.norm.eps, g_f32(t) + r.lo * d);
}
void grad_layer_norm(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_layer_norm_dx, &t->attr, 3, OP_IN(t->in[0], t->in[1], dt)));
    if (g_wants(t->in[1]))
        g_op(g, OP_layer_norm_dw, &t->attr, 3, OP_IN(t->in[0], dt, g_grad_into(g, t->in[1])));
    op_give_repeated(g, t, 2, dt);
}

int shape_layer_norm_dx(struct g_tensor *t)
{
    TRY(norm_ok(t));
    TRY(op_all_f32(t, 3));
    TRY(op_width(t, 1));
    TRY(op_same(t, 0, 2));
    return op_like(t, 0);
}
void cost_layer_norm_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 15, out);
}
void run_layer_norm_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t), at = r.lo * d;
    env->kernels->layer_norm_dx_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + at, g_f32(t->in[1]),
                                     g_f32(t->in[2]) + at, t->attr.norm.eps, g_f32(t) + at);
}

int shape_layer_norm_dw(struct g_tensor *t)
{
    return norm_dw_shape(t);
}
void cost_layer_norm_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    norm_dw_cost(t, out);
}
void run_layer_norm_dw(const struct g_tensor *t, const struct g_env *env)
{
    norm_dw_run(t, env, env->kernels->layer_stats);
}

/* ---- l2_norm ---- */

int shape_l2_norm(struct g_tensor *t)
{
    TRY(norm_ok(t));
    return op_like(t, 0);
}
void cost_l2_norm(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 3, out);
}
void run_l2_norm(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t), at = r.lo * d;
    env->kernels->l2_norm_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + at, t->attr.norm.eps, g_f32(t) + at);
}
void grad_l2_norm(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_l2_norm_dx, &t->attr, 2, OP_IN(t->in[0], op_as(g, dt, t))));
}

int shape_l2_norm_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    return shape_l2_norm(t);
}
void cost_l2_norm_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 9, out);
}
void run_l2_norm_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t), at = r.lo * d;
    env->kernels->l2_norm_dx_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + at, g_f32(t->in[1]) + at,
                                  t->attr.norm.eps, g_f32(t) + at);
}

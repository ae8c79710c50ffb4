/* Softmax, the losses and their gradients. A loss is the sum of its rows' losses in ascending order, so
 * that threads do not show. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_shape.h"

/* ---- softmax ---- */

int shape_softmax(struct g_tensor *t)
{
    if (g_last(t->in[0]) < 1)
        return op_bad(t, 0, "rows that are not empty");
    return op_like(t, 0);
}
void cost_softmax(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 16, out);
}
void run_softmax(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t);
    env->kernels->softmax_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + r.lo * d, g_f32(t) + r.lo * d);
}
void grad_softmax(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_softmax_dx, NULL, 2, OP_IN(t, op_as(g, dt, t))));
}

int shape_softmax_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    return op_like(t, 0);
}
void cost_softmax_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 4, out);
}
void run_softmax_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    size_t d = (size_t)g_last(t), at = r.lo * d;
    env->kernels->softmax_dx_rows((int)(r.hi - r.lo), (int)d, g_f32(t->in[0]) + at, g_f32(t->in[1]) + at,
                                  g_f32(t) + at);
}

/* ---- cross entropy ---- */

static int labels_ok(const struct g_tensor *t)
{
    if (t->in[0]->dt != DT_F32 || g_last(t->in[0]) < 1)
        return op_bad(t, 0, "F32 logits [T, V]");
    TRY(op_ids(t, 1));
    return g_count(t->in[1]) == g_rows(t->in[0]) ? 0 : op_bad(t, 1, "a label a row");
}
static float labels_counted(const struct g_tensor *labels)
{
    int64_t n = g_count(labels), counted = 0;
    for (int64_t i = 0; i < n; i++)
        counted += g_i32(labels)[i] >= 0;
    return (float)counted;
}
static int loss_shape(struct g_tensor *t)
{
    t->dt = DT_F32;
    t->shape = SHAPE1(1);
    return 0;
}
/* Sum of `rows` losses in scratch, over `count`. */
static void loss_finish(const struct g_tensor *t, const struct g_env *env, int64_t rows, float count)
{
    const float *losses = env->scratch;
    float sum = 0.0f;
    par_barrier(&env->par);
    if (env->par.ith)
        return;
    for (int64_t i = 0; i < rows; i++)
        sum += losses[i];
    g_f32(t)[0] = count > 0 ? sum / count : 0.0f;
}

int shape_cross_entropy(struct g_tensor *t)
{
    TRY(labels_ok(t));
    return loss_shape(t);
}
void cost_cross_entropy(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 14.0 * (double)g_count(t->in[0]), out);
    out->scratch = (size_t)g_rows(t->in[0]) * sizeof(float);
}
void run_cross_entropy(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0];
    size_t v = (size_t)g_last(x);
    struct op_range r = op_my_rows(x, env);
    env->kernels->cross_entropy_rows((int)(r.hi - r.lo), (int)v, g_f32(x) + r.lo * v, g_i32(t->in[1]) + r.lo,
                                     (float *)env->scratch + r.lo);
    loss_finish(t, env, g_rows(x), labels_counted(t->in[1]));
}
void grad_cross_entropy(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_cross_entropy_dx, NULL, 3, OP_IN(t->in[0], t->in[1], dt)));
}

static int dloss_ok(const struct g_tensor *t, int i)
{
    return t->in[i]->dt == DT_F32 && g_count(t->in[i]) == 1 ? 0 : op_bad(t, i, "one F32 number");
}

int shape_cross_entropy_dx(struct g_tensor *t)
{
    TRY(labels_ok(t));
    TRY(dloss_ok(t, 2));
    return op_like(t, 0);
}
void cost_cross_entropy_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 27, out);
}
void run_cross_entropy_dx(const struct g_tensor *t, const struct g_env *env)
{
    float count = labels_counted(t->in[1]), scale = count > 0 ? g_f32(t->in[2])[0] / count : 0.0f;
    size_t v = (size_t)g_last(t);
    struct op_range r = op_my_rows(t, env);
    env->kernels->cross_entropy_dx_rows((int)(r.hi - r.lo), (int)v, g_f32(t->in[0]) + r.lo * v,
                                        g_i32(t->in[1]) + r.lo, scale, g_f32(t) + r.lo * v);
}

/* ---- pairwise sigmoid loss ---- */

int shape_sigmoid_loss(struct g_tensor *t)
{
    const struct shape *s = &t->in[0]->shape;
    if (t->in[0]->dt != DT_F32 || s->n != 2 || s->d[0] != s->d[1])
        return op_bad(t, 0, "F32 logits [B, B]");
    return loss_shape(t);
}
void cost_sigmoid_loss(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 30.0 * (double)g_count(t->in[0]), out);
    out->scratch = (size_t)g_rows(t->in[0]) * sizeof(float);
}
void run_sigmoid_loss(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t->in[0], env);
    int64_t b = g_last(t->in[0]);
    env->kernels->sigmoid_loss_rows((int)r.lo, (int)r.hi, (int)b, g_f32(t->in[0]), env->scratch);
    loss_finish(t, env, b, (float)b);
}
void grad_sigmoid_loss(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_sigmoid_loss_dx, NULL, 2, OP_IN(t->in[0], dt)));
}

int shape_sigmoid_loss_dx(struct g_tensor *t)
{
    TRY(shape_sigmoid_loss(t));
    TRY(dloss_ok(t, 1));
    return op_like(t, 0);
}
void cost_sigmoid_loss_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 16, out);
}
void run_sigmoid_loss_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_range r = op_my_rows(t, env);
    int64_t b = g_last(t);
    env->kernels->sigmoid_loss_dx_rows((int)r.lo, (int)r.hi, (int)b, g_f32(t->in[0]), g_f32(t->in[1])[0] / (float)b,
                                       g_f32(t));
}

/* ---- square error of weighted rows ---- */

static int square_ok(const struct g_tensor *t)
{
    TRY(op_all_f32(t, 3));
    TRY(op_same(t, 0, 1));
    if (g_last(t->in[0]) < 1)
        return op_bad(t, 0, "rows that are not empty");
    return g_count(t->in[2]) == g_rows(t->in[0]) ? 0 : op_bad(t, 2, "a weight a row");
}
static float weights_sum(const struct g_tensor *weights)
{
    float sum = 0.0f;
    for (int64_t i = 0; i < g_count(weights); i++)
        sum += g_f32(weights)[i];
    return sum;
}

int shape_square_loss(struct g_tensor *t)
{
    TRY(square_ok(t));
    return loss_shape(t);
}
void cost_square_loss(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 3.0 * (double)g_count(t->in[0]), out);
    out->scratch = (size_t)g_rows(t->in[0]) * sizeof(float);
}
void run_square_loss(const struct g_tensor *t, const struct g_env *env)
{
    size_t d = (size_t)g_last(t->in[0]);
    struct op_range r = op_my_rows(t->in[0], env);
    for (size_t i = r.lo; i < r.hi; i++) {
        const float *x = g_f32(t->in[0]) + i * d, *y = g_f32(t->in[1]) + i * d;
        double sum = 0;
        for (size_t k = 0; k < d; k++)
            sum += ((double)x[k] - y[k]) * ((double)x[k] - y[k]);
        ((float *)env->scratch)[i] = g_f32(t->in[2])[i] * (float)(sum / (double)d);
    }
    loss_finish(t, env, g_rows(t->in[0]), weights_sum(t->in[2]));
}
void grad_square_loss(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    if (!g_wants(t->in[0]) && !g_wants(t->in[1]))
        return;
    struct g_tensor *dx = g_op(g, OP_square_loss_dx, NULL, 4, OP_IN(t->in[0], t->in[1], t->in[2], dt));
    if (g_wants(t->in[0]))
        op_give(g, t, 0, dx);
    if (g_wants(t->in[1]))
        op_give(g, t, 1, g_scale(g, dx, -1.0f));
}

int shape_square_loss_dx(struct g_tensor *t)
{
    TRY(square_ok(t));
    TRY(dloss_ok(t, 3));
    return op_like(t, 0);
}
void cost_square_loss_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 3, out);
}
void run_square_loss_dx(const struct g_tensor *t, const struct g_env *env)
{
    size_t d = (size_t)g_last(t);
    float sum = weights_sum(t->in[2]), scale = sum > 0 ? 2.0f * g_f32(t->in[3])[0] / (sum * (float)d) : 0.0f;
    struct op_range r = op_my_rows(t, env);
    for (size_t i = r.lo; i < r.hi; i++)
        for (size_t k = i * d; k < (i + 1) * d; k++)
            g_f32(t)[k] = scale * g_f32(t->in[2])[i] * (g_f32(t->in[0])[k] - g_f32(t->in[1])[k]);
}

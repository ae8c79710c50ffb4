/* Causal depthwise convolution over the tokens of a sequence. Threads share the channels. The weights
 * lie [D, taps] on disk and are turned once a run. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

static int taps_of(const struct g_tensor *t) { return (int)g_last(t->in[2]); }

static int check_weight(const struct g_tensor *t, int i)
{
    const struct g_tensor *w = t->in[i];
    if (w->dt != DT_F32 || w->shape.n < 2 || w->shape.d[0] != g_last(t->in[0]) || g_last(w) < 1 || g_last(w) > 64 ||
        g_count(w) != w->shape.d[0] * g_last(w))
        return op_bad(t, i, "F32 [channels, taps], at most 64 taps");
    return 0;
}

int shape_conv1d(struct g_tensor *t)
{
    TRY(check_weight(t, 2));
    if (t->in[3])
        TRY(op_width(t, 3));
    TRY(recur_shape(t));
    return op_like(t, 0);
}
void cost_conv1d(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    size_t D = (size_t)g_last(t), K = (size_t)taps_of(t);
    op_cost(t, 2.0 * (double)K, out);
    out->scratch = (K * D + recur_scratch(t, (K - 1) * D)) * sizeof(float);
}
void run_conv1d(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t), K = (size_t)taps_of(t);
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *turned = env->scratch, *own = turned + K * D; /* [K, D], [K - 1, D] */
    for (size_t d = c.lo; d < c.hi; d++)
        for (size_t k = 0; k < K; k++)
            turned[k * D + d] = g_f32(t->in[2])[d * K + k];
    struct recur r = recur_begin(t, own, (int)K - 1, c);
    while (recur_next(&r)) {
        size_t at = (size_t)r.from * D + c.lo;
        env->kernels->conv_rows(&(struct conv_run){
            .rows = r.to - r.from, .cols = (int)(c.hi - c.lo), .taps = (int)K, .ld = (ptrdiff_t)D,
            .x = g_f32(t->in[0]) + at, .w = turned + c.lo, .bias = t->in[3] ? g_f32(t->in[3]) + c.lo : NULL,
            .state = r.state + c.lo, .y = g_f32(t) + at});
    }
}
void grad_conv1d(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    dt = op_as(g, dt, t);
    if (g_wants(t->in[0]))
        op_give(g, t, 0, g_op(g, OP_conv1d_dx, &t->attr, 3, OP_IN(t->in[2], dt, t->in[1])));
    if (g_wants(t->in[2]))
        g_op(g, OP_conv1d_dw, &t->attr, 4, OP_IN(t->in[0], dt, t->in[1], g_grad_into(g, t->in[2])));
    op_give_repeated(g, t, 3, dt);
}

/* ---- dx[t] = sum over k of w[taps - 1 - k] dy[t + k], in the same sequence ---- */

int shape_conv1d_dx(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    if (g_last(t->in[1]) != t->in[0]->shape.d[0] || g_count(t->in[2]) != g_rows(t->in[1]))
        return op_bad(t, 1, "a gradient of rows of channels");
    TRY(op_ids(t, 2));
    return op_like(t, 1);
}
void cost_conv1d_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2.0 * (double)g_last(t->in[0]), out);
}
void run_conv1d_dx(const struct g_tensor *t, const struct g_env *env)
{
    int64_t D = g_last(t), K = g_last(t->in[0]), T = g_rows(t);
    const float *w = g_f32(t->in[0]), *dy = g_f32(t->in[1]);
    const int32_t *pos = g_i32(t->in[2]);
    struct op_range rows = op_my_rows(t, env);
    for (int64_t i = (int64_t)rows.lo; i < (int64_t)rows.hi; i++) {
        float *dx = g_f32(t) + i * D;
        memset(dx, 0, (size_t)D * sizeof *dx);
        for (int64_t k = 0; k < K && i + k < T && (k == 0 || !recur_begins(pos, i + k)); k++)
            for (int64_t d = 0; d < D; d++)
                dx[d] += w[d * K + K - 1 - k] * dy[(i + k) * D + d];
    }
}

/* ---- dw[d, k] += sum over t of dy[t, d] x[t - taps + 1 + k, d] ---- */

int shape_conv1d_dw(struct g_tensor *t)
{
    TRY(op_all_f32(t, 2));
    TRY(op_same(t, 0, 1));
    TRY(op_ids(t, 2));
    TRY(check_weight(t, 3));
    return op_into(t);
}
void cost_conv1d_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 2.0 * (double)g_rows(t->in[0]), out);
}
void run_conv1d_dw(const struct g_tensor *t, const struct g_env *env)
{
    int64_t D = g_last(t->in[0]), K = g_last(t->in[3]), T = g_rows(t->in[0]);
    const float *x = g_f32(t->in[0]), *dy = g_f32(t->in[1]);
    const int32_t *pos = g_i32(t->in[2]);
    struct op_range c = op_share(env, D, 16);
    float *dw = g_f32(t->in[3]);
    for (int64_t i = 0; i < T; i++)
        for (int64_t back = 0; back < K && back <= i; back++) {
            for (int64_t d = (int64_t)c.lo; d < (int64_t)c.hi; d++)
                dw[d * K + K - 1 - back] += dy[i * D + d] * x[(i - back) * D + d];
            if (recur_begins(pos, i - back))
                break;
        }
}

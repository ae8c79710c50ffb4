/* The real-gated linear recurrent unit of Griffin. Threads share the channels. Called through the table
 * of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

int shape_rg_lru(struct g_tensor *t)
{
    TRY(recur_floats(t));
    TRY(op_same(t, 0, 2));
    TRY(op_same(t, 0, 3));
    TRY(op_width(t, 4));
    TRY(recur_shape(t));
    return op_like(t, 0);
}
void cost_rg_lru(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 60, out);
    out->scratch = recur_scratch(t, (size_t)g_last(t)) * sizeof(float);
}
void run_rg_lru(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t);
    struct op_range c = op_share(env, (int64_t)D, 16);
    struct recur r = recur_begin(t, env->scratch, 1, c);
    while (recur_next(&r)) {
        size_t at = (size_t)r.from * D + c.lo;
        env->kernels->lru_rows(&(struct lru_run){
            .rows = r.to - r.from, .cols = (int)(c.hi - c.lo), .first = r.first, .ld = (ptrdiff_t)D,
            .x = g_f32(t->in[0]) + at, .gate_x = g_f32(t->in[2]) + at, .gate_a = g_f32(t->in[3]) + at,
            .param = g_f32(t->in[4]) + c.lo, .state = r.state + c.lo, .y = g_f32(t) + at});
    }
}

/* ---- the gradient: [dx | dgate_x | dgate_a] of [T, D], then dparam [D] ---- */

void grad_rg_lru(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *const *in = t->in;
    struct g_tensor *all = g_op(g, OP_rg_lru_grad, &t->attr, 6, OP_IN(in[0], in[1], in[2], in[3], in[4], op_as(g, dt, t)));
    size_t n = (size_t)g_count(t);
    const size_t at[] = {0, 0, n, 2 * n, 3 * n};
    for (int i = 0; i < 5 && all; i++)
        if (i != 1)
            op_give(g, t, i, g_view(g, all, at[i], in[i]->shape));
}

int shape_rg_lru_grad(struct g_tensor *t)
{
    TRY(shape_rg_lru(t));
    TRY(op_same(t, 0, 5));
    if (t->attr.recur.at >= 0)
        return op_bad(t, 1, "a position for each row");
    t->shape = SHAPE1(3 * g_count(t->in[0]) + g_last(t->in[0]));
    return 0;
}
void cost_rg_lru_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 60, out);
    out->scratch = (5 * (size_t)g_count(t->in[0]) + 3 * (size_t)g_last(t->in[0])) * sizeof(float);
}

/* Columns [lo, lo + n) of rows of D, and what the forward pass has at each. */
struct lru_walk {
    const struct g_tensor *t;
    size_t D, lo, n;
    float *in, *keep, *a, *square, *h; /* [T, D]: gates after their sigmoids, a, a^2, the state */
    float *rate, *slope, *carry;       /* [D]: -8 softplus(param), sigmoid(param), the state's gradient */
};

static void lru_forward(const struct lru_walk *w, const struct kernels *k, int64_t i, bool begins)
{
    size_t at = (size_t)i * w->D + w->lo;
    k->act_map(ACT_SIGMOID, w->n, g_f32(w->t->in[2]) + at, w->in + at);
    k->act_map(ACT_SIGMOID, w->n, g_f32(w->t->in[3]) + at, w->keep + at);
    k->mul_map(w->n, w->keep + at, w->rate + w->lo, w->a + at);
    k->scale_map(w->n, w->a + at, 2.0f, w->square + at);
    k->exp_map(w->n, w->a + at, w->a + at);
    k->exp_map(w->n, w->square + at, w->square + at);
    for (size_t c = at; c < at + w->n; c++) {
        float x = g_f32(w->t->in[0])[c] * w->in[c];
        w->h[c] = begins ? x : w->a[c] * w->h[c - w->D] + __builtin_sqrtf(1 - w->square[c]) * x;
    }
}

/* The root's slope is bounded, as the reference has it: 1 - a^2 counts as at least 1e-6 / 4. */
static void lru_back(const struct lru_walk *w, int64_t i, bool begins, bool ends, float *out)
{
    size_t all = (size_t)g_count(w->t->in[0]);
    for (size_t d = w->lo; d < w->lo + w->n; d++) {
        size_t c = (size_t)i * w->D + d;
        float x = g_f32(w->t->in[0])[c], in = w->in[c], keep = w->keep[c], rest = 1 - w->square[c];
        float g = g_f32(w->t->in[5])[c] + (ends ? 0 : w->carry[d]), root = begins ? 1 : __builtin_sqrtf(rest);
        float bound = 4 * rest > 1e-6f ? 4 * rest : 1e-6f;
        float log_a = begins ? 0 : g * w->h[c - w->D] * w->a[c] - g * in * x * 2 * w->square[c] / __builtin_sqrtf(bound);
        out[c] = g * root * in;
        out[all + c] = g * root * x * in * (1 - in);
        out[2 * all + c] = log_a * w->rate[d] * keep * (1 - keep);
        out[3 * all + d] += log_a * -8 * keep * w->slope[d];
        w->carry[d] = g * w->a[c];
    }
}

void run_rg_lru_grad(const struct g_tensor *t, const struct g_env *env)
{
    int64_t T = recur_rows(t);
    size_t D = (size_t)g_last(t->in[0]), n = (size_t)T * D;
    const int32_t *pos = g_i32(t->in[1]);
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *s = env->scratch;
    struct lru_walk w = {t, D, c.lo, c.hi - c.lo, s, s + n, s + 2 * n, s + 3 * n, s + 4 * n, s + 5 * n, s + 5 * n + D,
                         s + 5 * n + 2 * D};
    env->kernels->act_map(ACT_SOFTPLUS, w.n, g_f32(t->in[4]) + w.lo, w.rate + w.lo);
    env->kernels->scale_map(w.n, w.rate + w.lo, -8.0f, w.rate + w.lo);
    env->kernels->act_map(ACT_SIGMOID, w.n, g_f32(t->in[4]) + w.lo, w.slope + w.lo);
    memset(g_f32(t) + 3 * n + w.lo, 0, w.n * sizeof(float));
    for (int64_t i = 0; i < T; i++)
        lru_forward(&w, env->kernels, i, recur_begins(pos, i));
    for (int64_t i = T; i-- > 0;)
        lru_back(&w, i, recur_begins(pos, i), i + 1 == T || recur_begins(pos, i + 1), g_f32(t));
}

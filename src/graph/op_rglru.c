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

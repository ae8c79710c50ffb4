/* RWKV-4's parts with a state: mixing each token with the one before it, and the weighted mean of values
 * that decays with time. Threads share the channels. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

/* ---- token_shift: [mixes, T, D] ---- */

static int mixes_of(const struct g_tensor *t) { return t->n_in - 2; }

int shape_token_shift(struct g_tensor *t)
{
    for (int i = 0; i < mixes_of(t); i++)
        if (!t->in[2 + i] || t->in[2 + i]->dt != DT_F32 || g_count(t->in[2 + i]) != g_last(t->in[0]))
            return err_set(NUN_EARG, "token_shift: mix %d: expected %lld values", i, (long long)g_last(t->in[0]));
    TRY(recur_shape(t));
    TRY(op_like(t, 0));
    t->shape = SHAPE3(mixes_of(t), recur_rows(t), g_last(t->in[0]));
    return 0;
}
void cost_token_shift(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 4, out);
    out->scratch = recur_scratch(t, (size_t)g_last(t)) * sizeof(float);
}
void run_token_shift(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t), plane = (size_t)recur_rows(t) * D;
    struct op_range c = op_share(env, (int64_t)D, 16);
    for (int m = 0; m < mixes_of(t); m++) {
        const float *mix = g_f32(t->in[2 + m]) + c.lo, *x = g_f32(t->in[0]);
        struct recur r = recur_begin(t, env->scratch, 1, c);
        r.y += (size_t)m * plane;
        while (recur_next(&r)) {
            for (int i = r.from; i < r.to; i++) {
                size_t at = (size_t)i * D + c.lo;
                env->kernels->mix_map(c.hi - c.lo, x + at, i > r.from ? x + at - D : r.state + c.lo, mix, r.y + at);
            }
            if (m + 1 == mixes_of(t)) /* the last one leaves the state behind */
                memcpy(r.state + c.lo, x + (size_t)(r.to - 1) * D + c.lo, (c.hi - c.lo) * sizeof *x);
        }
    }
}

/* ---- wkv ---- */

int shape_wkv(struct g_tensor *t)
{
    TRY(recur_floats(t));
    TRY(op_same(t, 0, 2));
    TRY(op_width(t, 3));
    TRY(op_width(t, 4));
    TRY(recur_shape(t));
    return op_like(t, 0);
}
void cost_wkv(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    size_t D = (size_t)g_last(t);
    op_cost(t, 100, out);
    out->scratch = (D + recur_scratch(t, 3 * D)) * sizeof(float);
}
void run_wkv(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t);
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *decay = env->scratch; /* [D]: -exp(time_decay) */
    env->kernels->exp_map(c.hi - c.lo, g_f32(t->in[3]) + c.lo, decay + c.lo);
    env->kernels->scale_map(c.hi - c.lo, decay + c.lo, -1.0f, decay + c.lo);
    struct recur r = recur_begin(t, decay + D, 3, c);
    while (recur_next(&r)) {
        size_t at = (size_t)r.from * D + c.lo;
        env->kernels->wkv_rows(&(struct wkv_run){
            .rows = r.to - r.from, .cols = (int)(c.hi - c.lo), .ld = (ptrdiff_t)D, .k = g_f32(t->in[0]) + at,
            .v = g_f32(t->in[2]) + at, .decay = decay + c.lo, .bonus = g_f32(t->in[4]) + c.lo, .state = r.state + c.lo,
            .y = g_f32(t) + at});
    }
}

/* Gradients of RWKV-4's parts: mixing with the token before, and the decaying mean. Threads share the channels.
 * Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

/* ---- token_shift: dx [T, D], then each mix's [D] ---- */

void grad_token_shift(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *in[G_MAX_IN] = {0};
    int n = t->n_in;
    if (n == G_MAX_IN) {
        g->error = g->error ? g->error : err_set(NUN_EUNSUP, "token_shift: no gradient of %d mixes", n - 2);
        return;
    }
    memcpy(in, t->in, (size_t)n * sizeof *in);
    in[n] = op_as(g, dt, t);
    struct g_tensor *all = g_op(g, OP_token_shift_grad, &t->attr, n + 1, in);
    size_t rows = (size_t)g_count(t->in[0]), D = (size_t)g_last(t->in[0]);
    for (int i = 0; i < n && all; i++)
        if (i != 1)
            op_give(g, t, i, g_view(g, all, i ? rows + (size_t)(i - 2) * D : 0, t->in[i]->shape));
}

int shape_token_shift_grad(struct g_tensor *t)
{
    int mixes = t->n_in - 3;
    TRY(recur_floats(t));
    TRY(recur_shape(t));
    if (t->attr.recur.at >= 0 || g_count(t->in[t->n_in - 1]) != mixes * g_count(t->in[0]))
        return op_bad(t, t->n_in - 1, "a gradient for each mix of each row");
    t->dt = DT_F32;
    t->shape = SHAPE1(g_count(t->in[0]) + mixes * g_last(t->in[0]));
    return 0;
}
void cost_token_shift_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 6.0 * (double)(t->n_in - 3), out);
}
void run_token_shift_grad(const struct g_tensor *t, const struct g_env *env)
{
    size_t T = (size_t)recur_rows(t), D = (size_t)g_last(t->in[0]);
    const int32_t *pos = g_i32(t->in[1]);
    const float *x = g_f32(t->in[0]);
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *dx = g_f32(t);
    for (size_t i = 0; i < T; i++)
        memset(dx + i * D + c.lo, 0, (c.hi - c.lo) * sizeof *dx);
    for (int m = 0; m < t->n_in - 3; m++) {
        const float *mix = g_f32(t->in[2 + m]), *dy = g_f32(t->in[t->n_in - 1]) + (size_t)m * T * D;
        float *dmix = dx + (T + (size_t)m) * D;
        memset(dmix + c.lo, 0, (c.hi - c.lo) * sizeof *dmix);
        for (size_t i = 0; i < T; i++) {
            bool begins = recur_begins(pos, (int64_t)i);
            for (size_t d = c.lo; d < c.hi; d++) {
                float g = dy[i * D + d], past = begins ? 0 : x[(i - 1) * D + d];
                dx[i * D + d] += g * mix[d];
                dmix[d] += g * (x[i * D + d] - past);
                if (!begins)
                    dx[(i - 1) * D + d] += g * (1 - mix[d]);
            }
        }
    }
}

/* ---- wkv: [dk | dv] of [T, D], then dtime_decay and dtime_first [D] ---- */

void grad_wkv(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *const *in = t->in;
    struct g_tensor *all = g_op(g, OP_wkv_grad, &t->attr, 6, OP_IN(in[0], in[1], in[2], in[3], in[4], op_as(g, dt, t)));
    size_t n = (size_t)g_count(t), D = (size_t)g_last(t);
    const size_t at[] = {0, 0, n, 2 * n, 2 * n + D};
    for (int i = 0; i < 5 && all; i++)
        if (i != 1)
            op_give(g, t, i, g_view(g, all, at[i], in[i]->shape));
}

int shape_wkv_grad(struct g_tensor *t)
{
    TRY(shape_wkv(t));
    TRY(op_same(t, 0, 5));
    if (t->attr.recur.at >= 0)
        return op_bad(t, 1, "a position for each row");
    t->shape = SHAPE1(2 * (g_count(t->in[0]) + g_last(t->in[0])));
    return 0;
}
void cost_wkv_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 100, out);
    out->scratch = 3 * ((size_t)g_count(t->in[0]) + (size_t)g_last(t->in[0])) * sizeof(float);
}

static float exp_of(const struct g_env *env, float x)
{
    float y;
    env->kernels->exp_map(1, &x, &y);
    return y;
}

/* One channel. Sums are scaled by exp(-top), their running maximum, as in the forward pass; `num`, `den` and `top`
 * are those before each token, top[T] the one after the last. Gradients of the sums are scaled by exp(top). */
struct wkv_walk {
    const struct g_env *env;
    size_t T, D, d;
    const float *k, *v, *dy;
    const int32_t *pos;
    float decay, bonus;
    float *num, *den, *top;      /* [T + 1, D] */
};

static void wkv_forward(const struct wkv_walk *w)
{
    float num = 0, den = 0, top = -1e38f;
    for (size_t i = 0; i < w->T; i++) {
        size_t at = i * w->D + w->d;
        if (recur_begins(w->pos, (int64_t)i)) {
            num = den = 0;
            top = -1e38f;
        }
        w->num[at] = num;
        w->den[at] = den;
        w->top[at] = top;
        float past = top + w->decay, next = past > w->k[at] ? past : w->k[at];
        float old = exp_of(w->env, past - next), now = exp_of(w->env, w->k[at] - next);
        num = old * num + now * w->v[at];
        den = old * den + now;
        top = next;
    }
}

static void wkv_back(const struct wkv_walk *w, float *dk, float *dv, float *ddecay, float *dbonus)
{
    float ga = 0, gb = 0, after = 0; /* of the sums after token i, scaled by exp(after) */
    *ddecay = *dbonus = 0;
    for (size_t i = w->T; i-- > 0;) {
        size_t at = i * w->D + w->d;
        float k = w->k[at], v = w->v[at], top = w->top[at], now = k + w->bonus, most = top > now ? top : now;
        float old = exp_of(w->env, top - most), new = exp_of(w->env, now - most), sum = old * w->den[at] + new;
        float g = w->dy[at] / sum, y = (old * w->num[at] + new * v) / sum, direct = g * new * (v - y);
        bool last = i + 1 == w->T || recur_begins(w->pos, (int64_t)i + 1);
        float through = last ? 0 : exp_of(w->env, k - after), fade = last ? 0 : exp_of(w->env, top + w->decay - after);
        dk[at] = direct + through * (ga * v + gb);
        dv[at] = g * new + through * ga;
        *dbonus += direct;
        *ddecay += fade * (ga * w->num[at] + gb * w->den[at]);
        ga = g * old + fade * ga;
        gb = -g * y * old + fade * gb;
        after = top;
    }
    *ddecay *= w->decay; /* the weight is the logarithm of -decay */
}

void run_wkv_grad(const struct g_tensor *t, const struct g_env *env)
{
    size_t T = (size_t)recur_rows(t), D = (size_t)g_last(t->in[0]), n = T * D, plane = n + D;
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *s = env->scratch, *out = g_f32(t);
    for (size_t d = c.lo; d < c.hi; d++) {
        struct wkv_walk w = {env, T, D, d, g_f32(t->in[0]), g_f32(t->in[2]), g_f32(t->in[5]), g_i32(t->in[1]),
                             -exp_of(env, g_f32(t->in[3])[d]), g_f32(t->in[4])[d], s, s + plane, s + 2 * plane};
        wkv_forward(&w);
        wkv_back(&w, out, out + n, &out[2 * n + d], &out[2 * n + D + d]);
    }
}

/* The gated delta rule (arXiv:2412.06464): a head keeps a matrix from keys to values, forgets by a step size, and corrects
 * what a key gives towards its value. The gradient walks each head forward, keeping its states, and back. Threads
 * share the heads; what heads of a group contribute to q and k is summed in their order. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

enum { Q, WHERE, K, V, DT, A, BETA, DY };

struct sizes { size_t T, H, P, N, G, QK; };
static struct sizes sizes_of(const struct g_tensor *t)
{
    size_t H = (size_t)g_last(t->in[DT]), G = (size_t)t->attr.recur.groups, QK = (size_t)g_last(t->in[Q]);
    return (struct sizes){(size_t)recur_rows(t), H, (size_t)g_last(t->in[V]) / H, QK / G, G, QK};
}

int shape_delta_scan(struct g_tensor *t)
{
    TRY(recur_floats(t));
    TRY(op_same(t, Q, K));
    TRY(op_same(t, DT, BETA));
    TRY(recur_shape(t));
    int64_t heads = g_last(t->in[DT]), groups = t->attr.recur.groups;
    if (heads < 1 || g_rows(t->in[DT]) != g_rows(t->in[Q]))
        return op_bad(t, DT, "[tokens, heads]");
    if (g_last(t->in[V]) % heads || g_rows(t->in[V]) != g_rows(t->in[Q]))
        return op_bad(t, V, "[tokens, heads * values]");
    if (groups < 1 || heads % groups || g_last(t->in[Q]) % groups || g_last(t->in[Q]) < groups)
        return op_bad(t, Q, "[tokens, groups * states]");
    if (g_count(t->in[A]) != heads)
        return op_bad(t, A, "[heads]");
    return op_like(t, V);
}
void cost_delta_scan(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct sizes s = sizes_of(t);
    op_cost(t, 7.0 * (double)s.N, out);
    out->scratch = (s.H + recur_scratch(t, s.H * s.N * s.P)) * sizeof(float);
}
/* -exp(A_log) of heads [from, to) */
static void rates(const struct g_tensor *t, const struct g_env *env, size_t from, size_t to, float *a)
{
    env->kernels->exp_map(to - from, g_f32(t->in[A]) + from, a);
    env->kernels->scale_map(to - from, a, -1.0f, a);
}
void run_delta_scan(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    size_t D = s.H * s.P;
    struct op_range h = op_share(env, (int64_t)s.H, 1);
    float *a = env->scratch, *own = a + s.H; /* [H], [H, N, P] */
    rates(t, env, h.lo, h.hi, a + h.lo);
    struct recur r = recur_begin(t, own, 1, (struct op_range){h.lo * s.P, h.hi * s.P});
    r.width = D * s.N;
    r.lo = h.lo * s.N * s.P;
    r.hi = h.hi * s.N * s.P;
    while (recur_next(&r)) {
        size_t at = (size_t)r.from;
        env->kernels->delta_rows(&(struct delta_run){
            .rows = r.to - r.from, .first = (int)h.lo, .heads = (int)(h.hi - h.lo), .head_dim = (int)s.P, .states = (int)s.N,
            .group = (int)(s.H / s.G), .ld = (ptrdiff_t)D, .ld_dt = (ptrdiff_t)s.H, .ld_qk = (ptrdiff_t)s.QK,
            .v = g_f32(t->in[V]) + at * D, .dt = g_f32(t->in[DT]) + at * s.H, .beta = g_f32(t->in[BETA]) + at * s.H, .a = a,
            .q = g_f32(t->in[Q]) + at * s.QK, .k = g_f32(t->in[K]) + at * s.QK, .state = r.state, .y = g_f32(t) + at * D});
    }
}

/* ---- the gradient -------------------------------------------------------------------------------- */

/* The parts of the result, in the order of the inputs: dq, dk, dv, ddt, dA_log, dbeta. */
struct parts { size_t k, v, dt, a, beta, all; };
static struct parts parts_of(const struct g_tensor *t)
{
    struct sizes s = sizes_of(t);
    struct parts p = {.k = s.T * s.QK};
    p.v = 2 * p.k;
    p.dt = p.v + s.T * s.H * s.P;
    p.a = p.dt + s.T * s.H;
    p.beta = p.a + s.H;
    p.all = p.beta + s.T * s.H;
    return p;
}

void grad_delta_scan(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct parts p = parts_of(t);
    struct g_tensor *const *in = t->in;
    struct g_tensor *all = g_op(g, OP_delta_scan_grad, &t->attr, 8,
                                OP_IN(in[0], in[1], in[2], in[3], in[4], in[5], in[6], op_as(g, dt, t)));
    const size_t at[] = {0, 0, p.k, p.v, p.dt, p.a, p.beta};
    for (int i = 0; i < DY && all; i++)
        if (i != WHERE)
            op_give(g, t, i, g_view(g, all, at[i], in[i]->shape));
}

int shape_delta_scan_grad(struct g_tensor *t)
{
    TRY(shape_delta_scan(t));
    TRY(op_same(t, V, DY));
    if (t->attr.recur.at >= 0)
        return op_bad(t, WHERE, "a position for each row");
    t->shape = SHAPE1((int64_t)parts_of(t).all);
    return 0;
}
/* Of each thread: states after and before the correction [2 T, N, P], the state's gradient [N, P], corrections [2 T, P], those'
 * gradient [P], decays [T]; and dq and dk of every head [T, N]. */
static size_t walk_floats(const struct sizes *s) { return (2 * s->T + 1) * s->N * s->P + (2 * s->T + 1) * s->P + s->T; }
void cost_delta_scan_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct sizes s = sizes_of(t);
    op_cost(t, 18.0 * (double)s.N, out);
    out->scratch = (2 * s.H * s.T * s.N + (size_t)g->threads * walk_floats(&s)) * sizeof(float);
}

/* One head: old = exp(dt a) S, off = v - old^T k, S = old + k (beta off)^T. */
struct walk {
    const struct g_tensor *t;
    struct sizes s;
    size_t h;
    float a;
    float *states, *old, *ds;  /* [T, N, P], [T, N, P], [N, P] */
    float *off, *add, *dadd;   /* [T, P], [T, P] beta off, [P] */
    float *keep;               /* [T] */
    float *dq, *dk;            /* [T, N] of this head */
    float da;
};

static float head_value(const struct walk *w, int input, size_t i) { return g_f32(w->t->in[input])[i * w->s.H + w->h]; }
static const float *row_of(const struct walk *w, int input, size_t i)
{
    return g_f32(w->t->in[input]) + (i * w->s.H + w->h) * w->s.P;
}
static const float *side_of(const struct walk *w, int input, size_t i)
{
    return g_f32(w->t->in[input]) + i * w->s.QK + w->h / (w->s.H / w->s.G) * w->s.N;
}

static void step_on(const struct walk *w, const struct g_env *env, size_t i, bool begins)
{
    size_t P = w->s.P, plane = w->s.N * P;
    const float *k = side_of(w, K, i), *v = row_of(w, V, i);
    float *old = w->old + i * plane, *s = w->states + i * plane, *off = w->off + i * P, *add = w->add + i * P;
    w->keep[i] = head_value(w, DT, i) * w->a;
    env->kernels->exp_map(1, &w->keep[i], &w->keep[i]);
    memcpy(off, v, P * sizeof *off);
    for (size_t n = 0; n < w->s.N; n++)
        for (size_t p = 0; p < P; p++) {
            old[n * P + p] = begins ? 0 : w->keep[i] * s[n * P + p - plane];
            off[p] -= k[n] * old[n * P + p];
        }
    for (size_t p = 0; p < P; p++)
        add[p] = head_value(w, BETA, i) * off[p];
    for (size_t n = 0; n < w->s.N; n++)
        for (size_t p = 0; p < P; p++)
            s[n * P + p] = old[n * P + p] + k[n] * add[p];
}

/* Token i: its gradients into the result, and on to the token before. */
static void step_back(struct walk *w, size_t i, bool begins, float *dv, float *ddt, float *dbeta)
{
    size_t P = w->s.P, N = w->s.N;
    const float *q = side_of(w, Q, i), *k = side_of(w, K, i), *dy = row_of(w, DY, i);
    const float *s = w->states + i * N * P, *old = w->old + i * N * P, *off = w->off + i * P, *add = w->add + i * P;
    float beta = head_value(w, BETA, i), dlog = 0;
    memset(w->dadd, 0, P * sizeof *w->dadd);
    for (size_t n = 0; n < N; n++) {
        float for_q = 0, for_k = 0, *ds = w->ds + n * P;
        for (size_t p = 0; p < P; p++) {
            ds[p] += q[n] * dy[p];
            for_q += dy[p] * s[n * P + p];
            for_k += ds[p] * add[p];
            w->dadd[p] += k[n] * ds[p];
        }
        w->dq[i * N + n] = for_q;
        w->dk[i * N + n] = for_k;
    }
    *dbeta = 0;
    for (size_t p = 0; p < P; p++) {
        *dbeta += w->dadd[p] * off[p];
        dv[p] = beta * w->dadd[p];
    }
    for (size_t n = 0; n < N; n++) {
        float for_k = 0, *ds = w->ds + n * P;
        for (size_t p = 0; p < P; p++) {
            float d = ds[p] - k[n] * dv[p];
            for_k += old[n * P + p] * dv[p];
            dlog += begins ? 0 : d * old[n * P + p];
            ds[p] = d * w->keep[i];
        }
        w->dk[i * N + n] -= for_k;
    }
    *ddt = dlog * w->a;
    w->da += dlog * head_value(w, DT, i) * w->a;
}

static void walk_head(struct walk *w, const struct g_env *env)
{
    struct parts p = parts_of(w->t);
    const int32_t *pos = g_i32(w->t->in[WHERE]);
    float *out = g_f32(w->t);
    for (size_t i = 0; i < w->s.T; i++)
        step_on(w, env, i, recur_begins(pos, (int64_t)i));
    for (size_t i = w->s.T; i-- > 0;) {
        size_t at = i * w->s.H + w->h;
        if (i + 1 == w->s.T || recur_begins(pos, (int64_t)i + 1))
            memset(w->ds, 0, w->s.N * w->s.P * sizeof(float));
        step_back(w, i, recur_begins(pos, (int64_t)i), out + p.v + at * w->s.P, out + p.dt + at, out + p.beta + at);
    }
    out[p.a + w->h] = w->da;
}

/* y[T, G * N] = sum over the heads of a group, ascending, of partial[2 H, T, N], every second one. */
static void sum_heads(const struct sizes *s, const struct g_env *env, const float *partial, float *y)
{
    struct op_range r = op_share(env, (int64_t)(s->T * s->QK), 16);
    for (size_t k = r.lo; k < r.hi; k++) {
        size_t i = k / s->QK, group = k % s->QK / s->N, n = k % s->N, each = s->H / s->G;
        float sum = 0;
        for (size_t h = group * each; h < (group + 1) * each; h++)
            sum += partial[2 * h * s->T * s->N + i * s->N + n];
        y[k] = sum;
    }
}

void run_delta_scan_grad(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    size_t plane = s.N * s.P, TN = s.T * s.N;
    float *partial = env->scratch, *mine = partial + 2 * s.H * TN + (size_t)env->par.ith * walk_floats(&s);
    for (size_t h = (size_t)env->par.ith; h < s.H; h += (size_t)env->par.nth) {
        struct walk w = {.t = t, .s = s, .h = h, .states = mine, .old = mine + s.T * plane, .ds = mine + 2 * s.T * plane,
                         .dq = partial + 2 * h * TN, .dk = partial + (2 * h + 1) * TN};
        w.off = w.ds + plane;
        w.add = w.off + s.T * s.P;
        w.dadd = w.add + s.T * s.P;
        w.keep = w.dadd + s.P;
        rates(t, env, h, h + 1, &w.a);
        walk_head(&w, env);
    }
    par_barrier(&env->par);
    sum_heads(&s, env, partial, g_f32(t));
    sum_heads(&s, env, partial + TN, g_f32(t) + parts_of(t).k);
}

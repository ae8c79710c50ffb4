/* Selective state spaces: Mamba's scan, one step size a channel, and Mamba-2's, one a head. Threads share
 * channels or heads; time goes in order. The gradient of Mamba's scan walks blocks of sixteen channels
 * forward, keeping their states, and back. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

/* ---- selective_scan: inputs x, where, dt, A_log, B, C, D ---- */

enum { S6_X, S6_SEQ, S6_DT, S6_A, S6_B, S6_C, S6_D, S6_DY };

static int64_t states_of(const struct g_tensor *t) { return g_last(t->in[S6_B]); }

static int check_s6(const struct g_tensor *t)
{
    TRY(recur_floats(t));
    TRY(op_same(t, S6_X, S6_DT));
    TRY(op_same(t, S6_B, S6_C));
    TRY(op_width(t, S6_D));
    const struct g_tensor *a = t->in[S6_A];
    if (g_rows(t->in[S6_B]) != recur_rows(t))
        return op_bad(t, S6_B, "as many rows as tokens");
    if (a->shape.n != 2 || a->shape.d[0] != g_last(t->in[S6_X]) || a->shape.d[1] != states_of(t))
        return op_bad(t, S6_A, "[channels, states]");
    return 0;
}

int shape_selective_scan(struct g_tensor *t)
{
    TRY(check_s6(t));
    TRY(recur_shape(t));
    return op_like(t, S6_X);
}
void cost_selective_scan(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    size_t floats = (size_t)g_last(t) * (size_t)states_of(t);
    op_cost(t, 20.0 * (double)states_of(t), out);
    out->scratch = (floats + recur_scratch(t, floats)) * sizeof(float);
}
/* a[N, D] = -exp(A_log[D, N]) of this thread's channels. */
static void turn_rates(const struct g_tensor *t, const struct g_env *env, struct op_range c, float *a)
{
    size_t D = (size_t)g_last(t->in[S6_X]), N = (size_t)states_of(t);
    for (size_t n = 0; n < N; n++) {
        for (size_t d = c.lo; d < c.hi; d++)
            a[n * D + d] = g_f32(t->in[S6_A])[d * N + n];
        env->kernels->exp_map(c.hi - c.lo, a + n * D + c.lo, a + n * D + c.lo);
        env->kernels->scale_map(c.hi - c.lo, a + n * D + c.lo, -1.0f, a + n * D + c.lo);
    }
}
void run_selective_scan(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t), N = (size_t)states_of(t);
    struct op_range c = op_share(env, (int64_t)D, 16);
    float *a = env->scratch, *own = a + N * D; /* [N, D] each */
    turn_rates(t, env, c, a);
    struct recur r = recur_begin(t, own, (int)N, c);
    while (recur_next(&r)) {
        size_t at = (size_t)r.from * D + c.lo, bc = (size_t)r.from * N;
        env->kernels->s6_rows(&(struct s6_run){
            .rows = r.to - r.from, .cols = (int)(c.hi - c.lo), .states = (int)N, .ld = (ptrdiff_t)D,
            .x = g_f32(t->in[S6_X]) + at, .dt = g_f32(t->in[S6_DT]) + at, .a = a + c.lo, .B = g_f32(t->in[S6_B]) + bc,
            .C = g_f32(t->in[S6_C]) + bc, .D = g_f32(t->in[S6_D]) + c.lo, .state = r.state + c.lo, .y = g_f32(t) + at});
    }
}

/* The parts of the gradient, one after the other: dx and ddt [T, D], dB and dC [T, N], dA_log [D, N], dD [D]. */
struct s6_parts { size_t ddt, dB, dC, dA, dD, all; };
static struct s6_parts parts_of(const struct g_tensor *t)
{
    size_t TD = (size_t)g_count(t->in[S6_X]), TN = (size_t)g_count(t->in[S6_B]), D = (size_t)g_last(t->in[S6_X]);
    size_t N = (size_t)states_of(t);
    return (struct s6_parts){TD, 2 * TD, 2 * TD + TN, 2 * TD + 2 * TN, 2 * TD + 2 * TN + D * N, 2 * TD + 2 * TN + D * N + D};
}

void grad_selective_scan(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *const *in = t->in, *all;
    struct s6_parts p = parts_of(t);
    all = g_op(g, OP_selective_scan_grad, &t->attr, 8,
               OP_IN(in[0], in[1], in[2], in[3], in[4], in[5], in[6], op_as(g, dt, t)));
    const size_t at[] = {0, 0, p.ddt, p.dA, p.dB, p.dC, p.dD};
    for (int i = 0; i < S6_DY && all; i++)
        if (i != S6_SEQ)
            op_give(g, t, i, g_view(g, all, at[i], in[i]->shape));
}

enum { BLOCK = 16 };
static size_t blocks_of(const struct g_tensor *t) { return ((size_t)g_last(t->in[S6_X]) + BLOCK - 1) / BLOCK; }

int shape_selective_scan_grad(struct g_tensor *t)
{
    TRY(check_s6(t));
    TRY(op_same(t, S6_X, S6_DY));
    TRY(op_ids(t, S6_SEQ));
    if (t->attr.recur.at >= 0 || g_count(t->in[S6_SEQ]) != recur_rows(t))
        return op_bad(t, S6_SEQ, "a position for each row");
    t->dt = DT_F32;
    t->shape = SHAPE1((int64_t)parts_of(t).all);
    return 0;
}
/* Scratch: dB and dC of every block of channels; and for each thread the states and decays of a block. */
static size_t walk_floats(const struct g_tensor *t)
{
    size_t N = (size_t)states_of(t);
    return (2 * (size_t)recur_rows(t) + 4) * N * BLOCK;
}
void cost_selective_scan_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 20.0 * (double)states_of(t), out);
    out->scratch = (2 * blocks_of(t) * (size_t)g_count(t->in[S6_B]) + (size_t)g->threads * walk_floats(t)) * sizeof(float);
}

/* One block of channels, `n` of them; lanes beyond stay zero. */
struct s6_walk {
    const struct g_tensor *t;
    const struct g_env *env;
    size_t D, N, from, n;        /* the block begins at channel `from` */
    float *a, *s0, *ds, *da;     /* [N, BLOCK]: rates; zeros; the state's gradient; the rates' */
    float *s, *keep;             /* [T, N, BLOCK]: states, and exp(dt a) */
    float *dB, *dC;              /* [T, N] of this block */
};

static void take(const struct s6_walk *w, int input, size_t row, float out[BLOCK])
{
    const float *x = g_f32(w->t->in[input]) + row * w->D + w->from;
    for (size_t c = 0; c < BLOCK; c++)
        out[c] = c < w->n ? x[c] : 0.0f;
}

static void walk_forward(const struct s6_walk *w, size_t begin, size_t end)
{
    size_t plane = w->N * BLOCK;
    for (size_t i = begin; i < end; i++) {
        float x[BLOCK], dt[BLOCK], *keep = w->keep + i * plane, *s = w->s + i * plane;
        const float *before = i > begin ? s - plane : w->s0, *B = g_f32(w->t->in[S6_B]) + i * w->N;
        take(w, S6_X, i, x);
        take(w, S6_DT, i, dt);
        for (size_t k = 0; k < plane; k++)
            keep[k] = dt[k % BLOCK] * w->a[k];
        w->env->kernels->exp_map(plane, keep, keep);
        for (size_t n = 0; n < w->N; n++)
            for (size_t c = 0; c < BLOCK; c++)
                s[n * BLOCK + c] = B[n] * (dt[c] * x[c]) + keep[n * BLOCK + c] * before[n * BLOCK + c];
    }
}

static float sum_lanes(float x[BLOCK])
{
    for (int h = BLOCK / 2; h; h /= 2)
        for (int c = 0; c < h; c++)
            x[c] += x[c + h];
    return x[0];
}

/* What state n of token i contributes; din and ddt add up over n. */
static void step_back(const struct s6_walk *w, size_t i, size_t n, const float *before, const float *in, const float *dt,
                      const float *dy, float *din, float *ddt)
{
    size_t plane = w->N * BLOCK, at = n * BLOCK;
    const float *s = w->s + i * plane + at, *keep = w->keep + i * plane + at, *a = w->a + at;
    float B = g_f32(w->t->in[S6_B])[i * w->N + n], C = g_f32(w->t->in[S6_C])[i * w->N + n];
    float forB[BLOCK], forC[BLOCK], *ds = w->ds + at, *da = w->da + at;
    for (int c = 0; c < BLOCK; c++) {
        float d = C * dy[c] + ds[c], dk = d * before[at + (size_t)c] * keep[c];
        forB[c] = d * in[c];
        forC[c] = dy[c] * s[c];
        din[c] += d * B;
        ddt[c] += dk * a[c];
        da[c] += dk * dt[c];
        ds[c] = d * keep[c];
    }
    w->dB[i * w->N + n] = sum_lanes(forB);
    w->dC[i * w->N + n] = sum_lanes(forC);
}

static void walk_back(const struct s6_walk *w, size_t begin, size_t end, float *dx, float *ddt_out, float *dD)
{
    size_t plane = w->N * BLOCK;
    float D[BLOCK];
    take(w, S6_D, 0, D);
    memset(w->ds, 0, plane * sizeof(float));
    memset(w->da, 0, plane * sizeof(float));
    for (size_t i = end; i-- > begin;) {
        float x[BLOCK], dt[BLOCK], dy[BLOCK], in[BLOCK], din[BLOCK] = {0}, ddt[BLOCK] = {0};
        take(w, S6_X, i, x);
        take(w, S6_DT, i, dt);
        take(w, S6_DY, i, dy);
        for (int c = 0; c < BLOCK; c++)
            in[c] = dt[c] * x[c];
        for (size_t n = 0; n < w->N; n++)
            step_back(w, i, n, i > begin ? w->s + (i - 1) * plane : w->s0, in, dt, dy, din, ddt);
        for (size_t c = 0; c < w->n; c++) {
            dx[i * w->D + w->from + c] = din[c] * dt[c] + D[c] * dy[c];
            ddt_out[i * w->D + w->from + c] = ddt[c] + din[c] * x[c];
            dD[w->from + c] += dy[c] * x[c];
        }
    }
}

/* Sequence after sequence; the rates' gradient adds up in that order. */
static void walk_block(const struct s6_walk *w)
{
    const struct g_tensor *t = w->t;
    struct s6_parts p = parts_of(t);
    const int32_t *pos = g_i32(t->in[S6_SEQ]);
    size_t T = (size_t)recur_rows(t);
    float *out = g_f32(t), *dA = out + p.dA;
    memset(dA + w->from * w->N, 0, w->n * w->N * sizeof *dA);
    memset(out + p.dD + w->from, 0, w->n * sizeof *out);
    for (size_t k = 0; k < w->N * BLOCK; k++) {
        size_t d = w->from + k % BLOCK;
        w->a[k] = k % BLOCK < w->n ? g_f32(t->in[S6_A])[d * w->N + k / BLOCK] : 0.0f;
        w->s0[k] = 0.0f;
    }
    w->env->kernels->exp_map(w->N * BLOCK, w->a, w->a);
    w->env->kernels->scale_map(w->N * BLOCK, w->a, -1.0f, w->a);
    for (size_t begin = 0, end; begin < T; begin = end) {
        end = begin + 1;
        while (end < T && !recur_begins(pos, (int64_t)end))
            end++;
        walk_forward(w, begin, end);
        walk_back(w, begin, end, out, out + p.ddt, out + p.dD);
        for (size_t c = 0; c < w->n; c++)
            for (size_t n = 0; n < w->N; n++)
                dA[(w->from + c) * w->N + n] += w->da[n * BLOCK + c] * w->a[n * BLOCK + c];
    }
}

void run_selective_scan_grad(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t->in[S6_X]), N = (size_t)states_of(t), TN = (size_t)g_count(t->in[S6_B]);
    size_t blocks = blocks_of(t), plane = N * BLOCK;
    float *partial = env->scratch; /* [blocks][dB, dC][T, N] */
    float *mine = partial + 2 * blocks * TN + (size_t)env->par.ith * walk_floats(t);
    for (size_t b = (size_t)env->par.ith; b < blocks; b += (size_t)env->par.nth) {
        struct s6_walk w = {.t = t, .env = env, .D = D, .N = N, .from = b * BLOCK, .n = D - b * BLOCK < BLOCK ? D - b * BLOCK : BLOCK,
                            .a = mine, .s0 = mine + plane, .ds = mine + 2 * plane, .da = mine + 3 * plane, .s = mine + 4 * plane,
                            .keep = mine + 4 * plane + (size_t)recur_rows(t) * plane, .dB = partial + 2 * b * TN,
                            .dC = partial + (2 * b + 1) * TN};
        walk_block(&w);
    }
    par_barrier(&env->par);
    struct op_range r = op_share(env, 2 * (int64_t)TN, 16); /* dB and dC lie side by side */
    float *dBC = g_f32(t) + parts_of(t).dB;
    for (size_t k = r.lo; k < r.hi; k++) {
        float sum = 0;
        for (size_t b = 0; b < blocks; b++)
            sum += partial[2 * b * TN + k];
        dBC[k] = sum;
    }
}

/* ---- ssd_scan: the same inputs ---- */

int shape_ssd_scan(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[S6_X], *dt = t->in[S6_DT], *B = t->in[S6_B];
    TRY(recur_floats(t));
    TRY(op_same(t, S6_B, S6_C));
    TRY(op_same(t, S6_A, S6_D));
    TRY(recur_shape(t));
    int64_t heads = g_last(dt), groups = t->attr.recur.groups;
    if (heads < 1 || g_last(x) % heads || g_rows(dt) != g_rows(x))
        return op_bad(t, S6_DT, "[tokens, heads] that divide x");
    if (groups < 1 || heads % groups || g_last(B) % groups || g_last(B) < groups || g_rows(B) != g_rows(x))
        return op_bad(t, S6_B, "[tokens, groups * states]");
    if (g_count(t->in[S6_A]) != heads)
        return op_bad(t, S6_A, "[heads]");
    return op_like(t, S6_X);
}
static size_t ssd_states(const struct g_tensor *t) { return (size_t)(g_last(t->in[S6_B]) / t->attr.recur.groups); }

void cost_ssd_scan(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 6.0 * (double)ssd_states(t), out);
    size_t state = (size_t)g_last(t) * ssd_states(t);
    out->scratch = ((size_t)g_last(t->in[S6_DT]) + recur_scratch(t, state)) * sizeof(float);
}
void run_ssd_scan(const struct g_tensor *t, const struct g_env *env)
{
    size_t D = (size_t)g_last(t), H = (size_t)g_last(t->in[S6_DT]), P = D / H, N = ssd_states(t);
    size_t BC = (size_t)g_last(t->in[S6_B]);
    struct op_range h = op_share(env, (int64_t)H, 1);
    float *a = env->scratch, *own = a + H; /* [H], [H, N, P] */
    env->kernels->exp_map(h.hi - h.lo, g_f32(t->in[S6_A]) + h.lo, a + h.lo);
    env->kernels->scale_map(h.hi - h.lo, a + h.lo, -1.0f, a + h.lo);
    struct recur r = recur_begin(t, own, 1, (struct op_range){h.lo * P, h.hi * P});
    r.width = D * N;
    r.lo = h.lo * N * P;
    r.hi = h.hi * N * P;
    while (recur_next(&r)) {
        size_t at = (size_t)r.from;
        env->kernels->ssd_rows(&(struct ssd_run){
            .rows = r.to - r.from, .first = (int)h.lo, .heads = (int)(h.hi - h.lo), .head_dim = (int)P, .states = (int)N,
            .group = (int)(H / (size_t)t->attr.recur.groups), .ld = (ptrdiff_t)D, .ld_dt = (ptrdiff_t)H, .ld_bc = (ptrdiff_t)BC,
            .x = g_f32(t->in[S6_X]) + at * D, .dt = g_f32(t->in[S6_DT]) + at * H, .a = a, .D = g_f32(t->in[S6_D]),
            .B = g_f32(t->in[S6_B]) + at * BC, .C = g_f32(t->in[S6_C]) + at * BC, .dt_min = t->attr.recur.min,
            .dt_max = t->attr.recur.max, .state = r.state, .y = g_f32(t) + at * D});
    }
}

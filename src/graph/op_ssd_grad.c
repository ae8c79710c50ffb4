/* The gradient of Mamba-2's scan: each head walks forward, keeping its states, and back. Threads share the heads;
 * what heads of a group contribute to B and C is summed in their order. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_recur.h"

enum { X, WHERE, DT, A, B, C, D, DY };

struct sizes { size_t T, H, P, N, G, BC; };
static struct sizes sizes_of(const struct g_tensor *t)
{
    size_t H = (size_t)g_last(t->in[DT]), G = (size_t)t->attr.recur.groups, BC = (size_t)g_last(t->in[B]);
    return (struct sizes){(size_t)recur_rows(t), H, (size_t)g_last(t->in[X]) / H, BC / G, G, BC};
}

/* The parts of the result, in the order of the inputs: dx, ddt, dA_log, dB, dC, dD. */
struct parts { size_t dt, a, b, c, d, all; };
static struct parts parts_of(const struct g_tensor *t)
{
    struct sizes s = sizes_of(t);
    struct parts p = {.dt = s.T * s.H * s.P};
    p.a = p.dt + s.T * s.H;
    p.b = p.a + s.H;
    p.c = p.b + s.T * s.BC;
    p.d = p.c + s.T * s.BC;
    p.all = p.d + s.H;
    return p;
}

void grad_ssd_scan(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct parts p = parts_of(t);
    struct g_tensor *const *in = t->in;
    struct g_tensor *all = g_op(g, OP_ssd_scan_grad, &t->attr, 8,
                                OP_IN(in[0], in[1], in[2], in[3], in[4], in[5], in[6], op_as(g, dt, t)));
    const size_t at[] = {0, 0, p.dt, p.a, p.b, p.c, p.d};
    for (int i = 0; i < DY && all; i++)
        if (i != WHERE)
            op_give(g, t, i, g_view(g, all, at[i], in[i]->shape));
}

int shape_ssd_scan_grad(struct g_tensor *t)
{
    TRY(shape_ssd_scan(t));
    TRY(op_same(t, X, DY));
    if (t->attr.recur.at >= 0)
        return op_bad(t, WHERE, "a position for each row");
    t->shape = SHAPE1((int64_t)parts_of(t).all);
    return 0;
}
/* Of each thread: states [T + 1, N, P], the state's gradient [N, P], decays [T]; and dB and dC of every head [T, N]. */
static size_t walk_floats(const struct sizes *s) { return (s->T + 2) * s->N * s->P + s->T; }
void cost_ssd_scan_grad(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct sizes s = sizes_of(t);
    op_cost(t, 14.0 * (double)s.N, out);
    out->scratch = (2 * s.H * s.T * s.N + (size_t)g->threads * walk_floats(&s)) * sizeof(float);
}

/* One head. */
struct walk {
    const struct g_tensor *t;
    struct sizes s;
    size_t h;
    float a, D;
    float *zero, *states, *ds, *keep; /* [N, P], [T, N, P], [N, P], [T] */
    float *dB, *dC;                   /* [T, N] of this head */
    float dA, dD;
};

static float step_size(const struct walk *w, size_t i)
{
    float dt = g_f32(w->t->in[DT])[i * w->s.H + w->h], lo = w->t->attr.recur.min, hi = w->t->attr.recur.max;
    return dt < lo ? lo : dt > hi ? hi : dt;
}
static const float *row_of(const struct walk *w, int input, size_t i)
{
    return g_f32(w->t->in[input]) + (i * w->s.H + w->h) * w->s.P;
}
static const float *side_of(const struct walk *w, int input, size_t i)
{
    return g_f32(w->t->in[input]) + i * w->s.BC + w->h / (w->s.H / w->s.G) * w->s.N;
}

static void walk_forward(const struct walk *w, const struct g_env *env, size_t begin, size_t end)
{
    size_t P = w->s.P, plane = w->s.N * P;
    for (size_t i = begin; i < end; i++) {
        const float *before = i > begin ? w->states + (i - 1) * plane : w->zero, *x = row_of(w, X, i), *b = side_of(w, B, i);
        float dt = step_size(w, i), *s = w->states + i * plane;
        w->keep[i] = dt * w->a;
        env->kernels->exp_map(1, &w->keep[i], &w->keep[i]);
        for (size_t n = 0; n < w->s.N; n++)
            for (size_t p = 0; p < P; p++)
                s[n * P + p] = b[n] * (dt * x[p]) + w->keep[i] * before[n * P + p];
    }
}

/* Token i: its gradients into the result, and on to the token before. */
static void step_back(struct walk *w, size_t i, const float *before, float *dx, float *ddt)
{
    size_t P = w->s.P, N = w->s.N;
    const float *x = row_of(w, X, i), *dy = row_of(w, DY, i), *b = side_of(w, B, i), *c = side_of(w, C, i);
    const float *s = w->states + i * N * P;
    float dt = step_size(w, i), keep = w->keep[i], dkeep = 0, ddt_sum = 0;
    memset(dx, 0, P * sizeof *dx);
    for (size_t n = 0; n < N; n++) {
        float for_b = 0, for_c = 0, *ds = w->ds + n * P;
        for (size_t p = 0; p < P; p++) {
            float d = c[n] * dy[p] + ds[p];
            for_c += dy[p] * s[n * P + p];
            for_b += d * (dt * x[p]);
            dkeep += d * before[n * P + p];
            dx[p] += d * b[n];
            ds[p] = d * keep;
        }
        w->dB[i * N + n] = for_b;
        w->dC[i * N + n] = for_c;
    }
    for (size_t p = 0; p < P; p++) {
        ddt_sum += dx[p] * x[p];
        w->dD += dy[p] * x[p];
        dx[p] = dx[p] * dt + w->D * dy[p];
    }
    float raw = g_f32(w->t->in[DT])[i * w->s.H + w->h];
    w->dA += dkeep * keep * dt * w->a;
    *ddt = raw == dt ? ddt_sum + dkeep * keep * w->a : 0.0f;
}

static void walk_head(struct walk *w, const struct g_env *env)
{
    struct parts p = parts_of(w->t);
    const int32_t *pos = g_i32(w->t->in[WHERE]);
    float *out = g_f32(w->t);
    size_t plane = w->s.N * w->s.P;
    memset(w->zero, 0, plane * sizeof(float));
    for (size_t begin = 0, end; begin < w->s.T; begin = end) {
        end = begin + 1;
        while (end < w->s.T && !recur_begins(pos, (int64_t)end))
            end++;
        walk_forward(w, env, begin, end);
        memset(w->ds, 0, plane * sizeof(float));
        for (size_t i = end; i-- > begin;)
            step_back(w, i, i > begin ? w->states + (i - 1) * plane : w->zero, out + (i * w->s.H + w->h) * w->s.P,
                      out + p.dt + i * w->s.H + w->h);
    }
    out[p.a + w->h] = w->dA;
    out[p.d + w->h] = w->dD;
}

/* y[T, G * N] = sum over the heads of a group, ascending, of partial[2 H, T, N], every second one. */
static void sum_heads(const struct sizes *s, const struct g_env *env, const float *partial, float *y)
{
    struct op_range r = op_share(env, (int64_t)(s->T * s->BC), 16);
    for (size_t k = r.lo; k < r.hi; k++) {
        size_t i = k / s->BC, group = k % s->BC / s->N, n = k % s->N, each = s->H / s->G;
        float sum = 0;
        for (size_t h = group * each; h < (group + 1) * each; h++)
            sum += partial[2 * h * s->T * s->N + i * s->N + n];
        y[k] = sum;
    }
}

void run_ssd_scan_grad(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    struct parts p = parts_of(t);
    size_t plane = s.N * s.P, TN = s.T * s.N;
    float *partial = env->scratch, *mine = partial + 2 * s.H * TN + (size_t)env->par.ith * walk_floats(&s);
    for (size_t h = (size_t)env->par.ith; h < s.H; h += (size_t)env->par.nth) {
        struct walk w = {.t = t, .s = s, .h = h, .D = g_f32(t->in[D])[h], .zero = mine, .states = mine + plane,
                         .ds = mine + (s.T + 1) * plane, .keep = mine + (s.T + 2) * plane, .dB = partial + 2 * h * TN,
                         .dC = partial + (2 * h + 1) * TN};
        env->kernels->exp_map(1, g_f32(t->in[A]) + h, &w.a);
        w.a = -w.a;
        walk_head(&w, env);
    }
    par_barrier(&env->par);
    sum_heads(&s, env, partial, g_f32(t) + p.b);
    sum_heads(&s, env, partial + TN, g_f32(t) + p.c);
}

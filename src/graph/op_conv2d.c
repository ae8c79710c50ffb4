/* Convolutions of feature maps [B,H,W,C]. Dense ones are matrix products: each thread gathers the taps of a block of
 * pixels into rows, as many as its cache holds, multiplies them by the packed weight and finishes the block (scale,
 * bias, residual, activation) while it is warm. Depthwise ones have a kernel of their own. Either way a value is one
 * chain over its taps. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_conv2d.h"

enum { BIAS = 2, SCALE = 3, RESIDUAL = 4 };

static const float *part(const struct g_tensor *t, int i)
{
    return i < t->n_in && t->in[i] ? g_f32(t->in[i]) : NULL;
}

/* ---- geometry ---- */

struct conv2d conv2d_of(const struct g_tensor *t, const struct g_tensor *x, const struct g_tensor *w, const struct g_tensor *y)
{
    const int64_t *a = x->shape.d, *b = w->shape.d, *d = y->shape.d;
    return (struct conv2d){.B = (size_t)a[0], .H = (size_t)a[1], .W = (size_t)a[2], .C = (size_t)a[3], .h = (size_t)d[1],
                           .w = (size_t)d[2], .O = (size_t)b[0], .kh = (size_t)b[1], .kw = (size_t)b[2], .I = (size_t)b[3],
                           .groups = (size_t)t->attr.conv2d.groups, .stride = (size_t)t->attr.conv2d.stride,
                           .before = t->attr.conv2d.before};
}

/* The result's side; 0 when the kernel is larger than the padded map. */
static int64_t side_of(const struct g_tensor *t, int64_t side, int64_t kernel)
{
    int64_t free_steps = side + t->attr.conv2d.before + t->attr.conv2d.after - kernel;
    return free_steps < 0 ? 0 : free_steps / t->attr.conv2d.stride + 1;
}

static int check_attributes(const struct g_tensor *t)
{
    enum { MOST = 1 << 15 };
    if (t->attr.conv2d.stride < 1 || t->attr.conv2d.stride > MOST || t->attr.conv2d.before < 0 || t->attr.conv2d.after < 0 ||
        t->attr.conv2d.before > MOST || t->attr.conv2d.after > MOST || t->attr.conv2d.groups < 1)
        return err_set(NUN_EARG, "conv2d: stride %d, padding %d and %d, %d groups", t->attr.conv2d.stride,
                       t->attr.conv2d.before, t->attr.conv2d.after, t->attr.conv2d.groups);
    return 0;
}

static int check_kernel(const struct g_tensor *t)
{
    const struct shape *x = &t->in[0]->shape, *w = &t->in[1]->shape;
    int64_t groups = t->attr.conv2d.groups;
    bool fits = w->n == 4 && w->d[0] > 0 && w->d[3] > 0 && w->d[3] * groups == x->d[3] && w->d[0] % groups == 0;
    if (!fits || dtype_table[t->in[1]->dt].block_values != 1 || (groups > 1 && t->in[1]->dt != DT_F32))
        return op_bad(t, 1, "a kernel [O, h, w, C / groups], F32 where there are groups");
    return 0;
}

/* What follows the sums, where it is there. */
static int check_others(const struct g_tensor *t)
{
    int64_t O = g_last(t);
    for (int i = BIAS; i <= SCALE && i < t->n_in; i++)
        if (t->in[i] && (t->in[i]->dt != DT_F32 || g_count(t->in[i]) != O))
            return op_bad(t, i, "F32, a value for each channel of the result");
    if (t->n_in > RESIDUAL && t->in[RESIDUAL])
        if (t->in[RESIDUAL]->dt != DT_F32 || !shape_eq(&t->in[RESIDUAL]->shape, &t->shape))
            return op_bad(t, RESIDUAL, "F32, shaped as the result");
    return 0;
}

int shape_conv2d(struct g_tensor *t)
{
    const struct shape *x = &t->in[0]->shape, *w = &t->in[1]->shape;
    TRY(check_attributes(t));
    if (t->in[0]->dt != DT_F32 || x->n != 4)
        return op_bad(t, 0, "F32 maps [B, H, W, C]");
    TRY(check_kernel(t));
    t->dt = DT_F32;
    t->shape = SHAPE4(x->d[0], side_of(t, x->d[1], w->d[1]), side_of(t, x->d[2], w->d[2]), w->d[0]);
    if (w->d[1] < 1 || w->d[2] < 1 || t->shape.d[1] < 1 || t->shape.d[2] < 1)
        return op_bad(t, 1, "a kernel that fits into the padded maps");
    return check_others(t);
}

/* ---- gathering ---- */

/* Pixel (b, y, x) of the result. */
static void gather_pixel(const struct conv2d *c, const float *map, size_t group, size_t y, size_t x, float *row)
{
    ptrdiff_t top = (ptrdiff_t)(y * c->stride) - c->before, left = (ptrdiff_t)(x * c->stride) - c->before;
    struct op_range in = conv2d_inside(left, c->kw, c->W);
    size_t line = c->kw * c->I, n = (in.hi - in.lo) * c->I;
    for (size_t k = 0; k < c->kh; k++, row += line) {
        ptrdiff_t at = top + (ptrdiff_t)k;
        if (at < 0 || at >= (ptrdiff_t)c->H || !n) {
            memset(row, 0, line * sizeof *row);
            continue;
        }
        const float *from = map + ((size_t)at * c->W + (size_t)(left + (ptrdiff_t)in.lo)) * c->C + group * c->I;
        memset(row, 0, in.lo * c->I * sizeof *row);
        memset(row + in.hi * c->I, 0, (c->kw - in.hi) * c->I * sizeof *row);
        if (c->groups == 1)
            memcpy(row + in.lo * c->I, from, n * sizeof *row);
        else
            for (size_t t = in.lo; t < in.hi; t++, from += c->C)
                memcpy(row + t * c->I, from, c->I * sizeof *row);
    }
}

void conv2d_gather(const struct conv2d *c, const float *x, size_t group, struct op_range r, float *rows)
{
    size_t plane = c->h * c->w, width = conv2d_taps(c) * c->I;
    for (size_t p = r.lo; p < r.hi; p++, rows += width)
        gather_pixel(c, x + p / plane * c->H * c->W * c->C, group, p % plane / c->w, p % c->w, rows);
}

void conv2d_turn(const struct conv2d *c, const float *w, const struct g_env *env, float *turned)
{
    size_t taps = conv2d_taps(c);
    struct op_range mine = op_share(env, (int64_t)c->C, 16);
    for (size_t i = mine.lo; i < mine.hi; i++)
        for (size_t t = 0; t < taps; t++)
            turned[t * c->C + i] = w[i * taps + t];
}

/* ---- what follows the sums ---- */

/* scale, bias, residual and activation of pixels [first, first + n), channels [at, at + cols). */
static void finish(const struct g_tensor *t, const struct g_env *env, size_t first, size_t n, size_t at, size_t cols)
{
    size_t O = (size_t)g_last(t);
    const float *bias = part(t, BIAS), *scale = part(t, SCALE), *residual = part(t, RESIDUAL);
    float *y = g_f32(t) + first * O + at;
    if (bias || scale || residual)
        env->kernels->scale_rows(&(struct scale_run){
            .rows = (int)n, .cols = (int)cols, .ld = (ptrdiff_t)O, .scale = scale ? scale + at : NULL,
            .shift = bias ? bias + at : NULL, .residual = residual ? residual + first * O + at : NULL, .y = y});
    if (t->attr.conv2d.act != ACT_NONE)
        env->kernels->act_rows(t->attr.conv2d.act, (int)n, (int)cols, y, (ptrdiff_t)O);
}

/* ---- dense ---- */

/* One group's product. Scratch: [a thread's own: gemm, gathered rows] for each thread, then the panels. */
struct dense {
    struct conv2d c;
    int N, K;
    size_t block, gemm_bytes, own; /* pixels at once; bytes of scratch */
    enum gemm_format format;
};

static struct dense dense_of(const struct g_tensor *t, enum gemm_format compute)
{
    struct dense d = {.c = conv2d_of(t, t->in[0], t->in[1], t), .format = op_rhs_of(t->in[1], 0, compute).format};
    d.N = (int)(d.c.O / d.c.groups);
    d.K = (int)(conv2d_taps(&d.c) * d.c.I);
    d.block = conv2d_block((size_t)d.K + (size_t)d.N);
    d.gemm_bytes = op_pad64(gemm_scratch_bytes(d.format, (int)d.block, d.N, d.K, 1));
    d.own = d.gemm_bytes + (conv2d_is_pointwise(&d.c) ? 0 : op_pad64(d.block * (size_t)d.K * sizeof(float)));
    return d;
}

/* Group `group` of the weight; complete when it returns. */
static struct gemm_b pack_group(const struct g_tensor *t, const struct dense *d, size_t group, void *room, const struct g_env *env)
{
    struct op_rhs r = op_rhs_of(t->in[1], 0, env->compute);
    bool ready = d->c.groups == 1 && op_rhs_ready(&r);
    struct gemm_b b = {d->format, d->K, d->N, room};
    if (d->c.groups == 1)
        b = op_rhs_pack(&r, room, &env->par);
    else
        gemm_pack_b(d->format, d->K, d->N, g_f32(t->in[1]) + group * (size_t)d->N * (size_t)d->K, false, d->K, true, room,
                    &env->par);
    if (!ready)
        par_barrier(&env->par);
    return b;
}

static void run_dense(const struct g_tensor *t, const struct g_env *env)
{
    struct dense d = dense_of(t, env->compute);
    char *own = (char *)env->scratch + (size_t)env->par.ith * d.own, *room = (char *)env->scratch + (size_t)env->par.nth * d.own;
    float *rows = (float *)(own + d.gemm_bytes);
    bool pointwise = conv2d_is_pointwise(&d.c), apart = part(t, SCALE) || part(t, RESIDUAL);
    struct op_range mine = op_share(env, (int64_t)conv2d_pixels(&d.c), 1);
    struct par alone = {0, 1, NULL};
    for (size_t group = 0; group < d.c.groups; group++) {
        size_t at = group * (size_t)d.N;
        struct gemm g = {.N = d.N, .K = d.K, .lda = d.K, .ldc = (ptrdiff_t)d.c.O, .scratch = own,
                         .bias = apart || !part(t, BIAS) ? NULL : part(t, BIAS) + at, .act = apart ? ACT_NONE : t->attr.conv2d.act};
        g.B = pack_group(t, &d, group, room, env);
        for (size_t p = mine.lo; p < mine.hi; p += (size_t)g.M) {
            g.M = (int)(mine.hi - p < d.block ? mine.hi - p : d.block);
            g.A = pointwise ? g_f32(t->in[0]) + p * d.c.C : rows;
            g.C = g_f32(t) + p * d.c.O + at;
            if (!pointwise)
                conv2d_gather(&d.c, g_f32(t->in[0]), group, (struct op_range){p, p + (size_t)g.M}, rows);
            gemm_run(&g, &alone);
            if (apart)
                finish(t, env, p, (size_t)g.M, at, (size_t)d.N);
        }
        if (d.c.groups > 1)
            par_barrier(&env->par); /* the next group's panels lie in the same place */
    }
}

/* ---- depthwise ---- */

/* Pixels [in.lo, in.hi) of a line of the result whose kernels have their lines `l` and taps `k` inside the map. */
static void depthwise_run(const struct conv2d *c, const float *x, const float *turned, size_t y, struct op_range l,
                          struct op_range k, struct op_range in, float *out, const struct g_env *env)
{
    if (in.lo >= in.hi)
        return;
    ptrdiff_t top = (ptrdiff_t)(y * c->stride + l.lo) - c->before, left = (ptrdiff_t)(in.lo * c->stride + k.lo) - c->before;
    bool none = l.lo == l.hi || k.lo == k.hi;
    env->kernels->depthwise_line(&(struct depthwise_run){
        .pixels = (int)(in.hi - in.lo), .cols = (int)c->C, .lines = none ? 0 : (int)(l.hi - l.lo), .taps = (int)(k.hi - k.lo),
        .ld = (ptrdiff_t)c->C, .line = (ptrdiff_t)(c->W * c->C), .step = (ptrdiff_t)(c->stride * c->C),
        .w_line = (ptrdiff_t)(c->kw * c->C), .x = none ? x : x + (top * (ptrdiff_t)c->W + left) * (ptrdiff_t)c->C,
        .w = turned + (l.lo * c->kw + k.lo) * c->C, .y = out + in.lo * c->C});
}

/* Line y of the result: pixels at the edges one by one, those between in one run. */
static void depthwise_row(const struct conv2d *c, const float *x, const float *turned, size_t y, float *out,
                          const struct g_env *env)
{
    struct op_range l = conv2d_inside((ptrdiff_t)(y * c->stride) - c->before, c->kh, c->H);
    for (size_t p = 0, n; p < c->w; p += n) {
        ptrdiff_t left = (ptrdiff_t)(p * c->stride) - c->before, room = (ptrdiff_t)(c->W - c->kw) - left;
        struct op_range k = conv2d_inside(left, c->kw, c->W);
        n = 1;
        if (k.hi - k.lo == c->kw && c->W >= c->kw && room >= 0)
            n = (size_t)room / c->stride + 1;
        n = n < c->w - p ? n : c->w - p;
        depthwise_run(c, x, turned, y, l, k, (struct op_range){p, p + n}, out, env);
    }
}

static void run_depthwise(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[1], t);
    float *turned = env->scratch; /* [taps, C] */
    conv2d_turn(&c, g_f32(t->in[1]), env, turned);
    par_barrier(&env->par);
    struct op_range lines = op_share(env, (int64_t)(c.B * c.h), 1);
    for (size_t i = lines.lo; i < lines.hi; i++) {
        const float *x = g_f32(t->in[0]) + i / c.h * c.H * c.W * c.C;
        depthwise_row(&c, x, turned, i % c.h, g_f32(t) + i * c.w * c.C, env);
        finish(t, env, i * c.w, c.w, 0, c.C);
    }
}

/* ---- the operation ---- */

void cost_conv2d(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct dense d = dense_of(t, g->compute);
    struct op_rhs r = op_rhs_of(t->in[1], 0, g->compute);
    op_cost(t, 2.0 * (double)d.K, out);
    if (conv2d_is_depthwise(&d.c))
        out->scratch = (size_t)g_count(t->in[1]) * sizeof(float);
    else
        out->scratch = (size_t)g->threads * d.own + (d.c.groups == 1 ? op_rhs_bytes(&r) : gemm_b_bytes(d.format, d.K, d.N));
}

void run_conv2d(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[1], t);
    (conv2d_is_depthwise(&c) ? run_depthwise : run_dense)(t, env);
}

/* Through scale to the sums. */
static struct g_tensor *through_scale(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *scale = t->n_in > SCALE ? t->in[SCALE] : NULL;
    union g_attr plain = t->attr;
    plain.conv2d.act = ACT_NONE;
    if (!scale)
        return dt;
    if (g_wants(scale))
        op_give_repeated(g, t, SCALE, g_mul(g, dt, g_op(g, OP_conv2d, &plain, 2, OP_IN(t->in[0], t->in[1]))));
    return g_wants(t->in[0]) || g_wants(t->in[1]) ? g_mul(g, dt, scale) : NULL;
}

void grad_conv2d(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *x = t->in[0], *w = t->in[1];
    dt = op_as(g, dt, t);
    if (t->attr.conv2d.act != ACT_NONE) {
        union g_attr plain = t->attr, act = {.act = {t->attr.conv2d.act}};
        plain.conv2d.act = ACT_NONE;
        dt = g_op(g, OP_act_dx, &act, 2, OP_IN(g_op(g, OP_conv2d, &plain, t->n_in, t->in), dt));
    }
    if (t->n_in > RESIDUAL)
        op_give(g, t, RESIDUAL, dt);
    if (t->n_in > BIAS)
        op_give_repeated(g, t, BIAS, dt);
    dt = through_scale(g, t, dt);
    if (g->error || !dt)
        return;
    struct conv2d c = conv2d_of(t, x, w, t);
    bool matrix = conv2d_is_pointwise(&c);
    if (g_wants(x))
        op_give(g, t, 0, matrix ? g_op(g, OP_linear_dx, NULL, 2, OP_IN(dt, w))
                                : g_op(g, OP_conv2d_dx, &t->attr, 3, OP_IN(x, w, dt)));
    if (g_wants(w))
        g_op(g, matrix ? OP_linear_dw : OP_conv2d_dw, &t->attr, 3, OP_IN(x, dt, g_grad_into(g, w)));
}

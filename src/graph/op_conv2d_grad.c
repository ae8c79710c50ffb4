/* The gradients of convolutions of feature maps. Dense: dx is the product of gathered rows of dy with the turned
 * kernel, so that no two threads meet in a pixel; dW is the product of dy with the gathered rows of x, in blocks of
 * pixels, one chain over all of them. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/op_conv2d.h"

/* ---- dx ---- */

int shape_conv2d_dx(struct g_tensor *t)
{
    struct g_tensor forward = {.op = OP_conv2d, .attr = t->attr, .n_in = 2, .in = {t->in[0], t->in[1]}};
    TRY(shape_conv2d(&forward));
    if (t->in[2]->dt != DT_F32 || !shape_eq(&t->in[2]->shape, &forward.shape))
        return op_bad(t, 2, "F32, shaped as the result of the convolution");
    return op_like(t, 0);
}

/* One group's product: rows [kh,kw,O/G] of dy by V[kh*kw*O/G, I]. Scratch: a thread's own for each, V, its panels. */
struct turned {
    struct conv2d c;
    size_t per;                     /* channels of dy a group */
    int N, K;
    size_t block, gemm_bytes, own;
    enum gemm_format format;
};

static struct turned turned_of(const struct g_tensor *t, enum gemm_format compute)
{
    struct turned d = {.c = conv2d_of(t, t->in[0], t->in[1], t->in[2]), .format = op_rhs_of(t->in[1], 1, compute).format};
    d.per = d.c.O / d.c.groups;
    d.N = (int)d.c.I;
    d.K = (int)(conv2d_taps(&d.c) * d.per);
    d.block = conv2d_block((size_t)d.K + (size_t)d.N);
    d.gemm_bytes = op_pad64(gemm_scratch_bytes(d.format, (int)d.block, d.N, d.K, 1));
    d.own = d.gemm_bytes + op_pad64(d.block * (size_t)d.K * sizeof(float));
    return d;
}

void cost_conv2d_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct turned d = turned_of(t, g->compute);
    op_cost(t, 2.0 * (double)d.K, out);
    out->scratch = (size_t)g->threads * d.own + op_pad64((size_t)d.K * (size_t)d.N * sizeof(float)) +
                   gemm_b_bytes(d.format, d.K, d.N);
    if (conv2d_is_depthwise(&d.c))
        out->scratch = (size_t)g_count(t->in[1]) * sizeof(float);
}

/* The place on dy's side of n that the stride reaches: *at; false: it lies between two or outside. */
static bool reached(ptrdiff_t n, size_t stride, size_t side, size_t *at)
{
    *at = n < 0 ? 0 : (size_t)n / stride;
    return n >= 0 && (size_t)n % stride == 0 && *at < side;
}

/* What pixel (y, x) of one picture of x gave to: dy under each tap, or zeros. */
static void gather_back(const struct turned *d, const float *dy, size_t group, size_t y, size_t x, float *row)
{
    const struct conv2d *c = &d->c;
    for (size_t k = 0; k < conv2d_taps(c); k++, row += d->per) {
        size_t oy, ox;
        bool there = reached((ptrdiff_t)y + c->before - (ptrdiff_t)(k / c->kw), c->stride, c->h, &oy) &
                     reached((ptrdiff_t)x + c->before - (ptrdiff_t)(k % c->kw), c->stride, c->w, &ox);
        if (there)
            memcpy(row, dy + (oy * c->w + ox) * c->O + group * d->per, d->per * sizeof *row);
        else
            memset(row, 0, d->per * sizeof *row);
    }
}

/* V[tap][o][i] = W[o][tap][i]; complete when it returns. */
static struct gemm_b pack_turned(const struct turned *d, const struct g_tensor *w, size_t group, char *room, const struct g_env *env)
{
    const struct dtype_info *info = &dtype_table[w->dt];
    size_t taps = conv2d_taps(&d->c), I = d->c.I;
    float *v = (float *)room;
    char *panels = room + op_pad64((size_t)d->K * (size_t)d->N * sizeof *v);
    struct op_range mine = op_share(env, (int64_t)d->per, 1);
    for (size_t o = mine.lo; o < mine.hi; o++)
        for (size_t k = 0; k < taps; k++)
            info->decode((const char *)w->data + ((group * d->per + o) * taps + k) * I * info->block_bytes,
                         v + (k * d->per + o) * I, I);
    par_barrier(&env->par);
    gemm_pack_b(d->format, d->K, d->N, v, false, d->N, false, panels, &env->par);
    par_barrier(&env->par);
    return (struct gemm_b){d->format, d->K, d->N, panels};
}

static void dense_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct turned d = turned_of(t, env->compute);
    char *own = (char *)env->scratch + (size_t)env->par.ith * d.own, *room = (char *)env->scratch + (size_t)env->par.nth * d.own;
    float *rows = (float *)(own + d.gemm_bytes);
    size_t plane = d.c.H * d.c.W;
    struct op_range mine = op_share(env, (int64_t)(d.c.B * plane), 1);
    for (size_t group = 0; group < d.c.groups; group++) {
        struct gemm g = {.N = d.N, .K = d.K, .A = rows, .lda = d.K, .ldc = (ptrdiff_t)d.c.C, .scratch = own,
                         .B = pack_turned(&d, t->in[1], group, room, env)};
        for (size_t p = mine.lo; p < mine.hi; p += (size_t)g.M) {
            g.M = (int)(mine.hi - p < d.block ? mine.hi - p : d.block);
            g.C = g_f32(t) + p * d.c.C + group * d.c.I;
            for (size_t i = 0; i < (size_t)g.M; i++)
                gather_back(&d, g_f32(t->in[2]) + (p + i) / plane * d.c.h * d.c.w * d.c.O, group, (p + i) % plane / d.c.W,
                            (p + i) % d.c.W, rows + i * (size_t)d.K);
            gemm_run(&g, &(struct par){0, 1, NULL});
        }
        par_barrier(&env->par); /* the next group's panels lie in the same place */
    }
}

static void depthwise_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[1], t->in[2]);
    float *turned = env->scratch; /* [taps, C] */
    conv2d_turn(&c, g_f32(t->in[1]), env, turned);
    par_barrier(&env->par);
    struct op_range mine = op_share(env, (int64_t)(c.B * c.H * c.W), 1);
    for (size_t p = mine.lo; p < mine.hi; p++) {
        const float *dy = g_f32(t->in[2]) + p / (c.H * c.W) * c.h * c.w * c.C;
        float *dx = g_f32(t) + p * c.C;
        memset(dx, 0, c.C * sizeof *dx);
        for (size_t k = 0; k < conv2d_taps(&c); k++) {
            size_t y, x;
            if (!reached((ptrdiff_t)(p / c.W % c.H) + c.before - (ptrdiff_t)(k / c.kw), c.stride, c.h, &y) ||
                !reached((ptrdiff_t)(p % c.W) + c.before - (ptrdiff_t)(k % c.kw), c.stride, c.w, &x))
                continue;
            for (size_t i = 0; i < c.C; i++)
                dx[i] += turned[k * c.C + i] * dy[(y * c.w + x) * c.C + i];
        }
    }
}

void run_conv2d_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[1], t->in[2]);
    (conv2d_is_depthwise(&c) ? depthwise_dx : dense_dx)(t, env);
}

/* ---- dW ---- */

enum { DW_ROWS = 256 }; /* pixels at once; bf16 chains are cut between pairs, tiles between 32 */

int shape_conv2d_dw(struct g_tensor *t)
{
    struct g_tensor forward = {.op = OP_conv2d, .attr = t->attr, .n_in = 2, .in = {t->in[0], t->in[2]}};
    TRY(shape_conv2d(&forward));
    if (t->in[1]->dt != DT_F32 || !shape_eq(&t->in[1]->shape, &forward.shape))
        return op_bad(t, 1, "F32, shaped as the result of the convolution");
    return op_into(t);
}

/* Scratch: [gemm | gathered rows | panels]. */
struct weighing { struct conv2d c; int M, N; size_t gemm_bytes, rows_bytes; };

static struct weighing weighing_of(const struct g_tensor *t, enum gemm_format compute, int threads)
{
    struct weighing d = {.c = conv2d_of(t, t->in[0], t->in[2], t->in[1])};
    d.M = (int)(d.c.O / d.c.groups);
    d.N = (int)(conv2d_taps(&d.c) * d.c.I);
    d.gemm_bytes = op_pad64(gemm_scratch_bytes(compute, d.M, d.N, DW_ROWS, threads));
    d.rows_bytes = op_pad64(DW_ROWS * (size_t)d.N * sizeof(float));
    return d;
}

void cost_conv2d_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct weighing d = weighing_of(t, g->compute, g->threads);
    op_cost(t, 2.0 * (double)conv2d_pixels(&d.c), out);
    out->scratch = d.gemm_bytes + d.rows_bytes + gemm_b_bytes(g->compute, DW_ROWS, d.N);
    if (conv2d_is_depthwise(&d.c))
        out->scratch = (size_t)g_count(t->in[2]) * sizeof(float);
}

static void dense_dw(const struct g_tensor *t, const struct g_env *env)
{
    struct weighing d = weighing_of(t, env->compute, env->par.nth);
    float *rows = (float *)((char *)env->scratch + d.gemm_bytes);
    char *panels = (char *)rows + d.rows_bytes;
    size_t pixels = conv2d_pixels(&d.c);
    for (size_t group = 0; group < d.c.groups; group++)
        for (size_t p = 0; p < pixels; p += DW_ROWS) {
            size_t n = pixels - p < DW_ROWS ? pixels - p : DW_ROWS;
            struct op_range mine = op_share(env, (int64_t)n, 1);
            conv2d_gather(&d.c, g_f32(t->in[0]), group, (struct op_range){p + mine.lo, p + mine.hi}, rows + mine.lo * (size_t)d.N);
            par_barrier(&env->par);
            gemm_pack_b(env->compute, (int)n, d.N, rows, false, d.N, false, panels, &env->par);
            par_barrier(&env->par);
            gemm_run(&(struct gemm){.M = d.M, .N = d.N, .K = (int)n, .A = g_f32(t->in[1]) + p * d.c.O + group * (size_t)d.M,
                                    .lda = (ptrdiff_t)d.c.O, .a_transposed = true, .B = {env->compute, (int)n, d.N, panels},
                                    .C = g_f32(t->in[2]) + group * (size_t)d.M * (size_t)d.N, .ldc = d.N, .accumulate = true,
                                    .scratch = env->scratch}, &env->par);
            par_barrier(&env->par);
        }
}

/* Threads share the channels; the sums lie [taps, C] meanwhile. */
static void depthwise_dw(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[2], t->in[1]);
    size_t taps = conv2d_taps(&c);
    float *sums = env->scratch;
    struct op_range mine = op_share(env, (int64_t)c.C, 16);
    conv2d_turn(&c, g_f32(t->in[2]), env, sums);
    for (size_t p = 0; p < conv2d_pixels(&c); p++) {
        ptrdiff_t top = (ptrdiff_t)(p / c.w % c.h * c.stride) - c.before, left = (ptrdiff_t)(p % c.w * c.stride) - c.before;
        struct op_range l = conv2d_inside(top, c.kh, c.H), k = conv2d_inside(left, c.kw, c.W);
        const float *dy = g_f32(t->in[1]) + p * c.C, *x = g_f32(t->in[0]) + p / (c.h * c.w) * c.H * c.W * c.C;
        for (size_t i = l.lo; i < l.hi; i++)
            for (size_t j = k.lo; j < k.hi; j++) {
                const float *from = x + ((size_t)(top + (ptrdiff_t)i) * c.W + (size_t)(left + (ptrdiff_t)j)) * c.C;
                for (size_t a = mine.lo; a < mine.hi; a++)
                    sums[(i * c.kw + j) * c.C + a] += dy[a] * from[a];
            }
    }
    for (size_t a = mine.lo; a < mine.hi; a++)
        for (size_t i = 0; i < taps; i++)
            g_f32(t->in[2])[a * taps + i] = sums[i * c.C + a];
}

void run_conv2d_dw(const struct g_tensor *t, const struct g_env *env)
{
    struct conv2d c = conv2d_of(t, t->in[0], t->in[2], t->in[1]);
    (conv2d_is_depthwise(&c) ? depthwise_dw : dense_dw)(t, env);
}

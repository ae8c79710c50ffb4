/* Matrix products as operations: linear and its two gradients, matmul, bias gradients. Each packs the
 * right-hand side, unless the weight brings panels of the graph's format, and calls gemm_run. Knows
 * nothing of tiles. Called through op_table.
 *
 * A weight's packed[] must be there, or not, from the plan on: the plan sizes the scratch by it. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "graph/op.h"

static size_t pad64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Weights are [N,K]; a convolution's [N,C,p,p] counts as [N,C*p*p]. */
static int weight_rows(const struct g_tensor *w)
{
    return w->shape.n ? (int)w->shape.d[0] : 1;
}

static int weight_cols(const struct g_tensor *w)
{
    int64_t n = weight_rows(w);
    return n ? (int)(g_count(w) / n) : 0;
}

static int misfit(const char *op, const struct g_tensor *a, const struct g_tensor *b)
{
    char x[SHAPE_TEXT], y[SHAPE_TEXT];
    return err_set(NUN_EARG, "%s: %s %s does not fit %s %s", op, shape_format(&a->shape, x), dtype_name(a->dt),
                   shape_format(&b->shape, y), dtype_name(b->dt));
}

/* The format of products with w. */
static enum gemm_format format_of(const struct g_tensor *w, enum gemm_format compute)
{
    return w->kind == G_PARAM && w->param->exact ? GEMM_F32 : compute;
}

static bool is_f32(const struct g_tensor *t)
{
    return !t || t->dt == DT_F32;
}

/* ---- the right-hand side ---- */

/* A matrix of any dtype as the right-hand side. Scratch: [panels | float32 rows of w, when needed]. */
struct rhs {
    const struct g_tensor *w;
    int side;                   /* 0: x W^T, 1: dy W */
    enum gemm_format format;
};

static const void *ready_panels(const struct rhs *r)
{
    const struct g_param *p = r->w->kind == G_PARAM ? r->w->param : NULL;
    return p && p->packed_format == r->format ? p->packed[r->side] : NULL;
}

static bool packs_directly(const struct g_tensor *w)
{
    return w->dt == DT_F32 || w->dt == DT_BF16;
}

static int rhs_k(const struct rhs *r)
{
    return r->side ? weight_rows(r->w) : weight_cols(r->w);
}

static int rhs_n(const struct rhs *r)
{
    return r->side ? weight_cols(r->w) : weight_rows(r->w);
}

static size_t rhs_bytes(const struct rhs *r)
{
    if (ready_panels(r))
        return 0;
    size_t panels = pad64(gemm_b_bytes(r->format, rhs_k(r), rhs_n(r)));
    return panels + (packs_directly(r->w) ? 0 : pad64((size_t)g_count(r->w) * sizeof(float)));
}

/* Rows of w that this thread decodes; a row is a whole number of blocks (checked by the shape rule). */
static void decode_rows(const struct g_tensor *w, float *out, const struct par *par)
{
    const struct dtype_info *info = &dtype_table[w->dt];
    size_t cols = (size_t)weight_cols(w), lo, hi;
    size_t row_bytes = cols / info->block_values * info->block_bytes;
    par_share(par, (size_t)weight_rows(w), 1, &lo, &hi);
    for (size_t r = lo; r < hi; r++)
        info->decode((const char *)w->data + r * row_bytes, out + r * cols, cols);
}

/* Called by the whole team; what it returns is complete after the caller's next barrier. */
static struct gemm_b rhs_pack(const struct rhs *r, void *scratch, const struct par *par)
{
    struct gemm_b b = {r->format, rhs_k(r), rhs_n(r), ready_panels(r)};
    if (b.panels)
        return b;
    const void *src = r->w->data;
    if (!packs_directly(r->w)) {
        float *rows = (float *)((char *)scratch + pad64(gemm_b_bytes(r->format, b.K, b.N)));
        decode_rows(r->w, rows, par);
        par_barrier(par);
        src = rows;
    }
    gemm_pack_b(r->format, b.K, b.N, src, r->w->dt == DT_BF16, weight_cols(r->w), !r->side, scratch, par);
    b.panels = scratch;
    return b;
}

static int check_weight(const char *op, const struct g_tensor *x, const struct g_tensor *w, int64_t inner)
{
    if (w->shape.n < 2 || x->dt != DT_F32 || x->shape.n < 1 || g_last(x) != inner)
        return misfit(op, x, w);
    if (weight_cols(w) % (int)dtype_table[w->dt].block_values)
        return misfit(op, x, w);
    return 0;
}

/* ---- linear ---- */

static const struct g_tensor *optional(const struct g_tensor *t, int i)
{
    return i < t->n_in ? t->in[i] : NULL;
}

int shape_linear(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *w = t->in[1], *bias = optional(t, 2), *res = optional(t, 3);
    TRY(check_weight("linear", x, w, weight_cols(w)));
    t->dt = DT_F32;
    t->shape = x->shape;
    t->shape.d[t->shape.n - 1] = weight_rows(w);
    if (bias && (g_count(bias) != weight_rows(w) || (int)dtype_table[bias->dt].block_values != 1))
        return misfit("linear, bias", bias, w);
    if (res && (g_count(res) != g_count(t) || !is_f32(res)))
        return misfit("linear, residual", res, t);
    return 0;
}

static void cost_product(double M, double N, double K, double weight_bytes, struct g_cost *out)
{
    out->flops = 2 * M * N * K;
    out->bytes = 4 * M * (N + K) + weight_bytes;
}

/* linear's scratch: [gemm | bias in float32 | right-hand side] */
void cost_linear(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct rhs r = {t->in[1], 0, format_of(t->in[1], g->compute)};
    int M = (int)g_rows(t), N = rhs_n(&r), K = rhs_k(&r);
    cost_product(M, N, K, (double)g_bytes(t->in[1]), out);
    out->scratch = pad64(gemm_scratch_bytes(r.format, M, N, K, g->threads)) + pad64((size_t)N * sizeof(float)) +
                   rhs_bytes(&r);
}

static const float *bias_f32(const struct g_tensor *bias, float *scratch, const struct par *par)
{
    if (!bias || bias->dt == DT_F32)
        return bias ? bias->data : NULL;
    if (par->ith == 0)
        dtype_table[bias->dt].decode(bias->data, scratch, (size_t)g_count(bias));
    return scratch;
}

void run_linear(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *bias = optional(t, 2), *res = optional(t, 3);
    struct rhs r = {t->in[1], 0, format_of(t->in[1], env->compute)};
    struct gemm g = {.M = (int)g_rows(t), .N = rhs_n(&r), .K = rhs_k(&r), .A = g_f32(x), .C = g_f32(t),
                     .act = t->attr.act.act, .residual = res ? g_f32(res) : NULL, .scratch = env->scratch};
    g.lda = g.K;
    g.ldc = g.N;
    char *rest = (char *)env->scratch + pad64(gemm_scratch_bytes(r.format, g.M, g.N, g.K, env->par.nth));
    g.bias = bias_f32(bias, (float *)rest, &env->par);
    g.B = rhs_pack(&r, rest + pad64((size_t)g.N * sizeof(float)), &env->par);
    if (!ready_panels(&r) || !is_f32(bias))
        par_barrier(&env->par);
    gemm_run(&g, &env->par);
}

/* dW of a weight goes into its accumulator; of any other value it is a product of its own. */
static void grad_weight(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *dy)
{
    if (w->kind == G_PARAM) {
        struct g_tensor *in[] = {x, dy, g_grad_into(g, w)};
        g_op(g, OP_linear_dw, NULL, 3, in);
        return;
    }
    struct g_tensor *x2 = g_reshape(g, x, SHAPE2(g_rows(x), g_last(x)));
    struct g_tensor *dy2 = g_reshape(g, dy, SHAPE2(g_rows(dy), g_last(dy)));
    g_grad_add(g, w, g_matmul(g, dy2, x2, true, false));
}

void grad_linear(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *x = t->in[0], *w = t->in[1];
    struct g_tensor *bias = t->n_in > 2 ? t->in[2] : NULL, *res = t->n_in > 3 ? t->in[3] : NULL;
    g_grad_add(g, res, dt);
    if (!g_wants(x) && !g_wants(w) && !g_wants(bias))
        return;
    if (t->attr.act.act != ACT_NONE) {
        struct g_tensor *pre = g_linear(g, x, w, bias, NULL, ACT_NONE);
        struct g_tensor *in[] = {pre, dt};
        dt = g_op(g, OP_act_dx, &t->attr, 2, in);
    }
    if (!dt)
        return;
    if (g_wants(x)) {
        struct g_tensor *in[] = {dt, w};
        g_grad_add(g, x, g_op(g, OP_linear_dx, NULL, 2, in));
    }
    if (g_wants(w))
        grad_weight(g, x, w, dt);
    if (g_wants(bias)) {
        struct g_tensor *in[] = {dt, g_grad_into(g, bias)};
        g_op(g, OP_sum_rows_into, NULL, 2, in);
    }
}

int shape_linear_dx(struct g_tensor *t)
{
    const struct g_tensor *dy = t->in[0], *w = t->in[1];
    TRY(check_weight("linear_dx", dy, w, weight_rows(w)));
    t->dt = DT_F32;
    t->shape = dy->shape;
    t->shape.d[t->shape.n - 1] = weight_cols(w);
    return 0;
}

void cost_linear_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct rhs r = {t->in[1], 1, format_of(t->in[1], g->compute)};
    int M = (int)g_rows(t), N = rhs_n(&r), K = rhs_k(&r);
    cost_product(M, N, K, (double)g_bytes(t->in[1]), out);
    out->scratch = pad64(gemm_scratch_bytes(r.format, M, N, K, g->threads)) + rhs_bytes(&r);
}

void run_linear_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct rhs r = {t->in[1], 1, format_of(t->in[1], env->compute)};
    struct gemm g = {.M = (int)g_rows(t), .N = rhs_n(&r), .K = rhs_k(&r), .A = g_f32(t->in[0]), .C = g_f32(t),
                     .scratch = env->scratch};
    g.lda = g.K;
    g.ldc = g.N;
    size_t used = pad64(gemm_scratch_bytes(r.format, g.M, g.N, g.K, env->par.nth));
    g.B = rhs_pack(&r, (char *)env->scratch + used, &env->par);
    if (!ready_panels(&r))
        par_barrier(&env->par);
    gemm_run(&g, &env->par);
}

int shape_linear_dw(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[2];
    if (!is_f32(x) || !is_f32(dy) || g_rows(x) != g_rows(dy))
        return misfit("linear_dw", x, dy);
    if (!is_f32(dw) || weight_rows(dw) != g_last(dy) || weight_cols(dw) != g_last(x))
        return misfit("linear_dw", x, dw);
    t->dt = DT_F32;
    t->shape = dw->shape;
    return 0;
}

void cost_linear_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    int M = weight_rows(t), N = weight_cols(t), K = (int)g_rows(t->in[0]);
    cost_product(K, N, M, 8.0 * M * N, out);
    out->scratch = pad64(gemm_scratch_bytes(g->compute, M, N, K, g->threads)) + gemm_b_bytes(g->compute, K, N);
}

/* dW = dy^T x: the rows of x are the right-hand side, the chain runs over them. */
void run_linear_dw(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[2];
    struct gemm g = {.M = weight_rows(dw), .N = weight_cols(dw), .K = (int)g_rows(x), .A = g_f32(dy),
                     .a_transposed = true, .C = g_f32(dw), .accumulate = true, .scratch = env->scratch};
    g.lda = g.M;
    g.ldc = g.N;
    char *panels = (char *)env->scratch + pad64(gemm_scratch_bytes(env->compute, g.M, g.N, g.K, env->par.nth));
    gemm_pack_b(env->compute, g.K, g.N, g_f32(x), false, g.N, false, panels, &env->par);
    g.B = (struct gemm_b){env->compute, g.K, g.N, panels};
    par_barrier(&env->par);
    gemm_run(&g, &env->par);
}

/* ---- sum_rows_into ---- */

int shape_sum_rows_into(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *acc = t->in[1];
    if (!is_f32(x) || !is_f32(acc) || g_last(x) != g_count(acc))
        return misfit("sum_rows_into", x, acc);
    t->dt = DT_F32;
    t->shape = acc->shape;
    return 0;
}

void cost_sum_rows_into(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    out->flops = (double)g_count(t->in[0]);
    out->bytes = 4 * out->flops;
}

enum { SUM_COLS = 32 };

/* acc[c] of up to SUM_COLS columns: one chain over the rows each. */
static void sum_columns(const float *x, size_t rows, size_t ld, size_t cols, float *acc)
{
    float s[SUM_COLS] = {0};
    memcpy(s, acc, cols * sizeof(float));
    if (cols == SUM_COLS)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < SUM_COLS; c++)
                s[c] += x[r * ld + c];
    else
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++)
                s[c] += x[r * ld + c];
    memcpy(acc, s, cols * sizeof(float));
}

void run_sum_rows_into(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *acc = t->in[1];
    size_t D = (size_t)g_last(x), lo, hi;
    par_share(&env->par, D, SUM_COLS, &lo, &hi);
    for (size_t c = lo; c < hi; c += SUM_COLS)
        sum_columns(g_f32(x) + c, (size_t)g_rows(x), D, hi - c < SUM_COLS ? hi - c : SUM_COLS, g_f32(acc) + c);
}

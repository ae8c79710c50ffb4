/* Matrix products as operations: linear and its two gradients, matmul, bias gradients. Each packs the
 * right-hand side, unless the weight brings panels of the graph's format, and calls gemm_run. Knows
 * nothing of tiles. Called through op_table. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "graph/op_rhs.h"

static int misfit(const char *op, const struct g_tensor *a, const struct g_tensor *b)
{
    char x[SHAPE_TEXT], y[SHAPE_TEXT];
    return err_set(NUN_EARG, "%s: %s %s does not fit %s %s", op, shape_format(&a->shape, x), dtype_name(a->dt),
                   shape_format(&b->shape, y), dtype_name(b->dt));
}

static bool is_f32(const struct g_tensor *t)
{
    return !t || t->dt == DT_F32;
}

static int check_weight(const char *op, const struct g_tensor *x, const struct g_tensor *w, int64_t inner)
{
    if (w->shape.n < 2 || x->dt != DT_F32 || x->shape.n < 1 || g_last(x) != inner)
        return misfit(op, x, w);
    if (op_weight_cols(w) % (int)dtype_table[w->dt].block_values)
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
    TRY(check_weight("linear", x, w, op_weight_cols(w)));
    t->dt = DT_F32;
    t->shape = x->shape;
    t->shape.d[t->shape.n - 1] = op_weight_rows(w);
    if (bias && (g_count(bias) != op_weight_rows(w) || (int)dtype_table[bias->dt].block_values != 1))
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
    struct op_rhs r = op_rhs_of(t->in[1], 0, g->compute);
    int M = (int)g_rows(t), N = op_rhs_n(&r), K = op_rhs_k(&r);
    cost_product(M, N, K, (double)g_bytes(t->in[1]), out);
    out->scratch = op_pad64(gemm_scratch_bytes(r.format, M, N, K, g->threads)) + op_pad64((size_t)N * sizeof(float)) +
                   op_rhs_bytes(&r);
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
    struct op_rhs r = op_rhs_of(t->in[1], 0, env->compute);
    struct gemm g = {.M = (int)g_rows(t), .N = op_rhs_n(&r), .K = op_rhs_k(&r), .A = g_f32(x), .C = g_f32(t),
                     .act = t->attr.act.act, .residual = res ? g_f32(res) : NULL, .scratch = env->scratch};
    g.lda = g.K;
    g.ldc = g.N;
    char *rest = (char *)env->scratch + op_pad64(gemm_scratch_bytes(r.format, g.M, g.N, g.K, env->par.nth));
    g.bias = bias_f32(bias, (float *)rest, &env->par);
    g.B = op_rhs_pack(&r, rest + op_pad64((size_t)g.N * sizeof(float)), &env->par);
    if (!op_rhs_ready(&r) || !is_f32(bias))
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
    TRY(check_weight("linear_dx", dy, w, op_weight_rows(w)));
    t->dt = DT_F32;
    t->shape = dy->shape;
    t->shape.d[t->shape.n - 1] = op_weight_cols(w);
    return 0;
}

void cost_linear_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct op_rhs r = op_rhs_of(t->in[1], 1, g->compute);
    int M = (int)g_rows(t), N = op_rhs_n(&r), K = op_rhs_k(&r);
    cost_product(M, N, K, (double)g_bytes(t->in[1]), out);
    out->scratch = op_pad64(gemm_scratch_bytes(r.format, M, N, K, g->threads)) + op_rhs_bytes(&r);
}

void run_linear_dx(const struct g_tensor *t, const struct g_env *env)
{
    struct op_rhs r = op_rhs_of(t->in[1], 1, env->compute);
    struct gemm g = {.M = (int)g_rows(t), .N = op_rhs_n(&r), .K = op_rhs_k(&r), .A = g_f32(t->in[0]), .C = g_f32(t),
                     .scratch = env->scratch};
    g.lda = g.K;
    g.ldc = g.N;
    size_t used = op_pad64(gemm_scratch_bytes(r.format, g.M, g.N, g.K, env->par.nth));
    g.B = op_rhs_pack(&r, (char *)env->scratch + used, &env->par);
    if (!op_rhs_ready(&r))
        par_barrier(&env->par);
    gemm_run(&g, &env->par);
}

int shape_linear_dw(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[2];
    if (!is_f32(x) || !is_f32(dy) || g_rows(x) != g_rows(dy))
        return misfit("linear_dw", x, dy);
    if (!is_f32(dw) || op_weight_rows(dw) != g_last(dy) || op_weight_cols(dw) != g_last(x))
        return misfit("linear_dw", x, dw);
    t->dt = DT_F32;
    t->shape = dw->shape;
    return 0;
}

void cost_linear_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    int M = op_weight_rows(t), N = op_weight_cols(t), K = (int)g_rows(t->in[0]);
    cost_product(K, N, M, 8.0 * M * N, out);
    out->scratch = op_pad64(gemm_scratch_bytes(g->compute, M, N, K, g->threads)) + gemm_b_bytes(g->compute, K, N);
}

/* dW = dy^T x: the rows of x are the right-hand side, the chain runs over them. */
void run_linear_dw(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[2];
    struct gemm g = {.M = op_weight_rows(dw), .N = op_weight_cols(dw), .K = (int)g_rows(x), .A = g_f32(dy),
                     .a_transposed = true, .C = g_f32(dw), .accumulate = true, .scratch = env->scratch};
    g.lda = g.M;
    g.ldc = g.N;
    char *panels = (char *)env->scratch + op_pad64(gemm_scratch_bytes(env->compute, g.M, g.N, g.K, env->par.nth));
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

/* Products with a stack of matrices: expert_linear, where each row has an expert and rows are sorted by
 * it, and group_linear, where each head has its own matrix; with their gradients. One gemm_run a matrix,
 * by the whole team, so that the law of numbers is the kernels'. A stack W[E,N,D] that was prepared
 * carries the panels of its matrices one after the other. Called through the table of operations. */
/* SPDX-License-Identifier: MIT */
#include "graph/experts.h"
#include "graph/op_shape.h"

/* ---- builders ---- */

struct g_tensor *g_expert_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, struct g_tensor *starts,
                                 struct g_tensor *b)
{
    return g_op(g, OP_expert_linear, NULL, 4, OP_IN(x, w, starts, b));
}

struct g_tensor *g_group_linear(struct graph *g, struct g_tensor *x, struct g_tensor *w, bool transposed)
{
    union g_attr a = {.group = {transposed}};
    return g_op(g, OP_group_linear, &a, 2, OP_IN(x, w));
}

/* ---- a stack of right-hand sides ---- */

static size_t pad64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* W[E,N,D] of any dtype; side 0: x W^T, side 1: dy W, as in g_param.packed. */
struct stack {
    const struct g_tensor *w;
    int side;
    enum gemm_format format;
};

static int stack_k(const struct stack *s)
{
    return (int)s->w->shape.d[s->side ? 1 : 2];
}
static int stack_n(const struct stack *s)
{
    return (int)s->w->shape.d[s->side ? 2 : 1];
}
static const void *ready_panels(const struct stack *s)
{
    const struct g_param *p = s->w->kind == G_PARAM ? s->w->param : NULL;
    return p && p->packed_format == s->format ? p->packed[s->side] : NULL;
}
static bool packs_directly(const struct stack *s)
{
    return s->w->dt == DT_F32 || s->w->dt == DT_BF16;
}
static size_t matrix_values(const struct stack *s)
{
    return (size_t)s->w->shape.d[1] * (size_t)s->w->shape.d[2];
}

/* Scratch of a product: [gemm | panels of one matrix | its values in float32, when needed]. */
static size_t stack_scratch(const struct stack *s, int rows, int threads)
{
    int K = stack_k(s), N = stack_n(s);
    size_t bytes = pad64(gemm_scratch_bytes(s->format, rows, N, K, threads));
    if (!ready_panels(s))
        bytes += pad64(gemm_b_bytes(s->format, K, N)) + (packs_directly(s) ? 0 : matrix_values(s) * sizeof(float));
    return bytes;
}

/* Matrix e, packed by the whole team; complete when it returns. `room`: behind the gemm's scratch. */
static struct gemm_b stack_pack(const struct stack *s, size_t e, char *room, const struct par *par)
{
    struct gemm_b b = {s->format, stack_k(s), stack_n(s), NULL};
    size_t panels = gemm_b_bytes(s->format, b.K, b.N), values = matrix_values(s);
    const struct dtype_info *info = &dtype_table[s->w->dt];
    const void *src = (const char *)s->w->data + e * values / info->block_values * info->block_bytes;
    if (ready_panels(s)) {
        b.panels = (const char *)ready_panels(s) + e * panels;
        return b;
    }
    if (!packs_directly(s)) {
        float *rows = (float *)(room + pad64(panels));
        size_t lo, hi, unit = info->block_values;
        par_share(par, values, unit > 64 ? unit : 64, &lo, &hi);
        if (lo < hi)
            info->decode((const char *)src + lo / unit * info->block_bytes, rows + lo, hi - lo);
        par_barrier(par);
        src = rows;
    }
    gemm_pack_b(s->format, b.K, b.N, src, s->w->dt == DT_BF16, (ptrdiff_t)s->w->shape.d[2], !s->side, room, par);
    par_barrier(par);
    b.panels = room;
    return b;
}

/* g, with matrix e as B. */
static void stack_run(const struct stack *s, size_t e, struct gemm *g, const struct g_env *env)
{
    size_t used = pad64(gemm_scratch_bytes(s->format, g->M, g->N, g->K, env->par.nth));
    g->B = stack_pack(s, e, (char *)env->scratch + used, &env->par);
    gemm_run(g, &env->par);
    if (!ready_panels(s))
        par_barrier(&env->par); /* the next one is packed in the same place */
}

static void cost_products(double rows, double N, double K, double weight_bytes, struct g_cost *out)
{
    out->flops = 2 * rows * N * K;
    out->bytes = 4 * rows * (N + K) + weight_bytes;
}

static int is_stack(const struct g_tensor *t, int i)
{
    const struct g_tensor *w = t->in[i];
    if (w->shape.n != 3 || w->shape.d[0] < 1 || w->shape.d[2] % (int64_t)dtype_table[w->dt].block_values)
        return op_bad(t, i, "a stack of matrices [E, N, D]");
    return 0;
}

/* ---- rows of experts ---- */

static int is_starts(const struct g_tensor *t, int i, int64_t experts)
{
    if (t->in[i]->dt != DT_I32 || g_count(t->in[i]) != experts + 1)
        return op_bad(t, i, "I32, the first row of each expert and the end");
    return 0;
}

/* Rows of expert e, within the R that there are. */
static struct op_range rows_of(const struct g_tensor *starts, int64_t e, int64_t R)
{
    int64_t lo = g_i32(starts)[e], hi = g_i32(starts)[e + 1];
    lo = lo < 0 ? 0 : lo > R ? R : lo;
    hi = hi < lo ? lo : hi > R ? R : hi;
    return (struct op_range){(size_t)lo, (size_t)hi};
}

/* x[R, inner] with w[E,..] and its rows: y[R, outer]. */
static int rows_shape(struct g_tensor *t, int inner, int outer)
{
    const struct g_tensor *x = t->in[0], *w = t->in[1];
    TRY(is_stack(t, 1));
    TRY(is_starts(t, 2, w->shape.d[0]));
    if (x->dt != DT_F32 || x->shape.n != 2 || g_last(x) != w->shape.d[inner])
        return op_bad(t, 0, "F32 rows of the matrices' width");
    t->dt = DT_F32;
    t->shape = SHAPE2(x->shape.d[0], w->shape.d[outer]);
    return 0;
}

static void cost_rows(const struct graph *g, const struct g_tensor *t, int side, struct g_cost *out)
{
    struct stack s = {t->in[1], side, g->compute};
    double R = (double)g_rows(t), E = (double)s.w->shape.d[0];
    cost_products(R, stack_n(&s), stack_k(&s), (double)g_bytes(s.w) * (R < E ? R / E : 1), out);
    out->scratch = stack_scratch(&s, (int)g_rows(t), g->threads);
}

static void run_rows(const struct g_tensor *t, int side, const float *bias, const struct g_env *env)
{
    struct stack s = {t->in[1], side, env->compute};
    size_t K = (size_t)stack_k(&s), N = (size_t)stack_n(&s), R = (size_t)g_rows(t), end = 0;
    for (int64_t e = 0; e < s.w->shape.d[0]; e++) {
        struct op_range r = rows_of(t->in[2], e, (int64_t)R);
        struct gemm g = {.M = (int)(r.hi - r.lo), .N = (int)N, .K = (int)K, .A = g_f32(t->in[0]) + r.lo * K,
                         .lda = (ptrdiff_t)K, .C = g_f32(t) + r.lo * N, .ldc = (ptrdiff_t)N,
                         .bias = bias ? bias + (size_t)e * N : NULL, .scratch = env->scratch};
        if (g.M)
            stack_run(&s, (size_t)e, &g, env);
        end = r.hi > end ? r.hi : end;
    }
    if (env->par.ith == 0) /* rows that no expert has */
        memset(g_f32(t) + end * N, 0, (R - end) * N * sizeof(float));
}

int shape_expert_linear(struct g_tensor *t)
{
    const struct g_tensor *b = t->n_in > 3 ? t->in[3] : NULL;
    TRY(rows_shape(t, 2, 1));
    if (b && (b->dt != DT_F32 || b->shape.n != 2 || b->shape.d[0] != t->in[1]->shape.d[0] || g_last(b) != g_last(t)))
        return op_bad(t, 3, "F32 [E, N]");
    return 0;
}
void cost_expert_linear(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_rows(g, t, 0, out);
}
void run_expert_linear(const struct g_tensor *t, const struct g_env *env)
{
    run_rows(t, 0, t->n_in > 3 && t->in[3] ? g_f32(t->in[3]) : NULL, env);
}
void grad_expert_linear(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *x = t->in[0], *w = t->in[1], *starts = t->in[2], *b = t->n_in > 3 ? t->in[3] : NULL;
    dt = op_as(g, dt, t);
    if (g_wants(x))
        op_give(g, t, 0, g_op(g, OP_expert_linear_dx, NULL, 3, OP_IN(dt, w, starts)));
    if (g_wants(w))
        g_op(g, OP_expert_linear_dw, NULL, 4, OP_IN(x, dt, starts, g_grad_into(g, w)));
    if (g_wants(b))
        g_op(g, OP_expert_sum_into, NULL, 3, OP_IN(dt, starts, g_grad_into(g, b)));
}

int shape_expert_linear_dx(struct g_tensor *t)
{
    return rows_shape(t, 1, 2);
}
void cost_expert_linear_dx(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_rows(g, t, 1, out);
}
void run_expert_linear_dx(const struct g_tensor *t, const struct g_env *env)
{
    run_rows(t, 1, NULL, env);
}

int shape_expert_linear_dw(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[3];
    TRY(is_stack(t, 3));
    TRY(is_starts(t, 2, dw->shape.d[0]));
    if (x->dt != DT_F32 || g_last(x) != g_last(dw))
        return op_bad(t, 0, "F32 rows of the matrices' width");
    if (dy->dt != DT_F32 || g_last(dy) != dw->shape.d[1] || g_rows(dy) != g_rows(x))
        return op_bad(t, 1, "F32, a row for each of x");
    return op_into(t);
}

/* Scratch of dW: [gemm | panels of up to `rows` rows]. */
static void cost_dw(const struct graph *g, int M, int N, int rows, double weight_bytes, struct g_cost *out)
{
    cost_products(rows, M, N, 2 * weight_bytes, out);
    out->scratch = pad64(gemm_scratch_bytes(g->compute, M, N, rows, g->threads)) + gemm_b_bytes(g->compute, rows, N);
}

/* dW[M,N] += a[rows,M]^T b[rows,N], row strides lda and ldb. */
static void run_dw(struct gemm *g, const float *b, ptrdiff_t ldb, const struct g_env *env)
{
    char *panels = (char *)env->scratch + pad64(gemm_scratch_bytes(env->compute, g->M, g->N, g->K, env->par.nth));
    gemm_pack_b(env->compute, g->K, g->N, b, false, ldb, false, panels, &env->par);
    g->B = (struct gemm_b){env->compute, g->K, g->N, panels};
    g->a_transposed = g->accumulate = true;
    g->ldc = g->N;
    g->scratch = env->scratch;
    par_barrier(&env->par);
    gemm_run(g, &env->par);
    par_barrier(&env->par);
}

void cost_expert_linear_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_dw(g, (int)t->shape.d[1], (int)t->shape.d[2], (int)g_rows(t->in[0]), (double)g_bytes(t), out);
}
void run_expert_linear_dw(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[3];
    size_t M = (size_t)dw->shape.d[1], N = (size_t)dw->shape.d[2];
    for (int64_t e = 0; e < dw->shape.d[0]; e++) {
        struct op_range r = rows_of(t->in[2], e, g_rows(x));
        struct gemm g = {.M = (int)M, .N = (int)N, .K = (int)(r.hi - r.lo), .A = g_f32(dy) + r.lo * M,
                         .lda = (ptrdiff_t)M, .C = g_f32(dw) + (size_t)e * M * N};
        if (g.K)
            run_dw(&g, g_f32(x) + r.lo * N, (ptrdiff_t)N, env);
    }
}

int shape_expert_sum_into(struct g_tensor *t)
{
    const struct g_tensor *acc = t->in[2];
    if (acc->shape.n != 2 || acc->dt != DT_F32)
        return op_bad(t, 2, "F32 [E, N]");
    TRY(is_starts(t, 1, acc->shape.d[0]));
    if (t->in[0]->dt != DT_F32 || g_last(t->in[0]) != g_last(acc))
        return op_bad(t, 0, "F32 rows of the biases' width");
    return op_into(t);
}
void cost_expert_sum_into(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    op_cost(t, 0, out);
    out->flops = (double)g_count(t->in[0]);
}
void run_expert_sum_into(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *x = t->in[0], *acc = t->in[2];
    size_t N = (size_t)g_last(acc);
    struct op_range mine = op_share(env, acc->shape.d[0], 1);
    for (size_t e = mine.lo; e < mine.hi; e++) {
        struct op_range r = rows_of(t->in[1], (int64_t)e, g_rows(x));
        for (size_t row = r.lo; row < r.hi; row++)
            env->kernels->add_map(N, g_f32(acc) + e * N, g_f32(x) + row * N, g_f32(acc) + e * N);
    }
}

/* ---- a matrix a head ---- */

int shape_group_linear(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *w = t->in[1];
    bool transposed = t->attr.group.transposed;
    TRY(is_stack(t, 1));
    if (x->dt != DT_F32 || x->shape.n != 3 || x->shape.d[1] != w->shape.d[0] || g_last(x) != w->shape.d[transposed ? 1 : 2])
        return op_bad(t, 0, "F32 heads [T, G, D] that fit the matrices");
    t->dt = DT_F32;
    t->shape = SHAPE3(x->shape.d[0], x->shape.d[1], w->shape.d[transposed ? 2 : 1]);
    return 0;
}
void cost_group_linear(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct stack s = {t->in[1], t->attr.group.transposed, g->compute};
    cost_products((double)g_rows(t), stack_n(&s), stack_k(&s), (double)g_bytes(s.w), out);
    out->scratch = stack_scratch(&s, (int)t->shape.d[0], g->threads);
}
void run_group_linear(const struct g_tensor *t, const struct g_env *env)
{
    struct stack s = {t->in[1], t->attr.group.transposed, env->compute};
    size_t G = (size_t)t->shape.d[1], K = (size_t)stack_k(&s), N = (size_t)stack_n(&s);
    for (size_t h = 0; h < G && t->shape.d[0]; h++) {
        struct gemm g = {.M = (int)t->shape.d[0], .N = (int)N, .K = (int)K, .A = g_f32(t->in[0]) + h * K,
                         .lda = (ptrdiff_t)(G * K), .C = g_f32(t) + h * N, .ldc = (ptrdiff_t)(G * N), .scratch = env->scratch};
        stack_run(&s, h, &g, env);
    }
}
void grad_group_linear(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *x = t->in[0], *w = t->in[1];
    dt = op_as(g, dt, t);
    if (g_wants(x))
        op_give(g, t, 0, g_group_linear(g, dt, w, !t->attr.group.transposed));
    if (g_wants(w))
        g_op(g, OP_group_linear_dw, &t->attr, 3, OP_IN(x, dt, g_grad_into(g, w)));
}

int shape_group_linear_dw(struct g_tensor *t)
{
    const struct g_tensor *x = t->in[0], *dy = t->in[1], *dw = t->in[2];
    bool transposed = t->attr.group.transposed;
    TRY(is_stack(t, 2));
    if (x->dt != DT_F32 || x->shape.n != 3 || x->shape.d[1] != dw->shape.d[0] || g_last(x) != dw->shape.d[transposed ? 1 : 2])
        return op_bad(t, 0, "F32 heads [T, G, D] that fit the matrices");
    if (dy->dt != DT_F32 || g_rows(dy) != g_rows(x) || g_last(dy) != dw->shape.d[transposed ? 2 : 1])
        return op_bad(t, 1, "F32 gradients of the heads");
    return op_into(t);
}
void cost_group_linear_dw(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    cost_dw(g, (int)t->shape.d[1], (int)t->shape.d[2], (int)t->in[0]->shape.d[0], (double)g_bytes(t), out);
}
/* dW = dy^T x a head; transposed: x^T dy. */
void run_group_linear_dw(const struct g_tensor *t, const struct g_env *env)
{
    const struct g_tensor *dw = t->in[2], *a = t->in[!t->attr.group.transposed], *b = t->in[t->attr.group.transposed];
    size_t G = (size_t)dw->shape.d[0], M = (size_t)dw->shape.d[1], N = (size_t)dw->shape.d[2];
    for (size_t h = 0; h < G && a->shape.d[0]; h++) {
        struct gemm g = {.M = (int)M, .N = (int)N, .K = (int)a->shape.d[0], .A = g_f32(a) + h * M,
                         .lda = (ptrdiff_t)(G * M), .C = g_f32(dw) + h * M * N};
        run_dw(&g, g_f32(b) + h * N, (ptrdiff_t)(G * N), env);
    }
}

/* Batched products of two computed values. Every matrix of the batch is one gemm; threads share the
 * batch when it is large enough, else the rows of each product, which shows in no bit. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "graph/op.h"

static size_t pad64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Sizes of one product and how many there are. */
struct sizes { int M, N, K; int64_t batch; bool b_shared; };

static int64_t dim_from_end(const struct g_tensor *t, int i)
{
    return t->shape.d[t->shape.n - 1 - i];
}

static struct sizes sizes_of(const struct g_tensor *t)
{
    const struct g_tensor *a = t->in[0], *b = t->in[1];
    bool at = t->attr.matmul.a_transposed, bt = t->attr.matmul.b_transposed;
    struct sizes s = {.M = (int)dim_from_end(a, at ? 0 : 1), .K = (int)dim_from_end(a, at ? 1 : 0),
                      .N = (int)dim_from_end(b, bt ? 1 : 0), .batch = 1};
    for (int i = 0; i + 2 < a->shape.n; i++)
        s.batch *= a->shape.d[i];
    s.b_shared = b->shape.n == 2 && a->shape.n > 2;
    if (s.b_shared && !at) { /* one tall product */
        s.M *= (int)s.batch;
        s.batch = 1;
    }
    return s;
}

static bool leading_equal(const struct g_tensor *a, const struct g_tensor *b)
{
    if (b->shape.n == 2)
        return true;
    if (a->shape.n != b->shape.n)
        return false;
    for (int i = 0; i + 2 < a->shape.n; i++)
        if (a->shape.d[i] != b->shape.d[i])
            return false;
    return true;
}

int shape_matmul(struct g_tensor *t)
{
    const struct g_tensor *a = t->in[0], *b = t->in[1];
    bool at = t->attr.matmul.a_transposed, bt = t->attr.matmul.b_transposed;
    bool fit = a->dt == DT_F32 && (b->dt == DT_F32 || b->dt == DT_BF16) && a->shape.n >= 2 && b->shape.n >= 2 &&
               leading_equal(a, b) && dim_from_end(a, at ? 1 : 0) == dim_from_end(b, bt ? 0 : 1);
    if (!fit) {
        char x[SHAPE_TEXT], y[SHAPE_TEXT];
        return err_set(NUN_EARG, "matmul: %s%s does not fit %s%s", shape_format(&a->shape, x), at ? " transposed" : "",
                       shape_format(&b->shape, y), bt ? " transposed" : "");
    }
    t->dt = DT_F32;
    t->shape = a->shape;
    t->shape.d[t->shape.n - 2] = dim_from_end(a, at ? 0 : 1);
    t->shape.d[t->shape.n - 1] = dim_from_end(b, bt ? 1 : 0);
    return 0;
}

/* Scratch of one product by a team of nth: [gemm | panels]. */
static size_t product_scratch(enum gemm_format format, const struct sizes *s, int nth)
{
    return pad64(gemm_scratch_bytes(format, s->M, s->N, s->K, nth)) + pad64(gemm_b_bytes(format, s->K, s->N));
}

void cost_matmul(const struct graph *g, const struct g_tensor *t, struct g_cost *out)
{
    struct sizes s = sizes_of(t);
    out->flops = 2.0 * (double)s.batch * s.M * s.N * s.K;
    out->bytes = 4.0 * (double)(g_count(t) + g_count(t->in[0])) + (double)g_bytes(t->in[1]);
    size_t team = product_scratch(g->compute, &s, g->threads);
    size_t alone = product_scratch(g->compute, &s, 1) * (size_t)g->threads;
    out->scratch = team > alone ? team : alone;
}

static void product(const struct g_tensor *t, const struct sizes *s, int64_t i, enum gemm_format format, char *scratch,
                    const struct par *par)
{
    const struct g_tensor *a = t->in[0], *b = t->in[1];
    bool at = t->attr.matmul.a_transposed, bt = t->attr.matmul.b_transposed;
    struct gemm g = {.M = s->M, .N = s->N, .K = s->K, .A = g_f32(a) + i * s->M * s->K, .lda = at ? s->M : s->K,
                     .a_transposed = at, .C = g_f32(t) + i * s->M * s->N, .ldc = s->N, .scratch = scratch};
    char *panels = scratch + pad64(gemm_scratch_bytes(format, s->M, s->N, s->K, par->nth));
    int64_t skip = s->b_shared ? 0 : i * s->K * s->N;
    const char *src = (const char *)b->data + (size_t)skip * dtype_table[b->dt].block_bytes;
    gemm_pack_b(format, s->K, s->N, src, b->dt == DT_BF16, bt ? s->K : s->N, bt, panels, par);
    g.B = (struct gemm_b){format, s->K, s->N, panels};
    par_barrier(par);
    gemm_run(&g, par);
    par_barrier(par);
}

void run_matmul(const struct g_tensor *t, const struct g_env *env)
{
    struct sizes s = sizes_of(t);
    if (s.batch < env->par.nth) {
        for (int64_t i = 0; i < s.batch; i++)
            product(t, &s, i, env->compute, env->scratch, &env->par);
        return;
    }
    struct par alone = {0, 1, NULL};
    char *scratch = (char *)env->scratch + product_scratch(env->compute, &s, 1) * (size_t)env->par.ith;
    size_t lo, hi;
    par_share(&env->par, (size_t)s.batch, 1, &lo, &hi);
    for (size_t i = lo; i < hi; i++)
        product(t, &s, (int64_t)i, env->compute, scratch, &alone);
}

/* All rows of a batch as one matrix. */
static struct g_tensor *tall(struct graph *g, struct g_tensor *x)
{
    return x && x->shape.n > 2 ? g_reshape(g, x, SHAPE2(g_rows(x), g_last(x))) : x;
}

void grad_matmul(struct graph *g, struct g_tensor *t, struct g_tensor *dt)
{
    struct g_tensor *a = t->in[0], *b = t->in[1];
    bool at = t->attr.matmul.a_transposed, bt = t->attr.matmul.b_transposed;
    bool shared = b->shape.n == 2 && a->shape.n > 2;
    if (shared && at) {
        g->error = err_set(NUN_EUNSUP, "matmul: no gradient for a transposed batch with one right-hand side");
        return;
    }
    if (g_wants(a))
        g_grad_add(g, a, at ? g_matmul(g, b, dt, bt, true) : g_matmul(g, dt, b, false, !bt));
    if (g_wants(b)) {
        struct g_tensor *a2 = shared ? tall(g, a) : a, *dt2 = shared ? tall(g, dt) : dt;
        g_grad_add(g, b, bt ? g_matmul(g, dt2, a2, true, at) : g_matmul(g, a2, dt2, !at, false));
    }
}

/* Linear, its gradients, matmul and row sums as operations: every weight format, panels ready or packed
 * on the way, teams of any size, halves of a batch, and shapes that do not fit. The products themselves
 * are proved by tests/kernels, the gradient rules by tests/grad. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "nunchi/error.h"

enum { T = 9, K = 37, N = 50 };

static struct rng rng;
static struct pool *pool;

static float *normals(size_t n)
{
    float *x = mem_calloc(MEM_TEST, n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
    return x;
}

static struct graph *graph_new(enum gemm_format format, bool training)
{
    struct graph *g;
    assert_int_equal(graph_create(format, 3, &g), 0);
    g->training = training;
    return g;
}

/* Run and keep y's values. */
static void run_into(struct graph *g, const struct g_tensor *y, struct pool *team, float *out)
{
    struct plan *p;
    struct exec e = {.pool = team};
    if (plan_create(g, &p) < 0 || exec_run(p, &e) < 0)
        fail_msg("%s", nun_error());
    if (y)
        memcpy(out, y->data, g_bytes(y));
    plan_free(p);
    graph_free(g);
}

/* A weight [N,K] of some format and what it decodes to. */
struct weight { struct g_param param; void *data, *panels; float *f32; };

static struct weight weight_new(enum dtype dt)
{
    struct weight w = {.f32 = normals(N * K)};
    size_t bytes;
    assert_int_equal(dtype_bytes(dt, N * K, &bytes), 0);
    w.data = mem_alloc(MEM_TEST, bytes);
    assert_int_equal(dtype_from_f32(dt, w.f32, w.data, N * K), 0);
    assert_int_equal(dtype_to_f32(dt, w.data, w.f32, N * K), 0);
    w.param = (struct g_param){.name = "w", .dt = dt, .shape = SHAPE2(N, K), .data = w.data};
    return w;
}

static void weight_pack(struct weight *w, enum gemm_format format, int side)
{
    struct par alone = {0, 1, NULL};
    int k = side ? N : K, n = side ? K : N;
    w->panels = mem_alloc(MEM_TEST, gemm_b_bytes(format, k, n));
    gemm_pack_b(format, k, n, w->f32, false, K, !side, w->panels, &alone);
    w->param.packed[side] = w->panels;
    w->param.packed_format = format;
}

static void weight_free(struct weight *w)
{
    mem_free(w->f32);
    mem_free(w->data);
    mem_free(w->panels);
}

/* y = act(x W^T + b) + r in doubles. */
static void want_linear(const float *x, const float *w, const float *b, const float *r, bool act, float *y)
{
    for (int t = 0; t < T; t++)
        for (int n = 0; n < N; n++) {
            double s = 0;
            for (int k = 0; k < K; k++)
                s += (double)x[t * K + k] * w[n * K + k];
            s += b ? b[n] : 0;
            s = act ? s / (1 + exp(-s)) : s;
            y[t * N + n] = (float)(s + (r ? r[t * N + n] : 0));
        }
}

static void close_to(const float *got, const float *want, size_t n, float tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= tolerance))
            fail_msg("at %zu: got %g, want %g", i, (double)got[i], (double)want[i]);
}

static void test_linear_formats(void **state)
{
    static const enum dtype formats[] = {DT_F32, DT_BF16, DT_F16};
    float *x = normals(T * K), *b = normals(N), *r = normals(T * N), want[T * N], got[T * N], first[T * N];
    for (size_t f = 0; f < 3; f++)
        for (int compute = 0; compute < GEMM_FORMAT_COUNT; compute++) {
            struct weight w = weight_new(formats[f]);
            want_linear(x, w.f32, b, r, true, want);
            for (int how = 0; how < 4; how++) { /* packed here, by a team; ready panels, by a team */
                if (how == 2)
                    weight_pack(&w, (enum gemm_format)compute, 0);
                struct graph *g = graph_new((enum gemm_format)compute, false);
                struct g_tensor *y = g_linear(g, g_const(g, DT_F32, SHAPE2(T, K), x, false), g_param(g, &w.param),
                                              g_const(g, DT_F32, SHAPE1(N), b, false),
                                              g_const(g, DT_F32, SHAPE2(T, N), r, false), ACT_SILU);
                run_into(g, g_output(y), how & 1 ? pool : NULL, got);
                if (how == 0)
                    memcpy(first, got, sizeof(got));
                assert_memory_equal(got, first, sizeof(got));
            }
            /* sums of 37 products of normals; bf16 rounds each factor by 2^-9 */
            close_to(got, want, T * N, compute == GEMM_BF16 ? 37 * 0x1p-7f : 37 * 0x1p-20f);
            weight_free(&w);
        }
    mem_free(x);
    mem_free(b);
    mem_free(r);
}

static void test_bias_formats(void **state)
{
    float *x = normals(T * K), *b = normals(N), want[T * N], got[T * N];
    uint16_t half[N];
    struct weight w = weight_new(DT_F32);
    assert_int_equal(dtype_from_f32(DT_BF16, b, half, N), 0);
    assert_int_equal(dtype_to_f32(DT_BF16, half, b, N), 0);
    want_linear(x, w.f32, b, NULL, false, want);
    struct graph *g = graph_new(GEMM_F32, false);
    struct g_tensor *y = g_linear(g, g_const(g, DT_F32, SHAPE3(3, 3, K), x, false), g_param(g, &w.param),
                                  g_const(g, DT_BF16, SHAPE1(N), half, false), NULL, ACT_NONE);
    assert_int_equal(y->shape.n, 3);
    run_into(g, g_output(y), pool, got);
    close_to(got, want, T * N, 37 * 0x1p-20f);
    weight_free(&w);
    mem_free(x);
    mem_free(b);
}

static void test_linear_dx_panels(void **state)
{
    float *dy = normals(T * N), want[T * K], got[T * K];
    struct weight w = weight_new(DT_BF16);
    for (int packed = 0; packed < 2; packed++) {
        if (packed)
            weight_pack(&w, GEMM_BF16, 1);
        struct graph *g = graph_new(GEMM_BF16, false);
        struct g_tensor *in[] = {g_const(g, DT_F32, SHAPE2(T, N), dy, false), g_param(g, &w.param)};
        run_into(g, g_output(g_op(g, OP_linear_dx, NULL, 2, in)), packed ? pool : NULL, packed ? got : want);
    }
    assert_memory_equal(got, want, sizeof(got));
    weight_free(&w);
    mem_free(dy);
}

/* dW of two halves of a batch, one after the other, has the bits of the whole; so have sums of rows. */
static void test_halves_equal_whole(void **state)
{
    enum { ROWS = 12 };
    float *x = normals(ROWS * K), *dy = normals(ROWS * N), *start = normals(N * K), *acc = normals(N * K), *sum = normals(3 * N);
    for (int i = 0; i < 2 * N; i++)
        sum[N + i] = sum[i]; /* [whole | halves | start] */
    for (int format = 0; format < GEMM_FORMAT_COUNT; format++) {
        float whole[N * K];
        for (int cut = ROWS; cut >= ROWS / 2; cut -= ROWS / 2) {
            memcpy(acc, start, N * K * sizeof(float));
            for (int from = 0; from < ROWS; from += cut) {
                struct graph *g = graph_new((enum gemm_format)format, false);
                struct g_tensor *dw = g_input(g, "dw", DT_F32, SHAPE2(N, K)), *ds = g_input(g, "ds", DT_F32, SHAPE1(N));
                dw->data = acc;
                ds->data = cut == ROWS ? sum : sum + N;
                struct g_tensor *d = g_const(g, DT_F32, SHAPE2(cut, N), dy + from * N, false);
                struct g_tensor *in[] = {g_const(g, DT_F32, SHAPE2(cut, K), x + from * K, false), d, dw}, *rows[] = {d, ds};
                g_op(g, OP_linear_dw, NULL, 3, in);
                g_op(g, OP_sum_rows_into, NULL, 2, rows);
                run_into(g, NULL, cut == ROWS ? NULL : pool, NULL);
            }
            if (cut == ROWS)
                memcpy(whole, acc, sizeof(whole));
            assert_memory_equal(acc, whole, sizeof(whole));
            close_to(whole, start, N * K, 50); /* a sum of 12 products away from where it began */
        }
        assert_memory_equal(sum, sum + N, N * sizeof(float));
    }
    for (int n = 0; n < N; n++) { /* both formats added the same rows */
        double s = sum[2 * N + n];
        for (int t = 0; t < 2 * ROWS; t++)
            s += dy[t % ROWS * N + n];
        assert_true(fabs(s - sum[n]) < 24 * 0x1p-20);
    }
    float *all[] = {x, dy, start, acc, sum};
    for (int i = 0; i < 5; i++)
        mem_free(all[i]);
}

static double element(const float *m, bool transposed, int rows, int cols, int i, int j)
{
    return transposed ? m[j * rows + i] : m[i * cols + j];
}

static void test_matmul(void **state)
{
    enum { B = 4, m = 5, n = 18, k = 7 };
    float *a = normals(B * m * k), *b = normals(B * k * n), got[B * m * n], one[B * m * n];
    for (int bits = 0; bits < 8; bits++) {
        bool at = bits & 1, bt = bits & 2, shared = bits & 4;
        for (int team = 0; team < 2; team++) {
            struct graph *g = graph_new(GEMM_F32, false);
            struct g_tensor *y = g_matmul(g, g_const(g, DT_F32, at ? SHAPE4(2, 2, k, m) : SHAPE4(2, 2, m, k), a, false),
                                          g_const(g, DT_F32, shared ? (bt ? SHAPE2(n, k) : SHAPE2(k, n))
                                                                    : (bt ? SHAPE4(2, 2, n, k) : SHAPE4(2, 2, k, n)), b, false),
                                          at, bt);
            run_into(g, g_output(y), team ? pool : NULL, team ? got : one);
        }
        assert_memory_equal(got, one, sizeof(got));
        for (int i = 0; i < B * m * n; i++) {
            int p = i / (m * n), row = i / n % m, col = i % n;
            double want = 0;
            for (int c = 0; c < k; c++)
                want += element(a + p * m * k, at, m, k, row, c) * element(b + (shared ? 0 : p * k * n), bt, k, n, c, col);
            assert_true(fabs(got[i] - want) < 7 * 0x1p-20);
        }
    }
    mem_free(a);
    mem_free(b);
}

static void refused(struct graph *g, struct g_tensor *t)
{
    assert_null(t);
    assert_int_equal(graph_error(g), NUN_EARG);
    graph_free(g);
}

static struct g_tensor *input(struct graph *g, struct shape s)
{
    return g_input(g, "x", DT_F32, s);
}

static void test_misfits(void **state)
{
    struct graph *g = graph_new(GEMM_F32, false);
    refused(g, g_linear(g, input(g, SHAPE2(3, 4)), input(g, SHAPE2(5, 6)), NULL, NULL, ACT_NONE));
    g = graph_new(GEMM_F32, false);
    refused(g, g_linear(g, input(g, SHAPE2(3, 4)), input(g, SHAPE2(5, 4)), input(g, SHAPE1(4)), NULL, ACT_NONE));
    g = graph_new(GEMM_F32, false);
    refused(g, g_linear(g, input(g, SHAPE2(3, 4)), input(g, SHAPE2(5, 4)), NULL, input(g, SHAPE2(3, 4)), ACT_NONE));
    g = graph_new(GEMM_F32, false);
    refused(g, g_matmul(g, input(g, SHAPE3(2, 3, 4)), input(g, SHAPE3(3, 4, 5)), false, false));
    g = graph_new(GEMM_F32, false);
    refused(g, g_matmul(g, input(g, SHAPE2(3, 4)), input(g, SHAPE2(3, 4)), false, false));
    g = graph_new(GEMM_F32, false);
    struct g_tensor *in[] = {input(g, SHAPE2(3, 4)), input(g, SHAPE1(5))};
    refused(g, g_op(g, OP_sum_rows_into, NULL, 2, in));
}

int main(void)
{
    rng = rng_at(11, 0);
    if (pool_create(3, &pool) < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_formats), cmocka_unit_test(test_bias_formats),
        cmocka_unit_test(test_linear_dx_panels), cmocka_unit_test(test_halves_equal_whole),
        cmocka_unit_test(test_matmul), cmocka_unit_test(test_misfits)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return rc;
}

/* The operations on feature maps against their definitions in doubles; equal bits for any batch and number of threads;
 * the shapes that they refuse. Gradients are proved by tests/grad. --bench: speed of convolutions of real networks. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/rng.h"
#include "base/seam.h"
#include "graph/exec.h"
#include "graph/maps.h"
#include "kernels/cpu.h"

static struct rng rng;
static struct pool *pool;

static struct g_tensor *floats(struct graph *g, struct shape shape)
{
    size_t n = 0;
    check_ok(shape_count(&shape, &n));
    float *x = arena_array(&g->arena, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
    return g_const(g, DT_F32, shape, x, false);
}

/* The values of y, in g's arena. */
static const float *values(struct graph *g, struct g_tensor *y, struct pool *threads)
{
    struct plan *p;
    g_output(y);
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &(struct exec){.pool = threads}));
    float *copy = arena_alloc(&g->arena, g_bytes(y));
    memcpy(copy, y->data, g_bytes(y));
    plan_free(p);
    return copy;
}

/* ---- conv2d ---- */

struct trial { int B, H, W, C, O, kh, kw, stride, before, after, groups; enum act_kind act; int extras; };

/* Kernels of all forms, edges of all widths, maps smaller than the kernel, strides that leave pixels over. */
static const struct trial trials[] = {
    {2, 5, 6, 3, 7, 3, 3, 1, 1, 1, 1, ACT_NONE, 0},    {3, 8, 7, 3, 18, 7, 7, 2, 3, 3, 1, ACT_RELU, 3},
    {2, 6, 6, 17, 33, 1, 1, 1, 0, 0, 1, ACT_GELU, 1},  {2, 6, 5, 17, 9, 1, 1, 1, 0, 0, 1, ACT_SILU, 7},
    {2, 7, 7, 20, 16, 1, 1, 2, 0, 0, 1, ACT_NONE, 3},  {1, 4, 4, 8, 8, 2, 2, 2, 0, 0, 1, ACT_NONE, 4},
    {2, 5, 5, 12, 8, 3, 3, 1, 1, 1, 4, ACT_RELU, 7},   {2, 9, 11, 19, 19, 7, 7, 1, 3, 3, 19, ACT_NONE, 1},
    {2, 9, 8, 16, 16, 5, 5, 2, 1, 2, 16, ACT_SILU, 3}, {3, 2, 3, 5, 5, 7, 7, 1, 3, 3, 5, ACT_NONE, 7},
    {1, 2, 2, 4, 6, 5, 5, 1, 2, 2, 1, ACT_NONE, 0},    {2, 6, 7, 3, 5, 2, 3, 1, 0, 1, 1, ACT_NONE, 0},
    {1, 40, 41, 6, 10, 3, 3, 1, 1, 1, 1, ACT_NONE, 2}, {2, 8, 8, 4, 4, 3, 3, 2, 0, 1, 4, ACT_NONE, 0},
};

struct parts { struct g_tensor *x, *w, *bias, *scale, *residual; };

static struct g_tensor *build(struct graph *g, const struct trial *t, const struct parts *p)
{
    struct conv2d_how how = {t->stride, t->before, t->after, t->groups, t->act};
    return g_conv2d(g, &how, p->x, p->w, p->bias, p->scale, p->residual);
}

static struct parts parts_of(struct graph *g, const struct trial *t)
{
    int h = (t->H + t->before + t->after - t->kh) / t->stride + 1, w = (t->W + t->before + t->after - t->kw) / t->stride + 1;
    struct parts p = {.x = floats(g, SHAPE4(t->B, t->H, t->W, t->C)), .w = floats(g, SHAPE4(t->O, t->kh, t->kw, t->C / t->groups))};
    p.bias = t->extras & 1 ? floats(g, SHAPE1(t->O)) : NULL;
    p.scale = t->extras & 2 ? floats(g, SHAPE1(t->O)) : NULL;
    p.residual = t->extras & 4 ? floats(g, SHAPE4(t->B, h, w, t->O)) : NULL;
    return p;
}

static double act_of(enum act_kind act, double x)
{
    if (act == ACT_RELU)
        return x > 0 ? x : 0;
    if (act == ACT_SILU)
        return x / (1 + exp(-x));
    return act == ACT_GELU ? x * erfc(-x / sqrt(2)) / 2 : x;
}

/* One value of the result, and in *size the sum of its terms' sizes. */
static double want(const struct trial *t, const struct parts *p, const struct shape *y, size_t i, double *size)
{
    int O = t->O, o = (int)(i % (size_t)O), at = (int)(i / (size_t)O), w = (int)y->d[2], h = (int)y->d[1];
    int ox = at % w, oy = at / w % h, b = at / w / h, I = t->C / t->groups, first = o / (O / t->groups) * I;
    double sum = 0;
    *size = 0;
    for (int ky = 0; ky < t->kh; ky++)
        for (int kx = 0; kx < t->kw; kx++) {
            int iy = oy * t->stride - t->before + ky, ix = ox * t->stride - t->before + kx;
            for (int c = 0; c < I && iy >= 0 && iy < t->H && ix >= 0 && ix < t->W; c++) {
                double term = (double)g_f32(p->x)[((b * t->H + iy) * t->W + ix) * t->C + first + c] *
                              (double)g_f32(p->w)[((o * t->kh + ky) * t->kw + kx) * I + c];
                sum += term;
                *size += fabs(term);
            }
        }
    double scale = p->scale ? (double)g_f32(p->scale)[o] : 1;
    sum = sum * scale + (p->bias ? (double)g_f32(p->bias)[o] : 0) + (p->residual ? (double)g_f32(p->residual)[i] : 0);
    *size = *size * fabs(scale) + 2;
    return act_of(t->act, sum);
}

static void test_conv2d(void **state)
{
    for (size_t k = 0; k < sizeof trials / sizeof trials[0]; k++) {
        struct graph *g;
        double size;
        check_ok(graph_create(GEMM_F32, 3, &g));
        struct parts p = parts_of(g, &trials[k]);
        struct g_tensor *y = build(g, &trials[k], &p);
        const float *got = values(g, y, pool);
        for (size_t i = 0; i < (size_t)g_count(y); i++) {
            double w = want(&trials[k], &p, &y->shape, i, &size);
            if (!(fabs((double)got[i] - w) <= 1e-6 * size))
                fail_msg("trial %zu [%zu]: expected %.9g, found %.9g", k, i, w, (double)got[i]);
        }
        graph_free(g);
    }
}

/* A batch's pictures one by one, on one thread, with the scalar kernels: the same bits. */
static void test_invariance(void **state)
{
    for (size_t k = 0; k < sizeof trials / sizeof trials[0]; k++)
        for (int compute = 0; compute < GEMM_FORMAT_COUNT; compute++) {
            struct graph *g;
            struct trial one = trials[k];
            one.B = 1;
            check_ok(graph_create((enum gemm_format)compute, 3, &g));
            struct parts all = parts_of(g, &trials[k]), p = all;
            struct g_tensor *y = build(g, &trials[k], &all);
            const float *together = values(g, y, pool);
            for (int b = 0; b < trials[k].B; b++) {
                size_t n = (size_t)(g_count(y) / trials[k].B), in = (size_t)(g_count(all.x) / trials[k].B);
                p.x = g_const(g, DT_F32, SHAPE4(1, one.H, one.W, one.C), g_f32(all.x) + (size_t)b * in, false);
                if (all.residual)
                    p.residual = g_const(g, DT_F32, SHAPE4(1, y->shape.d[1], y->shape.d[2], one.O), g_f32(all.residual) + (size_t)b * n, false);
                cpu_set_mask(b & 1 && compute == GEMM_F32 ? CPU_scalar : cpu_features());
                const float *alone = values(g, build(g, &one, &p), NULL);
                cpu_set_mask(cpu_features());
                if (memcmp(alone, together + (size_t)b * n, n * sizeof(float)))
                    fail_msg("trial %zu, picture %d: the batch shows", k, b);
            }
            graph_free(g);
        }
}

/* A bf16 weight is the float32 weight of the same values. */
static void test_formats(void **state)
{
    struct graph *g;
    check_ok(graph_create(GEMM_F32, 3, &g));
    struct parts p = parts_of(g, &trials[1]), q = p;
    size_t n = (size_t)g_count(p.w);
    uint16_t *half = arena_array(&g->arena, n, sizeof *half);
    check_ok(dtype_from_f32(DT_BF16, g_f32(p.w), half, n));
    check_ok(dtype_to_f32(DT_BF16, half, g_f32(p.w), n));
    q.w = g_const(g, DT_BF16, p.w->shape, half, false);
    struct g_tensor *y = build(g, &trials[1], &p), *z = build(g, &trials[1], &q);
    const float *a = values(g, y, pool);
    assert_memory_equal(a, values(g, z, pool), g_bytes(y));
    graph_free(g);
}

/* ---- the others ---- */

static void test_max_pool(void **state)
{
    static const int how[][3] = {{3, 2, 1}, {2, 2, 0}, {3, 1, 1}, {1, 1, 0}};
    for (size_t k = 0; k < 4; k++) {
        struct graph *g;
        int kernel = how[k][0], stride = how[k][1], pad = how[k][2], H = 7, W = 6, C = 5;
        check_ok(graph_create(GEMM_F32, 3, &g));
        struct g_tensor *x = floats(g, SHAPE4(2, H, W, C)), *y = g_max_pool(g, x, kernel, stride, pad);
        const float *got = values(g, y, pool);
        for (int i = 0; i < (int)g_count(y); i++) {
            int w = (int)y->shape.d[2], h = (int)y->shape.d[1], c = i % C, ox = i / C % w, oy = i / C / w % h, b = i / C / w / h;
            float most = -INFINITY;
            for (int t = 0; t < kernel * kernel; t++) {
                int iy = oy * stride - pad + t / kernel, ix = ox * stride - pad + t % kernel;
                if (iy >= 0 && iy < H && ix >= 0 && ix < W)
                    most = fmaxf(most, g_f32(x)[((b * H + iy) * W + ix) * C + c]);
            }
            assert_true(got[i] == most);
        }
        graph_free(g);
    }
}

/* Two pictures with factors of their own; statistics as torch.nn.BatchNorm2d in eval mode, by hand. */
static void test_small(void **state)
{
    struct graph *g;
    static const float w[2] = {2, -1}, b[2] = {0.5f, 1}, mean[2] = {3, -2}, var[2] = {4, 0.25f};
    check_ok(graph_create(GEMM_F32, 3, &g));
    struct g_tensor *x = floats(g, SHAPE4(2, 3, 2, 19)), *s = floats(g, SHAPE2(2, 19));
    const float *got = values(g, g_scale_maps(g, x, s), pool);
    for (int i = 0; i < (int)g_count(x); i++)
        assert_true(got[i] == g_f32(x)[i] * g_f32(s)[i / (6 * 19) * 19 + i % 19]);
#define VECTOR(v) g_const(g, DT_F32, SHAPE1(2), v, true)
    struct g_tensor *scale = g_stats_scale(g, VECTOR(w), VECTOR(var), 0);
    const float *shift = values(g, g_stats_shift(g, VECTOR(b), VECTOR(mean), scale), pool);
    assert_true(shift[0] == 0.5f - 3.0f && shift[1] == 1.0f - 4.0f); /* scales 2 / 2 and -1 / 0.5 */
    graph_free(g);
}

static void refused(const struct trial *t, const char *part)
{
    struct graph *g;
    check_ok(graph_create(GEMM_F32, 1, &g));
    struct parts p = {.x = floats(g, SHAPE4(t->B, t->H, t->W, t->C)), .w = floats(g, SHAPE4(t->O, t->kh, t->kw, t->C / 2)),
                      .bias = floats(g, SHAPE1(t->extras))};
    if (build(g, t, &p) || graph_error(g) != NUN_EARG || !strstr(nun_error(), part))
        fail_msg("expected \"...%s...\", found \"%s\"", part, nun_error());
    graph_free(g);
}
static void test_refusals(void **state)
{
    refused(&(struct trial){1, 4, 4, 4, 4, 3, 3, 1, 1, 1, 1, ACT_NONE, 4}, "conv2d: input 1: expected a kernel");
    refused(&(struct trial){1, 4, 4, 4, 4, 6, 3, 1, 0, 1, 2, ACT_NONE, 4}, "fits into the padded maps");
    refused(&(struct trial){1, 4, 4, 4, 4, 3, 3, 0, 1, 1, 2, ACT_NONE, 4}, "conv2d: stride 0");
    refused(&(struct trial){1, 4, 4, 4, 4, 3, 3, 1, -1, 1, 2, ACT_NONE, 4}, "padding -1");
    refused(&(struct trial){1, 4, 4, 4, 5, 3, 3, 1, 1, 1, 2, ACT_NONE, 5}, "conv2d: input 1");
    refused(&(struct trial){1, 4, 4, 4, 4, 3, 3, 1, 1, 1, 2, ACT_NONE, 3}, "conv2d: input 2");
}

/* ---- timing ---- */

static const struct { const char *name; struct trial t; } timed[] = {
    {"resnet stem 7x7/2, 3 -> 64", {1, 224, 224, 3, 64, 7, 7, 2, 3, 3, 1, ACT_RELU, 3}},
    {"3x3, 64 of 56x56", {1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, ACT_RELU, 3}},
    {"3x3, 256 of 14x14", {1, 14, 14, 256, 256, 3, 3, 1, 1, 1, 1, ACT_RELU, 3}},
    {"3x3, 512 of 7x7", {1, 7, 7, 512, 512, 3, 3, 1, 1, 1, 1, ACT_RELU, 3}},
    {"3x3, 256 of 14x14, batch 8", {8, 14, 14, 256, 256, 3, 3, 1, 1, 1, 1, ACT_RELU, 3}},
    {"1x1, 64 -> 256 of 56x56", {1, 56, 56, 64, 256, 1, 1, 1, 0, 0, 1, ACT_RELU, 7}},
    {"1x1, 1024 -> 256 of 14x14", {1, 14, 14, 1024, 256, 1, 1, 1, 0, 0, 1, ACT_RELU, 3}},
    {"depthwise 7x7, 96 of 56x56", {1, 56, 56, 96, 96, 7, 7, 1, 3, 3, 96, ACT_NONE, 1}},
    {"depthwise 7x7, 768 of 7x7", {1, 7, 7, 768, 768, 7, 7, 1, 3, 3, 768, ACT_NONE, 1}},
    {"depthwise 3x3, 144 of 56x56", {1, 56, 56, 144, 144, 3, 3, 1, 1, 1, 144, ACT_SILU, 3}},
};

static void time_one(size_t k, enum gemm_format compute, struct pool *threads)
{
    struct graph *g;
    struct plan *plan;
    double best = 1e9;
    check_ok(graph_create(compute, 2, &g));
    struct parts p = parts_of(g, &timed[k].t);
    struct g_param weight = {.name = "w", .dt = DT_F32, .shape = p.w->shape, .data = p.w->data, .packed_format = compute};
    int K = (int)(g_count(p.w) / p.w->shape.d[0]), N = (int)p.w->shape.d[0];
    void *panels = arena_alloc(&g->arena, gemm_b_bytes(compute, K, N));
    gemm_pack_b(compute, K, N, p.w->data, false, K, true, panels, &(struct par){0, 1, NULL});
    weight.packed[0] = panels;
    p.w = g_param(g, &weight);
    struct g_tensor *y = g_output(build(g, &timed[k].t, &p));
    check_ok(plan_create(g, &plan));
    for (int i = 0; i < 20; i++) {
        uint64_t start = seam_now_ns();
        check_ok(exec_run(plan, &(struct exec){.pool = threads}));
        double s = (double)(seam_now_ns() - start) * 1e-9;
        best = s < best ? s : best;
    }
    fprintf(stderr, "%-30s %s, %d threads: %8.3f ms %7.1f GFLOP/s\n", timed[k].name, compute == GEMM_F32 ? "f32 " : "bf16",
            threads ? pool_threads(threads) : 1, best * 1e3, 2.0 * (double)g_count(y) * K / best * 1e-9);
    plan_free(plan);
    graph_free(g);
}

static void bench(void)
{
    struct pool *two;
    check_ok(pool_create(2, &two));
    for (size_t k = 0; k < sizeof timed / sizeof timed[0]; k++)
        for (int compute = 0; compute < GEMM_FORMAT_COUNT; compute++)
            time_one(k, (enum gemm_format)compute, two);
    pool_free(two);
}

int main(int argc, char **argv)
{
    rng = rng_at(78, 0);
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        return bench(), 0;
    if (pool_create(3, &pool) < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv2d),   cmocka_unit_test(test_invariance), cmocka_unit_test(test_formats),
        cmocka_unit_test(test_max_pool), cmocka_unit_test(test_small),      cmocka_unit_test(test_refusals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}

/* Mixtures of experts as operations: choices made by hand, ties, groups, corrections, the order of rows,
 * and the whole mixture against its definition in doubles; a row's bits whatever stands beside it. Gradients are
 * tests/grad's. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include "base/mem.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "graph/experts.h"

static struct pool *pool;

static struct graph *graph_new(void)
{
    struct graph *g;
    check_ok(graph_create(GEMM_F32, 3, &g));
    return g;
}
static void check_near(float got, double want, double most)
{
    if (!(fabs((double)got - want) <= most))
        fail_msg("expected %.9g, found %.9g", want, (double)got);
}
#define FLOATS(g, shape, ...) g_const(g, DT_F32, shape, (const float[]){__VA_ARGS__}, true)
#define INTS(g, shape, ...) g_const(g, DT_I32, shape, (const int32_t[]){__VA_ARGS__}, true)

/* The bytes of y after a run on three threads; the graph lives on. */
static const void *run(struct graph *g, struct g_tensor *y)
{
    struct plan *p;
    struct exec e = {.pool = pool};
    g_output(y);
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &e));
    void *copy = arena_alloc(&g->arena, g_bytes(y));
    memcpy(copy, y->data, g_bytes(y));
    plan_free(p);
    return copy;
}
static void check_ids(struct graph *g, struct g_tensor *ids, const int32_t *want)
{
    assert_memory_equal(run(g, ids), want, g_bytes(ids));
    graph_free(g);
}

/* ---- routing ---- */

static void test_best_first_equals_by_index(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *s = FLOATS(g, SHAPE2(3, 5), .1f, .4f, .2f, .4f, .3f, 1, 1, 1, 1, 1, NAN, -1, NAN, -2, -3);
    check_ids(g, g_route(g, s, NULL, &(struct route){.top_k = 3}), (const int32_t[]){1, 3, 4, 0, 1, 2, 0, 1, 2});
}
static void test_correction_chooses_and_does_not_weigh(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *s = FLOATS(g, SHAPE2(1, 4), .5f, .4f, .3f, .2f);
    struct g_tensor *ids = g_route(g, s, FLOATS(g, SHAPE1(4), -1, 0, 0, 1), &(struct route){.top_k = 2});
    const float *w = run(g, g_route_weights(g, s, ids, true, 3));
    check_near(w[0], 1, 1e-6); /* .2 / (.2 + .4) * 3 */
    check_near(w[1], 2, 1e-6);
    check_ids(g, ids, (const int32_t[]){3, 1});
}
/* Group scores by best: .9 .8 .6; by pairs: .9 1.5 1.1. */
static void test_groups(void **state)
{
    for (int pairs = 0; pairs < 2; pairs++) {
        struct graph *g = graph_new();
        struct g_tensor *s = FLOATS(g, SHAPE2(1, 6), .9f, 0, .7f, .8f, .6f, .5f);
        struct route how = {.top_k = 3, .groups = 3, .top_groups = 2, .pairs = pairs};
        check_ids(g, g_route(g, s, NULL, &how), pairs ? (const int32_t[]){3, 2, 4} : (const int32_t[]){0, 3, 2});
    }
}
static void test_negative_scores_do_not_open_groups(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *s = FLOATS(g, SHAPE2(1, 4), -1, -2, -3, -4);
    check_ids(g, g_route(g, s, NULL, &(struct route){.top_k = 2, .groups = 2, .top_groups = 1}), (const int32_t[]){0, 1});
}
static void test_refusals(void **state)
{
    static const struct route bad[] = {{.top_k = 0}, {.top_k = 7}, {.top_k = 2, .groups = 4, .top_groups = 1},
                                       {.top_k = 3, .groups = 3, .top_groups = 1}, {.top_k = 1, .groups = 6, .top_groups = 2, .pairs = true}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct graph *g = graph_new();
        assert_null(g_route(g, g_input(g, "s", DT_F32, SHAPE2(2, 6)), NULL, &bad[i]));
        check_fails(NUN_EARG, "route: ", graph_error(g));
        graph_free(g);
    }
}

/* ---- order ---- */

static void test_order(void **state)
{
    struct graph *g = graph_new();
    struct expert_rows r = g_expert_order(g, INTS(g, SHAPE2(3, 2), 2, 0, 0, 9, -1, 2), 4);
    static const int32_t tokens[] = {0, 1, 0, 2, -1, -1}, places[] = {2, 0, 1, -1, -1, 3}, starts[] = {0, 2, 2, 4, 4};
    assert_memory_equal(run(g, r.tokens), tokens, sizeof tokens);
    assert_memory_equal(run(g, r.places), places, sizeof places);
    assert_memory_equal(run(g, r.starts), starts, sizeof starts);
    const float *y = run(g, g_expert_mix(g, FLOATS(g, SHAPE2(6, 1), 1, 2, 3, 4, 5, 6), FLOATS(g, SHAPE2(3, 2), 1, 10, 1, 1, 1, 1), r.places));
    check_near(y[0], 13, 0);
    assert_true(isnan(y[1]) && isnan(y[2]));
    graph_free(g);
}

/* ---- the whole ---- */

enum { T = 37, E = 6, K = 2, D = 19, N = 33 };
struct whole { float x[T * D], w[E * N * D], v[E * D * N], scores[T * E]; };

static struct whole *whole_new(void)
{
    struct whole *m = mem_calloc(MEM_TEST, 1, sizeof *m);
    struct rng rng = rng_at(5, 8);
    float *all = m->x;
    for (size_t i = 0; i < sizeof *m / sizeof(float); i++)
        all[i] = rng_normal(&rng);
    return m;
}
/* silu(x W^T) V^T of the two best of scores, of rows [from, to). */
static struct g_tensor *whole_graph(struct graph *g, const struct whole *m, int from, int to)
{
    struct g_tensor *s = g_softmax(g, g_const(g, DT_F32, SHAPE2(to - from, E), m->scores + from * E, false));
    struct g_tensor *ids = g_route(g, s, NULL, &(struct route){.top_k = K});
    struct expert_rows r = g_expert_order(g, ids, E);
    struct g_tensor *x = g_gather_rows(g, g_const(g, DT_F32, SHAPE2(to - from, D), m->x + from * D, false), r.tokens);
    x = g_expert_linear(g, x, g_const(g, DT_F32, SHAPE3(E, N, D), m->w, false), r.starts, NULL);
    x = g_expert_linear(g, g_act(g, x, ACT_SILU), g_const(g, DT_F32, SHAPE3(E, D, N), m->v, false), r.starts, NULL);
    return g_expert_mix(g, x, g_route_weights(g, s, ids, true, 1), r.places);
}
static void expert_in_doubles(const struct whole *m, int t, int e, double by, double *y)
{
    for (int n = 0; n < N; n++) {
        double h = 0;
        for (int d = 0; d < D; d++)
            h += (double)m->x[t * D + d] * (double)m->w[(e * N + n) * D + d];
        h *= by / (1 + exp(-h));
        for (int d = 0; d < D; d++)
            y[d] += h * (double)m->v[(e * D + d) * N + n];
    }
}
static void test_definition(void **state)
{
    struct whole *m = whole_new();
    struct graph *g = graph_new();
    const float *got = run(g, whole_graph(g, m, 0, T));
    for (int t = 0; t < T; t++) {
        const float *s = m->scores + t * E;
        int a = 0, b = -1;
        for (int e = 1; e < E; e++)
            a = s[e] > s[a] ? e : a;
        for (int e = 0; e < E; e++)
            if (e != a && (b < 0 || s[e] > s[b]))
                b = e;
        double y[D] = {0}, other = exp((double)s[b] - (double)s[a]);
        expert_in_doubles(m, t, a, 1 / (1 + other), y);
        expert_in_doubles(m, t, b, other / (1 + other), y);
        for (int d = 0; d < D; d++)
            check_near(got[t * D + d], y[d], 2e-5 * fmax(1, fabs(y[d])));
    }
    graph_free(g);
    mem_free(m);
}
static void test_rows_alone(void **state)
{
    struct whole *m = whole_new();
    struct graph *g = graph_new();
    const float *all = run(g, whole_graph(g, m, 0, T));
    static const int cuts[] = {0, 1, 2, 19, T};
    for (int i = 0; i < 4; i++) {
        struct graph *part = graph_new();
        const float *got = run(part, whole_graph(part, m, cuts[i], cuts[i + 1]));
        assert_memory_equal(got, all + cuts[i] * D, (size_t)(cuts[i + 1] - cuts[i]) * D * sizeof *got);
        graph_free(part);
    }
    graph_free(g);
    mem_free(m);
}

/* Panels prepared, matrices in BF16 and F16: the same as packing float32 at each use. */
static void test_storage(void **state)
{
    static const enum dtype kinds[] = {DT_F32, DT_BF16, DT_F16};
    struct whole *m = whole_new();
    static float rounded[E * N * D];
    static uint16_t half[E * N * D];
    static _Alignas(64) char panels[E * 48 * D * 4];
    for (int i = 0; i < 3; i++) {
        const void *data = i ? (const void *)half : rounded;
        memcpy(rounded, m->w, sizeof rounded);
        if (i) {
            check_ok(dtype_from_f32(kinds[i], m->w, half, E * N * D));
            check_ok(dtype_to_f32(kinds[i], half, rounded, E * N * D));
        }
        for (size_t e = 0; e < E; e++)
            gemm_pack_b(GEMM_F32, D, N, rounded + e * N * D, false, D, true, panels + e * gemm_b_bytes(GEMM_F32, D, N), &(struct par){0, 1, NULL});
        struct g_param prepared = {.name = "w", .dt = DT_F32, .shape = SHAPE3(E, N, D), .data = rounded, .packed = {panels}};
        struct graph *g = graph_new();
        struct g_tensor *x = g_const(g, DT_F32, SHAPE2(T, D), m->x, false), *starts = INTS(g, SHAPE1(E + 1), 0, 0, 9, 10, 20, 33, 37);
        const void *want = run(g, g_expert_linear(g, x, g_param(g, &prepared), starts, NULL));
        const void *got = run(g, g_expert_linear(g, x, g_const(g, kinds[i], SHAPE3(E, N, D), data, false), starts, NULL));
        assert_memory_equal(got, want, T * N * sizeof(float));
        graph_free(g);
    }
    mem_free(m);
}

static void test_heads(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *x = FLOATS(g, SHAPE3(2, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    const float *y = run(g, g_group_linear(g, x, FLOATS(g, SHAPE3(2, 1, 2), 1, 10, 2, 20), false));
    static const float want[] = {21, 86, 65, 174};
    assert_memory_equal(y, want, sizeof want);
    y = run(g, g_group_linear(g, x, FLOATS(g, SHAPE3(2, 2, 1), 1, 10, 2, 20), true));
    assert_memory_equal(y, want, sizeof want);
    graph_free(g);
}

static void test_balance(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *p = FLOATS(g, SHAPE2(2, 3), .5f, .25f, .25f, .5f, .5f, 0);
    const float *y = run(g, g_balance_loss(g, p, INTS(g, SHAPE2(2, 2), 0, 1, 1, 0)));
    check_near(y[0], 3 * (1 * .5 + 1 * .375), 1e-6); /* shares 1, 1, 0; means .5, .375, .125 */
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_first_equals_by_index),
        cmocka_unit_test(test_correction_chooses_and_does_not_weigh),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_negative_scores_do_not_open_groups),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_rows_alone),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_balance),
    };
    check_ok(pool_create(3, &pool));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}

/* The recurrent operations carried from step to step: however the tokens of several sequences are cut into
 * steps, mixed in batches and padded, results have the bits of whole sequences side by side. Positions
 * that do not follow each other give NaN, never an answer; shapes that do not fit are refused. What is
 * computed is proved by tests/kernels and by the models of tests/parity. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include <stdlib.h>
#include "base/mem.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "graph/kv.h"
#include "graph/op.h"

enum { D = 37, HEADS = 4, P = 10, N = 3, TAPS = 4, MAX_IN = 5, STATE_AT = 5, STATE = 512, SEQUENCES = 3, TOKENS = 150 };
static const int lengths[SEQUENCES] = {130, 19, 1};

static struct pool *pool;

/* One operation: inputs that have a row a token, by width; weights; how to build it. */
struct rec {
    enum g_op op;
    int width[MAX_IN];           /* 0: no more */
    struct g_tensor *(*build)(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at);
};

/* The same weights in every graph, away from zero. */
static struct g_tensor *weight(struct graph *g, struct shape shape, uint64_t seed)
{
    size_t n = 0;
    check_ok(shape_count(&shape, &n));
    struct rng r = rng_at(77, seed);
    float *w = arena_array(&g->arena, n, sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = 0.2f + 0.5f * rng_float(&r);
    return g_const(g, DT_F32, shape, w, false);
}

static struct g_tensor *build_conv1d(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    return g_conv1d(g, x[0], weight(g, SHAPE3(D, 1, TAPS), 1), weight(g, SHAPE1(D), 2), where, at);
}
static struct g_tensor *build_selective_scan(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    struct g_tensor *in[] = {x[0], x[1], weight(g, SHAPE2(D, N), 1), x[2], x[3], weight(g, SHAPE1(D), 2)};
    return g_selective_scan(g, in, where, at);
}
static struct g_tensor *build_ssd_scan(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    struct g_tensor *in[] = {x[0], x[1], weight(g, SHAPE1(HEADS), 1), x[2], x[3], weight(g, SHAPE1(HEADS), 2)};
    return g_ssd_scan(g, in, 2, 0.1f, 0.8f, where, at);
}
static struct g_tensor *build_delta_scan(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    struct g_tensor *in[] = {x[0], g_scale(g, x[1], 0.3f), x[2], g_act(g, x[3], ACT_SOFTPLUS), weight(g, SHAPE1(HEADS), 1),
                             g_act(g, x[4], ACT_SIGMOID)};
    return g_delta_scan(g, in, 2, where, at);
}
static struct g_tensor *build_rg_lru(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    return g_rg_lru(g, x[0], x[1], x[2], weight(g, SHAPE1(D), 1), where, at);
}
static struct g_tensor *build_token_shift(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    struct g_tensor *mix[] = {weight(g, SHAPE1(D), 1), weight(g, SHAPE3(1, 1, D), 2)};
    struct g_tensor *y = g_token_shift(g, x[0], 2, mix, where, at); /* [2, T, D] -> [T, 2, D]: rows are tokens again */
    return g_transpose(g, y, (int[4]){1, 0, 2, 3});
}
static struct g_tensor *build_wkv(struct graph *g, struct g_tensor *const *x, struct g_tensor *where, int64_t at)
{
    return g_wkv(g, x[0], x[1], weight(g, SHAPE1(D), 1), weight(g, SHAPE1(D), 2), where, at);
}

static const struct rec recs[] = {
    {OP_conv1d, {D}, build_conv1d},
    {OP_selective_scan, {D, D, N, N}, build_selective_scan},
    {OP_ssd_scan, {HEADS * P, HEADS, 2 * N, 2 * N}, build_ssd_scan},
    {OP_delta_scan, {2 * N, 2 * N, HEADS * P, HEADS, HEADS}, build_delta_scan},
    {OP_rg_lru, {D, D, D}, build_rg_lru},
    {OP_token_shift, {D}, build_token_shift},
    {OP_wkv, {D, D}, build_wkv},
};
enum { RECS = sizeof recs / sizeof recs[0] };

/* All tokens of all sequences, and the results of whole sequences. */
struct world {
    const struct rec *rec;
    float *x[MAX_IN];            /* [TOKENS, width] */
    float *want;                 /* [TOKENS, out] */
    size_t out;
    float state[SEQUENCES][STATE];
    int at[SEQUENCES];           /* tokens done */
};

static int start_of(int sequence)
{
    int n = 0;
    for (int i = 0; i < sequence; i++)
        n += lengths[i];
    return n;
}

/* y of `rows` tokens, whose inputs are given; a copy for mem_free. */
static float *compute(const struct rec *rec, int rows, float *const *x, struct kv_step *step, const int32_t *pos, size_t *out)
{
    struct graph *g;
    struct plan *p;
    struct g_tensor *in[MAX_IN] = {0}, *where;
    check_ok(graph_create(GEMM_F32, 3, &g));
    for (int i = 0; i < MAX_IN && rec->width[i]; i++)
        in[i] = g_const(g, DT_F32, SHAPE2(rows, rec->width[i]), x[i], false);
    where = step ? g_input(g, "kv", DT_I32, SHAPE1(1)) : g_const(g, DT_I32, SHAPE1(rows), pos, true);
    if (step)
        where->data = step;
    struct g_tensor *y = g_output(rec->build(g, in, where, step ? STATE_AT : -1));
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &(struct exec){.pool = pool}));
    *out = (size_t)(g_count(y) / rows);
    float *copy = mem_alloc(MEM_TEST, g_bytes(y));
    memcpy(copy, y->data, g_bytes(y));
    plan_free(p);
    graph_free(g);
    return copy;
}

static void world_new(struct world *w, const struct rec *rec)
{
    struct rng r = rng_at(5, (uint64_t)rec->op);
    int32_t pos[TOKENS];
    memset(w, 0, sizeof *w);
    memset(w->state, 0x7f, sizeof w->state); /* what is there before a sequence begins does not matter */
    w->rec = rec;
    for (int i = 0; i < MAX_IN && rec->width[i]; i++) {
        size_t n = (size_t)TOKENS * (size_t)rec->width[i];
        w->x[i] = mem_alloc(MEM_TEST, n * sizeof(float));
        for (size_t k = 0; k < n; k++)
            w->x[i][k] = i == 1 ? rng_float(&r) : rng_normal(&r);
    }
    for (int s = 0, t = 0; s < SEQUENCES; s++)
        for (int i = 0; i < lengths[s]; i++)
            pos[t++] = i;
    w->want = compute(rec, TOKENS, w->x, NULL, pos, &w->out);
}
static void world_free(struct world *w)
{
    for (int i = 0; i < MAX_IN; i++)
        mem_free(w->x[i]);
    mem_free(w->want);
}

/* One step: up to `chunk` tokens of each sequence in `which`, and padding rows between and behind them. */
static int step(struct world *w, unsigned which, int chunk)
{
    struct kv_row rows[TOKENS + 8];
    int token[TOKENS + 8], n = 0, done = 0;
    float *x[MAX_IN] = {0};
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; i < chunk && (which >> s & 1) && w->at[s] < lengths[s]; i++, n++, done++) {
            rows[n] = (struct kv_row){.position = w->at[s], .state = w->state[s]};
            token[n] = start_of(s) + w->at[s]++;
        }
        rows[n] = (struct kv_row){.position = -1};
        token[n++] = 0;
    }
    for (int i = 0; i < MAX_IN && w->rec->width[i]; i++) {
        size_t width = (size_t)w->rec->width[i];
        x[i] = mem_alloc(MEM_TEST, (size_t)n * width * sizeof(float));
        for (int k = 0; k < n; k++)
            memcpy(x[i] + (size_t)k * width, w->x[i] + (size_t)token[k] * width, width * sizeof(float));
    }
    size_t out;
    float *y = compute(w->rec, n, x, &(struct kv_step){.rows = rows, .n_rows = n}, NULL, &out);
    for (int k = 0; k < n; k++)
        for (size_t i = 0; i < out; i++) {
            float want = rows[k].position < 0 ? 0.0f : w->want[(size_t)token[k] * out + i], got = y[(size_t)k * out + i];
            if (memcmp(&want, &got, sizeof want))
                fail_msg("%s, chunk %d: token %d [%zu]: expected %a, found %a", op_table[w->rec->op].name, chunk, token[k], i,
                         (double)want, (double)got);
        }
    mem_free(y);
    for (int i = 0; i < MAX_IN; i++)
        mem_free(x[i]);
    return done;
}

static void test_chunks(void **state)
{
    static const int chunks[] = {1, 7, 64, 150};
    static struct world w;
    for (int r = 0; r < RECS; r++)
        for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
            world_new(&w, &recs[r]);
            while (step(&w, 7, chunks[c]))
                ;
            world_free(&w);
        }
}

/* A prompt in one chunk, its answer token by token, other sequences coming and going, and one that begins again. */
static void test_batches(void **state)
{
    static struct world w;
    for (int r = 0; r < RECS; r++) {
        world_new(&w, &recs[r]);
        step(&w, 1, 100);
        step(&w, 2, 5);
        for (int i = 0; i < 20; i++)
            step(&w, (unsigned)(1 + i % 7), 1);
        w.at[1] = 0;
        while (step(&w, 7, 3))
            ;
        world_free(&w);
    }
}

static void test_broken_positions(void **state)
{
    static struct world w;
    float s[STATE] = {0};
    for (int r = 0; r < RECS; r++) {
        size_t out;
        world_new(&w, &recs[r]);
        float *y = compute(&recs[r], 5, w.x, NULL, (int32_t[]){0, 1, 3, 0, 1}, &out); /* 2 is missing */
        assert_true(isnan(y[2 * out]) && isnan(y[3 * out - 1]));
        assert_true(!isnan(y[3 * out]) && !isnan(y[5 * out - 1]));
        mem_free(y);
        struct kv_row rows[3] = {{.position = 4, .state = s}, {.position = 6, .state = s}, {.position = 2}};
        y = compute(&recs[r], 3, w.x, &(struct kv_step){.rows = rows, .n_rows = 3}, NULL, &out);
        assert_true(isnan(y[0]) && isnan(y[2 * out - 1]) && isnan(y[2 * out])); /* a gap; no state */
        mem_free(y);
        world_free(&w);
    }
}

static struct g_tensor *ids(struct graph *g, int n)
{
    return g_const(g, DT_I32, SHAPE1(n), (int32_t[8]){0}, true);
}
static void test_refusals(void **state)
{
    for (int i = 0; i < 5; i++) {
        struct graph *g;
        check_ok(graph_create(GEMM_F32, 1, &g));
        struct g_tensor *x = weight(g, SHAPE2(3, 8), 0), *w = weight(g, SHAPE1(8), 0), *three = ids(g, 3);
        struct g_tensor *in[] = {x, x, weight(g, SHAPE2(8, 2), 0), weight(g, SHAPE2(3, 2), 0), weight(g, SHAPE2(3, 2), 0), w};
        if (i == 0)
            g_conv1d(g, x, weight(g, SHAPE2(7, 4), 0), NULL, three, -1);
        if (i == 1)
            g_conv1d(g, x, weight(g, SHAPE2(8, 4), 0), NULL, ids(g, 4), -1);
        if (i == 2) {
            in[2] = weight(g, SHAPE2(8, 3), 0);
            g_selective_scan(g, in, three, -1);
        }
        if (i == 3) {
            in[1] = weight(g, SHAPE2(3, 3), 0); /* 3 heads do not divide 8 */
            g_ssd_scan(g, in, 1, 0, INFINITY, three, -1);
        }
        if (i == 4)
            g_wkv(g, x, x, w, weight(g, SHAPE1(7), 0), three, -1);
        check_fails(NUN_EARG, "expected", graph_error(g));
        graph_free(g);
    }
}

static int start(void **state)
{
    return pool_create(3, &pool);
}
static int stop(void **state)
{
    pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_broken_positions),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

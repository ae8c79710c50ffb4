/* Attention over pages gives the bits of attention over tensors, however sequences are cut into steps
 * and mixed in a batch, and over packed pages those of the tensors packed and unpacked row by row;
 * padding rows give zeros; shapes that do not fit are refused. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <math.h>
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "graph/kv.h"
#include "kernels/attention.h"
#include "nunchi/error.h"

enum { H = 4, HKV = 2, D = 20, LAYERS = 2, LAYER = 1, LONGEST = 200, MAX_PAGES = (LONGEST + KV_PAGE - 1) / KV_PAGE, BATCH = 48 };
enum { Q_ROW = H * D, KV_ROW = HKV * D, PAGE_FLOATS = 2 * HKV * KV_PAGE * D };

/* What pages hold. */
struct formats { enum dtype k, v; };
static const struct formats formats[] = {{DT_F32, DT_F32}, {DT_BF16, DT_BF16}, {DT_Q8_0, DT_Q8_0}, {DT_Q4_0, DT_Q4_0},
                                         {DT_Q8_0, DT_Q4_0}, {DT_F32, DT_BF16}};

/* A sequence: its rows, what attention over tensors makes of them, and its pages. */
struct sequence {
    int n, done;
    float *q, *k, *v, *want;
    int32_t spans[LONGEST][4];
    void *pages[LAYERS * MAX_PAGES];
};

static float *normals(struct rng *r, size_t n)
{
    float *x = mem_calloc(MEM_TEST, n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(r);
    return x;
}

static float *turned(const float *x, int rows, bool turn)
{
    float *y = mem_calloc(MEM_TEST, (size_t)rows * D, sizeof(float));
    memcpy(y, x, (size_t)rows * D * sizeof(float));
    for (int i = 0; turn && i < rows; i++)
        kv_turn(y + i * D, D);
    return y;
}

/* x[n][HKV][D] as it is worth when packed: each row of D by itself, filled up with zeros. */
static float *rounded(const float *x, int n, enum dtype dt)
{
    float *y = mem_calloc(MEM_TEST, (size_t)n * KV_ROW, sizeof(float)), row[64];
    unsigned char packed[256];
    for (int i = 0; i < n * HKV; i++) {
        memset(row, 0, sizeof(row));
        memcpy(row, x + i * D, D * sizeof(float));
        if (kv_turns(dt))
            kv_turn(row, D);
        assert_int_equal(dtype_from_f32(dt, row, packed, (size_t)attn_row_width(dt, D)), 0);
        assert_int_equal(dtype_to_f32(dt, packed, row, (size_t)attn_row_width(dt, D)), 0);
        memcpy(y + i * D, row, D * sizeof(float));
    }
    return y;
}

static void want_of(struct sequence *s, const struct formats *dt, float softcap, int window)
{
    float *rk = rounded(s->k, s->n, dt->k), *rv = rounded(s->v, s->n, dt->v);
    float *rq = turned(s->q, s->n * H, kv_turns(dt->k)), *ry;
    struct graph *g;
    assert_int_equal(graph_create(GEMM_F32, 1, &g), 0);
    struct g_tensor *q = g_const(g, DT_F32, SHAPE4(1, s->n, H, D), rq, false);
    struct g_tensor *k = g_const(g, DT_F32, SHAPE4(1, s->n, HKV, D), rk, false);
    struct g_tensor *v = g_const(g, DT_F32, SHAPE4(1, s->n, HKV, D), rv, false);
    struct g_tensor *spans = g_const(g, DT_I32, SHAPE3(1, s->n, 4), s->spans, false);
    spans = window ? g_window_spans(g, spans, window) : spans;
    struct g_tensor *y = g_output(g_attention(g, q, k, v, spans, 0.3f, softcap));
    struct plan *p;
    struct exec e = {0};
    if (plan_create(g, &p) < 0 || exec_run(p, &e) < 0)
        fail_msg("%s", nun_error());
    ry = turned(y->data, s->n * H, kv_turns(dt->v));
    memcpy(s->want, ry, (size_t)s->n * Q_ROW * sizeof(float));
    mem_free(rq);
    mem_free(ry);
    mem_free(rk);
    mem_free(rv);
    plan_free(p);
    graph_free(g);
}

static void sequence_init(struct sequence *s, struct rng *r, const struct formats *dt, float softcap, int window)
{
    *s = (struct sequence){.n = rng_range(r, 1, LONGEST)};
    size_t n = (size_t)s->n;
    s->q = normals(r, n * Q_ROW);
    s->k = normals(r, n * KV_ROW);
    s->v = normals(r, n * KV_ROW);
    s->want = mem_calloc(MEM_TEST, n * Q_ROW, sizeof(float));
    for (int i = 0; i < s->n; i++) {
        int cut = rng_range(r, 0, i + 1), skip = rng_range(r, 0, 3);
        int from = cut + skip < i + 1 ? cut + skip : i + 1;
        const int32_t span[4] = {0, cut, from, i + 1};
        memcpy(s->spans[i], span, sizeof(span));
    }
    for (int p = 0; p < LAYERS * MAX_PAGES; p++) {
        s->pages[p] = mem_alloc(MEM_TEST, PAGE_FLOATS * sizeof(float));
        memset(s->pages[p], 0xff, PAGE_FLOATS * sizeof(float));
    }
    want_of(s, dt, softcap, window);
}

static void sequence_free(struct sequence *s)
{
    mem_free(s->q);
    mem_free(s->k);
    mem_free(s->v);
    mem_free(s->want);
    for (int p = 0; p < LAYERS * MAX_PAGES; p++)
        mem_free(s->pages[p]);
}

/* One batch: which row of which sequence each row is; NULL: padding. */
struct batch {
    float q[BATCH * Q_ROW], k[BATCH * KV_ROW], v[BATCH * KV_ROW];
    struct kv_row rows[BATCH];
    const float *want[BATCH];
    int n;
};

static void batch_add(struct batch *b, struct sequence *s)
{
    int i = b->n++;
    b->rows[i] = (struct kv_row){.position = -1};
    b->want[i] = NULL;
    if (!s)
        return;
    size_t at = (size_t)s->done++;
    memcpy(b->q + i * Q_ROW, s->q + at * Q_ROW, Q_ROW * sizeof(float));
    memcpy(b->k + i * KV_ROW, s->k + at * KV_ROW, KV_ROW * sizeof(float));
    memcpy(b->v + i * KV_ROW, s->v + at * KV_ROW, KV_ROW * sizeof(float));
    b->rows[i] = (struct kv_row){.pages = s->pages, .page_stride = MAX_PAGES, .position = (int32_t)at};
    memcpy(b->rows[i].span, s->spans[at], sizeof(s->spans[at]));
    b->want[i] = s->want + at * Q_ROW;
}

static void batch_check(struct batch *b, struct pool *pool, const struct formats *dt, float softcap, int window)
{
    static const float zeros[Q_ROW];
    struct graph *g;
    struct kv_step step = {b->rows, b->n, dt->k, dt->v};
    assert_int_equal(graph_create(GEMM_F32, 3, &g), 0);
    struct g_tensor *q = g_const(g, DT_F32, SHAPE3(b->n, H, D), b->q, false);
    struct g_tensor *k = g_const(g, DT_F32, SHAPE3(b->n, HKV, D), b->k, false);
    struct g_tensor *v = g_const(g, DT_F32, SHAPE3(b->n, HKV, D), b->v, false);
    struct g_tensor *state = g_input(g, "kv", DT_I32, SHAPE1(1));
    state->data = &step;
    struct g_tensor *y = g_output(g_attention_cached(g, q, k, v, state, LAYER, 0.3f, softcap, window));
    struct plan *p;
    struct exec e = {.pool = pool};
    if (plan_create(g, &p) < 0 || exec_run(p, &e) < 0)
        fail_msg("%s", nun_error());
    for (int i = 0; i < b->n; i++)
        assert_memory_equal((const float *)y->data + i * Q_ROW, b->want[i] ? b->want[i] : zeros, sizeof(zeros));
    plan_free(p);
    graph_free(g);
}

static void test_pages_equal_tensors(void **state)
{
    struct rng r = rng_at(7, 0);
    struct pool *pool;
    assert_int_equal(pool_create(3, &pool), 0);
    static struct batch b;
    for (int round = 0; round < 18; round++) {
        struct sequence s[3];
        const struct formats *dt = &formats[round / 2 % (int)(sizeof(formats) / sizeof(formats[0]))];
        float softcap = round % 2 ? 4.0f : 0.0f;
        int window = round % 6 < 3 ? 0 : 7 * round;
        for (int i = 0; i < 3; i++)
            sequence_init(&s[i], &r, dt, softcap, window);
        for (int left = 1; left;) {
            memset(&b, 0, sizeof(b));
            for (int i = 0; i < 3; i++) {
                int chunk = rng_range(&r, 0, 15);
                for (int c = 0; c < chunk && s[i].done < s[i].n; c++)
                    batch_add(&b, &s[i]);
                if (rng_below(&r, 3) == 0)
                    batch_add(&b, NULL);
            }
            if (b.n)
                batch_check(&b, round % 3 ? pool : NULL, dt, softcap, window);
            left = s[0].n - s[0].done + s[1].n - s[1].done + s[2].n - s[2].done;
        }
        for (int i = 0; i < 3; i++)
            sequence_free(&s[i]);
    }
    pool_free(pool);
}

/* The other layer's pages were not touched. */
static void test_layer(void **state)
{
    struct rng r = rng_at(8, 0);
    struct sequence s;
    static struct batch b;
    sequence_init(&s, &r, &formats[0], 0, 0);
    memset(&b, 0, sizeof(b));
    batch_add(&b, &s);
    batch_check(&b, NULL, &formats[0], 0, 0);
    uint32_t bits;
    memcpy(&bits, s.pages[0], 4);
    assert_int_equal(bits, 0xffffffffu);
    assert_memory_equal(s.pages[LAYER * MAX_PAGES], s.k, D * sizeof(float));
    sequence_free(&s);
}

/* An orthogonal symmetric matrix of +-1/sqrt(n) in each part, so that products stay. */
static void test_turning(void **state)
{
    struct rng r = rng_at(11, 0);
    for (int n = 1; n <= 100; n++) {
        float x[100], y[100], e[100] = {0}, before = 0, after = 0;
        for (int i = 0; i < n; i++) {
            x[i] = rng_normal(&r);
            y[i] = rng_normal(&r);
            before += x[i] * y[i];
        }
        kv_turn(x, n);
        kv_turn(y, n);
        for (int i = 0; i < n; i++)
            after += x[i] * y[i];
        assert_true(fabsf(after - before) < 1e-4f);
        e[0] = 1;
        kv_turn(e, n);
        int part = 32;
        while (part > n)
            part /= 2;
        for (int i = 0; i < n; i++)
            assert_true(fabsf(e[i] - (i < part ? 1 / sqrtf((float)part) : 0)) < 1e-6f);
        kv_turn(e, n);
        assert_true(fabsf(e[0] - 1) < 1e-6f && (n == 1 || fabsf(e[n - 1]) < 1e-6f));
    }
}

/* A key that is not finite must show in its own row and in those that look at it, not become a small integer. */
static void test_infinite_keys_show(void **state)
{
    struct rng r = rng_at(10, 0);
    static struct batch b;
    for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
        struct sequence s;
        do
            sequence_init(&s, &r, &formats[0], 0, 0);
        while (s.n < 2 && (sequence_free(&s), true));
        memset(&b, 0, sizeof(b));
        batch_add(&b, &s);
        batch_add(&b, &s);
        b.k[KV_ROW + 3] = formats[f].k == DT_F32 ? NAN : INFINITY;
        b.rows[1].span[0] = 0;
        b.rows[1].span[1] = 2;
        struct graph *g;
        struct plan *p;
        struct kv_step step = {b.rows, b.n, formats[f].k, formats[f].v};
        assert_int_equal(graph_create(GEMM_F32, 1, &g), 0);
        struct g_tensor *kv = g_input(g, "kv", DT_I32, SHAPE1(1));
        kv->data = &step;
        struct g_tensor *y = g_output(g_attention_cached(g, g_const(g, DT_F32, SHAPE3(2, H, D), b.q, false),
                                                         g_const(g, DT_F32, SHAPE3(2, HKV, D), b.k, false),
                                                         g_const(g, DT_F32, SHAPE3(2, HKV, D), b.v, false), kv, LAYER, 0.3f, 0, 0));
        assert_int_equal(plan_create(g, &p), 0);
        assert_int_equal(exec_run(p, &(struct exec){0}), 0);
        assert_true(isfinite(g_f32(y)[0]));
        assert_false(isfinite(g_f32(y)[Q_ROW]));
        plan_free(p);
        graph_free(g);
        sequence_free(&s);
    }
}

/* A window of n keys counts the row itself; ranges of earlier keys become empty; every sequence of a batch alike. */
static void test_windows(void **state)
{
    static const int32_t spans[2][4][4] = {{{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 1, 2, 3}, {0, 2, 2, 4}}, {{0, 1}, {1, 2}, {0, 3}, {3, 4}}};
    static const int32_t want[2][4][4] = {{{0, 1, 0, 0}, {0, 2, 0, 0}, {1, 1, 2, 3}, {2, 2, 2, 4}}, {{0, 1}, {1, 2}, {1, 3}, {3, 4}}};
    struct graph *g;
    struct plan *p;
    assert_int_equal(graph_create(GEMM_F32, 1, &g), 0);
    struct g_tensor *y = g_output(g_window_spans(g, g_const(g, DT_I32, SHAPE3(2, 4, 4), spans, false), 2));
    assert_int_equal(plan_create(g, &p), 0);
    assert_int_equal(exec_run(p, &(struct exec){0}), 0);
    for (int i = 0; i < 8; i++)
        for (int s = 0; s < 2; s++) {
            const int32_t *a = g_i32(y) + 4 * i + 2 * s, *b = want[i / 4][i % 4] + 2 * s;
            assert_true((a[0] == b[0] && a[1] == b[1]) || (a[0] >= a[1] && b[0] >= b[1]));
        }
    plan_free(p);
    graph_free(g);
}

/* ---- rows kept beside sequences ---- */

/* k and v of a sequence as rows [from, to) of its store, padding among them. */
static void keep(struct sequence *s, int from, int to, const struct formats *dt, struct pool *pool)
{
    struct kv_row rows[BATCH] = {{0}};
    struct kv_step step = {rows, to - from + 1, dt->k, dt->v};
    struct graph *g;
    struct plan *p;
    rows[0].position = -1;
    for (int i = from; i < to; i++)
        rows[i - from + 1] = (struct kv_row){.kept = s->pages, .kept_stride = MAX_PAGES, .position = i};
    assert_int_equal(graph_create(GEMM_F32, 3, &g), 0);
    struct g_tensor *kv = g_input(g, "kv", DT_I32, SHAPE1(1)), *in[2];
    kv->data = &step;
    for (int i = 0; i < 2; i++) {
        in[i] = g_input(g, "row", DT_F32, SHAPE3(step.n_rows, HKV, D));
        in[i]->data = mem_calloc(MEM_TEST, (size_t)step.n_rows * KV_ROW, sizeof(float));
        memcpy(g_f32(in[i]) + KV_ROW, (i ? s->v : s->k) + from * KV_ROW, (size_t)(to - from) * KV_ROW * sizeof(float));
    }
    struct g_tensor *y = g_output(g_keep_rows(g, in[0], in[1], kv, LAYER));
    assert_int_equal(plan_create(g, &p), 0);
    assert_int_equal(exec_run(p, &(struct exec){.pool = pool}), 0);
    assert_true(g_f32(y)[0] == (float)step.n_rows);
    for (int i = 0; i < 2; i++)
        mem_free(in[i]->data);
    plan_free(p);
    graph_free(g);
}

/* Each query sees one range of what is kept, or nothing: the bits of attention over tensors with that span. */
static void test_kept_rows(void **state)
{
    struct rng r = rng_at(12, 0);
    static struct batch b;
    struct pool *pool;
    assert_int_equal(pool_create(3, &pool), 0);
    for (int round = 0; round < 12; round++) {
        const struct formats *dt = &formats[round % (int)(sizeof(formats) / sizeof(formats[0]))];
        struct sequence s[2];
        for (int i = 0; i < 2; i++) {
            sequence_init(&s[i], &r, dt, 0, 0);
            for (int k = 0; k < s[i].n; k++) { /* none, or one range */
                int from = rng_range(&r, 0, s[i].n), to = rng_range(&r, 0, s[i].n);
                const int32_t span[4] = {from, to, 0, 0};
                memcpy(s[i].spans[k], span, sizeof span);
            }
            want_of(&s[i], dt, 0, 0);
            for (int at = 0, some; at < s[i].n; at += some) {
                some = rng_range(&r, 1, s[i].n - at < BATCH - 1 ? s[i].n - at : BATCH - 1);
                keep(&s[i], at, at + some, dt, round % 2 ? pool : NULL);
            }
        }
        while (s[0].done < s[0].n || s[1].done < s[1].n) {
            memset(&b, 0, sizeof(b));
            for (int k = 0; k < BATCH; k++) {
                struct sequence *one = &s[rng_below(&r, 2)];
                int at = one->done;
                batch_add(&b, at < one->n && rng_below(&r, 8) ? one : NULL);
                struct kv_row *row = &b.rows[k];
                if (row->position >= 0)
                    *row = (struct kv_row){.kept = one->pages, .kept_stride = MAX_PAGES, .sees = {one->spans[at][0], one->spans[at][1]}};
            }
            struct graph *g;
            struct plan *p;
            struct kv_step step = {b.rows, b.n, dt->k, dt->v};
            assert_int_equal(graph_create(GEMM_F32, 3, &g), 0);
            struct g_tensor *kv = g_input(g, "kv", DT_I32, SHAPE1(1));
            kv->data = &step;
            struct g_tensor *y = g_output(g_attention_kept(g, g_const(g, DT_F32, SHAPE3(b.n, H, D), b.q, false), kv, LAYER, HKV, 0.3f, 0));
            assert_int_equal(plan_create(g, &p), 0);
            assert_int_equal(exec_run(p, &(struct exec){.pool = round % 3 ? pool : NULL}), 0);
            static const float zeros[Q_ROW];
            for (int i = 0; i < b.n; i++)
                assert_memory_equal(g_f32(y) + i * Q_ROW, b.want[i] ? b.want[i] : zeros, sizeof zeros);
            plan_free(p);
            graph_free(g);
        }
        for (int i = 0; i < 2; i++)
            sequence_free(&s[i]);
    }
    pool_free(pool);
}

static void test_cut_by_threads(void **state)
{
    struct rng r = rng_at(9, 0);
    float *x = normals(&r, 3 * 150 * 4 * 16);
    int32_t spans[150][2], n = 150 * 4 * 16;
    for (int i = 0; i < 150; i++)
        spans[i][0] = 0, spans[i][1] = i + 1;
    float *want = mem_alloc(MEM_TEST, (size_t)n * sizeof(float));
    struct pool *pool;
    assert_int_equal(pool_create(3, &pool), 0);
    for (int threads = 0; threads < 2; threads++) {
        struct graph *g;
        assert_int_equal(graph_create(GEMM_F32, 3, &g), 0);
        struct g_tensor *t[3];
        for (int i = 0; i < 3; i++)
            t[i] = g_const(g, DT_F32, SHAPE4(1, 150, 4, 16), x + i * n, false);
        struct g_tensor *s = g_const(g, DT_I32, SHAPE3(1, 150, 2), spans, false);
        struct g_tensor *y = g_output(g_attention(g, t[0], t[1], t[2], s, 0.25f, 0));
        struct plan *p;
        struct exec e = {.pool = threads ? pool : NULL};
        assert_int_equal(plan_create(g, &p), 0);
        assert_int_equal(exec_run(p, &e), 0);
        if (threads)
            assert_memory_equal(y->data, want, (size_t)n * sizeof(float));
        else
            memcpy(want, y->data, (size_t)n * sizeof(float));
        plan_free(p);
        graph_free(g);
    }
    pool_free(pool);
    mem_free(want);
    mem_free(x);
}

static void test_misfits(void **state)
{
    static const struct { struct shape q, k, v, spans; } bad[] = {
        {{4, {1, 5, 4, 8}}, {4, {1, 5, 3, 8}}, {4, {1, 5, 3, 8}}, {3, {1, 5, 4}}},   /* heads */
        {{4, {1, 5, 4, 8}}, {4, {1, 5, 2, 8}}, {4, {1, 6, 2, 8}}, {3, {1, 5, 4}}},   /* k and v */
        {{4, {1, 5, 4, 8}}, {4, {1, 5, 2, 9}}, {4, {1, 5, 2, 9}}, {3, {1, 5, 4}}},   /* width */
        {{4, {1, 5, 4, 8}}, {4, {1, 5, 2, 8}}, {4, {1, 5, 2, 8}}, {3, {1, 5, 3}}},   /* odd spans */
        {{4, {1, 5, 4, 8}}, {4, {1, 5, 2, 8}}, {4, {1, 5, 2, 8}}, {3, {1, 5, 10}}},  /* too many spans */
        {{4, {1, 5, 4, 8}}, {4, {2, 5, 2, 8}}, {4, {2, 5, 2, 8}}, {3, {1, 5, 4}}},   /* batch */
        {{3, {5, 4, 8}}, {4, {1, 5, 2, 8}}, {4, {1, 5, 2, 8}}, {3, {1, 5, 4}}},      /* dimensions */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct graph *g;
        assert_int_equal(graph_create(GEMM_F32, 1, &g), 0);
        assert_null(g_attention(g, g_input(g, "q", DT_F32, bad[i].q), g_input(g, "k", DT_F32, bad[i].k),
                                g_input(g, "v", DT_F32, bad[i].v), g_input(g, "s", DT_I32, bad[i].spans), 1, 0));
        assert_int_equal(graph_error(g), NUN_EARG);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages_equal_tensors), cmocka_unit_test(test_layer), cmocka_unit_test(test_turning), cmocka_unit_test(test_infinite_keys_show), cmocka_unit_test(test_windows), cmocka_unit_test(test_kept_rows),
                                       cmocka_unit_test(test_cut_by_threads), cmocka_unit_test(test_misfits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

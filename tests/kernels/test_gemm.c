/* The contract of kernels/gemm.h: every variant equals the scalar reference bit for bit, on any
 * shape, stride, epilogue, thread count and cut of the rows; and nothing is read or written out of bounds. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include "kernels/gemm_micro.h"
#include "kernels/x86/gemm_amx.h"

enum { MOST_THREADS = 3 };
static struct pool *pools[MOST_THREADS + 1];

/* One product with its guarded operands. */
struct product {
    struct gemm g;
    struct guarded a, b, c, bias, residual, scratch, src;
    bool src_bf16, src_transposed, aliased;
    ptrdiff_t src_ld;
};

static int below(int n)
{
    return (int)rng_below(&check_rng, (uint32_t)n);
}

static struct guarded floats(int rows, int cols, ptrdiff_t ld, float scale)
{
    struct guarded g = guard_new(((size_t)(rows - 1) * (size_t)ld + (size_t)cols) * sizeof(float));
    check_fill(g.p, g.len / sizeof(float));
    for (size_t i = 0; i < g.len / sizeof(float); i++)
        ((float *)g.p)[i] *= scale;
    return g;
}

static struct product product_new(enum gemm_format format, int M, int N, int K)
{
    static const float scales[] = {1, 1, 0x1p-60f, 0x1p-64f}; /* products at the edge of the subnormal */
    float scale = scales[below(4)], result = scale * scale;
    struct product p = {.src_bf16 = !check_bench && below(2), .src_transposed = below(2)};
    struct gemm *g = &p.g;
    g->M = M, g->N = N, g->K = K;
    g->a_transposed = below(2);
    g->lda = (g->a_transposed ? M : K) + below(2) * below(9);
    g->ldc = N + below(2) * below(9);
    g->accumulate = below(2);
    p.a = g->a_transposed ? floats(K, M, g->lda, scale) : floats(M, K, g->lda, scale);
    p.c = floats(M, N, g->ldc, result);
    p.bias = floats(1, N, N, result);
    p.residual = floats(M, N, g->ldc, result);
    p.scratch = guard_new(gemm_scratch_bytes(format, M, N, K, MOST_THREADS));
    p.b = guard_new(gemm_b_bytes(format, K, N));
    p.src_ld = (p.src_transposed ? K : N) + below(2) * below(9);
    p.src = p.src_transposed ? floats(N, K, p.src_ld, scale) : floats(K, N, p.src_ld, scale);
    if (p.src_bf16) { /* the same buffer read as bits: squeeze to its end, as upper halves */
        size_t n = p.src.len / 4;
        struct guarded h = guard_new(n * 2);
        for (size_t i = 0; i < n; i++)
            memcpy((char *)h.p + i * 2, (char *)p.src.p + i * 4 + 2, 2);
        guard_free(&p.src);
        p.src = h;
    }
    g->A = p.a.p, g->C = p.c.p, g->scratch = p.scratch.p;
    g->bias = below(2) ? p.bias.p : NULL;
    p.aliased = below(2);
    g->residual = below(2) ? (p.aliased ? p.c.p : p.residual.p) : NULL;
    g->act = kernels_active()->act_rows && below(2) ? (enum act_kind)below(ACT_COUNT) : ACT_NONE;
    g->B = (struct gemm_b){format, K, N, p.b.p};
    return p;
}

static void product_free(struct product *p)
{
    struct guarded *all[] = {&p->a, &p->b, &p->c, &p->bias, &p->residual, &p->scratch, &p->src};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        guard_free(all[i]);
}

struct call { struct product *p; const struct gemm_micro *micro; int m, rows; };

static void call_pack(void *arg, int ith, int nth)
{
    const struct call *c = arg;
    const struct product *p = c->p;
    struct par par = {ith, nth, pools[nth]};
    gemm_pack_b(p->g.B.format, p->g.K, p->g.N, p->src.p, p->src_bf16, p->src_ld, p->src_transposed, p->b.p, &par);
}

/* Rows [m, m + rows) of the product: a product of its own. */
static void call_run(void *arg, int ith, int nth)
{
    const struct call *c = arg;
    struct gemm g = c->p->g;
    struct par par = {ith, nth, pools[nth]};
    g.A += g.a_transposed ? c->m : c->m * g.lda;
    g.C += c->m * g.ldc;
    g.residual = g.residual ? g.residual + c->m * g.ldc : NULL;
    g.M = c->rows;
    if (c->micro)
        gemm_run_with(c->micro, &g, &par);
    else
        gemm_run(&g, &par);
}

/* Pack and run under the active mask, cutting the rows at random; C's whole buffer into `out`. */
static void compute(struct product *p, const struct gemm_micro *micro, int threads, bool cut, float *out)
{
    struct call c = {.p = p, .micro = micro};
    size_t len = p->c.len;
    char *before = malloc(len);
    assert_non_null(before);
    memcpy(before, p->c.p, len);
    memset(p->b.p, 0xff, p->b.len);
    pool_run(pools[threads], call_pack, &c);
    for (c.m = 0; c.m < p->g.M; c.m += c.rows) {
        c.rows = cut ? 1 + below(p->g.M - c.m) : p->g.M;
        pool_run(pools[threads], call_run, &c);
    }
    memcpy(out, p->c.p, len);
    memcpy(p->c.p, before, len);
    free(before);
}

static void say(const struct product *p, const char *what, unsigned mask, int threads, size_t at)
{
    char names[128];
    cpu_mask_print(mask, names, sizeof(names));
    fail_msg("%s under \"%s\", %d threads: M %d N %d K %d lda %td ldc %td a_transposed %d accumulate %d bias %d "
             "act %d residual %d aliased %d src_bf16 %d src_transposed %d: differs at row %zu column %zu",
             what, names, threads, p->g.M, p->g.N, p->g.K, p->g.lda, p->g.ldc, p->g.a_transposed, p->g.accumulate,
             p->g.bias != NULL, p->g.act, p->g.residual != NULL, p->aliased, p->src_bf16, p->src_transposed,
             at / (size_t)p->g.ldc, at % (size_t)p->g.ldc);
}

/* Everything the machine can do against the scalar reference. */
static void check_product(enum gemm_format format, int M, int N, int K)
{
    cpu_set_mask(CPU_scalar);
    struct product p = product_new(format, M, N, K);
    size_t n = p.c.len / sizeof(float);
    float *want = malloc(p.c.len), *got = malloc(p.c.len);
    void *panels = malloc(p.b.len);
    assert_true(want && got && panels);
    compute(&p, NULL, 1, false, want);
    memcpy(panels, p.b.p, p.b.len);
    unsigned mask;
    for (size_t i = 0; check_mask(i, &mask); i++) {
        if (format == GEMM_BF16 && (mask & CPU_amxbf16))
            continue; /* another profile: see test_tiles */
        cpu_set_mask(mask);
        int threads = 1 + below(MOST_THREADS);
        compute(&p, NULL, threads, true, got);
        if (memcmp(panels, p.b.p, p.b.len) != 0)
            say(&p, "packed B", mask, threads, 0);
        size_t at = check_diff(want, got, n);
        if (at < n)
            say(&p, "C", mask, threads, at);
    }
    free(want);
    free(got);
    free(panels);
    product_free(&p);
}

static void test_small(void **state)
{
    for (int i = 0; i < 150; i++)
        for (int f = 0; f < GEMM_FORMAT_COUNT; f++)
            check_product((enum gemm_format)f, 1 + below(70), 1 + below(70), 1 + below(70));
}

/* Several strips, blocks and K ranges. */
static void test_blocked(void **state)
{
    for (int f = 0; f < GEMM_FORMAT_COUNT; f++) {
        for (int i = 0; i < 20; i++)
            check_product((enum gemm_format)f, 1 + below(16), 1 + below(40), 250 + below(900));
        check_product((enum gemm_format)f, 3, 37, 2100 + below(3));
        check_product((enum gemm_format)f, 1 + below(30), 500 + below(50), 100 + below(30));
        check_product((enum gemm_format)f, 1 + below(16), 20 + below(50), 500 + below(600));
        check_product((enum gemm_format)f, 60 + below(50), 1 + below(20), 500 + below(100));
    }
}

/* The tile profile: the emulated tile kernel, and the real one where there is one, against its own
 * reference. */
static void check_tiles(int M, int N, int K)
{
    const struct gemm_micro *real = NULL;
    cpu_set_mask(cpu_features());
    if (cpu_features() & CPU_amxbf16)
        real = kernels_active()->gemm[GEMM_BF16];
    const struct gemm_micro *variants[] = {&gemm_amx_emulated, real};
    struct product p = product_new(GEMM_BF16, M, N, K);
    float *want = malloc(p.c.len), *got = malloc(p.c.len);
    assert_true(want && got);
    compute(&p, &gemm_ref_bf16_tiles, 1, false, want);
    for (int v = 0; v < 2 && variants[v]; v++) {
        int threads = 1 + below(MOST_THREADS);
        compute(&p, variants[v], threads, true, got);
        size_t at = check_diff(want, got, p.c.len / sizeof(float));
        if (at < p.c.len / sizeof(float))
            say(&p, variants[v]->name, cpu_features(), threads, at);
    }
    assert_int_equal(amx_faults, 0);
    free(want);
    free(got);
    product_free(&p);
}

static void test_tiles(void **state)
{
    for (int i = 0; i < 60; i++)
        check_tiles(1 + below(70), 1 + below(70), 1 + below(70));
    check_tiles(1 + below(40), 1 + below(70), 500 + below(600));
    check_tiles(33, 520 + below(20), 64);
}

/* One fused step beside the least normal number: which results count as subnormal. */
static void test_flush_edge(void **state)
{
    enum { N = 96 };
    float a[2] = {0x1p-75f, 0}, b[2 * N] = {0}, start[N], want[N], got[N];
    struct par par = {0, 1, pools[1]};
    struct guarded panels = guard_new(gemm_b_bytes(GEMM_BF16, 2, N));
    struct guarded scratch = guard_new(gemm_scratch_bytes(GEMM_BF16, 1, N, 2, 1));
    for (int i = 0; i < N; i++) { /* c is +-2^-126, the product 2^-150 give or take a few bits, toward zero */
        start[i] = i & 1 ? 0x1p-126f : -0x1p-126f;
        b[i] = (i & 1 ? -1.0f : 1.0f) * (1 + (float)(i / 2 % 8) / 8) * 0x1p-78f * (float)(1 << i / 16);
    }
    struct gemm g = {.M = 1, .N = N, .K = 2, .A = a, .lda = 2, .C = got, .ldc = N, .accumulate = true,
                     .B = {GEMM_BF16, 2, N, panels.p}, .scratch = scratch.p};
    unsigned mask;
    for (size_t i = 0; check_mask(i, &mask); i++) {
        if (mask & CPU_amxbf16)
            continue;
        cpu_set_mask(mask);
        memcpy(got, start, sizeof(got));
        gemm_pack_b(GEMM_BF16, 2, N, b, false, N, false, panels.p, &par);
        gemm_run(&g, &par);
        if (i == 0)
            memcpy(want, got, sizeof(want));
        assert_int_equal(check_diff(want, got, N), N);
    }
    assert_true(want[1] == start[1] && want[N - 1] == 0); /* both sides of the edge were met */
    guard_free(&panels);
    guard_free(&scratch);
}

/* Adding up two halves of the chain is the whole chain. */
static void test_accumulate(void **state)
{
    enum { M = 9, N = 21, K = 128, HALF = 64 };
    for (int f = 0; f < GEMM_FORMAT_COUNT; f++) {
        float a[M * K], b[K * N], whole[M * N], halves[M * N];
        struct par par = {0, 1, pools[1]};
        enum gemm_format format = (enum gemm_format)f;
        cpu_set_mask(cpu_features());
        check_fill(a, M * K);
        check_fill(b, K * N);
        struct guarded panels = guard_new(gemm_b_bytes(format, K, N));
        struct guarded scratch = guard_new(gemm_scratch_bytes(format, M, N, K, 1));
        struct gemm g = {.M = M, .N = N, .K = K, .A = a, .lda = K, .C = whole, .ldc = N,
                         .B = {format, K, N, panels.p}, .scratch = scratch.p};
        gemm_pack_b(format, K, N, b, false, N, false, panels.p, &par);
        gemm_run(&g, &par);
        g.C = halves, g.K = g.B.K = HALF;
        for (int h = 0; h < 2; h++) {
            gemm_pack_b(format, HALF, N, b + h * HALF * N, false, N, false, panels.p, &par);
            g.A = a + h * HALF;
            g.accumulate = h;
            gemm_run(&g, &par);
        }
        assert_int_equal(check_diff(whole, halves, M * N), M * N);
        guard_free(&panels);
        guard_free(&scratch);
    }
}

/* ---- timing ---- */

struct timed { struct product p; int threads; bool pack; };

static void timed_call(void *arg)
{
    struct timed *t = arg;
    struct call c = {.p = &t->p, .rows = t->p.g.M};
    pool_run(pools[t->threads], t->pack ? call_pack : call_run, &c);
}

/* Square, forward, backward to the input, weight gradients, decoding. */
static const struct shape { int M, N, K; bool a_transposed; } shapes[] = {
    {1024, 1024, 1024, false}, {2048, 320, 320, false}, {2048, 128, 512, false}, {4096, 512, 128, false},
    {512, 192, 192, false},    {64, 384, 384, false},   {320, 320, 4096, true},  {640, 160, 2048, true},
    {1, 1024, 1024, false},    {4, 4096, 1024, false},  {8, 1024, 1024, false}};

static void bench_shape(enum gemm_format format, const struct shape *d, int threads)
{
    struct timed t = {.p = product_new(format, d->M, d->N, d->K), .threads = threads};
    struct gemm *g = &t.p.g;
    guard_free(&t.p.a);
    g->act = ACT_NONE;
    g->bias = g->residual = NULL;
    g->accumulate = false;
    g->a_transposed = d->a_transposed;
    g->lda = d->a_transposed ? d->M : d->K;
    t.p.a = floats(d->M, d->K, d->K, 1);
    g->A = t.p.a.p;
    double run = check_time(timed_call, &t);
    t.pack = true;
    double pack = check_time(timed_call, &t);
    printf("%-24s %5d x%5d x%5d %s threads %d %8.1f GFLOP/s   pack B%s %6.2f GB/s\n", kernels_active()->gemm[format]->name,
           d->M, d->N, d->K, d->a_transposed ? "A^T" : "A  ", threads, 2e-9 * d->M * d->N * d->K / run,
           t.p.src_transposed ? "^T" : "  ", 4e-9 * d->N * d->K / pack);
    product_free(&t.p);
}

static void bench(void)
{
    unsigned mask;
    const struct gemm_micro *done[GEMM_FORMAT_COUNT] = {NULL};
    for (size_t i = 1; check_mask(i, &mask); i++) {
        cpu_set_mask(mask);
        for (int f = 0; f < GEMM_FORMAT_COUNT; f++) {
            if (done[f] == kernels_active()->gemm[f])
                continue; /* this row of isa.def brought nothing new */
            done[f] = kernels_active()->gemm[f];
            for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
                for (int threads = 1; threads <= 2; threads++)
                    bench_shape((enum gemm_format)f, &shapes[s], threads);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_flush_edge),
        cmocka_unit_test(test_accumulate),
    };
    check_start(argc, argv);
    for (int i = 1; i <= MOST_THREADS; i++)
        if (pool_create(i, &pools[i]) < 0)
            return 2;
    int rc = 0;
    if (check_bench)
        bench();
    else
        rc = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 1; i <= MOST_THREADS; i++)
        pool_free(pools[i]);
    return rc;
}

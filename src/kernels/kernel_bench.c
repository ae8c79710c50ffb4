/* The rows of `bench --kernels`. Every product runs through gemm_run, as the engine runs it. */
/* SPDX-License-Identifier: MIT */
#include "kernels/kernel_bench.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/seam.h"
#include "kernels/gemm_micro.h"
#include "kernels/kernels.h"

enum role { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, DECODE, PACK_WEIGHT, PACK_INPUT, ROLE_COUNT };
static const struct { const char *name; bool a_transposed, src_transposed, pack, by_bytes; } roles[ROLE_COUNT] = {
    [FORWARD] = {"forward", false, true, false, false},
    [INPUT_GRADIENT] = {"input gradient", false, false, false, false},
    [WEIGHT_GRADIENT] = {"weight gradient", true, false, false, false},
    [DECODE] = {"decode", false, true, false, true},
    [PACK_WEIGHT] = {"pack weight", false, true, true, true},
    [PACK_INPUT] = {"pack input", false, false, true, true},
};

static const struct shape { enum role role; int M, N, K; } shapes[] = { /* decoding reads more than the caches hold */
    {FORWARD, 1024, 1024, 1024},       {FORWARD, 2048, 320, 320},         {FORWARD, 2048, 128, 512},
    {FORWARD, 4096, 512, 128},         {FORWARD, 8192, 768, 192},         {FORWARD, 64, 384, 384},
    {INPUT_GRADIENT, 2048, 320, 1024}, {INPUT_GRADIENT, 4096, 160, 640},  {WEIGHT_GRADIENT, 320, 320, 4096},
    {WEIGHT_GRADIENT, 640, 160, 2048}, {WEIGHT_GRADIENT, 1024, 320, 8192}, {DECODE, 1, 16384, 4096},
    {DECODE, 4, 16384, 4096},          {DECODE, 16, 16384, 4096},         {PACK_WEIGHT, 0, 1024, 1024},
    {PACK_INPUT, 0, 320, 4096},
};

struct bench { /* one row's operands */
    struct gemm g;
    const struct shape *shape;
    enum gemm_format format;
    float *src;
    void *panels;
    int threads;
    struct pool *pool;
};

static void bench_thread(void *arg, int ith, int nth)
{
    const struct bench *b = arg;
    struct par par = {ith, b->threads, b->pool};
    if (ith >= b->threads)
        return;
    if (roles[b->shape->role].pack) {
        bool transposed = roles[b->shape->role].src_transposed;
        gemm_pack_b(b->format, b->g.K, b->g.N, b->src, false, transposed ? b->g.K : b->g.N, transposed, b->panels, &par);
    } else
        gemm_run(&b->g, &par);
}

static double fastest(struct bench *b)
{
    double best = 1e9;
    uint64_t begin = seam_now_ns();
    for (int i = 0; i < 3 || (seam_now_ns() - begin < 100000000u && i < 10000); i++) {
        uint64_t t = seam_now_ns();
        pool_run(b->pool, bench_thread, b);
        double s = (double)(seam_now_ns() - t) * 1e-9;
        best = s < best ? s : best;
    }
    return best;
}

static void report(struct bench *b, const struct peaks *peaks, kernel_bench_fn *emit, void *arg)
{
    const struct gemm *g = &b->g;
    struct kernel_bench_row row = {.kernel = kernels_active()->gemm[b->format]->name,
                                   .role = roles[b->shape->role].name, .M = g->M, .N = g->N, .K = g->K,
                                   .threads = b->threads, .seconds = fastest(b)};
    bool by_bytes = roles[b->shape->role].by_bytes;
    enum peak_kind kind = by_bytes ? PEAK_read : peak_of_format(peaks, b->format);
    double bytes = roles[b->shape->role].pack ? 4.0 * g->N * g->K : (double)gemm_b_bytes(b->format, g->K, g->N);
    double peak = b->threads > 1 ? peaks->all[kind] : peaks->one[kind];
    row.rate = (by_bytes ? bytes : 2.0 * g->M * g->N * g->K) / row.seconds;
    row.unit = peak_rows[kind].unit;
    row.share = peak > 0 ? row.rate / peak : 0;
    emit(arg, &row);
}

static int bench_shape(struct bench *b, const struct peaks *peaks, kernel_bench_fn *emit, void *arg)
{
    const struct shape *s = b->shape;
    size_t a = (size_t)s->M * (size_t)s->K, w = (size_t)s->N * (size_t)s->K, c = (size_t)s->M * (size_t)s->N;
    int all = pool_threads(b->pool), rc = NUN_ENOMEM;
    size_t scratch = gemm_scratch_bytes(b->format, s->M, s->N, s->K, all);
    float *A = mem_calloc(MEM_KERNEL, a, sizeof(float)), *C = mem_calloc(MEM_KERNEL, c, sizeof(float));
    void *work = mem_alloc(MEM_KERNEL, scratch);
    b->src = mem_calloc(MEM_KERNEL, w, sizeof(float));
    b->panels = mem_alloc(MEM_KERNEL, gemm_b_bytes(b->format, s->K, s->N));
    if (A && C && work && b->src && b->panels) {
        bool at = roles[s->role].a_transposed, bt = roles[s->role].src_transposed;
        for (size_t i = 0; i < a; i++)
            A[i] = (float)(i % 251) * 0x1p-8f;
        for (size_t i = 0; i < w; i++)
            b->src[i] = (float)(i % 241) * 0x1p-8f;
        gemm_pack_b(b->format, s->K, s->N, b->src, false, bt ? s->K : s->N, bt, b->panels, &(struct par){0, 1, NULL});
        b->g = (struct gemm){.M = s->M, .N = s->N, .K = s->K, .A = A, .lda = at ? s->M : s->K, .a_transposed = at,
                             .B = {b->format, s->K, s->N, b->panels}, .C = C, .ldc = s->N, .scratch = work};
        for (b->threads = 1; b->threads <= all; b->threads += all > 1 ? all - 1 : 1)
            report(b, peaks, emit, arg);
        rc = 0;
    }
    mem_free(A);
    mem_free(C);
    mem_free(work);
    mem_free(b->src);
    mem_free(b->panels);
    return rc;
}

int kernels_bench(struct pool *pool, struct peaks *peaks, kernel_bench_fn *emit, void *arg)
{
    TRY(peaks_measure(pool, peaks));
    for (int f = 0; f < GEMM_FORMAT_COUNT; f++)
        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
            struct bench b = {.shape = &shapes[i], .format = (enum gemm_format)f, .pool = pool};
            TRY(bench_shape(&b, peaks, emit, arg));
        }
    return 0;
}

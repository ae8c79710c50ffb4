/* Measures the machine's limits: the fastest of several short runs, on thread 0 alone and on all. */
/* SPDX-License-Identifier: MIT */
#include "kernels/peak.h"
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/seam.h"
#include "kernels/kernels.h"

enum { REPEATS = 5, RUN_NS = 15000000, FIRST_ROUNDS = 1000 };
#define READ_BYTES ((size_t)64 << 20) /* a thread; beyond the caches of most machines */

const struct peak_row peak_rows[PEAK_COUNT] = {
#define PEAK(name, unit, doc) {#name, unit, doc},
#include "kernels/peak.def"
#undef PEAK
};

typedef double run_fn(long rounds);

/* Portable: sixteen chains that the compiler may put into vectors. */
static double peak_f32_scalar(long rounds)
{
    float x[16];
    for (int i = 0; i < 16; i++)
        x[i] = (float)i;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 16; i++)
            x[i] = x[i] * 0.999f + 0.5f;
    for (int i = 0; i < 16; i++)
        __asm__ volatile("" : : "m"(x[i]));
    return 32.0 * (double)rounds;
}

void peak_init_scalar(struct kernels *k)
{
    k->peak_f32 = peak_f32_scalar;
}

struct measure {
    run_fn *run;           /* or NULL: read `bytes` */
    const uint64_t *bytes; /* READ_BYTES for each thread */
    long rounds;
    bool all;
    uint64_t ns[64];       /* what each thread took; later threads are not waited for */
};

static double read_all(const uint64_t *p, size_t bytes)
{
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < bytes / 8; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += p[i + (size_t)j];
    for (int j = 0; j < 8; j++)
        __asm__ volatile("" : : "m"(sum[j]));
    return (double)bytes;
}

static double work(const struct measure *m, int ith)
{
    if (m->run)
        return m->run(m->rounds);
    return read_all(m->bytes + (size_t)ith * (READ_BYTES / 8), READ_BYTES);
}

static void work_thread(void *arg, int ith, int nth)
{
    struct measure *m = arg;
    if (ith > 0 && !m->all)
        return;
    uint64_t begin = seam_now_ns();
    work(m, ith);
    if (ith < 64)
        m->ns[ith] = seam_now_ns() - begin;
}

/* Work a second: the slowest thread's time counts. */
static double best_rate(struct measure *m, struct pool *pool, bool all)
{
    int threads = all ? pool_threads(pool) : 1;
    double best = 0, each = m->run ? m->run(m->rounds) : (double)READ_BYTES;
    m->all = all;
    for (int i = 0; i < REPEATS; i++) {
        uint64_t slowest = 1;
        memset(m->ns, 0, sizeof(m->ns));
        pool_run(pool, work_thread, m);
        for (int t = 0; t < 64; t++)
            slowest = m->ns[t] > slowest ? m->ns[t] : slowest;
        double rate = each * threads / (double)slowest * 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Rounds that take about RUN_NS. */
static long calibrate(run_fn *run)
{
    long rounds = FIRST_ROUNDS;
    for (;;) {
        uint64_t begin = seam_now_ns();
        run(rounds);
        uint64_t ns = seam_now_ns() - begin;
        if (ns > RUN_NS / 4 || rounds > 1000000000L)
            return (long)((double)rounds * RUN_NS / (double)(ns + 1)) + 1;
        rounds *= 4;
    }
}

int peaks_measure(struct pool *pool, struct peaks *out)
{
    const struct kernels *k = kernels_active();
    run_fn *const runs[PEAK_COUNT] = {
        [PEAK_f32] = k->peak_f32, [PEAK_bf16] = k->peak_bf16, [PEAK_int8] = k->peak_int8,
        [PEAK_tile_bf16] = k->peak_tile_bf16, [PEAK_tile_int8] = k->peak_tile_int8};
    memset(out, 0, sizeof(*out));
    out->threads = pool_threads(pool);
    uint64_t *bytes = mem_calloc(MEM_KERNEL, (size_t)out->threads, READ_BYTES);
    if (!bytes)
        return NUN_ENOMEM;
    memset(bytes, 1, (size_t)out->threads * READ_BYTES); /* zero pages would all be one page */
    for (int i = 0; i < PEAK_COUNT; i++) {
        struct measure m = {.run = runs[i], .bytes = bytes};
        if (!m.run && i != PEAK_read)
            continue;
        m.rounds = m.run ? calibrate(m.run) : 0;
        out->one[i] = best_rate(&m, pool, false);
        out->all[i] = best_rate(&m, pool, true);
    }
    mem_free(bytes);
    return 0;
}

enum peak_kind peak_of_format(const struct peaks *p, enum gemm_format format)
{
    static const enum peak_kind wishes[GEMM_FORMAT_COUNT][3] = {
        [GEMM_F32] = {PEAK_f32, PEAK_f32, PEAK_f32}, [GEMM_BF16] = {PEAK_tile_bf16, PEAK_bf16, PEAK_f32}};
    for (int i = 0; i < 2; i++)
        if (p->one[wishes[format][i]] > 0)
            return wishes[format][i];
    return wishes[format][2];
}

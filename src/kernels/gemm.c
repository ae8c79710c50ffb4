/* Matrix products: blocking, threads, order of the epilogue. Knows no instruction set: packing and
 * tiles come from the row that the dispatch table holds for the format.
 *
 *   block of <= 512 columns of B          stays in the second-level cache
 *     k range such that it does
 *       strip of <= `rows` rows of A      packed into the first-level cache, kc elements at a time
 *         tile: strip x a few panels      in registers
 *
 * No choice made here shows in the result: a tile's chain goes on from where the last one stopped. */
/* SPDX-License-Identifier: MIT */
#include "kernels/gemm.h"
#include "kernels/gemm_micro.h"
#include "kernels/kernels.h"

enum { BLOCK_BYTES = 512 << 10, PART_COLS = GEMM_BLOCK_PANELS * GEMM_PANEL };

static const size_t elem_bytes[GEMM_FORMAT_COUNT] = {[GEMM_F32] = 4, [GEMM_BF16] = 2};

static size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes of k elements (k even in bf16, but for the last) of one panel. */
static size_t panel_bytes(enum gemm_format format, size_t k)
{
    return (format == GEMM_BF16 ? (k + 1) & ~(size_t)1 : k) * GEMM_PANEL * elem_bytes[format];
}

size_t gemm_b_bytes(enum gemm_format format, int K, int N)
{
    return ceil_div((size_t)N, GEMM_PANEL) * panel_bytes(format, (size_t)K);
}

void gemm_pack_b(enum gemm_format format, int K, int N, const void *src, bool src_bf16, ptrdiff_t ld,
                 bool transposed, void *panels, const struct par *par)
{
    struct gemm_pack p = {.K = K, .N = N, .src = src, .src_bf16 = src_bf16, .transposed = transposed,
                          .ld = ld, .panels = panels};
    par_share(par, ceil_div((size_t)N, GEMM_PANEL), 1, &p.lo, &p.hi);
    if (p.lo < p.hi)
        kernels_active()->gemm[format]->pack_b(&p);
}

/* A strip in the compute format and a strip of C for chains that must not touch C before they end. */
struct scratch {
    unsigned char strip[GEMM_STRIP_BYTES];
    float part[GEMM_MAX_ROWS * PART_COLS];
};

size_t gemm_scratch_bytes(enum gemm_format format, int M, int N, int K, int nth)
{
    return sizeof(struct scratch) * (size_t)nth;
}

struct job {
    const struct gemm *g;
    const struct gemm_micro *micro;
    struct scratch *scratch;
    size_t m_lo, m_hi, p_lo, p_hi;  /* this thread's rows and panels */
    bool aside;                     /* unfinished chains live in scratch: residual is C itself */
    bool finish_aside;              /* so do finished ones, until act is applied */
};

/* Where a strip stands: rows [m, m + rows), panels [p, p_end), columns [n, n + cols). */
struct place {
    size_t m, p, p_end;
    int rows, n, cols;
};

/* act, then the residual: what the tile kernels leave to do when there is an activation. */
static void finish_rows(const struct job *j, const struct place *at)
{
    const struct gemm *g = j->g;
    float *C = g->C + (ptrdiff_t)at->m * g->ldc + at->n;
    float *x = j->finish_aside ? j->scratch->part : C;
    ptrdiff_t ldx = j->finish_aside ? PART_COLS : g->ldc;
    kernels_active()->act_rows(g->act, at->rows, at->cols, x, ldx);
    if (!g->residual)
        return;
    const float *res = g->residual + (ptrdiff_t)at->m * g->ldc + at->n;
    for (int r = 0; r < at->rows; r++)
        for (int c = 0; c < at->cols; c++)
            C[r * g->ldc + c] = x[r * ldx + c] + res[r * g->ldc + c];
}

/* The panels after [.., p) of this strip's elements [k, k + kn): to the right, then further down k, then
 * the next block's. It may be a place behind the end. */
static const char *next_panels(const struct job *j, const struct place *at, size_t p, size_t k, size_t kn)
{
    const struct gemm_b *B = &j->g->B;
    bool right = p < at->p_end, down = !right && k + kn < (size_t)B->K;
    size_t next_k = right ? k : down ? k + kn : 0;
    return (const char *)B->panels + (down ? at->p : p) * panel_bytes(B->format, (size_t)B->K)
         + panel_bytes(B->format, next_k);
}

/* One packed strip, elements [k, k + kn) of the chain, against the block's panels. */
static void run_tiles(const struct job *j, const struct place *at, size_t k, size_t kn)
{
    const struct gemm *g = j->g;
    bool first = k == 0, last = k + kn == (size_t)g->K;
    struct gemm_tile t = {.m = at->rows, .k = (int)kn, .k_major = g->a_transposed, .a = j->scratch->strip,
                          .panel_bytes = panel_bytes(g->B.format, (size_t)g->K)};
    const char *b = (const char *)g->B.panels + panel_bytes(g->B.format, k);
    for (size_t p = at->p; p < at->p_end; p += (size_t)t.panels) {
        int n = (int)p * GEMM_PANEL;
        float *C = g->C + (ptrdiff_t)at->m * g->ldc + n, *part = j->scratch->part + (n - at->n);
        t.panels = j->micro->tile_panels(t.m, t.k_major, (int)(at->p_end - p));
        t.n = g->N - n < t.panels * GEMM_PANEL ? g->N - n : t.panels * GEMM_PANEL;
        t.b = b + p * t.panel_bytes;
        t.next = next_panels(j, at, p + (size_t)t.panels, k, kn);
        t.in = first ? (g->accumulate ? C : NULL) : j->aside ? part : C;
        t.ld_in = first || !j->aside ? g->ldc : PART_COLS;
        bool aside = last ? j->finish_aside : j->aside;
        t.out = aside ? part : C;
        t.ld_out = aside ? PART_COLS : g->ldc;
        t.bias = last && g->bias ? g->bias + n : NULL;
        t.residual = last && g->residual && g->act == ACT_NONE
                         ? g->residual + (ptrdiff_t)at->m * g->ldc + n : NULL;
        t.ld_residual = g->ldc;
        j->micro->tile(&t);
    }
}

/* A strip's chains over [k_lo, k_hi). */
static void run_strip(const struct job *j, const struct place *at, size_t k_lo, size_t k_hi)
{
    const struct gemm *g = j->g;
    for (size_t k = k_lo; k < k_hi; k += (size_t)j->micro->kc) {
        size_t kn = min_size(k_hi - k, (size_t)j->micro->kc);
        const float *A = g->a_transposed ? g->A + (ptrdiff_t)k * g->lda + at->m
                                         : g->A + (ptrdiff_t)at->m * g->lda + k;
        j->micro->pack_a(A, g->lda, g->a_transposed, at->rows, (int)kn, j->scratch->strip);
        run_tiles(j, at, k, kn);
    }
    if (k_hi == (size_t)g->K && g->act != ACT_NONE)
        finish_rows(j, at);
}

/* How many k a block of `panels` panels may have to stay in cache: whole strips. */
static size_t block_k(const struct job *j, size_t panels)
{
    const struct gemm *g = j->g;
    size_t kc = (size_t)j->micro->kc, K = (size_t)g->K;
    size_t k = BLOCK_BYTES / (panels * GEMM_PANEL * elem_bytes[g->B.format]) / kc * kc;
    return j->aside || k >= K ? K : k < kc ? kc : k;
}

static void run_block(const struct job *j, size_t p, size_t p_end)
{
    const struct gemm *g = j->g;
    size_t rows = j->m_hi - j->m_lo, strips = ceil_div(rows, (size_t)j->micro->rows), K = (size_t)g->K;
    size_t step = block_k(j, p_end - p);
    struct place at = {.p = p, .p_end = p_end, .n = (int)p * GEMM_PANEL};
    at.cols = (int)min_size(p_end * GEMM_PANEL, (size_t)g->N) - at.n;
    for (size_t k = 0; k < K; k += step)
        for (size_t s = 0; s < strips; s++) {
            at.m = j->m_lo + rows * s / strips;
            at.rows = (int)(j->m_lo + rows * (s + 1) / strips - at.m);
            run_strip(j, &at, k, min_size(k + step, K));
        }
}

/* Rows by columns of threads: the grid whose largest share is cheapest. A row of A costs its packing,
 * taken as 2 panels, a panel of B its reading, taken as 6 rows. */
static void share(struct job *j, const struct par *par)
{
    size_t M = (size_t)j->g->M, panels = ceil_div((size_t)j->g->N, GEMM_PANEL), nth = (size_t)par->nth;
    size_t best = SIZE_MAX, grid_m = 1;
    for (size_t tm = 1; tm <= nth; tm++) {
        if (nth % tm)
            continue;
        size_t cost = (ceil_div(M, tm) + 6) * (ceil_div(panels, nth / tm) + 2);
        if (cost < best) {
            best = cost;
            grid_m = tm;
        }
    }
    size_t grid_p = nth / grid_m, im = (size_t)par->ith / grid_p, ip = (size_t)par->ith % grid_p;
    j->m_lo = M * im / grid_m;
    j->m_hi = M * (im + 1) / grid_m;
    j->p_lo = panels * ip / grid_p;
    j->p_hi = panels * (ip + 1) / grid_p;
}

void gemm_run_with(const struct gemm_micro *micro, const struct gemm *g, const struct par *par)
{
    struct job j = {.g = g, .micro = micro, .scratch = (struct scratch *)g->scratch + par->ith};
    j.aside = g->residual == g->C && g->K > j.micro->kc;
    j.finish_aside = g->residual && g->act != ACT_NONE;
    j.aside |= j.finish_aside && g->K > j.micro->kc;
    share(&j, par);
    if (j.m_lo == j.m_hi)
        return;
    for (size_t p = j.p_lo; p < j.p_hi; p += GEMM_BLOCK_PANELS)
        run_block(&j, p, min_size(p + GEMM_BLOCK_PANELS, j.p_hi));
}

void gemm_run(const struct gemm *g, const struct par *par)
{
    gemm_run_with(kernels_active()->gemm[g->B.format], g, par);
}

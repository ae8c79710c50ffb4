/* The scalar reference of the matrix products: the meaning of every other variant. Portable C; slow,
 * and used by the engine only where the mask leaves nothing else. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "kernels/gemm_bf16.h"
#include "kernels/gemm_micro.h"
#include "kernels/kernels.h"

enum { ROWS = 4, KC = 256 };

/* The strip is [m][KC] float32 in either format, bf16 values being rounded already. */
static void pack_f32(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    for (int r = 0; r < m; r++)
        for (int i = 0; i < k; i++)
            ((float *)strip)[r * KC + i] = transposed ? A[i * lda + r] : A[r * lda + i];
}

static void pack_bf16(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    float *to = strip;
    for (int r = 0; r < m; r++) {
        for (int i = 0; i < k; i++)
            to[r * KC + i] = bf16_widen(bf16_round(transposed ? A[i * lda + r] : A[r * lda + i]));
        if (k & 1)
            to[r * KC + k] = 0;
    }
}

typedef float chain_fn(const float *a, const void *b, int column, int k, float c);

static float chain_f32(const float *a, const void *b, int column, int k, float c)
{
    const float *panel = (const float *)b + column;
    for (int i = 0; i < k; i++)
        c = fmaf(a[i], panel[i * GEMM_PANEL], c);
    return c;
}

/* Of a pair the odd element goes first. */
static float chain_bf16(const float *a, const void *b, int column, int k, float c)
{
    const uint16_t *pair = (const uint16_t *)b + column * 2;
    c = bf16_flush(c);
    for (int i = 0; i < k; i += 2, pair += GEMM_PANEL * 2) {
        c = bf16_fma(a[i + 1], bf16_widen(pair[1]), c);
        c = bf16_fma(a[i], bf16_widen(pair[0]), c);
    }
    return c;
}

/* Tiles: 32 elements at a time, even and odd ones in two chains from zero, their sum added to c. */
static float chain_tiles(const float *a, const void *b, int column, int k, float c)
{
    const uint16_t *pair = (const uint16_t *)b + column * 2;
    for (int i = 0; i < k; i += 32) {
        float even = 0, odd = 0;
        for (int j = i; j < i + 32; j += 2, pair += GEMM_PANEL * 2) {
            bool in = j < k; /* the padding's products are +0, and make a -0 positive */
            even = bf16_fma(in ? a[j] : 0, in ? bf16_widen(pair[0]) : 0, even);
            odd = bf16_fma(in ? a[j + 1] : 0, in ? bf16_widen(pair[1]) : 0, odd);
        }
        c = bf16_flush(bf16_flush(c) + bf16_flush(even + odd));
    }
    return c;
}

static void tile(const struct gemm_tile *t, chain_fn *chain)
{
    for (int r = 0; r < t->m; r++)
        for (int n = 0; n < t->n; n++) {
            const char *b = (const char *)t->b + (size_t)(n / GEMM_PANEL) * t->panel_bytes;
            float c = t->in ? t->in[r * t->ld_in + n] : 0;
            c = chain((const float *)t->a + r * KC, b, n % GEMM_PANEL, t->k, c);
            if (t->bias)
                c += t->bias[n];
            if (t->residual)
                c += t->residual[r * t->ld_residual + n];
            t->out[r * t->ld_out + n] = c;
        }
}

static void tile_f32(const struct gemm_tile *t)
{
    tile(t, chain_f32);
}

static void tile_bf16(const struct gemm_tile *t)
{
    tile(t, chain_bf16);
}

static void tile_tiles(const struct gemm_tile *t)
{
    tile(t, chain_tiles);
}

static int one_panel(int m, bool k_major, int left)
{
    return 1;
}

/* Element (k, n) of the unpacked B; zero outside. */
static float source(const struct gemm_pack *p, int k, int n)
{
    if (k >= p->K || n >= p->N)
        return 0;
    ptrdiff_t at = p->transposed ? n * p->ld + k : k * p->ld + n;
    if (p->src_bf16)
        return bf16_float((uint32_t)((const uint16_t *)p->src)[at] << 16);
    return ((const float *)p->src)[at];
}

static void pack_b_f32(const struct gemm_pack *p)
{
    float *to = (float *)p->panels + p->lo * (size_t)p->K * GEMM_PANEL;
    for (int panel = (int)p->lo; panel < (int)p->hi; panel++)
        for (int k = 0; k < p->K; k++)
            for (int c = 0; c < GEMM_PANEL; c++)
                *to++ = source(p, k, panel * GEMM_PANEL + c);
}

static void pack_b_bf16(const struct gemm_pack *p)
{
    int pairs = (p->K + 1) / 2;
    uint16_t *to = (uint16_t *)p->panels + p->lo * (size_t)pairs * GEMM_PANEL * 2;
    for (int panel = (int)p->lo; panel < (int)p->hi; panel++)
        for (int k = 0; k < pairs * 2; k += 2)
            for (int i = 0; i < GEMM_PANEL * 2; i++) {
                float x = source(p, k + (i & 1), panel * GEMM_PANEL + i / 2);
                *to++ = p->src_bf16 ? (uint16_t)(bf16_bits(x) >> 16) : bf16_round(x);
            }
}

static const struct gemm_micro micro_f32 = {
    .name = "gemm_f32_scalar", .rows = ROWS, .kc = KC, .pack_a = pack_f32, .tile_panels = one_panel,
    .tile = tile_f32, .pack_b = pack_b_f32};

static const struct gemm_micro micro_bf16 = {
    .name = "gemm_bf16_scalar", .rows = ROWS, .kc = KC, .pack_a = pack_bf16, .tile_panels = one_panel,
    .tile = tile_bf16, .pack_b = pack_b_bf16};

const struct gemm_micro gemm_ref_bf16_tiles = {
    .name = "gemm_bf16_tiles_scalar", .rows = ROWS, .kc = KC, .pack_a = pack_bf16, .tile_panels = one_panel,
    .tile = tile_tiles, .pack_b = pack_b_bf16};

void gemm_init_scalar(struct kernels *k)
{
    k->gemm[GEMM_F32] = &micro_f32;
    k->gemm[GEMM_BF16] = &micro_bf16;
}

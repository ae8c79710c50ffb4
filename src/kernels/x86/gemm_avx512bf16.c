/* Matrix products in bf16 with vdpbf16ps, two products a lane and step. */
/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"
#include "kernels/x86/gemm_amx.h"
#include "kernels/x86/gemm_avx512.h"

enum { KC = AMX_KC, ROW_BYTES = AMX_STRIP_STRIDE }; /* tiles read the same row-major strips */

/* lo and hi rounded and interleaved: lane i is the pair (lo[i], hi[i]). */
static inline __m512i round_pairs(__m512 lo, __m512 hi)
{
    __m512i h = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, h);
}

static void pack_rows(const float *A, ptrdiff_t lda, int m, int k, char *to)
{
    for (int r = 0; r < m; r++) {
        const float *from = A + r * lda;
        char *row = to + r * ROW_BYTES;
        int i = 0;
        for (; i + 32 <= k; i += 32)
            _mm512_store_si512(row + i * 2, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16),
                                                                         _mm512_loadu_ps(from + i)));
        if (i < k)
            _mm512_store_si512(row + i * 2,
                               (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(mask16(k - i - 16), from + i + 16),
                                                            _mm512_maskz_loadu_ps(mask16(k - i), from + i)));
    }
}

static void pack_major(const float *A, ptrdiff_t lda, int m, int k, char *to)
{
    __mmask16 rows = mask16(m);
    for (int i = 0; i < k; i += 2) {
        __m512 lo = _mm512_maskz_loadu_ps(rows, A + i * lda);
        __m512 hi = i + 1 < k ? _mm512_maskz_loadu_ps(rows, A + (i + 1) * lda) : _mm512_setzero_ps();
        _mm512_store_si512(to + i * 32, round_pairs(lo, hi));
    }
}

static void pack_a(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    (transposed ? pack_major : pack_rows)(A, lda, m, k, strip);
}

#define TILE(name) bf16_##name
#define TILE_MAX_ROWS 14
#define TILE_MAX_VECS 8
#define TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define TILE_PANELS(m) ((m) <= 3 ? 8 : (m) <= 6 ? 4 : 2)
#define TILE_STEP_K 2
#define TILE_ROW_BYTES ROW_BYTES
#define TILE_STEP_BYTES 4
#define TILE_PAIR_BYTES 0
#define TILE_MAJOR_BYTES 64
#define TILE_MAJOR_PAIR 0
#define TILE_PINNED 0
#define TILE_ENTER() (void)0
#define TILE_LEAVE() (void)0

typedef __m512bh bf16_b_vec;
#define bf16_b_load(p) (__m512bh)_mm512_load_si512(p)
#define bf16_dot(c, a, pair_bytes, b) _mm512_dpbf16_ps(c, (__m512bh)_mm512_set1_epi32(*(const int *)(a)), b)
#include "kernels/x86/gemm_tile_tmpl.h"

/* 32 elements (16 pairs) of row c of a transposed source. */
static inline __m512i load_words(const struct gemm_pack *p, int c, int k)
{
    int left = p->K - k;
    if (p->src_bf16)
        return _mm512_maskz_loadu_epi16(mask32(left), (const uint16_t *)p->src + c * p->ld + k);
    const float *f = (const float *)p->src + c * p->ld + k;
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(mask16(left - 16), f + 16),
                                        _mm512_maskz_loadu_ps(mask16(left), f));
}

static void pack_transposed(const struct gemm_pack *p)
{
    int steps = (p->K + 1) / 2;
    for (size_t panel = p->lo; panel < p->hi; panel++) {
        char *to = (char *)p->panels + panel * (size_t)steps * 64;
        int n = (int)panel * GEMM_PANEL, cols = p->N - n < GEMM_PANEL ? p->N - n : GEMM_PANEL;
        for (int s = 0; s < steps; s += 16) {
            __m512i w[16];
            for (int c = 0; c < 16; c++)
                w[c] = c < cols ? load_words(p, n + c, s * 2) : _mm512_setzero_si512();
            transpose16(w);
            for (int i = 0; i < 16 && s + i < steps; i++)
                _mm512_store_si512(to + (size_t)(s + i) * 64, w[i]);
        }
    }
}

static inline __m512 load_row(const struct gemm_pack *p, int k, int n)
{
    __mmask16 m = k < p->K ? mask16(p->N - n) : 0;
    return _mm512_maskz_loadu_ps(m, (const float *)p->src + (k < p->K ? k : 0) * p->ld + n);
}

static inline __m512i load_row_bf16(const struct gemm_pack *p, int k, int n)
{
    __mmask16 m = k < p->K ? mask16(p->N - n) : 0;
    const uint16_t *from = (const uint16_t *)p->src + (k < p->K ? k : 0) * p->ld + n;
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, from));
}

static void pack_plain(const struct gemm_pack *p)
{
    int steps = (p->K + 1) / 2;
    size_t panel_bytes = (size_t)steps * 64;
    for (int block = 0; block < steps; block += GEMM_PACK_STEPS)
        for (size_t panel = p->lo; panel < p->hi; panel++) {
            int n = (int)panel * GEMM_PANEL, end = block + GEMM_PACK_STEPS < steps ? block + GEMM_PACK_STEPS : steps;
            char *to = (char *)p->panels + panel * panel_bytes;
            for (int s = block; s < end; s++) {
                __m512i w = p->src_bf16
                                ? _mm512_or_si512(load_row_bf16(p, s * 2, n),
                                                  _mm512_slli_epi32(load_row_bf16(p, s * 2 + 1, n), 16))
                                : round_pairs(load_row(p, s * 2, n), load_row(p, s * 2 + 1, n));
                _mm512_store_si512(to + (size_t)s * 64, w);
            }
        }
}

static void pack_b(const struct gemm_pack *p)
{
    if (p->transposed)
        pack_transposed(p);
    else
        pack_plain(p);
}

void gemm_amx_pack_b(const struct gemm_pack *p)
{
    pack_b(p);
}

/* Tiles want rows also of a transposed A: 16 columns by 16 pairs at a time. */
void gemm_amx_pack_a(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    if (!transposed) {
        pack_rows(A, lda, m, k, strip);
        return;
    }
    for (int r = 0; r < m; r += 16)
        for (int i = 0; i < k; i += 32) {
            __m512i w[16];
            __mmask16 rows = mask16(m - r);
            for (int s = 0; s < 16; s++) {
                int at = i + s * 2;
                const float *from = A + at * lda + r;
                w[s] = round_pairs(_mm512_maskz_loadu_ps(at < k ? rows : 0, from),
                                   _mm512_maskz_loadu_ps(at + 1 < k ? rows : 0, from + lda));
            }
            transpose16(w);
            for (int c = 0; c < 16; c++)
                _mm512_store_si512((char *)strip + (r + c) * ROW_BYTES + i * 2, w[c]);
        }
}

static const struct gemm_micro micro_bf16 = {
    .name = "gemm_bf16_avx512bf16", .rows = 14, .kc = KC, .pack_a = pack_a, .tile_panels = bf16_panels,
    .tile = bf16_tile, .pack_b = pack_b};

void gemm_init_avx512bf16(struct kernels *k)
{
    k->gemm[GEMM_BF16] = &micro_bf16;
}

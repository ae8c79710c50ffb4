/* Matrix products with AVX-512 F: float32, and bf16 as the dot-product instruction computes it, for
 * machines without it: pairs widened in registers, the odd element first, subnormals flushed. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/gemm_avx512.h"
#include "kernels/kernels.h"

enum { KC = 256, ROW_BYTES = KC * 4 + 64 }; /* 64 more, so that rows do not share cache sets */

/* The strip holds float32 in both formats. */
static void pack_rows(const float *A, ptrdiff_t lda, int m, int k, char *to, bool round)
{
    int padded = round ? (k + 1) & ~1 : k;
    for (int r = 0; r < m; r++)
        for (int i = 0; i < padded; i += 16) {
            __m512 x = _mm512_maskz_loadu_ps(mask16(k - i), A + r * lda + i);
            if (round)
                x = _mm512_castsi512_ps(round16(x));
            _mm512_store_ps(to + r * ROW_BYTES + i * 4, x);
        }
}

static void pack_major(const float *A, ptrdiff_t lda, int m, int k, char *to, bool round)
{
    __mmask16 rows = mask16(m);
    for (int i = 0; i < k; i++) {
        __m512 x = _mm512_maskz_loadu_ps(rows, A + i * lda);
        if (round)
            x = _mm512_castsi512_ps(round16(x));
        _mm512_store_ps(to + i * 64, x);
    }
    if (round && (k & 1))
        _mm512_store_ps(to + k * 64, _mm512_setzero_ps());
}

static void pack_a_f32(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    (transposed ? pack_major : pack_rows)(A, lda, m, k, strip, false);
}

static void pack_a_bf16(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    (transposed ? pack_major : pack_rows)(A, lda, m, k, strip, true);
}

/* ---- float32 ---- */

#define TILE(name) f32_##name
#define TILE_MAX_ROWS 14
#define TILE_MAX_VECS 8
#define TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define TILE_PANELS(m) ((m) <= 3 ? 8 : (m) <= 6 ? 4 : 2)
#define TILE_STEP_K 1
#define TILE_ROW_BYTES ROW_BYTES
#define TILE_STEP_BYTES 4
#define TILE_PAIR_BYTES 0
#define TILE_MAJOR_BYTES 64
#define TILE_MAJOR_PAIR 0
#define TILE_PINNED 0
#define TILE_ENTER() (void)0
#define TILE_LEAVE() (void)0

typedef __m512 f32_b_vec;
#define f32_b_load(p) _mm512_load_ps(p)
#define f32_dot(c, a, pair_bytes, b) _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)(a)), b, c)
#include "kernels/x86/gemm_tile_tmpl.h"

#undef TILE
#undef TILE_MAX_ROWS
#undef TILE_ROWS
#undef TILE_PANELS
#undef TILE_STEP_K
#undef TILE_STEP_BYTES
#undef TILE_PAIR_BYTES
#undef TILE_MAJOR_BYTES
#undef TILE_MAJOR_PAIR
#undef TILE_PINNED
#undef TILE_ENTER
#undef TILE_LEAVE

/* ---- bf16 without its instructions: fewer rows, because a panel takes two registers ---- */

#define TILE(name) bf16_##name
#define TILE_MAX_ROWS 12
#define TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define TILE_PANELS(m) ((m) <= 2 ? 8 : (m) <= 5 ? 4 : 2)
#define TILE_STEP_K 2
#define TILE_STEP_BYTES 8
#define TILE_PAIR_BYTES 4
#define TILE_MAJOR_BYTES 128
#define TILE_MAJOR_PAIR 64
/* Subnormals are flushed by the control register, in the chain only. */
#define TILE_PINNED 1
#define TILE_ENTER() const unsigned mxcsr = _mm_getcsr(); _mm_setcsr(mxcsr | 0x8040)
#define TILE_LEAVE() _mm_setcsr(mxcsr)

typedef struct { __m512 even, odd; } bf16_b_vec;

static inline __attribute__((always_inline)) bf16_b_vec bf16_b_load(const char *p)
{
    __m512i b = _mm512_load_si512(p);
    return (bf16_b_vec){_mm512_castsi512_ps(_mm512_slli_epi32(b, 16)),
                        _mm512_castsi512_ps(_mm512_maskz_mov_epi16(0xaaaaaaaau, b))};
}

static inline __attribute__((always_inline)) __m512 bf16_dot(__m512 c, const char *a, int pair_bytes, bf16_b_vec b)
{
    c = _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)(a + pair_bytes)), b.odd, c);
    return _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)a), b.even, c);
}
#include "kernels/x86/gemm_tile_tmpl.h"

/* ---- packing B ---- */

/* Words of 32 bits (a float32, or a pair) out of 16 columns of a transposed source: row c of the
 * source is column c of the panel. */
static inline __attribute__((always_inline)) __m512i load_words(const struct gemm_pack *p, int c, int k, bool pairs)
{
    int left = p->K - k;
    const float *f = (const float *)p->src + c * p->ld + k;
    const uint16_t *h = (const uint16_t *)p->src + c * p->ld + k;
    if (!pairs)
        return p->src_bf16 ? _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask16(left), h)), 16)
                           : _mm512_maskz_loadu_epi32(mask16(left), f);
    if (p->src_bf16)
        return _mm512_maskz_loadu_epi16(mask32(left), h);
    __m512i lo = round16(_mm512_maskz_loadu_ps(mask16(left), f));
    __m512i hi = round16(left > 16 ? _mm512_maskz_loadu_ps(mask16(left - 16), f + 16) : _mm512_setzero_ps());
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_srli_epi32(lo, 16))),
                              _mm512_cvtepi32_epi16(_mm512_srli_epi32(hi, 16)), 1);
}

static inline __attribute__((always_inline)) void pack_transposed(const struct gemm_pack *p, bool pairs)
{
    int steps = pairs ? (p->K + 1) / 2 : p->K;
    for (size_t panel = p->lo; panel < p->hi; panel++) {
        char *to = (char *)p->panels + panel * (size_t)steps * 64;
        int n = (int)panel * GEMM_PANEL, cols = p->N - n < GEMM_PANEL ? p->N - n : GEMM_PANEL;
        for (int s = 0; s < steps; s += 16) {
            __m512i w[16];
            for (int c = 0; c < 16; c++)
                w[c] = c < cols ? load_words(p, n + c, pairs ? s * 2 : s, pairs) : _mm512_setzero_si512();
            transpose16(w);
            for (int i = 0; i < 16 && s + i < steps; i++)
                _mm512_store_si512(to + (size_t)(s + i) * 64, w[i]);
        }
    }
}

/* One panel's row k of an untransposed source, in the upper half of the lanes when rounded. */
static inline __attribute__((always_inline)) __m512i load_row(const struct gemm_pack *p, int k, int n, bool round)
{
    __mmask16 m = k < p->K ? mask16(p->N - n) : 0;
    ptrdiff_t at = (k < p->K ? k : 0) * p->ld + n;
    if (p->src_bf16)
        return _mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, (const uint16_t *)p->src + at)), 16);
    __m512 x = _mm512_maskz_loadu_ps(m, (const float *)p->src + at);
    return round ? round16(x) : _mm512_castps_si512(x);
}

/* A few rows of all the thread's panels at a time: the source is read nearly in order. */
static inline __attribute__((always_inline)) void pack_plain(const struct gemm_pack *p, bool pairs)
{
    int steps = pairs ? (p->K + 1) / 2 : p->K;
    for (int block = 0; block < steps; block += GEMM_PACK_STEPS)
        for (size_t panel = p->lo; panel < p->hi; panel++) {
            int n = (int)panel * GEMM_PANEL, end = block + GEMM_PACK_STEPS < steps ? block + GEMM_PACK_STEPS : steps;
            char *to = (char *)p->panels + panel * (size_t)steps * 64;
            for (int s = block; s < end; s++) {
                __m512i w = load_row(p, pairs ? s * 2 : s, n, pairs);
                if (pairs)
                    w = _mm512_or_si512(_mm512_srli_epi32(w, 16), load_row(p, s * 2 + 1, n, true));
                _mm512_store_si512(to + (size_t)s * 64, w);
            }
        }
}

static void pack_b_f32(const struct gemm_pack *p)
{
    if (p->transposed)
        pack_transposed(p, false);
    else
        pack_plain(p, false);
}

static void pack_b_bf16(const struct gemm_pack *p)
{
    if (p->transposed)
        pack_transposed(p, true);
    else
        pack_plain(p, true);
}

static const struct gemm_micro micro_f32 = {
    .name = "gemm_f32_avx512", .rows = 14, .kc = KC, .pack_a = pack_a_f32, .tile_panels = f32_panels,
    .tile = f32_tile, .pack_b = pack_b_f32};

static const struct gemm_micro micro_bf16 = {
    .name = "gemm_bf16_avx512", .rows = 12, .kc = KC, .pack_a = pack_a_bf16, .tile_panels = bf16_panels,
    .tile = bf16_tile, .pack_b = pack_b_bf16};

void gemm_init_avx512(struct kernels *k)
{
    k->gemm[GEMM_F32] = &micro_f32;
    k->gemm[GEMM_BF16] = &micro_bf16;
}

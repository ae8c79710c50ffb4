/* Matrix products with AVX2, FMA: float32, and bf16 as the dot-product instruction computes it (pairs
 * widened in registers, the odd element first, subnormals flushed). */
/* SPDX-License-Identifier: MIT */
#include <immintrin.h>
#include "kernels/kernels.h"
#include "kernels/x86/gemm_x86.h"

enum { KC = 256, ROW_BYTES = KC * 4 + 64, LANES = 8 };
typedef __m256 vec;
#define vec_zero() _mm256_setzero_ps()
#define vec_load(p) _mm256_loadu_ps(p)
#define vec_store(p, v) _mm256_storeu_ps(p, v)
#define vec_add(a, b) _mm256_add_ps(a, b)

/* The first n of 8 lanes. */
static inline __m256i mask8(int n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

static inline __m256i load8_bf16(const uint16_t *p, int n)
{
    uint16_t h[8] = {0};
    memcpy(h, p, (size_t)(n < 8 ? n : 8) * sizeof(h[0]));
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)h));
}

/* The bits of bf16_round, in the upper half of each lane; the lower half is zero. */
static inline __m256i round8(__m256 x)
{
    __m256i u = _mm256_castps_si256(x), upper = _mm256_set1_epi32((int)0xffff0000u);
    __m256i tiny = _mm256_cmpeq_epi32(_mm256_and_si256(u, _mm256_set1_epi32(0x7f800000)), _mm256_setzero_si256());
    u = _mm256_blendv_epi8(u, _mm256_and_si256(u, _mm256_set1_epi32((int)0x80000000u)), tiny);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), nan);
    return _mm256_and_si256(r, upper);
}

/* The strip holds float32 in both formats; k-major steps are one vector long. */
static inline __attribute__((always_inline)) void pack_a(const float *A, ptrdiff_t lda, bool transposed, int m, int k,
                                                         char *to, bool round)
{
    int padded = round ? (k + 1) & ~1 : k;
    int outer = transposed ? padded : m, inner = transposed ? m : padded, valid = transposed ? m : k;
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j += LANES) {
            int n = transposed && i >= k ? 0 : valid - j;
            __m256 x = _mm256_maskload_ps(A + i * lda + j, mask8(n));
            if (round)
                x = _mm256_castsi256_ps(round8(x));
            _mm256_store_ps((float *)(to + i * (transposed ? LANES * 4 : ROW_BYTES)) + j, x);
        }
}

static void pack_a_f32(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    pack_a(A, lda, transposed, m, k, strip, false);
}

static void pack_a_bf16(const float *A, ptrdiff_t lda, bool transposed, int m, int k, void *strip)
{
    pack_a(A, lda, transposed, m, k, strip, true);
}

/* ---- float32 ---- */

#define TILE(name) f32_##name
#define TILE_MAX_ROWS 6
#define TILE_MAX_VECS 8
#define TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define TILE_PANELS(m) ((m) == 1 ? 4 : (m) == 2 ? 2 : 1)
#define TILE_STEP_K 1
#define TILE_ROW_BYTES ROW_BYTES
#define TILE_STEP_BYTES 4
#define TILE_PAIR_BYTES 0
#define TILE_MAJOR_BYTES 32
#define TILE_MAJOR_PAIR 0
#define TILE_PINNED 0
#define TILE_ENTER() (void)0
#define TILE_LEAVE() (void)0

typedef __m256 f32_b_vec;
#define f32_b_load(p) _mm256_load_ps((const float *)(p))
#define f32_dot(c, a, pair_bytes, b) _mm256_fmadd_ps(_mm256_broadcast_ss((const float *)(a)), b, c)
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

/* ---- bf16: a panel takes four registers ---- */

#define TILE(name) bf16_##name
#define TILE_MAX_ROWS 5
#define TILE_ROWS(X) X(1) X(2) X(3) X(4) X(5)
#define TILE_PANELS(m) ((m) <= 2 ? 2 : 1)
#define TILE_STEP_K 2
#define TILE_STEP_BYTES 8
#define TILE_PAIR_BYTES 4
#define TILE_MAJOR_BYTES 64
#define TILE_MAJOR_PAIR 32
/* Subnormals are flushed by the control register, in the chain only. */
#define TILE_PINNED 1
#define TILE_ENTER() const unsigned mxcsr = _mm_getcsr(); _mm_setcsr(mxcsr | 0x8040)
#define TILE_LEAVE() _mm_setcsr(mxcsr)

typedef struct { __m256 even, odd; } bf16_b_vec;

static inline __attribute__((always_inline)) bf16_b_vec bf16_b_load(const char *p)
{
    __m256i b = _mm256_load_si256((const __m256i *)p);
    return (bf16_b_vec){_mm256_castsi256_ps(_mm256_slli_epi32(b, 16)),
                        _mm256_castsi256_ps(_mm256_blend_epi16(b, _mm256_setzero_si256(), 0x55))};
}

static inline __attribute__((always_inline)) __m256 bf16_dot(__m256 c, const char *a, int pair_bytes, bf16_b_vec b)
{
    c = _mm256_fmadd_ps(_mm256_broadcast_ss((const float *)(a + pair_bytes)), b.odd, c);
    return _mm256_fmadd_ps(_mm256_broadcast_ss((const float *)a), b.even, c);
}
#include "kernels/x86/gemm_tile_tmpl.h"

/* ---- packing B ---- */

/* 8 elements of the source, float32 or rounded bits in the upper half; zero from `n` on. */
static inline __attribute__((always_inline)) __m256i load8(const struct gemm_pack *p, ptrdiff_t at, int n, bool round)
{
    if (n <= 0)
        return _mm256_setzero_si256();
    if (p->src_bf16)
        return _mm256_slli_epi32(load8_bf16((const uint16_t *)p->src + at, n), 16);
    __m256 x = _mm256_maskload_ps((const float *)p->src + at, mask8(n));
    return round ? round8(x) : _mm256_castps_si256(x);
}

/* Elements in the upper halves: even ones go down, odd ones stay. */
static inline __m256i pair8(__m256i even, __m256i odd)
{
    return _mm256_or_si256(_mm256_srli_epi32(even, 16), odd);
}

static inline void transpose8(__m256i r[8])
{
    __m256i t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
    }
}

/* Source rows are the panel's columns: 8 columns by 8 words at a time. */
static inline __attribute__((always_inline)) void pack_transposed(const struct gemm_pack *p, bool pairs)
{
    const int per = pairs ? 2 : 1, steps = (p->K + per - 1) / per;
    for (size_t half = p->lo * 2; half < p->hi * 2; half++) {
        char *to = (char *)p->panels + (half / 2 * (size_t)steps * 2 + half % 2) * 32;
        int n = (int)half * 8;
        for (int s = 0; s < steps; s += 8) {
            __m256i w[8];
            for (int c = 0; c < 8; c++) {
                int k = s * per, left = n + c < p->N ? p->K - k : 0;
                ptrdiff_t at = (ptrdiff_t)(n + c) * p->ld + k;
                w[c] = load8(p, at, left, pairs);
                if (!pairs)
                    continue;
                __m256i hi = load8(p, at + 8, left - 8, true); /* 16 elements to 8 pairs in order */
                __m256i both = _mm256_packus_epi32(_mm256_srli_epi32(w[c], 16), _mm256_srli_epi32(hi, 16));
                w[c] = _mm256_permute4x64_epi64(both, 0xd8);
            }
            transpose8(w);
            for (int i = 0; i < 8 && s + i < steps; i++)
                _mm256_store_si256((__m256i *)(to + (size_t)(s + i) * 64), w[i]);
        }
    }
}

static inline __attribute__((always_inline)) void pack_plain(const struct gemm_pack *p, bool pairs)
{
    const int per = pairs ? 2 : 1, steps = (p->K + per - 1) / per;
    for (int block = 0; block < steps; block += GEMM_PACK_STEPS)
        for (size_t half = p->lo * 2; half < p->hi * 2; half++) {
            int n = (int)half * 8, end = block + GEMM_PACK_STEPS < steps ? block + GEMM_PACK_STEPS : steps;
            char *to = (char *)p->panels + (half / 2 * (size_t)steps * 2 + half % 2) * 32;
            for (int s = block; s < end; s++) {
                int k = s * per;
                ptrdiff_t at = k * p->ld + n;
                __m256i w = load8(p, at, p->N - n, pairs);
                if (pairs)
                    w = pair8(w, load8(p, at + p->ld, k + 1 < p->K ? p->N - n : 0, true));
                _mm256_store_si256((__m256i *)(to + (size_t)s * 64), w);
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
    .name = "gemm_f32_avx2", .rows = 6, .kc = KC, .pack_a = pack_a_f32, .tile_panels = f32_panels,
    .tile = f32_tile, .pack_b = pack_b_f32};

static const struct gemm_micro micro_bf16 = {
    .name = "gemm_bf16_avx2", .rows = 5, .kc = KC, .pack_a = pack_a_bf16, .tile_panels = bf16_panels,
    .tile = bf16_tile, .pack_b = pack_b_bf16};

void gemm_init_avx2(struct kernels *k)
{
    k->gemm[GEMM_F32] = &micro_f32;
    k->gemm[GEMM_BF16] = &micro_bf16;
}

/* Attention with AVX-512: attention_tmpl.h on the lanes of vec_avx512.h, lanes masked by mask registers. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx512.h"

enum { ATTN_NQ = 2, ATTN_KEYS = 8, ATTN_ROWS = 8 };

typedef __mmask16 vmask;
VEC_FN vmask v_mask(unsigned bits) { return (vmask)bits; }
VEC_FN vec v_fma_if(vmask m, vec x, vec y, vec z) { return _mm512_mask3_fmadd_ps(x, y, z, m); }
/* max(x, y) where m, else y */
VEC_FN vec v_max_if(vmask m, vec x, vec y) { return _mm512_mask_max_ps(y, m, x, y); }
VEC_FN vec v_keep(vmask m, vec x) { return _mm512_maskz_mov_ps(m, x); }
/* Of sixteen spans [lo, hi): which hold all of [pos, end). */
VEC_FN unsigned v_covers(const int32_t *lo, const int32_t *hi, int32_t pos, int32_t end)
{
    __mmask16 m = _mm512_cmple_epi32_mask(_mm512_loadu_si512(lo), _mm512_set1_epi32(pos));
    return _mm512_mask_cmpge_epi32_mask(m, _mm512_loadu_si512(hi), _mm512_set1_epi32(end));
}
VEC_FN unsigned v_nonempty(const int32_t *lo, const int32_t *hi)
{
    return _mm512_cmplt_epi32_mask(_mm512_loadu_si512(lo), _mm512_loadu_si512(hi));
}
VEC_FN float v_half(uint16_t h) { return _cvtsh_ss(h); }
/* Eight lanes. */
typedef __m256 half_vec;
typedef __mmask8 half_mask;
VEC_FN half_vec half_set(float x) { return _mm256_set1_ps(x); }
VEC_FN half_vec half_load(const float *p) { return _mm256_loadu_ps(p); }
VEC_FN void half_store(float *p, half_vec x) { _mm256_storeu_ps(p, x); }
VEC_FN half_vec half_fma(half_vec x, half_vec y, half_vec z) { return _mm256_fmadd_ps(x, y, z); }
VEC_FN half_mask half_mask_of(unsigned bits) { return (half_mask)bits; }
VEC_FN half_vec half_fma_if(half_mask m, half_vec x, half_vec y, half_vec z) { return _mm256_mask3_fmadd_ps(x, y, z, m); }
/* 16x16, in place: pairs, quads, then 128-bit quarters. */
VEC_FN void v_transpose(vec v[VEC])
{
    __m512d t[VEC];
    for (int i = 0; i < VEC; i += 2) {
        t[i] = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
        t[i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
    }
    for (int i = 0; i < VEC; i += 4) {
        v[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(t[i], t[i + 2]));
        v[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t[i], t[i + 2]));
        v[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t[i + 1], t[i + 3]));
        v[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t[i + 1], t[i + 3]));
    }
    for (int i = 0; i < 4; i++) {
        vec a = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88), b = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        vec c = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd), d = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
        v[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(a, b, 0xdd);
        v[i + 4] = _mm512_shuffle_f32x4(c, d, 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
}

#include "kernels/attention_tmpl.h"

void attention_init_avx512(struct kernels *k)
{
    k->attention = attention_tiles;
    k->attention_grad = attention_grad_tiles;
}

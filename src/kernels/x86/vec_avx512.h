/* Sixteen float32 lanes as one AVX-512 register; the contract is kernels/vec_scalar.h. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_X86_VEC_AVX512_H
#define KERNELS_X86_VEC_AVX512_H
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define VEC_FN static inline __attribute__((always_inline, unused))
enum { VEC = 16 };
typedef __m512 vec;

VEC_FN __mmask16 vec_mask(int n) { return (__mmask16)(0xffffu >> (VEC - n)); }
VEC_FN vec v_set(float x) { return _mm512_set1_ps(x); }
VEC_FN vec v_load_or(const float *p, int n, float fill)
{
    return n == VEC ? _mm512_loadu_ps(p) : _mm512_mask_loadu_ps(_mm512_set1_ps(fill), vec_mask(n), p);
}
VEC_FN void v_store(float *p, int n, vec v)
{
    if (n == VEC)
        _mm512_storeu_ps(p, v);
    else
        _mm512_mask_storeu_ps(p, vec_mask(n), v);
}
VEC_FN vec v_add(vec x, vec y) { return _mm512_add_ps(x, y); }
VEC_FN vec v_sub(vec x, vec y) { return _mm512_sub_ps(x, y); }
VEC_FN vec v_mul(vec x, vec y) { return _mm512_mul_ps(x, y); }
VEC_FN vec v_div(vec x, vec y) { return _mm512_div_ps(x, y); }
VEC_FN vec v_fma(vec x, vec y, vec z) { return _mm512_fmadd_ps(x, y, z); }
VEC_FN vec v_max(vec x, vec y) { return _mm512_max_ps(x, y); }
VEC_FN vec v_min(vec x, vec y) { return _mm512_min_ps(x, y); }
VEC_FN vec v_sqrt(vec x) { return _mm512_sqrt_ps(x); }
VEC_FN vec v_abs(vec x) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x); }
VEC_FN vec v_copysign(vec x, vec s) { return _mm512_or_ps(v_abs(x), _mm512_and_ps(_mm512_set1_ps(-0.0f), s)); }
VEC_FN vec v_if_gt(vec x, vec y, vec yes, vec no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), no, yes);
}
VEC_FN vec v_ldexp(vec x, vec n) { return _mm512_scalef_ps(x, n); }
VEC_FN vec v_frexp(vec x, vec *e)
{
    __m512i u = _mm512_castps_si512(x);
    __m512i k = _mm512_srai_epi32(_mm512_sub_epi32(u, _mm512_set1_epi32(0x3f3504f3)), 23);
    *e = _mm512_cvtepi32_ps(k);
    return _mm512_castsi512_ps(_mm512_sub_epi32(u, _mm512_slli_epi32(k, 23)));
}
VEC_FN float v_first(vec x) { return _mm512_cvtss_f32(x); }
VEC_FN float v_sum(vec x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
VEC_FN float v_hmax(vec x)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#endif

/* Sixteen float32 lanes as two AVX2 registers; the contract is kernels/vec_scalar.h. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_X86_VEC_AVX2_H
#define KERNELS_X86_VEC_AVX2_H
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define VEC_FN static inline __attribute__((always_inline, unused))
enum { VEC = 16 };
typedef struct { __m256 a, b; } vec;

static const int32_t vec_lanes[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
VEC_FN __m256i vec_mask_a(int n) { return _mm256_loadu_si256((const __m256i *)(vec_lanes + VEC - n)); }
VEC_FN __m256i vec_mask_b(int n) { return _mm256_loadu_si256((const __m256i *)(vec_lanes + VEC - n + 8)); }

VEC_FN vec v_set(float x) { return (vec){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
VEC_FN vec v_load_or(const float *p, int n, float fill)
{
    if (n == VEC)
        return (vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
    __m256i ma = vec_mask_a(n), mb = vec_mask_b(n);
    __m256 f = _mm256_set1_ps(fill);
    return (vec){_mm256_blendv_ps(f, _mm256_maskload_ps(p, ma), _mm256_castsi256_ps(ma)),
                 _mm256_blendv_ps(f, _mm256_maskload_ps(p + 8, mb), _mm256_castsi256_ps(mb))};
}
VEC_FN void v_store(float *p, int n, vec v)
{
    if (n == VEC) {
        _mm256_storeu_ps(p, v.a);
        _mm256_storeu_ps(p + 8, v.b);
        return;
    }
    _mm256_maskstore_ps(p, vec_mask_a(n), v.a);
    _mm256_maskstore_ps(p + 8, vec_mask_b(n), v.b);
}
VEC_FN vec v_add(vec x, vec y) { return (vec){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
VEC_FN vec v_sub(vec x, vec y) { return (vec){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
VEC_FN vec v_mul(vec x, vec y) { return (vec){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
VEC_FN vec v_div(vec x, vec y) { return (vec){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
VEC_FN vec v_fma(vec x, vec y, vec z)
{
    return (vec){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
VEC_FN vec v_max(vec x, vec y) { return (vec){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
VEC_FN vec v_min(vec x, vec y) { return (vec){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
VEC_FN vec v_sqrt(vec x) { return (vec){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
VEC_FN vec v_abs(vec x)
{
    __m256 m = _mm256_set1_ps(-0.0f);
    return (vec){_mm256_andnot_ps(m, x.a), _mm256_andnot_ps(m, x.b)};
}
VEC_FN vec v_copysign(vec x, vec s)
{
    __m256 m = _mm256_set1_ps(-0.0f);
    return (vec){_mm256_or_ps(_mm256_andnot_ps(m, x.a), _mm256_and_ps(m, s.a)),
                 _mm256_or_ps(_mm256_andnot_ps(m, x.b), _mm256_and_ps(m, s.b))};
}
VEC_FN vec v_if_gt(vec x, vec y, vec yes, vec no)
{
    return (vec){_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ)),
                 _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))};
}
VEC_FN __m256 vec_shift23(__m256 x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23)); }
VEC_FN vec v_shift23(vec x) { return (vec){vec_shift23(x.a), vec_shift23(x.b)}; }
VEC_FN __m256 vec_frexp(__m256 x, __m256 *e)
{
    __m256i u = _mm256_castps_si256(x);
    __m256i k = _mm256_srai_epi32(_mm256_sub_epi32(u, _mm256_set1_epi32(0x3f3504f3)), 23);
    *e = _mm256_cvtepi32_ps(k);
    return _mm256_castsi256_ps(_mm256_sub_epi32(u, _mm256_slli_epi32(k, 23)));
}
VEC_FN vec v_frexp(vec x, vec *e)
{
    vec m;
    m.a = vec_frexp(x.a, &e->a);
    m.b = vec_frexp(x.b, &e->b);
    return m;
}
/* 2^n for whole n in [-126, 127]; the number added is 1.5 * 2^23. */
VEC_FN vec vec_pow2(vec n) { return v_shift23(v_add(n, v_set(12582912.0f + 127.0f))); }
/* x 2^n, rounded once, for whole n in [-250, 250] and x about 1: by halves, as 2^n may leave the range. */
VEC_FN vec v_ldexp(vec x, vec n)
{
    vec half = v_sub(v_fma(n, v_set(0.5f), v_set(12582912.0f)), v_set(12582912.0f));
    return v_mul(v_mul(x, vec_pow2(half)), vec_pow2(v_sub(n, half)));
}
VEC_FN float v_first(vec x) { return _mm256_cvtss_f32(x.a); }
VEC_FN float v_sum(vec x)
{
    __m256 h = _mm256_add_ps(x.a, x.b);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
VEC_FN float v_hmax(vec x)
{
    __m256 h = _mm256_max_ps(x.a, x.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#endif

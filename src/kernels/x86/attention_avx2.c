/* Attention with AVX2: attention_tmpl.h on the lanes of vec_avx2.h, lanes masked by blending. */
/* SPDX-License-Identifier: MIT */
#include "kernels/x86/vec_avx2.h"

enum { ATTN_NQ = 1, ATTN_KEYS = 6, ATTN_ROWS = 3 };

typedef vec vmask; /* all ones where set */
VEC_FN __m256 vec_mask8(unsigned bits)
{
    __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit));
}
VEC_FN vmask v_mask(unsigned bits) { return (vmask){vec_mask8(bits), vec_mask8(bits >> 8)}; }
VEC_FN vec v_blend(vmask m, vec yes, vec no)
{
    return (vec){_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
VEC_FN vec v_fma_if(vmask m, vec x, vec y, vec z) { return v_blend(m, v_fma(x, y, z), z); }
/* max(x, y) where m, else y */
VEC_FN vec v_max_if(vmask m, vec x, vec y) { return v_blend(m, v_max(x, y), y); }
VEC_FN vec v_keep(vmask m, vec x) { return (vec){_mm256_and_ps(m.a, x.a), _mm256_and_ps(m.b, x.b)}; }

VEC_FN float v_half(uint16_t h) { return _cvtsh_ss(h); }

/* Eight lanes. */
typedef __m256 half_vec, half_mask;
VEC_FN half_vec half_set(float x) { return _mm256_set1_ps(x); }
VEC_FN half_vec half_load(const float *p) { return _mm256_loadu_ps(p); }
VEC_FN void half_store(float *p, half_vec x) { _mm256_storeu_ps(p, x); }
VEC_FN half_vec half_fma(half_vec x, half_vec y, half_vec z) { return _mm256_fmadd_ps(x, y, z); }
VEC_FN half_mask half_mask_of(unsigned bits) { return vec_mask8(bits); }
VEC_FN half_vec half_fma_if(half_mask m, half_vec x, half_vec y, half_vec z)
{
    return _mm256_blendv_ps(z, _mm256_fmadd_ps(x, y, z), m);
}

/* Of eight pairs: x[i] > y[i] */
VEC_FN unsigned vec_gt8(__m256i x, __m256i y)
{
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(x, y)));
}
VEC_FN __m256i vec_int8(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
/* Of sixteen spans [lo, hi): which hold all of [pos, end). */
VEC_FN unsigned v_covers(const int32_t *lo, const int32_t *hi, int32_t pos, int32_t end)
{
    __m256i p = _mm256_set1_epi32(pos + 1), e = _mm256_set1_epi32(end - 1);
    unsigned a = vec_gt8(p, vec_int8(lo)) & vec_gt8(vec_int8(hi), e);
    unsigned b = vec_gt8(p, vec_int8(lo + 8)) & vec_gt8(vec_int8(hi + 8), e);
    return a | b << 8;
}
VEC_FN unsigned v_nonempty(const int32_t *lo, const int32_t *hi)
{
    return vec_gt8(vec_int8(hi), vec_int8(lo)) | vec_gt8(vec_int8(hi + 8), vec_int8(lo + 8)) << 8;
}
/* 8x8 in place. */
VEC_FN void vec_transpose8(__m256 v[8])
{
    __m256d t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_castps_pd(_mm256_unpacklo_ps(v[i], v[i + 1]));
        t[i + 1] = _mm256_castps_pd(_mm256_unpackhi_ps(v[i], v[i + 1]));
    }
    for (int i = 0; i < 8; i += 4) {
        v[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(t[i], t[i + 2]));
        v[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(t[i], t[i + 2]));
        v[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(t[i + 1], t[i + 3]));
        v[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(t[i + 1], t[i + 3]));
    }
    for (int i = 0; i < 4; i++) {
        __m256 a = v[i], b = v[i + 4];
        v[i] = _mm256_permute2f128_ps(a, b, 0x20);
        v[i + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
}
/* 16x16 in place, by quarters. */
VEC_FN void v_transpose(vec v[VEC])
{
    __m256 q[4][8];
    for (int i = 0; i < 8; i++) {
        q[0][i] = v[i].a;
        q[1][i] = v[i].b;
        q[2][i] = v[i + 8].a;
        q[3][i] = v[i + 8].b;
    }
    for (int i = 0; i < 4; i++)
        vec_transpose8(q[i]);
    for (int i = 0; i < 8; i++) {
        v[i] = (vec){q[0][i], q[2][i]};
        v[i + 8] = (vec){q[1][i], q[3][i]};
    }
}

#include "kernels/attention_tmpl.h"

void attention_init_avx2(struct kernels *k)
{
    k->attention = attention_tiles;
    k->attention_grad = attention_grad_tiles;
}

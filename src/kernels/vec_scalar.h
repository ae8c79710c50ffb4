/* Sixteen float32 lanes in portable C: the meaning of vec_avx2.h and vec_avx512.h, which have the same
 * names and give the same bits. rows_tmpl.h and vecmath.h are written on it; include one of the three
 * first. A count of lanes is 1 to 16, the first so many. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_VEC_SCALAR_H
#define KERNELS_VEC_SCALAR_H
#include <math.h>
#include <stdint.h>

/* Not inlined: a reference may be slow, but must compile fast. */
#define VEC_FN static __attribute__((noinline, unused))
enum { VEC = 16 };
typedef struct { float x[VEC]; } vec;

VEC_FN uint32_t vec_bits1(float x)
{
    uint32_t u;
    __builtin_memcpy(&u, &x, 4);
    return u;
}
VEC_FN float vec_float1(uint32_t u)
{
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

#define VEC_EACH(expr)                  \
    vec r_;                             \
    for (int i = 0; i < VEC; i++)       \
        r_.x[i] = (expr);               \
    return r_
VEC_FN vec v_set(float a) { VEC_EACH(a); }
/* Lanes from n on get `fill` and are not read. */
VEC_FN vec v_load_or(const float *p, int n, float fill) { VEC_EACH(i < n ? p[i] : fill); }
VEC_FN void v_store(float *p, int n, vec a)
{
    for (int i = 0; i < n; i++)
        p[i] = a.x[i];
}
VEC_FN vec v_add(vec a, vec b) { VEC_EACH(a.x[i] + b.x[i]); }
VEC_FN vec v_sub(vec a, vec b) { VEC_EACH(a.x[i] - b.x[i]); }
VEC_FN vec v_mul(vec a, vec b) { VEC_EACH(a.x[i] * b.x[i]); }
VEC_FN vec v_div(vec a, vec b) { VEC_EACH(a.x[i] / b.x[i]); }
VEC_FN vec v_fma(vec a, vec b, vec c) { VEC_EACH(fmaf(a.x[i], b.x[i], c.x[i])); }
/* The second operand when either is NaN. */
VEC_FN vec v_max(vec a, vec b) { VEC_EACH(a.x[i] > b.x[i] ? a.x[i] : b.x[i]); }
VEC_FN vec v_min(vec a, vec b) { VEC_EACH(a.x[i] < b.x[i] ? a.x[i] : b.x[i]); }
VEC_FN vec v_sqrt(vec a) { VEC_EACH(sqrtf(a.x[i])); }
VEC_FN vec v_abs(vec a) { VEC_EACH(vec_float1(vec_bits1(a.x[i]) & 0x7fffffffu)); }
VEC_FN vec v_copysign(vec a, vec s)
{
    VEC_EACH(vec_float1((vec_bits1(a.x[i]) & 0x7fffffffu) | (vec_bits1(s.x[i]) & 0x80000000u)));
}
/* a > b ? x : y; a comparison with NaN is false. */
VEC_FN vec v_if_gt(vec a, vec b, vec x, vec y) { VEC_EACH(a.x[i] > b.x[i] ? x.x[i] : y.x[i]); }
/* bits << 23: of 1.5 * 2^23 + 127 + k it makes 2^k. */
VEC_FN vec v_shift23(vec a) { VEC_EACH(vec_float1(vec_bits1(a.x[i]) << 23)); }
/* x = m * 2^e with m in [sqrt(1/2), sqrt(2)), for normal positive x. Returns m. */
VEC_FN vec v_frexp(vec x, vec *e)
{
    vec m;
    for (int i = 0; i < VEC; i++) {
        int32_t k = (int32_t)(vec_bits1(x.x[i]) - 0x3f3504f3u) >> 23;
        e->x[i] = (float)k;
        m.x[i] = vec_float1(vec_bits1(x.x[i]) - ((uint32_t)k << 23));
    }
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
VEC_FN float v_first(vec a) { return a.x[0]; }
/* The fixed tree: lane j with j + 8, then + 4, + 2, + 1. */
VEC_FN float v_sum(vec a)
{
    for (int h = VEC / 2; h; h /= 2)
        for (int i = 0; i < h; i++)
            a.x[i] = a.x[i] + a.x[i + h];
    return a.x[0];
}
VEC_FN float v_hmax(vec a)
{
    for (int h = VEC / 2; h; h /= 2)
        for (int i = 0; i < h; i++)
            a.x[i] = a.x[i] > a.x[i + h] ? a.x[i] : a.x[i + h];
    return a.x[0];
}
#undef VEC_EACH

#endif

/* Elementary functions on sixteen lanes, built of add, mul, div, fma and bit moves only, so that every
 * instruction set gives the same bits. Coefficients are our own fits at Chebyshev nodes. Include after
 * one of the vec_*.h; used by the row kernels and by attention.
 *
 *   v_exp     2 ulp; 0 below -104, infinity above 88.73, subnormals rounded
 *   v_log     2 ulp, absolute 1e-7 near 1; normal positive arguments, infinity and NaN give themselves
 *   v_tanh    2 ulp
 *   v_softplus 3 ulp
 *   v_erf     absolute 1e-7 */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_VECMATH_H
#define KERNELS_VECMATH_H

VEC_FN vec v_load(const float *p, int n) { return v_load_or(p, n, 0.0f); }
VEC_FN vec v_neg(vec x) { return v_sub(v_set(0.0f), x); }

/* Horner: c[0] + c[1] x + ... */
VEC_FN vec v_poly(vec x, const float *c, int n)
{
    vec r = v_set(c[n - 1]);
#pragma GCC unroll 8
    for (int i = n - 2; i >= 0; i--)
        r = v_fma(r, x, v_set(c[i]));
    return r;
}

#define VEC_ROUND 12582912.0f /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */

VEC_FN vec v_exp(vec x)
{
    static const float q[] = {0.5f, 0.166665733f, 0.0416665487f, 0.0083637666f, 0.00139269186f};
    x = v_min(v_set(100.0f), v_max(v_set(-110.0f), x)); /* a NaN stays, being the second operand */
    vec n = v_sub(v_fma(x, v_set(1.44269502f), v_set(VEC_ROUND)), v_set(VEC_ROUND));
    vec r = v_fma(n, v_set(-0.693145752f), x);
    r = v_fma(n, v_set(-1.42860677e-06f), r);
    vec p = v_add(v_fma(v_mul(r, r), v_poly(r, q, 5), r), v_set(1.0f));
    return v_ldexp(p, n);
}

/* e^x - 1 - x for x <= 0, without cancellation near 0. */
VEC_FN vec v_exp_rest(vec x)
{
    static const float q[] = {0.5f, 0.166665733f, 0.0416665487f, 0.0083637666f, 0.00139269186f};
    vec small = v_mul(v_mul(x, x), v_poly(x, q, 5));
    return v_if_gt(x, v_set(-0.34f), small, v_sub(v_sub(v_exp(x), v_set(1.0f)), x));
}

VEC_FN vec v_log(vec x)
{
    static const float q[] = {0.333333313f, -0.25000307f, 0.200010553f, -0.166412368f,
                              0.142141044f, -0.129983291f, 0.126260534f, -0.0790750682f};
    vec e, f = v_sub(v_frexp(x, &e), v_set(1.0f)), s = v_mul(f, f);
    vec t = v_fma(v_mul(s, f), v_poly(f, q, 8), v_mul(e, v_set(1.42860677e-06f)));
    t = v_add(f, v_fma(s, v_set(-0.5f), t));
    return v_if_gt(v_set(INFINITY), x, v_fma(e, v_set(0.693145752f), t), x);
}

VEC_FN vec v_sigmoid(vec x) { return v_div(v_set(1.0f), v_add(v_set(1.0f), v_exp(v_neg(x)))); }

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|); what 1 + e^-|x| rounded away is put back. */
VEC_FN vec v_softplus(vec x)
{
    vec one = v_set(1.0f), e = v_exp(v_neg(v_abs(x))), u = v_add(one, e);
    vec lost = v_div(v_sub(e, v_sub(u, one)), u);
    return v_add(v_max(v_set(0.0f), x), v_add(v_log(u), lost));
}

VEC_FN vec v_tanh(vec x)
{
    static const float q[] = {-0.333333284f, 0.133327186f, -0.0538432635f, 0.0209613293f, -0.00604516547f};
    vec a = v_abs(x), s = v_mul(x, x);
    vec small = v_fma(v_mul(s, x), v_poly(s, q, 5), x);
    vec e = v_exp(v_add(a, a));
    vec large = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(e, v_set(1.0f))));
    return v_if_gt(v_set(0.625f), a, small, v_copysign(large, x));
}

/* Beyond 1: 1 - exp(-g), g a polynomial for -log erfc. */
VEC_FN vec v_erf(vec x)
{
    static const float q[] = {0.128379166f, -0.37612626f, 0.112835944f, -0.0268542115f,
                              0.00518908724f, -0.00080168643f, 7.87587487e-05f};
    static const float g[] = {0.000765897799f, 1.12589359f, 0.639141262f, 0.103281118f,
                              -0.0226047728f, 0.0034323514f, -0.000316937017f, 1.32723617e-05f};
    vec a = v_abs(x), s = v_mul(x, x);
    vec small = v_fma(x, v_poly(s, q, 7), x);
    vec c = v_min(v_set(4.0f), a);
    vec large = v_sub(v_set(1.0f), v_exp(v_neg(v_poly(c, g, 8))));
    return v_if_gt(v_set(1.0f), a, small, v_copysign(large, x));
}

#endif

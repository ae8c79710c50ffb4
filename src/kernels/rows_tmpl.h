/* The row-wise kernels, written once on the sixteen lanes of a vec_*.h and compiled by every
 * instruction set's rows file with its own flags; the contract is rows.h. Must not use any number
 * operation but those of vec_*.h and vecmath.h on floats that reach a result: all variants agree
 * bit for bit. */
/* SPDX-License-Identifier: MIT */
#ifndef KERNELS_ROWS_TMPL_H
#define KERNELS_ROWS_TMPL_H
#include "kernels/rows.h"
#include "kernels/vecmath.h"

VEC_FN int lanes_left(size_t n, size_t i) { return n - i < VEC ? (int)(n - i) : VEC; }

/* for (each chunk of up to 16 of n elements: i its start, c its length) */
#define CHUNKS(i, c, n) for (size_t i = 0, c; i < (size_t)(n) && (c = (size_t)lanes_left((size_t)(n), i), true); i += VEC)
#define LD(p) v_load((p) + i, (int)c)
#define ST(p, v) v_store((p) + i, (int)c, v)

/* ---- activations: value and slope together; what a caller does not use is not computed ---- */

struct act_pair { vec value, slope; };

VEC_FN struct act_pair act_relu(vec x)
{
    vec zero = v_set(0.0f);
    return (struct act_pair){v_if_gt(zero, x, zero, x), v_if_gt(x, zero, v_set(1.0f), zero)};
}
VEC_FN struct act_pair act_relu2(vec x)
{
    vec r = act_relu(x).value;
    return (struct act_pair){v_mul(r, r), v_add(r, r)};
}
/* x s(u), with u = u(x) and its derivative du. */
VEC_FN struct act_pair act_gated(vec x, vec u, vec du)
{
    vec one = v_set(1.0f), e = v_exp(v_neg(u)), d = v_add(one, e), s = v_div(one, d);
    vec rest = v_mul(s, v_min(v_set(3e38f), e)); /* 1 - s, without cancellation */
    rest = v_mul(v_mul(s, rest), du);
    return (struct act_pair){v_div(x, d), v_fma(x, rest, s)};
}
VEC_FN struct act_pair act_silu(vec x) { return act_gated(x, x, v_set(1.0f)); }
VEC_FN struct act_pair act_quick_gelu(vec x)
{
    vec k = v_set(1.702f);
    return act_gated(x, v_mul(x, k), k);
}
/* (1 + tanh u) / 2 = s(2u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
VEC_FN struct act_pair act_gelu_tanh(vec x)
{
    vec k = v_set(1.5957691216f), s = v_mul(x, x);
    vec u = v_mul(v_mul(k, x), v_fma(v_set(0.044715f), s, v_set(1.0f)));
    return act_gated(x, u, v_mul(k, v_fma(v_set(0.134145f), s, v_set(1.0f))));
}
VEC_FN struct act_pair act_gelu(vec x)
{
    vec half = v_set(0.5f), p = v_fma(half, v_erf(v_mul(x, v_set(0.70710678f))), half);
    vec density = v_mul(v_set(0.39894228f), v_exp(v_mul(v_mul(x, x), v_set(-0.5f))));
    return (struct act_pair){v_mul(x, p), v_fma(x, density, p)};
}
VEC_FN struct act_pair act_tanh(vec x)
{
    vec t = v_tanh(x);
    return (struct act_pair){t, v_fma(v_neg(t), t, v_set(1.0f))};
}
VEC_FN struct act_pair act_sigmoid(vec x)
{
    vec s = v_sigmoid(x);
    return (struct act_pair){s, v_mul(s, v_sub(v_set(1.0f), s))};
}
VEC_FN struct act_pair act_softplus(vec x) { return (struct act_pair){v_softplus(x), v_sigmoid(x)}; }
VEC_FN struct act_pair act_bend(vec x)
{
    vec below = v_min(v_set(0.0f), x), rest = v_exp_rest(below);
    return (struct act_pair){rest, v_add(rest, below)};
}
VEC_FN struct act_pair act_none(vec x) { return (struct act_pair){x, v_set(1.0f)}; }

struct act_loops {
    void (*map)(size_t n, const float *x, float *y);
    void (*slope)(size_t n, const float *x, const float *dy, float *dx);
    void (*glu)(size_t n, const float *gate, const float *up, float *y);
    void (*glu_slope)(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
};

#define ACT_LOOPS(f)                                                                               \
    static void f##_map(size_t n, const float *x, float *y)                                        \
    {                                                                                              \
        CHUNKS(i, c, n)                                                                            \
            ST(y, f(LD(x)).value);                                                                 \
    }                                                                                              \
    static void f##_slope(size_t n, const float *x, const float *dy, float *dx)                    \
    {                                                                                              \
        CHUNKS(i, c, n)                                                                            \
            ST(dx, v_mul(LD(dy), f(LD(x)).slope));                                                 \
    }                                                                                              \
    static void f##_glu(size_t n, const float *gate, const float *up, float *y)                    \
    {                                                                                              \
        CHUNKS(i, c, n)                                                                            \
            ST(y, v_mul(f(LD(gate)).value, LD(up)));                                               \
    }                                                                                              \
    static void f##_glu_slope(size_t n, const float *gate, const float *up, const float *dy,       \
                              float *dgate, float *dup)                                            \
    {                                                                                              \
        CHUNKS(i, c, n) {                                                                          \
            vec d = LD(dy);                                                                        \
            struct act_pair a = f(LD(gate));                                                       \
            ST(dgate, v_mul(v_mul(d, LD(up)), a.slope));                                           \
            ST(dup, v_mul(d, a.value));                                                            \
        }                                                                                          \
    }
ACT_LOOPS(act_none)
ACT_LOOPS(act_relu)
ACT_LOOPS(act_relu2)
ACT_LOOPS(act_silu)
ACT_LOOPS(act_gelu)
ACT_LOOPS(act_gelu_tanh)
ACT_LOOPS(act_quick_gelu)
ACT_LOOPS(act_tanh)
ACT_LOOPS(act_sigmoid)
ACT_LOOPS(act_softplus)
ACT_LOOPS(act_bend)

#define ACT_ROW(f) {f##_map, f##_slope, f##_glu, f##_glu_slope}
static const struct act_loops act_loops[ACT_COUNT] = {
    [ACT_NONE] = ACT_ROW(act_none),       [ACT_RELU] = ACT_ROW(act_relu),
    [ACT_RELU2] = ACT_ROW(act_relu2),     [ACT_SILU] = ACT_ROW(act_silu),
    [ACT_GELU] = ACT_ROW(act_gelu),       [ACT_GELU_TANH] = ACT_ROW(act_gelu_tanh),
    [ACT_QUICK_GELU] = ACT_ROW(act_quick_gelu), [ACT_TANH] = ACT_ROW(act_tanh),
    [ACT_SIGMOID] = ACT_ROW(act_sigmoid), [ACT_SOFTPLUS] = ACT_ROW(act_softplus),
    [ACT_BEND] = ACT_ROW(act_bend),
};

static void act_rows(enum act_kind kind, int rows, int cols, float *x, ptrdiff_t ld)
{
    for (int r = 0; r < rows; r++)
        act_loops[kind].map((size_t)cols, x + r * ld, x + r * ld);
}
static void act_map(enum act_kind kind, size_t n, const float *x, float *y)
{
    act_loops[kind].map(n, x, y);
}
static void act_dx(enum act_kind kind, size_t n, const float *x, const float *dy, float *dx)
{
    act_loops[kind].slope(n, x, dy, dx);
}
static void glu_map(enum act_kind kind, size_t n, const float *gate, const float *up, float *y)
{
    act_loops[kind].glu(n, gate, up, y);
}
static void glu_dx(enum act_kind kind, size_t n, const float *gate, const float *up, const float *dy,
                   float *dgate, float *dup)
{
    act_loops[kind].glu_slope(n, gate, up, dy, dgate, dup);
}

/* ---- elements ---- */

static void add_map(size_t n, const float *x, const float *y, float *z)
{
    CHUNKS(i, c, n)
        ST(z, v_add(LD(x), LD(y)));
}
static void mul_map(size_t n, const float *x, const float *y, float *z)
{
    CHUNKS(i, c, n)
        ST(z, v_mul(LD(x), LD(y)));
}
static void scale_map(size_t n, const float *x, float a, float *y)
{
    CHUNKS(i, c, n)
        ST(y, v_mul(LD(x), v_set(a)));
}
static void affine_map(size_t n, const float *x, float a, float b, float *y)
{
    CHUNKS(i, c, n)
        ST(y, v_fma(LD(x), v_set(a), v_set(b)));
}
static void exp_map(size_t n, const float *x, float *y)
{
    CHUNKS(i, c, n)
        ST(y, v_exp(LD(x)));
}
static void log_map(size_t n, const float *x, float *y)
{
    CHUNKS(i, c, n)
        ST(y, v_log(v_load_or(x + i, (int)c, 1.0f)));
}
static void erf_map(size_t n, const float *x, float *y)
{
    CHUNKS(i, c, n)
        ST(y, v_erf(LD(x)));
}
static float dot_rows(size_t n, const float *x, const float *y)
{
    vec s = v_set(0.0f);
    CHUNKS(i, c, n)
        s = v_fma(LD(x), LD(y), s);
    return v_sum(s);
}

/* ---- norms ---- */

static float row_sum(int cols, const float *x)
{
    vec s = v_set(0.0f);
    CHUNKS(i, c, cols)
        s = v_add(s, LD(x));
    return v_sum(s);
}
static float row_variance(int cols, const float *x, float mean)
{
    vec s = v_set(0.0f);
    CHUNKS(i, c, cols) {
        vec d = v_sub(v_load_or(x + i, (int)c, mean), v_set(mean));
        s = v_fma(d, d, s);
    }
    return v_sum(s) / (float)cols;
}

/* x -> (mean, scale): the row is then (x - mean) * scale. */
static void rms_stats(int rows, int cols, const float *x, float eps, float *stats)
{
    for (int r = 0; r < rows; r++, x += cols) {
        stats[2 * r] = 0.0f;
        stats[2 * r + 1] = 1.0f / sqrtf(dot_rows((size_t)cols, x, x) / (float)cols + eps);
    }
}
static void layer_stats(int rows, int cols, const float *x, float eps, float *stats)
{
    for (int r = 0; r < rows; r++, x += cols) {
        float mean = row_sum(cols, x) / (float)cols;
        stats[2 * r] = mean;
        stats[2 * r + 1] = 1.0f / sqrtf(row_variance(cols, x, mean) + eps);
    }
}
/* Mean 0 and 1 / max(|x|, eps). */
static void l2_stats(int rows, int cols, const float *x, float eps, float *stats)
{
    for (int r = 0; r < rows; r++, x += cols) {
        float norm = sqrtf(dot_rows((size_t)cols, x, x));
        stats[2 * r] = 0.0f;
        stats[2 * r + 1] = 1.0f / (norm < eps ? eps : norm);
    }
}

static void rms_norm_rows(int rows, int cols, const float *x, const float *w, float eps, float offset, float *y)
{
    for (int r = 0; r < rows; r++, x += cols, y += cols) {
        float stats[2];
        rms_stats(1, cols, x, eps, stats);
        CHUNKS(i, c, cols)
            ST(y, v_mul(v_mul(LD(x), v_set(stats[1])), v_add(LD(w), v_set(offset))));
    }
}
static void layer_norm_rows(int rows, int cols, const float *x, const float *w, const float *b, float eps, float *y)
{
    for (int r = 0; r < rows; r++, x += cols, y += cols) {
        float stats[2];
        layer_stats(1, cols, x, eps, stats);
        CHUNKS(i, c, cols) {
            vec n = v_mul(v_mul(v_sub(LD(x), v_set(stats[0])), v_set(stats[1])), LD(w));
            ST(y, b ? v_add(n, LD(b)) : n);
        }
    }
}
static void l2_norm_rows(int rows, int cols, const float *x, float eps, float *y)
{
    for (int r = 0; r < rows; r++, x += cols, y += cols) {
        float stats[2];
        l2_stats(1, cols, x, eps, stats);
        scale_map((size_t)cols, x, stats[1], y);
    }
}

/* One row of a norm's dx, h = (x - mean) scale, g = dy (w + offset):
 *   dx = scale (g - a sum(g) - h b sum(g h))
 * with a = 1/n for layer_norm, else 0, and b = 1/n, or 1 for the whole length. */
struct norm_row { float mean, scale, offset, a, b; };

VEC_FN void norm_dx_row(int cols, const float *x, const float *w, const float *dy, struct norm_row n, float *dx)
{
    vec mean = v_set(n.mean), scale = v_set(n.scale), offset = v_set(n.offset);
    vec sum_g = v_set(0.0f), sum_gh = v_set(0.0f);
    CHUNKS(i, c, cols) {
        vec h = v_mul(v_sub(LD(x), mean), scale), g = w ? v_mul(LD(dy), v_add(LD(w), offset)) : LD(dy);
        sum_g = v_add(sum_g, g);
        sum_gh = v_fma(g, h, sum_gh);
    }
    vec mean_g = v_set(v_sum(sum_g) * n.a), mean_gh = v_set(-(v_sum(sum_gh) * n.b));
    CHUNKS(i, c, cols) {
        vec h = v_mul(v_sub(LD(x), mean), scale), g = w ? v_mul(LD(dy), v_add(LD(w), offset)) : LD(dy);
        ST(dx, v_mul(v_fma(h, mean_gh, v_sub(g, mean_g)), scale));
    }
}
static void rms_norm_dx_rows(int rows, int cols, const float *x, const float *w, const float *dy, float eps,
                             float offset, float *dx)
{
    for (size_t at = 0; rows-- > 0; at += (size_t)cols) {
        float stats[2];
        rms_stats(1, cols, x + at, eps, stats);
        struct norm_row n = {0.0f, stats[1], offset, 0.0f, 1.0f / (float)cols};
        norm_dx_row(cols, x + at, w, dy + at, n, dx + at);
    }
}
static void layer_norm_dx_rows(int rows, int cols, const float *x, const float *w, const float *dy, float eps, float *dx)
{
    for (size_t at = 0; rows-- > 0; at += (size_t)cols) {
        float stats[2];
        layer_stats(1, cols, x + at, eps, stats);
        struct norm_row n = {stats[0], stats[1], 0.0f, 1.0f / (float)cols, 1.0f / (float)cols};
        norm_dx_row(cols, x + at, w, dy + at, n, dx + at);
    }
}
static void l2_norm_dx_rows(int rows, int cols, const float *x, const float *dy, float eps, float *dx)
{
    for (size_t at = 0; rows-- > 0; at += (size_t)cols) {
        float stats[2];
        l2_stats(1, cols, x + at, eps, stats);
        bool clamped = stats[1] * eps >= 1.0f;
        struct norm_row n = {0.0f, stats[1], 0.0f, 0.0f, clamped ? 0.0f : 1.0f};
        norm_dx_row(cols, x + at, NULL, dy + at, n, dx + at);
    }
}

static void norm_dw_cols(int rows, int cols, ptrdiff_t ld, const float *x, const float *dy, const float *stats, float *dw)
{
    for (int r = 0; r < rows; r++, x += ld, dy += ld) {
        vec mean = v_set(stats[2 * r]), scale = v_set(stats[2 * r + 1]);
        CHUNKS(i, c, cols)
            ST(dw, v_fma(LD(dy), v_mul(v_sub(LD(x), mean), scale), LD(dw)));
    }
}

/* ---- rope ---- */

/* cos and sin of a float angle, below 1e-8 off up to 2^31: Cody-Waite reduction by pi/2 in doubles, then Taylor. */
VEC_FN void sincos_one(float angle, float *cos_out, float *sin_out)
{
    double a = angle, n = __builtin_fma(a, 0x1.45f306dc9c883p-1, 0x1.8p52) - 0x1.8p52;
    double r = __builtin_fma(n, -0x1.1a62633145c07p-54, __builtin_fma(n, -0x1.921fb54442d18p0, a)), s = r * r;
    double sine = __builtin_fma(s, 1.0 / 362880, -1.0 / 5040);
    sine = __builtin_fma(s, sine, 1.0 / 120);
    sine = __builtin_fma(s, sine, -1.0 / 6);
    sine = __builtin_fma(r * s, sine, r);
    double cosine = __builtin_fma(s, -1.0 / 3628800, 1.0 / 40320);
    cosine = __builtin_fma(s, cosine, -1.0 / 720);
    cosine = __builtin_fma(s, cosine, 1.0 / 24);
    cosine = __builtin_fma(s, cosine, -0.5);
    cosine = __builtin_fma(s, cosine, 1.0);
    int quadrant = a < 0x1p31 && a > -0x1p31 ? (int)((int64_t)n & 3) : 0;
    double c = quadrant & 1 ? sine : cosine, d = quadrant & 1 ? cosine : sine;
    *cos_out = (float)(quadrant == 1 || quadrant == 2 ? -c : c);
    *sin_out = (float)(quadrant & 2 ? -d : d);
}

static void rope_angles(int pairs, int32_t pos, const float *inv_freq, float mscale, bool inverse, float *cs)
{
    for (int i = 0; i < pairs; i++) {
        float c, s;
        sincos_one((float)pos * inv_freq[i], &c, &s);
        cs[i] = c * mscale;
        cs[pairs + i] = (inverse ? -s : s) * mscale;
    }
}

static void rope_pairs(int pairs, const float *cs, const float *x, float *y)
{
    const float *cosine = cs, *sine = cs + pairs;
    for (int i = 0; i < pairs; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = __builtin_fmaf(a, cosine[i], -(b * sine[i]));
        y[2 * i + 1] = __builtin_fmaf(b, cosine[i], a * sine[i]);
    }
}
static void rope_halves(int pairs, const float *cs, const float *x, float *y)
{
    const float *cosine = cs, *sine = cs + pairs, *x2 = x + pairs;
    float *y2 = y + pairs;
    CHUNKS(i, c, pairs) {
        vec a = LD(x), b = LD(x2), co = LD(cosine), si = LD(sine);
        ST(y, v_fma(a, co, v_neg(v_mul(b, si))));
        ST(y2, v_fma(b, co, v_mul(a, si)));
    }
}
static void rope_row(int heads, int dim, int pairs, bool interleaved, const float *cs, const float *x, float *y)
{
    for (int h = 0; h < heads; h++, x += dim, y += dim) {
        (interleaved ? rope_pairs : rope_halves)(pairs, cs, x, y);
        if (x != y)
            for (int i = 2 * pairs; i < dim; i++)
                y[i] = x[i];
    }
}

/* ---- softmax and losses ---- */

static float row_max(int cols, const float *x)
{
    vec m = v_set(-INFINITY);
    CHUNKS(i, c, cols)
        m = v_max(m, v_load_or(x + i, (int)c, -INFINITY));
    return v_hmax(m);
}
/* Sum of exp(x - max). */
static float row_exp_sum(int cols, const float *x, float max)
{
    vec s = v_set(0.0f);
    CHUNKS(i, c, cols)
        s = v_add(s, v_exp(v_sub(v_load_or(x + i, (int)c, -INFINITY), v_set(max))));
    return v_sum(s);
}
/* y = exp(x - max) * factor */
static void row_exp(int cols, const float *x, float max, float factor, float *y)
{
    CHUNKS(i, c, cols)
        ST(y, v_mul(v_exp(v_sub(LD(x), v_set(max))), v_set(factor)));
}

static void softmax_rows(int rows, int cols, const float *x, float *y)
{
    for (int r = 0; r < rows; r++, x += cols, y += cols) {
        float max = row_max(cols, x);
        row_exp(cols, x, max, 1.0f, y);
        scale_map((size_t)cols, y, 1.0f / row_sum(cols, y), y);
    }
}
static void softmax_dx_rows(int rows, int cols, const float *y, const float *dy, float *dx)
{
    for (int r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        vec d = v_set(dot_rows((size_t)cols, y, dy));
        CHUNKS(i, c, cols)
            ST(dx, v_mul(LD(y), v_sub(LD(dy), d)));
    }
}

static void cross_entropy_rows(int rows, int cols, const float *x, const int32_t *labels, float *loss)
{
    for (int r = 0; r < rows; r++, x += cols) {
        loss[r] = labels[r] < 0 ? 0.0f : NAN;
        if (labels[r] < 0 || labels[r] >= cols)
            continue;
        float max = row_max(cols, x);
        loss[r] = v_first(v_log(v_set(row_exp_sum(cols, x, max)))) - (x[labels[r]] - max);
    }
}
static void cross_entropy_dx_rows(int rows, int cols, const float *x, const int32_t *labels, float scale, float *dx)
{
    for (int r = 0; r < rows; r++, x += cols, dx += cols) {
        if (labels[r] < 0 || labels[r] >= cols) {
            float fill = labels[r] < 0 ? 0.0f : NAN;
            for (int i = 0; i < cols; i++)
                dx[i] = fill;
            continue;
        }
        float max = row_max(cols, x);
        row_exp(cols, x, max, scale / row_exp_sum(cols, x, max), dx);
        dx[labels[r]] -= scale;
    }
}

/* z x, with z = 1 where lane + i == one, else -1. */
VEC_FN vec sigmoid_loss_signed(vec x, size_t i, int one)
{
    float z[VEC];
    for (int k = 0; k < VEC; k++)
        z[k] = (int)i + k == one ? 1.0f : -1.0f;
    return v_mul(x, v_load(z, VEC));
}
/* -log sigmoid(u) = max(-u, 0) + log(1 + exp(-|u|)) */
static void sigmoid_loss_rows(int lo, int hi, int cols, const float *x, float *loss)
{
    for (int r = lo; r < hi; r++) {
        const float *row = x + (size_t)r * (size_t)cols;
        float terms[VEC];
        vec sum = v_set(0.0f), zero = v_set(0.0f);
        CHUNKS(i, c, cols) {
            vec u = sigmoid_loss_signed(LD(row), i, r), e = v_exp(v_neg(v_abs(u)));
            v_store(terms, VEC, v_add(v_max(zero, v_neg(u)), v_log(v_add(e, v_set(1.0f)))));
            sum = v_add(sum, v_load(terms, (int)c));
        }
        loss[r] = v_sum(sum);
    }
}
/* -z sigmoid(-z x) * scale */
static void sigmoid_loss_dx_rows(int lo, int hi, int cols, const float *x, float scale, float *dx)
{
    for (int r = lo; r < hi; r++) {
        const float *row = x + (size_t)r * (size_t)cols;
        float *to = dx + (size_t)r * (size_t)cols;
        CHUNKS(i, c, cols) {
            vec s = v_sigmoid(v_neg(sigmoid_loss_signed(LD(row), i, r)));
            ST(to, v_mul(sigmoid_loss_signed(s, i, r), v_set(-scale)));
        }
    }
}

static void rows_fill(struct kernels *k)
{
#define ROW_KERNEL(name, ret, ...) k->name = name;
#include "kernels/rows.def"
#undef ROW_KERNEL
}

#undef CHUNKS
#undef LD
#undef ST
#undef ACT_LOOPS
#undef ACT_ROW
#endif

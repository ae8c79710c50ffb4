/* The operations on rows, norms, elements, losses and pictures against their definitions in doubles, their
 * answers to impossible indices, and the shapes that they refuse. Gradients are proved by tests/grad, bits
 * by tests/kernels. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <math.h>
#include "base/mem.h"
#include "base/rng.h"
#include "graph/exec.h"
#include "graph/op.h"

static struct rng rng;
static struct pool *pool;

#define IN(...) (struct g_tensor *const[]){__VA_ARGS__}

/* ---- small graphs ---- */

static struct graph *graph_new(void)
{
    struct graph *g;
    check_ok(graph_create(GEMM_F32, 3, &g));
    return g;
}
static struct g_tensor *floats(struct graph *g, struct shape shape)
{
    size_t n = 0;
    check_ok(shape_count(&shape, &n));
    float *x = arena_array(&g->arena, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
    return g_const(g, DT_F32, shape, x, false);
}
#define INTS(g, shape, ...) g_const(g, DT_I32, shape, (const int32_t[]){__VA_ARGS__}, true)

/* The values of y, on three threads; the graph lives on. */
static const float *values(struct graph *g, struct g_tensor *y)
{
    struct plan *p;
    struct exec e = {.pool = pool, .seed = 11, .step = 2};
    g_output(y);
    check_ok(graph_error(g));
    check_ok(plan_create(g, &p));
    check_ok(exec_run(p, &e));
    float *copy = arena_alloc(&g->arena, g_bytes(y));
    memcpy(copy, y->data, g_bytes(y));
    plan_free(p);
    return copy;
}

typedef double want_fn(const struct g_tensor *t, size_t i);

/* Every value of y within 2e-6 of its size, or of 1; resampling takes its float32 coordinates from PyTorch
 * and differs more. */
static void check_values(struct graph *g, struct g_tensor *y, want_fn *want)
{
    const float *got = values(g, y);
    double most = y->op == OP_interpolate ? 5e-6 : 2e-6;
    for (size_t i = 0; i < (size_t)g_count(y); i++) {
        double w = want(y, i);
        if (!(fabs((double)got[i] - w) <= most * fmax(1, fabs(w))))
            fail_msg("%s [%zu]: expected %.9g, found %.9g", op_table[y->op].name, i, w, (double)got[i]);
    }
    graph_free(g);
}
static double x_at(const struct g_tensor *t, int in, size_t i)
{
    return (double)g_f32(t->in[in])[i];
}

/* ---- norms ---- */

struct moments { double mean, square, var; };
static struct moments moments_of(const struct g_tensor *t, size_t row)
{
    size_t d = (size_t)g_last(t);
    struct moments m = {0};
    for (size_t i = row * d; i < row * d + d; i++) {
        m.mean += x_at(t, 0, i) / (double)d;
        m.square += x_at(t, 0, i) * x_at(t, 0, i) / (double)d;
    }
    for (size_t i = row * d; i < row * d + d; i++)
        m.var += (x_at(t, 0, i) - m.mean) * (x_at(t, 0, i) - m.mean) / (double)d;
    return m;
}
static double want_rms(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    return x_at(t, 0, i) / sqrt(moments_of(t, i / d).square + (double)t->attr.norm.eps) *
           (x_at(t, 1, i % d) + (double)t->attr.norm.offset);
}
static double want_layer(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    struct moments m = moments_of(t, i / d);
    return (x_at(t, 0, i) - m.mean) / sqrt(m.var + (double)t->attr.norm.eps) * x_at(t, 1, i % d) +
           (t->in[2] ? x_at(t, 2, i % d) : 0);
}
static double want_l2(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    return x_at(t, 0, i) / fmax(sqrt(moments_of(t, i / d).square * (double)d), (double)t->attr.norm.eps);
}
static void test_norms(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct graph *g = graph_new();
        check_values(g, g_rms_norm(g, floats(g, SHAPE3(2, 5, 37)), floats(g, SHAPE1(37)), 0.01f, (float)i), want_rms);
        g = graph_new();
        struct g_tensor *x = floats(g, SHAPE2(7, 37)), *w = floats(g, SHAPE1(37));
        check_values(g, g_layer_norm(g, x, w, i ? floats(g, SHAPE1(37)) : NULL, 0.01f), want_layer);
        g = graph_new();
        check_values(g, g_l2_norm(g, floats(g, SHAPE2(7, 37)), i ? 100.0f : 1e-6f), want_l2);
    }
}

/* ---- elements ---- */

static double act_of(enum act_kind act, double x)
{
    double s = 1 / (1 + exp(-x));
    switch (act) {
    case ACT_RELU: return fmax(x, 0);
    case ACT_RELU2: return x > 0 ? x * x : 0;
    case ACT_SILU: return x * s;
    case ACT_GELU: return x * erfc(-x / sqrt(2)) / 2;
    case ACT_GELU_TANH: return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case ACT_TANH: return tanh(x);
    case ACT_SIGMOID: return s;
    case ACT_SOFTPLUS: return log1p(exp(x));
    case ACT_BEND: return x < 0 ? expm1(x) - x : 0;
    default: return x;
    }
}
static double want_act(const struct g_tensor *t, size_t i) { return act_of(t->attr.act.act, x_at(t, 0, i)); }
static double want_glu(const struct g_tensor *t, size_t i) { return want_act(t, i) * x_at(t, 1, i); }
static double want_add(const struct g_tensor *t, size_t i)
{
    return x_at(t, 0, i) + x_at(t, 1, i % (size_t)g_count(t->in[1]));
}
static double want_mul(const struct g_tensor *t, size_t i)
{
    return x_at(t, 0, i) * x_at(t, 1, i % (size_t)g_count(t->in[1]));
}
static double want_scale(const struct g_tensor *t, size_t i) { return x_at(t, 0, i) * (double)t->attr.scale.factor; }
static double want_affine(const struct g_tensor *t, size_t i)
{
    return x_at(t, 0, i) * exp(x_at(t, 1, 0)) + (t->in[2] ? x_at(t, 2, 0) : 0);
}
static void test_elements(void **state)
{
    const struct shape y[] = {SHAPE3(3, 5, 31), SHAPE2(5, 31), SHAPE1(31), SHAPE1(1)};
    for (int act = 0; act < ACT_COUNT; act++) {
        struct graph *g = graph_new();
        union g_attr a = {.act = {(enum act_kind)act}};
        check_values(g, g_op(g, OP_act, &a, 1, IN(floats(g, SHAPE2(9, 31)))), want_act);
        g = graph_new();
        struct g_tensor *gate = floats(g, SHAPE2(9, 31));
        check_values(g, g_glu(g, gate, floats(g, SHAPE2(9, 31)), (enum act_kind)act), want_glu);
    }
    for (int i = 0; i < 4; i++) {
        struct graph *g = graph_new();
        struct g_tensor *x = floats(g, y[0]);
        check_values(g, g_add(g, x, floats(g, y[i])), want_add);
        g = graph_new();
        x = floats(g, y[0]);
        check_values(g, g_mul(g, x, floats(g, y[i])), want_mul);
    }
    for (int i = 0; i < 2; i++) {
        struct graph *g = graph_new();
        struct g_tensor *x = floats(g, SHAPE2(5, 31)), *s = floats(g, SHAPE1(1));
        check_values(g, g_affine(g, x, s, i ? floats(g, SHAPE1(1)) : NULL), want_affine);
    }
    struct graph *g = graph_new();
    check_values(g, g_scale(g, floats(g, SHAPE2(5, 31)), -0.3f), want_scale);
}

static void test_dropout(void **state)
{
    struct graph *g = graph_new();
    union g_attr a = {.dropout = {0.25f, 7}};
    struct g_tensor *x = floats(g, SHAPE2(100, 100));
    const float *y = values(g, g_op(g, OP_dropout, &a, 1, IN(x)));
    int zeros = 0, pairs[3] = {0};
    for (int i = 0; i < 10000; i++) {
        zeros += y[i] == 0;
        for (int k = 0; k < 3; k++)
            pairs[k] += i > 2 && y[i] == 0 && y[i - 1 - k] == 0;
        assert_true(y[i] == 0 || fabsf(y[i] - g_f32(x)[i] / 0.75f) <= 1e-6f * fabsf(y[i]));
    }
    assert_in_range(zeros, 2500 - 4 * 44, 2500 + 4 * 44); /* four standard deviations */
    for (int k = 0; k < 3; k++)
        assert_in_range(pairs[k], 625 - 4 * 25, 625 + 4 * 25); /* neighbours fall independently */
    graph_free(g);
    g = graph_new();
    x = floats(g, SHAPE1(4));
    assert_ptr_equal(g_dropout(g, x, 0.5f), x); /* nothing is dropped but in training */
    graph_free(g);
}

/* ---- rope ---- */

static double want_rope(const struct g_tensor *t, size_t i)
{
    int d = (int)g_last(t), heads = (int)t->shape.d[t->shape.n - 2], half = t->attr.rope.rotary_dims / 2;
    int k = (int)(i % (size_t)d), pair = t->attr.rope.interleaved ? k / 2 : k % half;
    bool second = t->attr.rope.interleaved ? k % 2 : k >= half;
    if (k >= 2 * half)
        return x_at(t, 0, i);
    float angle = (float)g_i32(t->in[1])[i / (size_t)(d * heads)] * g_f32(t->in[2])[pair];
    double c = cos((double)angle), s = sin((double)angle), m = (double)t->attr.rope.mscale;
    size_t other = t->attr.rope.interleaved ? i ^ 1 : second ? i - (size_t)half : i + (size_t)half;
    if (t->attr.rope.inverse)
        s = -s;
    return m * (x_at(t, 0, i) * c + (second ? s : -s) * x_at(t, 0, other));
}
static void test_rope(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct graph *g = graph_new();
        struct g_tensor *x = floats(g, SHAPE3(4, 3, 46)), *pos = INTS(g, SHAPE1(4), 0, 3, 131071, 77);
        union g_attr a = {.rope = {40, i & 1, i & 2, 1.1f}};
        check_values(g, g_op(g, OP_rope, &a, 3, IN(x, pos, floats(g, SHAPE1(20)))), want_rope);
    }
}

/* ---- rows ---- */

static double want_gather(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    int32_t at = g_i32(t->in[1])[i / d];
    return at < 0 ? 0 : x_at(t, 0, (size_t)at * d + i % d);
}
static double want_scatter(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    for (size_t k = 0; k < (size_t)g_count(t->in[1]); k++)
        if (g_i32(t->in[1])[k] == (int32_t)(i / d))
            return x_at(t, 2, k * d + i % d);
    return x_at(t, 0, i);
}
static double want_concat(const struct g_tensor *t, size_t i) /* [3, *, 4] along axis 1 */
{
    size_t inner = 4, rows = (size_t)t->shape.d[1], outer = i / inner / rows, at = i / inner % rows;
    for (int k = 0;; k++) {
        size_t n = (size_t)t->in[k]->shape.d[1];
        if (at < n)
            return x_at(t, k, (outer * n + at) * inner + i % inner);
        at -= n;
    }
}
static double want_slice(const struct g_tensor *t, size_t i) /* [3, 7, 4] along axis 1 from 2 to 5 */
{
    return x_at(t, 0, (i / 12 * 7 + i / 4 % 3 + 2) * 4 + i % 4);
}
static double want_repeat(const struct g_tensor *t, size_t i) { return x_at(t, 0, i % (size_t)g_count(t->in[0])); }
static double want_transpose(const struct g_tensor *t, size_t i)
{
    size_t at[4], index[4], from = 0;
    for (int k = 3; k >= 0; i /= (size_t)t->shape.d[k], k--)
        at[k] = i % (size_t)t->shape.d[k];
    for (int k = 0; k < 4; k++)
        index[t->attr.transpose.perm[k]] = at[k];
    for (int k = 0; k < 4; k++)
        from = from * (size_t)t->in[0]->shape.d[k] + index[k];
    return x_at(t, 0, from);
}
static void test_rows(void **state)
{
    static const int perms[][4] = {{0, 2, 1, 3}, {3, 2, 1, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
    struct graph *g = graph_new();
    check_values(g, g_gather_rows(g, floats(g, SHAPE2(6, 37)), INTS(g, SHAPE1(4), 5, -1, 0, 5)), want_gather);
    g = graph_new();
    struct g_tensor *base = floats(g, SHAPE2(6, 37));
    check_values(g, g_scatter_rows(g, base, INTS(g, SHAPE1(3), 5, -1, 2), floats(g, SHAPE2(3, 37))), want_scatter);
    g = graph_new();
    struct g_tensor *in[] = {floats(g, SHAPE3(3, 2, 4)), floats(g, SHAPE3(3, 5, 4)), floats(g, SHAPE3(3, 1, 4))};
    check_values(g, g_concat(g, 1, 3, in), want_concat);
    g = graph_new();
    check_values(g, g_slice(g, floats(g, SHAPE3(3, 7, 4)), 1, 2, 5), want_slice);
    g = graph_new();
    check_values(g, g_repeat_rows(g, floats(g, SHAPE2(3, 7)), 4), want_repeat);
    for (int i = 0; i < 4; i++) {
        g = graph_new();
        check_values(g, g_transpose(g, floats(g, SHAPE4(3, 4, 5, 6)), perms[i]), want_transpose);
    }
}

static void test_embedding_formats(void **state)
{
    static const enum dtype formats[] = {DT_F32, DT_BF16, DT_F16};
    for (int f = 0; f < 3; f++) {
        struct graph *g = graph_new();
        float f32[5 * 9], back[5 * 9];
        uint16_t half[2 * 5 * 9];
        for (int i = 0; i < 45; i++)
            f32[i] = rng_normal(&rng);
        check_ok(dtype_from_f32(formats[f], f32, half, 45));
        check_ok(dtype_to_f32(formats[f], half, back, 45));
        struct g_tensor *table = g_const(g, formats[f], SHAPE2(5, 9), half, true);
        struct g_tensor *y = g_embedding(g, table, INTS(g, SHAPE2(1, 3), 4, 0, 4));
        assert_int_equal(y->shape.n, 3);
        const float *got = values(g, y);
        assert_memory_equal(got, back + 36, 36);
        assert_memory_equal(got + 9, back, 36);
        assert_memory_equal(got + 18, back + 36, 36);
        graph_free(g);
    }
}

/* What callers should have caught gives NaN, and no access out of bounds. */
static void test_impossible_indices(void **state)
{
    struct graph *g = graph_new();
    struct g_tensor *x = floats(g, SHAPE2(4, 20)), *bad = INTS(g, SHAPE1(3), 1, 4, INT32_MAX);
    const float *y = values(g, g_gather_rows(g, x, bad));
    assert_true(!isnan(y[0]) && isnan(y[20]) && isnan(y[59]));
    graph_free(g);
    g = graph_new();
    y = values(g, g_embedding(g, floats(g, SHAPE2(4, 20)), INTS(g, SHAPE1(3), -1, 3, 4)));
    assert_true(isnan(y[0]) && !isnan(y[20]) && isnan(y[40]));
    graph_free(g);
    g = graph_new();
    x = floats(g, SHAPE2(4, 20));
    y = values(g, g_scatter_rows(g, x, INTS(g, SHAPE1(2), 2, 4), floats(g, SHAPE2(2, 20))));
    assert_true(isnan(y[0]));
    graph_free(g);
    g = graph_new();
    y = values(g, g_cross_entropy(g, floats(g, SHAPE2(3, 20)), INTS(g, SHAPE1(3), 2, 20, -1)));
    assert_true(isnan(y[0]));
    graph_free(g);
}

/* ---- losses ---- */

static double want_softmax(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t);
    double sum = 0;
    for (size_t k = i / d * d; k < i / d * d + d; k++)
        sum += exp(x_at(t, 0, k) - x_at(t, 0, i));
    return 1 / sum;
}
static double want_cross_entropy(const struct g_tensor *t, size_t unused)
{
    size_t v = (size_t)g_last(t->in[0]), rows = (size_t)g_rows(t->in[0]);
    double loss = 0, count = 0;
    for (size_t r = 0; r < rows; r++) {
        int32_t label = g_i32(t->in[1])[r];
        double sum = 0;
        for (size_t k = 0; k < v && label >= 0; k++)
            sum += exp(x_at(t, 0, r * v + k) - x_at(t, 0, r * v + (size_t)label));
        loss += label < 0 ? 0 : log(sum);
        count += label >= 0;
    }
    return count > 0 ? loss / count : 0;
}
static double want_sigmoid_loss(const struct g_tensor *t, size_t unused)
{
    size_t b = (size_t)g_last(t->in[0]);
    double loss = 0;
    for (size_t i = 0; i < b * b; i++)
        loss += log1p(exp(i % b == i / b ? -x_at(t, 0, i) : x_at(t, 0, i)));
    return loss / (double)b;
}
static void test_losses(void **state)
{
    struct graph *g = graph_new();
    check_values(g, g_softmax(g, floats(g, SHAPE3(2, 3, 37))), want_softmax);
    g = graph_new();
    check_values(g, g_cross_entropy(g, floats(g, SHAPE2(4, 37)), INTS(g, SHAPE1(4), 0, -100, 36, 7)), want_cross_entropy);
    g = graph_new();
    check_values(g, g_cross_entropy(g, floats(g, SHAPE2(2, 37)), INTS(g, SHAPE1(2), -1, -100)), want_cross_entropy);
    g = graph_new();
    check_values(g, g_sigmoid_loss(g, floats(g, SHAPE2(19, 19))), want_sigmoid_loss);
}

/* ---- pictures ---- */

static double want_unfold(const struct g_tensor *t, size_t i) /* [2, 3, 4, 6] in patches of 2 */
{
    size_t patch = i / 12, k = i % 12, b = patch / 6, y = patch / 3 % 2 * 2 + k / 2 % 2, x = patch % 3 * 2 + k % 2;
    return x_at(t, 0, ((b * 3 + k / 4) * 4 + y) * 6 + x);
}
static double want_mean_pool(const struct g_tensor *t, size_t i)
{
    size_t d = (size_t)g_last(t), rows = (size_t)t->in[0]->shape.d[1];
    double sum = 0;
    for (size_t k = 0; k < rows; k++)
        sum += x_at(t, 0, (i / d * rows + k) * d + i % d);
    return sum / (double)rows;
}

static double filter(const struct g_tensor *t, double x)
{
    double a = t->attr.interpolate.antialias ? -0.5 : -0.75;
    x = fabs(x);
    if (!t->attr.interpolate.bicubic)
        return x < 1 ? 1 - x : 0;
    return x <= 1 ? (a + 2) * x * x * x - (a + 3) * x * x + 1 : x < 2 ? a * (x * x * x - 5 * x * x + 8 * x - 4) : 0;
}
/* How much point `in` of n counts for point `out` of m. Plain: the edge stands for all beyond it.
 * Antialias: the filter is as wide as the step, points beyond the edge do not count. */
static double share(const struct g_tensor *t, int in, int n, int out, int m)
{
    double step = t->attr.interpolate.align_corners ? (m > 1 ? (n - 1.0) / (m - 1) : 0) : (double)n / m, sum = 0, all = 0;
    if (t->attr.interpolate.antialias) {
        double width = fmax(step, 1);
        for (int j = 0; j < n; j++)
            all += filter(t, (j + 0.5 - step * (out + 0.5)) / width);
        return filter(t, (in + 0.5 - step * (out + 0.5)) / width) / all;
    }
    double at = t->attr.interpolate.align_corners ? out * step : step * (out + 0.5) - 0.5;
    for (int j = -n - 4; j < 2 * n + 4; j++)
        if ((j < 0 ? 0 : j >= n ? n - 1 : j) == in)
            sum += filter(t, at - j);
    return sum;
}
static double want_interpolate(const struct g_tensor *t, size_t i)
{
    int gh = t->attr.interpolate.gh, gw = t->attr.interpolate.gw, h = t->attr.interpolate.h, w = t->attr.interpolate.w;
    size_t d = (size_t)g_last(t);
    double sum = 0;
    for (int p = 0; p < gh * gw; p++)
        sum += share(t, p / gw, gh, (int)(i / d) / w, h) * share(t, p % gw, gw, (int)(i / d) % w, w) *
               x_at(t, 0, (size_t)p * d + i % d);
    return sum;
}
static void test_pictures(void **state)
{
    struct graph *g = graph_new();
    check_values(g, g_unfold(g, floats(g, SHAPE4(2, 3, 4, 6)), 2), want_unfold);
    g = graph_new();
    check_values(g, g_mean_pool(g, floats(g, SHAPE3(3, 7, 37))), want_mean_pool);
    for (int i = 0; i < 32; i++) {
        g = graph_new();
        union g_attr a = {.interpolate = {7, 5, i & 1 ? 11 : 3, i & 2 ? 9 : 2, i & 4, i & 8, i & 16}};
        check_values(g, g_op(g, OP_interpolate, &a, 1, IN(floats(g, SHAPE2(35, 70)))), want_interpolate);
    }
    /* the example in PyTorch's documentation of Upsample */
    static const float grid[] = {1, 2, 3, 4}, want[] = {1.0f, 1.25f, 1.75f, 2.0f, 1.5f, 1.75f, 2.25f, 2.5f,
                                                         2.5f, 2.75f, 3.25f, 3.5f, 3.0f, 3.25f, 3.75f, 4.0f};
    g = graph_new();
    const float *y = values(g, g_interpolate(g, g_const(g, DT_F32, SHAPE2(4, 1), grid, true), 2, 2, 4, 4, false));
    assert_memory_equal(y, want, sizeof want);
    graph_free(g);
}

/* ---- refusals ---- */

static void refused(struct graph *g, struct g_tensor *y, const char *part)
{
    if (y || graph_error(g) != NUN_EARG || !strstr(nun_error(), part))
        fail_msg("expected \"...%s...\", found \"%s\"", part, y ? "no error" : nun_error());
    graph_free(g);
}
#define REFUSED(part, expr)             \
    do {                                \
        struct graph *g = graph_new();  \
        refused(g, expr, part);         \
    } while (0)

static void test_refusals(void **state)
{
    union g_attr far = {.range = {.axis = 2}}, drop = {.dropout = {1.0f, 0}}, act = {.act = {ACT_COUNT}};
    REFUSED("rms_norm: input 1: expected F32 [8]", g_rms_norm(g, floats(g, SHAPE2(2, 8)), floats(g, SHAPE1(7)), 0, 0));
    REFUSED("add: input 1", g_add(g, floats(g, SHAPE2(2, 8)), floats(g, SHAPE1(2))));
    REFUSED("glu: input 1", g_glu(g, floats(g, SHAPE2(2, 8)), floats(g, SHAPE2(8, 2)), ACT_SILU));
    REFUSED("gather_rows: input 1", g_gather_rows(g, floats(g, SHAPE2(2, 8)), floats(g, SHAPE1(2))));
    REFUSED("scatter_rows", g_scatter_rows(g, floats(g, SHAPE2(2, 8)), INTS(g, SHAPE1(1), 0), floats(g, SHAPE2(2, 8))));
    REFUSED("concat: input 1", g_concat(g, 0, 2, IN(floats(g, SHAPE2(2, 8)), floats(g, SHAPE2(2, 7)))));
    REFUSED("concat", g_op(g, OP_concat, &far, 2, IN(floats(g, SHAPE2(2, 8)), floats(g, SHAPE2(2, 8)))));
    REFUSED("slice: range", g_slice(g, floats(g, SHAPE2(2, 8)), 1, 3, 9));
    REFUSED("transpose", g_transpose(g, floats(g, SHAPE2(2, 8)), (const int[4]){0, 0, 0, 0}));
    REFUSED("rope: input 2", g_rope(g, floats(g, SHAPE3(2, 1, 8)), INTS(g, SHAPE1(2), 0, 1), floats(g, SHAPE1(4)), 6, 0, 1));
    REFUSED("rope: input 1", g_rope(g, floats(g, SHAPE3(2, 1, 8)), INTS(g, SHAPE1(1), 0), floats(g, SHAPE1(4)), 8, 0, 1));
    REFUSED("unfold", g_unfold(g, floats(g, SHAPE4(1, 1, 4, 5)), 2));
    REFUSED("interpolate", g_interpolate(g, floats(g, SHAPE2(4, 3)), 2, 3, 4, 4, true));
    REFUSED("cross_entropy: input 1", g_cross_entropy(g, floats(g, SHAPE2(2, 8)), INTS(g, SHAPE1(1), 0)));
    REFUSED("sigmoid_loss", g_sigmoid_loss(g, floats(g, SHAPE2(2, 8))));
    REFUSED("mean_pool", g_mean_pool(g, floats(g, SHAPE2(2, 8))));
    REFUSED("affine: input 1", g_affine(g, floats(g, SHAPE2(2, 8)), floats(g, SHAPE1(2)), NULL));
    REFUSED("dropout", g_op(g, OP_dropout, &drop, 1, IN(floats(g, SHAPE1(2)))));
    REFUSED("act", g_op(g, OP_act, &act, 1, IN(floats(g, SHAPE1(2)))));
    REFUSED("embedding", g_embedding(g, floats(g, SHAPE1(2)), INTS(g, SHAPE1(1), 0)));
}

int main(void)
{
    rng = rng_at(77, 0);
    if (pool_create(3, &pool) < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),    cmocka_unit_test(test_elements),
        cmocka_unit_test(test_dropout),  cmocka_unit_test(test_rope),
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_embedding_formats),
        cmocka_unit_test(test_losses),   cmocka_unit_test(test_impossible_indices),
        cmocka_unit_test(test_pictures), cmocka_unit_test(test_refusals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}

/* Row-wise kernels: every slot of rows.def under every instruction-set mask gives the scalar reference's
 * bits, on odd sizes, in buffers that end at a guard page; a row's bits do not depend on its neighbours;
 * and the elementary functions are as accurate as vecmath.h says. A slot without a case does not compile. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include <math.h>
#include "kernels/rows.h"

/* One call's operands, all in guarded buffers. */
struct call {
    int rows, cols;
    size_t n;                             /* rows * cols */
    float *x, *y, *z;                     /* [rows, cols] */
    float *w, *b;                         /* [cols] */
    float *stats;                         /* [rows, 2] */
    int32_t *labels;                      /* [rows] */
    float *out, *out2;                    /* [rows, cols] */
    enum act_kind act;
};
typedef void case_fn(const struct kernels *k, const struct call *c);

static void case_act_rows(const struct kernels *k, const struct call *c)
{
    memcpy(c->out, c->x, c->n * sizeof(float));
    int part = c->cols > 3 ? c->cols - 3 : c->cols; /* a window of longer rows */
    k->act_rows(c->act, c->rows, part, c->out, c->cols);
}
static void case_act_map(const struct kernels *k, const struct call *c) { k->act_map(c->act, c->n, c->x, c->out); }
static void case_act_dx(const struct kernels *k, const struct call *c) { k->act_dx(c->act, c->n, c->x, c->y, c->out); }
static void case_glu_map(const struct kernels *k, const struct call *c) { k->glu_map(c->act, c->n, c->x, c->y, c->out); }
static void case_glu_dx(const struct kernels *k, const struct call *c)
{
    k->glu_dx(c->act, c->n, c->x, c->y, c->z, c->out, c->out2);
}
static void case_add_map(const struct kernels *k, const struct call *c) { k->add_map(c->n, c->x, c->y, c->out); }
static void case_mul_map(const struct kernels *k, const struct call *c) { k->mul_map(c->n, c->x, c->y, c->out); }
static void case_scale_map(const struct kernels *k, const struct call *c) { k->scale_map(c->n, c->x, 0.3f, c->out); }
static void case_affine_map(const struct kernels *k, const struct call *c)
{
    k->affine_map(c->n, c->x, 1.1f, -0.7f, c->out);
}
static void case_exp_map(const struct kernels *k, const struct call *c) { k->exp_map(c->n, c->x, c->out); }
static void case_log_map(const struct kernels *k, const struct call *c)
{
    k->mul_map(c->n, c->x, c->x, c->out2);
    k->affine_map(c->n, c->out2, 1.0f, 0x1p-126f, c->out2);
    k->log_map(c->n, c->out2, c->out);
}
static void case_erf_map(const struct kernels *k, const struct call *c) { k->erf_map(c->n, c->x, c->out); }
static void case_dot_rows(const struct kernels *k, const struct call *c) { c->out[0] = k->dot_rows(c->n, c->x, c->y); }
static void case_rms_stats(const struct kernels *k, const struct call *c)
{
    k->rms_stats(c->rows, c->cols, c->x, 1e-5f, c->stats);
}
static void case_layer_stats(const struct kernels *k, const struct call *c)
{
    k->layer_stats(c->rows, c->cols, c->x, 1e-5f, c->stats);
}
static void case_rms_norm_rows(const struct kernels *k, const struct call *c)
{
    k->rms_norm_rows(c->rows, c->cols, c->x, c->w, 1e-6f, 1.0f, c->out);
}
static void case_layer_norm_rows(const struct kernels *k, const struct call *c)
{
    k->layer_norm_rows(c->rows, c->cols, c->x, c->w, c->b, 1e-5f, c->out);
    k->layer_norm_rows(c->rows, c->cols, c->x, c->w, NULL, 1e-5f, c->out2);
}
static void case_l2_norm_rows(const struct kernels *k, const struct call *c)
{
    k->l2_norm_rows(c->rows, c->cols, c->x, 1e-6f, c->out);
}
static void case_rms_norm_dx_rows(const struct kernels *k, const struct call *c)
{
    k->rms_norm_dx_rows(c->rows, c->cols, c->x, c->w, c->y, 1e-6f, 0.5f, c->out);
}
static void case_layer_norm_dx_rows(const struct kernels *k, const struct call *c)
{
    k->layer_norm_dx_rows(c->rows, c->cols, c->x, c->w, c->y, 1e-6f, c->out);
}
static void case_l2_norm_dx_rows(const struct kernels *k, const struct call *c)
{
    k->l2_norm_dx_rows(c->rows, c->cols, c->x, c->y, 1e-6f, c->out);
}
static void case_norm_dw_cols(const struct kernels *k, const struct call *c)
{
    k->layer_stats(c->rows, c->cols, c->x, 1e-5f, c->stats);
    k->norm_dw_cols(c->rows, c->cols, c->cols, c->x, c->y, c->stats, c->out);
}
static void case_rope_angles(const struct kernels *k, const struct call *c)
{
    for (int r = 0; r < c->rows; r++)
        k->rope_angles(c->cols / 2, c->labels[r] * 1001, c->w, 1.1f, r & 1, c->out + (size_t)r * (size_t)c->cols);
}
static void case_rope_row(const struct kernels *k, const struct call *c)
{
    int pairs = c->cols / 2 - (c->cols > 8 ? 1 : 0);
    k->rope_row(c->rows, c->cols, pairs, false, c->b, c->x, c->out);
    memcpy(c->out2, c->x, c->n * sizeof(float));
    k->rope_row(c->rows, c->cols, pairs, true, c->b, c->out2, c->out2);
}
static void case_softmax_rows(const struct kernels *k, const struct call *c)
{
    k->softmax_rows(c->rows, c->cols, c->x, c->out);
}
static void case_softmax_dx_rows(const struct kernels *k, const struct call *c)
{
    k->softmax_dx_rows(c->rows, c->cols, c->x, c->y, c->out);
}
static void case_cross_entropy_rows(const struct kernels *k, const struct call *c)
{
    k->cross_entropy_rows(c->rows, c->cols, c->x, c->labels, c->out);
}
static void case_cross_entropy_dx_rows(const struct kernels *k, const struct call *c)
{
    k->cross_entropy_dx_rows(c->rows, c->cols, c->x, c->labels, 0.25f, c->out);
}
static void case_sigmoid_loss_rows(const struct kernels *k, const struct call *c)
{
    k->sigmoid_loss_rows(0, c->rows, c->cols, c->x, c->out);
}
static void case_sigmoid_loss_dx_rows(const struct kernels *k, const struct call *c)
{
    k->sigmoid_loss_dx_rows(0, c->rows, c->cols, c->x, 0.125f, c->out);
}

static const struct { const char *name; case_fn *run; } cases[] = {
#define ROW_KERNEL(name, ret, ...) {#name, case_##name},
#include "kernels/rows.def"
#undef ROW_KERNEL
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- equal bits ---- */

enum { BUFFERS = 9 };
struct operands { struct guarded g[BUFFERS]; struct call c; };

static struct operands operands_new(int rows, int cols)
{
    size_t n = (size_t)rows * (size_t)cols, c = (size_t)cols, r = (size_t)rows;
    const size_t count[BUFFERS] = {n, n, n, c, c, 2 * r, r, n, n};
    struct operands o;
    for (int i = 0; i < BUFFERS; i++) {
        o.g[i] = guard_new(count[i] * 4);
        check_fill(o.g[i].p, count[i]);
    }
    o.c = (struct call){.rows = rows, .cols = cols, .n = n, .x = o.g[0].p, .y = o.g[1].p, .z = o.g[2].p, .w = o.g[3].p,
                        .b = o.g[4].p, .stats = o.g[5].p, .labels = o.g[6].p, .out = o.g[7].p, .out2 = o.g[8].p};
    for (int i = 0; i < rows; i++) /* ignored and impossible labels among them */
        o.c.labels[i] = (int32_t)rng_below(&check_rng, (uint32_t)cols + 2) - 1;
    return o;
}
static void operands_free(struct operands *o)
{
    for (int i = 0; i < BUFFERS; i++)
        guard_free(&o->g[i]);
}

static void compare(int which, const struct operands *o, const struct kernels *ref, const struct kernels *k, unsigned mask)
{
    const struct call *c = &o->c;
    struct guarded want[3] = {guard_new(c->n * 4), guard_new(c->n * 4), guard_new((size_t)c->rows * 8)};
    struct call first = *c;
    first.out = want[0].p;
    first.out2 = want[1].p;
    first.stats = want[2].p;
    memcpy(first.out, c->out, c->n * 4); /* some results add to what is there */
    memcpy(first.out2, c->out2, c->n * 4);
    memcpy(first.stats, c->stats, (size_t)c->rows * 8);
    cases[which].run(ref, &first);
    cases[which].run(k, c);
    size_t a = check_diff(first.out, c->out, c->n), b = check_diff(first.out2, c->out2, c->n);
    size_t s = check_diff(first.stats, c->stats, 2 * (size_t)c->rows);
    if (a != c->n || b != c->n || s != 2 * (size_t)c->rows)
        fail_msg("%s mask %#x act %d [%d, %d]: differs at %zu: %a, %a", cases[which].name, mask, (int)c->act, c->rows,
                 c->cols, a, a < c->n ? (double)first.out[a] : 0, a < c->n ? (double)c->out[a] : 0);
    for (int i = 0; i < 3; i++)
        guard_free(&want[i]);
}

static void test_equal_bits(void **state)
{
    static const int sizes[][2] = {{1, 1}, {3, 2}, {2, 15}, {4, 16}, {5, 17}, {3, 31}, {7, 33}, {2, 64}, {3, 100}, {33, 7}};
    struct kernels ref, k;
    unsigned mask;
    kernels_init(&ref, CPU_scalar);
    for (size_t step = 0; check_mask(step, &mask); step++) {
        kernels_init(&k, mask);
        for (int which = 0; which < CASES; which++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                for (int act = 0; act < ACT_COUNT; act++) {
                    if (act && !strstr(cases[which].name, "act") && !strstr(cases[which].name, "glu"))
                        break;
                    struct operands o = operands_new(sizes[i][0], sizes[i][1]);
                    o.c.act = (enum act_kind)act;
                    compare(which, &o, &ref, &k, mask);
                    operands_free(&o);
                }
    }
}

/* Row 0 alone gives what row 0 of many gives. */
static void test_row_alone(void **state)
{
    const struct kernels *k = kernels_active();
    for (int which = 0; which < CASES; which++) {
        if (!strstr(cases[which].name, "_rows") || !strcmp(cases[which].name, "dot_rows"))
            continue;
        struct operands many = operands_new(5, 37), one = operands_new(1, 37);
        memcpy(one.c.x, many.c.x, 37 * 4);
        memcpy(one.c.y, many.c.y, 37 * 4);
        memcpy(one.c.w, many.c.w, 37 * 4);
        memcpy(one.c.b, many.c.b, 37 * 4);
        one.c.labels[0] = many.c.labels[0];
        one.c.act = many.c.act = ACT_GELU;
        cases[which].run(k, &many.c);
        cases[which].run(k, &one.c);
        size_t n = strstr(cases[which].name, "entropy_rows") || strstr(cases[which].name, "loss_rows") ? 1 : 37;
        if (check_diff(many.c.out, one.c.out, n) != n)
            fail_msg("%s: a row depends on its neighbours", cases[which].name);
        operands_free(&many);
        operands_free(&one);
    }
}

/* ---- accuracy against long double ---- */

static double ulps(float got, long double want)
{
    float w = (float)want;
    if (got == w || (isnan(got) && isnan(w)))
        return 0;
    int e;
    frexpl(want, &e);
    if (e < -125)
        e = -125;
    return (double)(fabsl((long double)got - want) / ldexpl(1, e - 24));
}

typedef long double exact_fn(long double x);
typedef void map_fn(size_t n, const float *x, float *y);

/* Most ulps (or, if `absolute`, most units of 1e-7) over points spread evenly on [lo, hi]. */
static void check_accuracy(const char *name, map_fn *map, exact_fn *exact, float lo, float hi, double most, bool absolute)
{
    enum { N = 1 << 17 };
    static float x[N], y[N];
    double worst = 0;
    float at = 0;
    for (int i = 0; i < N; i++)
        x[i] = lo + (hi - lo) * ((float)i + rng_float(&check_rng)) / N;
    map(N, x, y);
    for (int i = 0; i < N; i++) {
        long double want = exact(x[i]);
        double off = absolute ? (double)fabsl((long double)y[i] - want) * 1e7 : ulps(y[i], want);
        if (!(off <= worst)) {
            worst = off;
            at = x[i];
        }
    }
    if (check_bench)
        fprintf(stderr, "%-12s [%g, %g]: %.3f %s at %a\n", name, lo, hi, worst, absolute ? "e-7" : "ulp", at);
    if (!(worst <= most))
        fail_msg("%s: %.3f %s at %a, at most %.3f", name, worst, absolute ? "e-7" : "ulp", at, most);
}

static enum act_kind act_now;
static void map_act(size_t n, const float *x, float *y) { kernels_active()->act_map(act_now, n, x, y); }
static void map_slope(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 1.0f;
    kernels_active()->act_dx(act_now, n, x, y, y);
}

static long double sigmoid_l(long double x) { return 1 / (1 + expl(-x)); }
static long double relu_l(long double x) { return x > 0 ? x : 0; }
static long double relu2_l(long double x) { return x > 0 ? x * x : 0; }
static long double none_l(long double x) { return x; }
static long double silu_l(long double x) { return x * sigmoid_l(x); }
static long double softplus_l(long double x) { return log1pl(expl(x)); }
static long double quick_l(long double x) { return x * sigmoid_l(1.702L * x); }
static long double bend_l(long double x) { return x < 0 ? expm1l(x) - x : 0; }
static long double gelu_l(long double x) { return x * erfcl(-x * sqrtl(0.5L)) / 2; }
static long double gelu_tanh_l(long double x)
{
    return x * (1 + tanhl(sqrtl(2 / 3.14159265358979323846L) * (x + 0.044715L * x * x * x))) / 2;
}

static const struct { const char *name; exact_fn *exact; } acts[ACT_COUNT] = {
    [ACT_NONE] = {"none", none_l},   [ACT_RELU] = {"relu", relu_l},  [ACT_RELU2] = {"relu2", relu2_l},
    [ACT_SILU] = {"silu", silu_l},   [ACT_GELU] = {"gelu", gelu_l},  [ACT_GELU_TANH] = {"gelu_tanh", gelu_tanh_l},
    [ACT_QUICK_GELU] = {"quick", quick_l}, [ACT_TANH] = {"tanh", tanhl}, [ACT_SIGMOID] = {"sigmoid", sigmoid_l},
    [ACT_SOFTPLUS] = {"softplus", softplus_l}, [ACT_BEND] = {"bend", bend_l},
};
/* By a central difference, but for those that bend at zero: beside a bend it is off by a share of h. */
static long double slope_l(long double x)
{
    if (act_now == ACT_RELU2)
        return 2 * relu_l(x);
    if (act_now == ACT_BEND)
        return x < 0 ? expm1l(x) : 0;
    const long double h = 0x1p-16L;
    return (acts[act_now].exact(x + h) - acts[act_now].exact(x - h)) / (2 * h);
}

static void test_accuracy(void **state)
{
    const struct kernels *k = kernels_active();
    check_accuracy("exp", k->exp_map, expl, -104.0f, 88.72f, 2, false);
    check_accuracy("exp", k->exp_map, expl, -1.0f, 1.0f, 1.5, false);
    check_accuracy("log", k->log_map, logl, 1.5f, 1e6f, 2, false);
    check_accuracy("log", k->log_map, logl, 0.5f, 2.0f, 1, true);
    check_accuracy("log", k->log_map, logl, 0x1p-126f, 0.6f, 2, false);
    check_accuracy("erf", k->erf_map, erfl, -5.0f, 5.0f, 1.2, true);
    check_accuracy("erf", k->erf_map, erfl, -0.01f, 0.01f, 2, false);
    for (int a = 0; a < ACT_COUNT; a++) {
        act_now = (enum act_kind)a;
        check_accuracy(acts[a].name, map_act, acts[a].exact, -1.0f, 1.0f, 2, true);
        check_accuracy(acts[a].name, map_act, acts[a].exact, 0.0f, 30.0f, 4, false);
        check_accuracy(acts[a].name, map_act, acts[a].exact, -30.0f, -1.0f, 5, a != ACT_BEND);
        if (a != ACT_RELU)
            check_accuracy("slope", map_slope, slope_l, -9.0f, 9.0f, 5, true);
    }
}

static void test_special_values(void **state)
{
    const struct kernels *k = kernels_active();
    float x[] = {-INFINITY, INFINITY, NAN, 89.0f, -104.5f, 0.0f, -0.0f}, y[7];
    k->exp_map(7, x, y);
    assert_true(y[0] == 0 && y[1] == INFINITY && isnan(y[2]) && y[3] == INFINITY && y[4] == 0 && y[5] == 1 && y[6] == 1);
    k->act_map(ACT_TANH, 7, x, y);
    assert_true(y[0] == -1 && y[1] == 1 && isnan(y[2]) && y[5] == 0);
    k->erf_map(7, x, y);
    assert_true(y[0] == -1 && y[1] == 1 && isnan(y[2]) && y[3] == 1);
    k->log_map(3, (float[]){INFINITY, NAN, 1.0f}, y);
    assert_true(y[0] == INFINITY && isnan(y[1]) && y[2] == 0);
    int32_t labels[] = {-1, 0, 3, INT32_MAX};
    float logits[12] = {1, 2, 3, 0, -INFINITY, 0, 0, 0, 0, 0, 0, 0}, loss[4];
    k->cross_entropy_rows(4, 3, logits, labels, loss);
    assert_true(loss[0] == 0 && fabsf(loss[1] - logf(2)) < 1e-6f && isnan(loss[2]) && isnan(loss[3]));
}

/* float32 angle, then cosine and sine of it within 1e-7, for positions to millions. */
static void test_rope_angles(void **state)
{
    float inv_freq[64], cs[128];
    for (int i = 0; i < 64; i++)
        inv_freq[i] = powf(10000.0f, -(float)i / 64);
    for (int n = 0; n < 20000; n++) {
        int32_t pos = (int32_t)rng_below(&check_rng, n < 10000 ? 131072 : 2000000000);
        kernels_active()->rope_angles(64, pos, inv_freq, 1.0f, n & 1, cs);
        for (int i = 0; i < 64; i++) {
            long double angle = (float)pos * inv_freq[i];
            long double c = cosl(angle) - cs[i], s = (n & 1 ? -sinl(angle) : sinl(angle)) - cs[64 + i];
            if (!(fabsl(c) < 1e-7L && fabsl(s) < 1e-7L))
                fail_msg("angle %a: cosine off by %Lg, sine by %Lg", (double)angle, c, s);
        }
    }
}

/* ---- timing ---- */

static struct { int which; const struct kernels *k; struct call *c; } timed;
static void run_timed(void *arg)
{
    cases[timed.which].run(timed.k, timed.c);
}
static void test_bench(void **state)
{
    struct kernels k;
    unsigned mask, last = 0;
    if (!check_bench)
        skip();
    for (size_t step = 0; check_mask(step, &mask) && step < 3; step++) {
        if (mask == last)
            continue;
        last = mask;
        kernels_init(&k, mask);
        char text[128];
        cpu_mask_print(mask, text, sizeof text);
        struct operands o = operands_new(64, 768);
        for (size_t i = 0; i < o.c.n; i++)
            o.c.x[i] = rng_normal(&check_rng);
        o.c.act = ACT_GELU;
        for (int which = 0; which < CASES; which++) {
            timed.which = which;
            timed.k = &k;
            timed.c = &o.c;
            fprintf(stderr, "%-24s %-24s %7.3f ns a value\n", text, cases[which].name,
                    check_time(run_timed, NULL) / (double)o.c.n * 1e9);
        }
        operands_free(&o);
    }
}

int main(int argc, char **argv)
{
    check_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_bits),     cmocka_unit_test(test_row_alone),
        cmocka_unit_test(test_accuracy),       cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_rope_angles),    cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Kernels on feature maps: every slot of conv.def against its definition in doubles, under every instruction-set
 * mask with the scalar reference's bits, and with equal bits however a line is cut into runs of pixels. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include <math.h>

/* A line of P pixels of C channels, under a kernel of L lines of T taps, whose next result begins S pixels on. */
struct call {
    int P, C, L, T, S, W;    /* W: pixels of a line of x */
    struct guarded g[6];
    float *x, *w, *y;        /* [L, W, C], [L, T, C], [P, C] */
    float *scale, *residual; /* [C], [P, C] */
    float *first;            /* [P, C]: the result of the whole run under the scalar mask */
};

static struct call call_new(int P, int C, int L, int T, int S)
{
    struct call c = {P, C, L, T, S, (P - 1) * S + T, {{0}}, NULL, NULL, NULL, NULL, NULL, NULL};
    float **at[6] = {&c.x, &c.w, &c.y, &c.scale, &c.residual, &c.first};
    const int n[6] = {L * c.W * C, L * T * C, P * C, C, P * C, P * C};
    for (int i = 0; i < 6; i++) {
        c.g[i] = guard_new((size_t)n[i] * 4);
        *at[i] = c.g[i].p;
        for (int k = 0; k < n[i]; k++)
            (*at[i])[k] = rng_normal(&check_rng);
    }
    return c;
}

static void call_free(struct call *c)
{
    for (int i = 0; i < 6; i++)
        guard_free(&c->g[i]);
}

/* Pixels [from, to) by the kernel. */
typedef void run_fn(const struct kernels *k, const struct call *c, int from, int to);
typedef double want_fn(const struct call *c, int p, int i);

static void run_depthwise_line(const struct kernels *k, const struct call *c, int from, int to)
{
    k->depthwise_line(&(struct depthwise_run){to - from, c->C, c->L, c->T, c->C, (ptrdiff_t)c->W * c->C, (ptrdiff_t)c->S * c->C,
                                              (ptrdiff_t)c->T * c->C, c->x + from * c->S * c->C, c->w, c->y + from * c->C});
}
static double want_depthwise_line(const struct call *c, int p, int i)
{
    double sum = 0;
    for (int l = 0; l < c->L; l++)
        for (int t = 0; t < c->T; t++)
            sum += (double)c->w[(l * c->T + t) * c->C + i] * (double)c->x[(l * c->W + p * c->S + t) * c->C + i];
    return sum;
}

/* In place: begins with the first pixels of x. */
static void scale_run(const struct kernels *k, const struct call *c, int from, int to, bool scale, bool shift, bool residual)
{
    memcpy(c->y + from * c->C, c->x + from * c->C, (size_t)((to - from) * c->C) * sizeof(float));
    k->scale_rows(&(struct scale_run){to - from, c->C, c->C, scale ? c->scale : NULL, shift ? c->w : NULL,
                                      residual ? c->residual + from * c->C : NULL, c->y + from * c->C});
}
static void run_scale_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    scale_run(k, c, from, to, true, true, true);
}
static double want_scale_rows(const struct call *c, int p, int i)
{
    return (double)c->x[p * c->C + i] * (double)c->scale[i] + (double)c->w[i] + (double)c->residual[p * c->C + i];
}

static const struct { const char *name; run_fn *run; want_fn *want; } cases[] = {
#define CONV_KERNEL(name, ret, ...) {#name, run_##name, want_##name},
#include "kernels/conv.def"
#undef CONV_KERNEL
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void check_case(int which, const struct call *c)
{
    struct kernels k;
    unsigned mask;
    size_t n = (size_t)(c->P * c->C);
    for (size_t step = 0; check_mask(step, &mask); step++) {
        kernels_init(&k, mask);
        for (int cut = 0; cut <= c->P; cut++) {
            memset(c->y, 0xff, n * sizeof(float));
            cases[which].run(&k, c, 0, cut);
            cases[which].run(&k, c, cut, c->P);
            if (!step && !cut)
                memcpy(c->first, c->y, n * sizeof(float));
            if (check_diff(c->first, c->y, n) != n)
                fail_msg("%s: mask %#x, cut at %d: other bits than the scalar reference", cases[which].name, mask, cut);
        }
    }
    for (int p = 0; p < c->P; p++)
        for (int i = 0; i < c->C; i++) {
            double want = cases[which].want(c, p, i), got = (double)c->first[p * c->C + i];
            if (!(fabs(got - want) <= 1e-6 * (1 + c->L * c->T)))
                fail_msg("%s: pixel %d, channel %d: expected %.9g, found %.9g", cases[which].name, p, i, want, got);
        }
}

static void test_cases(void **state)
{
    static const int shapes[][5] = {{1, 1, 1, 1, 1}, {3, 16, 3, 3, 1}, {19, 33, 3, 2, 2}, {9, 47, 7, 7, 1}, {8, 5, 5, 5, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int which = 0; which < CASES; which++) {
            struct call c = call_new(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], shapes[s][4]);
            check_case(which, &c);
            call_free(&c);
        }
}

/* What is NULL is left out. */
static void test_parts(void **state)
{
    struct kernels k;
    unsigned mask;
    struct call c = call_new(3, 21, 1, 1, 1);
    for (size_t step = 0; check_mask(step, &mask); step++) {
        kernels_init(&k, mask);
        for (int parts = 0; parts < 8; parts++) {
            scale_run(&k, &c, 0, c.P, parts & 1, parts & 2, parts & 4);
            for (int i = 0; i < c.P * c.C; i++) {
                double want = (double)c.x[i];
                want = parts & 1 ? want * (double)c.scale[i % c.C] : want;
                want += parts & 2 ? (double)c.w[i % c.C] : 0;
                want += parts & 4 ? (double)c.residual[i] : 0;
                assert_true(fabs((double)c.y[i] - want) <= 1e-6);
            }
        }
    }
    call_free(&c);
}

/* ---- timing ---- */

static struct { const struct kernels *k; struct call *c; int which; } timed;
static void run_timed(void *arg)
{
    cases[timed.which].run(timed.k, timed.c, 0, timed.c->P);
}
static void test_bench(void **state)
{
    struct kernels k;
    unsigned mask;
    if (!check_bench)
        skip();
    for (size_t step = 0; check_mask(step, &mask) && step < 3; step++)
        for (int taps = 3; taps <= 7; taps += 2) {
            kernels_init(&k, mask);
            struct call c = call_new(56, 96, taps, taps, 1);
            timed.k = &k;
            timed.c = &c;
            double seconds = check_time(run_timed, NULL), flops = 2.0 * c.P * c.C * taps * taps;
            fprintf(stderr, "mask %#8x depthwise_line %dx%d %7.2f GFLOP/s\n", mask, taps, taps, flops / seconds * 1e-9);
            call_free(&c);
        }
}

int main(int argc, char **argv)
{
    check_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

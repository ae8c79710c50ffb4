/* Recurrent kernels: every slot of recur.def against its definition in doubles, under every
 * instruction-set mask with the scalar reference's bits, and with equal bits however the tokens are cut
 * into runs. A slot without a case does not compile. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include <math.h>

enum { STATES = 5, TAPS = 4, HEAD = 7, GROUP = 2 };

/* T tokens of W channels (W / HEAD heads), and their operands. */
struct call {
    int T, W;
    struct guarded g[12];
    float *x, *p, *q;        /* [T, W] */
    float *w, *u;            /* [W], negative; [W] */
    float *taps, *a;         /* [TAPS, W]; [STATES, W], negative */
    float *B, *C;            /* [T, W * STATES]: as wide as any case needs */
    float *state;            /* [W * STATES + TAPS * W] */
    float *y;                /* [T, W] */
    double *want;            /* [T, W] */
};

static struct call call_new(int T, int W)
{
    size_t rows = (size_t)T, w = (size_t)W;
    const size_t count[11] = {rows * w, rows * w, rows * w, w, w, TAPS * w, STATES * w, rows * w * STATES, rows * w * STATES,
                              w * (STATES + TAPS), rows * w};
    struct call c = {.T = T, .W = W};
    float **at[11] = {&c.x, &c.p, &c.q, &c.w, &c.u, &c.taps, &c.a, &c.B, &c.C, &c.state, &c.y};
    for (int i = 0; i < 11; i++) {
        c.g[i] = guard_new(count[i] * 4);
        *at[i] = c.g[i].p;
        for (size_t k = 0; k < count[i]; k++)
            (*at[i])[k] = i == 3 || i == 6 ? -0.1f - rng_float(&check_rng) : rng_normal(&check_rng) * (i == 7 ? 0.3f : 1.0f);
    }
    for (size_t k = 0; k < rows * w; k++)
        c.p[k] = 0.05f + rng_float(&check_rng); /* time steps */
    memset(c.state, 0, count[9] * 4);
    c.g[11] = guard_new(rows * w * sizeof *c.want);
    c.want = c.g[11].p;
    return c;
}
static void call_free(struct call *c)
{
    for (int i = 0; i < 12; i++)
        guard_free(&c->g[i]);
}

/* ---- cases: tokens [from, to) by the kernel, and all of them in doubles ---- */

typedef void run_fn(const struct kernels *k, const struct call *c, int from, int to);
typedef void want_fn(const struct call *c);

static void run_conv_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    ptrdiff_t at = (ptrdiff_t)from * c->W;
    k->conv_rows(&(struct conv_run){to - from, c->W, TAPS, c->W, c->x + at, c->taps, c->u, c->state, c->y + at});
}
static void want_conv_rows(const struct call *c)
{
    for (int t = 0; t < c->T; t++)
        for (int d = 0; d < c->W; d++) {
            double sum = (double)c->u[d];
            for (int k = 0; k < TAPS; k++)
                sum += t + k >= TAPS - 1 ? (double)c->taps[k * c->W + d] * (double)c->x[(t + k - TAPS + 1) * c->W + d] : 0;
            c->want[t * c->W + d] = sum;
        }
}

/* Carried by the caller. */
static void run_mix_map(const struct kernels *k, const struct call *c, int from, int to)
{
    for (int t = from; t < to; t++)
        k->mix_map((size_t)c->W, c->x + t * c->W, t ? c->x + (t - 1) * c->W : c->state, c->u, c->y + t * c->W);
}
static void want_mix_map(const struct call *c)
{
    for (int i = 0; i < c->T * c->W; i++) {
        double past = i < c->W ? 0 : (double)c->x[i - c->W], m = (double)c->u[i % c->W];
        c->want[i] = (double)c->x[i] * m + past * (1 - m);
    }
}

static void run_s6_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    ptrdiff_t at = (ptrdiff_t)from * c->W, bc = (ptrdiff_t)from * STATES;
    k->s6_rows(&(struct s6_run){to - from, c->W, STATES, c->W, c->x + at, c->p + at, c->a, c->B + bc, c->C + bc, c->u,
                                c->state, c->y + at});
}
static void want_s6_rows(const struct call *c)
{
    for (int d = 0; d < c->W; d++) {
        double s[STATES] = {0};
        for (int t = 0; t < c->T; t++) {
            double x = (double)c->x[t * c->W + d], dt = (double)c->p[t * c->W + d], y = (double)c->u[d] * x;
            for (int n = 0; n < STATES; n++) {
                s[n] = exp(dt * (double)c->a[n * c->W + d]) * s[n] + (double)c->B[t * STATES + n] * dt * x;
                y += (double)c->C[t * STATES + n] * s[n];
            }
            c->want[t * c->W + d] = y;
        }
    }
}

static int heads_of(const struct call *c) { return c->W / HEAD; }
static int groups_of(const struct call *c) { return (heads_of(c) + GROUP - 1) / GROUP; }

static void run_ssd_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    int H = heads_of(c), ld_bc = groups_of(c) * STATES, half = H / 2;
    ptrdiff_t at = (ptrdiff_t)from * c->W;
    struct ssd_run r = {to - from, 0, half, HEAD, STATES, GROUP, c->W, H, ld_bc, c->x + at, c->p + (ptrdiff_t)from * H, c->w,
                        c->u, c->B + from * ld_bc, c->C + from * ld_bc, 0.1f, 0.9f, c->state, c->y + at};
    k->ssd_rows(&r);
    r.first = half;
    r.heads = H - half;
    k->ssd_rows(&r);
    for (int t = from; t < to; t++) /* channels that make no whole head */
        memset(c->y + t * c->W + H * HEAD, 0, (size_t)(c->W - H * HEAD) * sizeof(float));
}
static void want_ssd_rows(const struct call *c)
{
    int H = heads_of(c), ld_bc = groups_of(c) * STATES;
    for (int d = 0; d < c->W; d++) {
        double s[STATES] = {0};
        int h = d / HEAD;
        for (int t = 0; t < c->T; t++) {
            double x = (double)c->x[t * c->W + d], dt = fmin(fmax(h < H ? (double)c->p[t * H + h] : 0, (double)0.1f), (double)0.9f);
            double y = h < H ? (double)c->u[h] * x : 0;
            for (int n = 0; n < STATES && h < H; n++) {
                int bc = t * ld_bc + h / GROUP * STATES + n;
                s[n] = exp(dt * (double)c->w[h]) * s[n] + (double)c->B[bc] * dt * x;
                y += (double)c->C[bc] * s[n];
            }
            c->want[t * c->W + d] = y;
        }
    }
}

static void run_delta_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    int H = heads_of(c), ld_bc = groups_of(c) * STATES, half = H / 2;
    ptrdiff_t at = (ptrdiff_t)from * c->W;
    struct delta_run r = {to - from, 0, half, HEAD, STATES, GROUP, c->W, H, ld_bc, c->x + at, c->p + (ptrdiff_t)from * H,
                          c->p + (ptrdiff_t)from * H, c->w, c->C + from * ld_bc, c->B + from * ld_bc, c->state, c->y + at};
    k->delta_rows(&r);
    r.first = half;
    r.heads = H - half;
    k->delta_rows(&r);
    for (int t = from; t < to; t++)
        memset(c->y + t * c->W + H * HEAD, 0, (size_t)(c->W - H * HEAD) * sizeof(float));
}
static void want_delta_rows(const struct call *c)
{
    int H = heads_of(c), ld_bc = groups_of(c) * STATES;
    for (int d = 0; d < c->W; d++) {
        double s[STATES] = {0};
        int h = d / HEAD;
        for (int t = 0; t < c->T; t++) {
            double dt = h < H ? (double)c->p[t * H + h] : 0, y = 0, off = (double)c->x[t * c->W + d];
            for (int n = 0; n < STATES && h < H; n++) {
                s[n] *= exp(dt * (double)c->w[h]);
                off -= (double)c->B[t * ld_bc + h / GROUP * STATES + n] * s[n];
            }
            for (int n = 0; n < STATES && h < H; n++) {
                s[n] += (double)c->B[t * ld_bc + h / GROUP * STATES + n] * dt * off;
                y += (double)c->C[t * ld_bc + h / GROUP * STATES + n] * s[n];
            }
            c->want[t * c->W + d] = y;
        }
    }
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void run_lru_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    ptrdiff_t at = (ptrdiff_t)from * c->W;
    k->lru_rows(&(struct lru_run){to - from, c->W, from == 0, c->W, c->x + at, c->p + at, c->q + at, c->u, c->state, c->y + at});
}
static void want_lru_rows(const struct call *c)
{
    for (int d = 0; d < c->W; d++) {
        double h = 0;
        for (int i = d, t = 0; t < c->T; t++, i += c->W) {
            double a = exp(-8 * sigmoid((double)c->q[i]) * log1p(exp((double)c->u[d])));
            h = a * h + (t ? sqrt(1 - a * a) : 1) * sigmoid((double)c->p[i]) * (double)c->x[i];
            c->want[i] = h;
        }
    }
}

static void run_wkv_rows(const struct kernels *k, const struct call *c, int from, int to)
{
    ptrdiff_t at = (ptrdiff_t)from * c->W;
    k->wkv_rows(&(struct wkv_run){to - from, c->W, c->W, c->q + at, c->x + at, c->w, c->u, c->state, c->y + at});
}
static void want_wkv_rows(const struct call *c)
{
    for (int d = 0; d < c->W; d++) {
        double num = 0, den = 0;
        for (int i = d, t = 0; t < c->T; t++, i += c->W) {
            double k = (double)c->q[i], v = (double)c->x[i], now = exp(k + (double)c->u[d]);
            c->want[i] = (num + now * v) / (den + now);
            num = exp((double)c->w[d]) * num + exp(k) * v;
            den = exp((double)c->w[d]) * den + exp(k);
        }
    }
}

static const struct { const char *name; run_fn *run; want_fn *want; } cases[] = {
#define RECUR_KERNEL(name, ret, ...) {#name, run_##name, want_##name},
#include "kernels/recur.def"
#undef RECUR_KERNEL
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- driver ---- */

/* The tokens in runs of `step`, from a state of zeros. */
static void run_in(int which, const struct kernels *k, const struct call *c, int step)
{
    memset(c->state, 0, (size_t)c->W * (STATES + TAPS) * sizeof(float));
    for (int at = 0; at < c->T; at += step)
        cases[which].run(k, c, at, at + step < c->T ? at + step : c->T);
}

static void check_case(int which, int T, int W, const struct kernels *ref, const struct kernels *k, unsigned mask)
{
    struct call c = call_new(T, W);
    struct guarded want = guard_new((size_t)T * (size_t)W * 4);
    float *first = want.p;
    size_t n = (size_t)T * (size_t)W;
    cases[which].want(&c);
    run_in(which, ref, &c, T);
    memcpy(first, c.y, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)first[i] - c.want[i]) <= 1e-5 * fmax(1, fabs(c.want[i]))))
            fail_msg("%s [%d, %d]: at %zu expected %.9g, found %.9g", cases[which].name, T, W, i, c.want[i], (double)first[i]);
    const int steps[] = {T, 1, 7, 64};
    for (int s = 0; s < 4; s++) {
        memset(c.y, 0xff, n * sizeof(float));
        run_in(which, k, &c, steps[s]);
        size_t at = check_diff(first, c.y, n);
        if (at != n)
            fail_msg("%s mask %#x [%d, %d] in runs of %d: differs at %zu", cases[which].name, mask, T, W, steps[s], at);
    }
    guard_free(&want);
    call_free(&c);
}

static void test_recurrences(void **state)
{
    static const int sizes[][2] = {{1, 1}, {2, 15}, {3, 16}, {9, 17}, {70, 33}, {130, 47}};
    struct kernels ref, k;
    unsigned mask;
    kernels_init(&ref, CPU_scalar);
    for (size_t step = 0; check_mask(step, &mask) && step < 3; step++) {
        kernels_init(&k, mask);
        for (int which = 0; which < CASES; which++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                check_case(which, sizes[i][0], sizes[i][1], &ref, &k, mask);
    }
}

/* Keys far below and above what exp takes do not overflow: the newest value, or the loudest. */
static void test_wkv_range(void **state)
{
    float k[3] = {-200, 200, -200}, v[3] = {1, 2, 3}, s[3] = {0}, y[3], decay = -0.5f, bonus = 0;
    kernels_active()->wkv_rows(&(struct wkv_run){3, 1, 1, k, v, &decay, &bonus, s, y});
    assert_true(y[0] == 1 && y[1] == 2 && y[2] == 2);
}

/* ---- timing ---- */

static struct { int which; const struct kernels *k; struct call *c; } timed;
static void run_timed(void *arg)
{
    cases[timed.which].run(timed.k, timed.c, 0, timed.c->T);
}
static void test_bench(void **state)
{
    struct kernels k;
    unsigned mask;
    if (!check_bench)
        skip();
    for (size_t step = 0; check_mask(step, &mask) && step < 3; step++) {
        kernels_init(&k, mask);
        struct call c = call_new(64, 768);
        for (int which = 0; which < CASES; which++) {
            timed.which = which;
            timed.k = &k;
            timed.c = &c;
            fprintf(stderr, "mask %#8x %-10s %7.3f ns a value\n", mask, cases[which].name,
                    check_time(run_timed, NULL) / (64 * 768) * 1e9);
        }
        call_free(&c);
    }
}

int main(int argc, char **argv)
{
    check_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recurrences),
        cmocka_unit_test(test_wkv_range),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Attention: every instruction set against the scalar reference bit for bit, rows in any company and
 * keys in any place giving the same bits, and the definition against double precision. `--bench` times
 * the shapes of training. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include <math.h>
#include "kernels/attention.h"

/* Everything one call needs, in buffers that end at unreadable pages. */
struct setup {
    int queries, heads, kv_heads, D, keys, n_spans;
    struct guarded q, k, v, spans, dout, out, dq, dk, dv, bias, dbias, sinks, dsinks; /* bias [heads, queries, keys] */
    float scale, softcap;
    bool near, sunk;             /* with the bias, with the sinks */
};

static float *f(struct guarded *g) { return g->p; }

static void fill(struct guarded *g, float by)
{
    for (size_t i = 0; i < g->len / 4; i++)
        ((float *)g->p)[i] = rng_normal(&check_rng) * by;
}

static struct setup setup_new(int queries, int heads, int kv_heads, int D, int keys, int n_spans, float softcap)
{
    struct setup s = {queries, heads, kv_heads, D, keys, n_spans, .scale = 1 / sqrtf((float)D), .softcap = softcap};
    size_t nq = (size_t)queries * (size_t)(heads * D) * 4, nk = (size_t)keys * (size_t)(kv_heads * D) * 4;
    struct guarded *rows[] = {&s.q, &s.dout, &s.out, &s.dq}, *kv[] = {&s.k, &s.v, &s.dk, &s.dv};
    for (int i = 0; i < 4; i++) {
        *rows[i] = guard_new(nq);
        *kv[i] = guard_new(nk);
    }
    fill(&s.q, 2);
    fill(&s.dout, 1);
    fill(&s.k, 2);
    fill(&s.v, 1);
    s.spans = guard_new((size_t)queries * (size_t)n_spans * 8);
    s.bias = guard_new((size_t)heads * (size_t)(queries * keys) * 4);
    s.dbias = guard_new(s.bias.len);
    fill(&s.bias, 2);
    s.sinks = guard_new((size_t)heads * 4);
    s.dsinks = guard_new(s.sinks.len);
    fill(&s.sinks, 3);
    return s;
}

static void setup_free(struct setup *s)
{
    struct guarded *all[] = {&s->q, &s->k, &s->v, &s->spans, &s->dout, &s->out, &s->dq, &s->dk, &s->dv, &s->bias,
                             &s->dbias, &s->sinks, &s->dsinks};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        guard_free(all[i]);
}

enum pattern { ALL, CAUSAL, PREFIX, RANDOM, PATTERNS };

static void set_spans(struct setup *s, enum pattern pattern)
{
    for (int i = 0; i < s->queries; i++) {
        int32_t *span = (int32_t *)s->spans.p + i * 2 * s->n_spans;
        memset(span, 0, (size_t)s->n_spans * 8);
        span[1] = s->keys;
        if (pattern == CAUSAL)
            span[1] = s->keys - s->queries + i + 1;
        if (pattern == PREFIX && s->n_spans > 1) { /* a shared beginning, then questions of 7 keys each */
            span[1] = s->keys / 3;
            span[2] = span[1] + i / 7 * 7;
            span[3] = span[1] + i + 1;
        }
        for (int j = 0, at = 0; pattern == RANDOM && j < s->n_spans; j++) {
            span[2 * j] = at + (int32_t)rng_below(&check_rng, (uint32_t)(s->keys - at + 3));
            span[2 * j + 1] = rng_below(&check_rng, 4) ? span[2 * j] + (int32_t)rng_below(&check_rng, 40) : span[2 * j] - 1;
            at = span[2 * j + 1] > at ? span[2 * j + 1] : at;
            at = at < s->keys ? at : s->keys;
        }
    }
}

/* The job of kv head h, queries [from, to). */
static struct attn job(struct setup *s, int h, int from, int to)
{
    int group = s->heads / s->kv_heads;
    ptrdiff_t stride = (ptrdiff_t)s->heads * s->D, kv = (ptrdiff_t)s->kv_heads * s->D;
    return (struct attn){
        .bias = s->near ? f(&s->bias) + (h * group * s->queries + from) * s->keys : NULL, .bias_query = s->keys,
        .bias_head = (ptrdiff_t)s->queries * s->keys,
        .queries = to - from, .heads = group, .D = s->D, .q = f(&s->q) + from * stride + h * group * s->D,
        .out = f(&s->out) + from * stride + h * group * s->D, .q_stride = stride,
        .spans = (int32_t *)s->spans.p + from * 2 * s->n_spans, .span_stride = 2 * s->n_spans, .n_spans = s->n_spans,
        .keys = s->keys, .k = {.data = f(&s->k) + h * s->D, .stride = kv}, .v = {.data = f(&s->v) + h * s->D, .stride = kv},
        .scale = s->scale, .softcap = s->softcap, .sinks = s->sunk ? f(&s->sinks) + h * group : NULL};
}

static struct attn_grad grad_job(struct setup *s, int h)
{
    struct attn_grad g = {.a = job(s, h, 0, s->queries)};
    g.dout = f(&s->dout) + (g.a.q - f(&s->q));
    g.dq = f(&s->dq) + (g.a.q - f(&s->q));
    g.dk = f(&s->dk) + h * s->D;
    g.dv = f(&s->dv) + h * s->D;
    g.dbias = s->near ? f(&s->dbias) + (g.a.bias - f(&s->bias)) : NULL;
    g.dsinks = s->sunk ? f(&s->dsinks) + (g.a.sinks - f(&s->sinks)) : NULL;
    return g;
}

static void forward(struct setup *s, const struct kernels *k)
{
    void *scratch = aligned_alloc(64, attn_scratch_bytes(s->D));
    for (int h = 0; h < s->kv_heads; h++) {
        struct attn a = job(s, h, 0, s->queries);
        k->attention(&a, scratch);
    }
    free(scratch);
}

static void backward(struct setup *s, const struct kernels *k)
{
    void *scratch = aligned_alloc(64, attn_grad_scratch_bytes(s->D));
    memset(s->dbias.p, 0, s->dbias.len);
    memset(s->dsinks.p, 0, s->dsinks.len);
    for (int h = 0; h < s->kv_heads; h++) {
        struct attn_grad g = grad_job(s, h);
        k->attention_grad(&g, scratch);
    }
    free(scratch);
}

static void same(const char *what, struct setup *s, struct guarded *got, const float *want)
{
    size_t n = got->len / 4, i = check_diff(got->p, want, n);
    if (i < n)
        fail_msg("%s of %d queries, %d/%d heads, D %d, %d keys, softcap %g: at %zu got %a, want %a", what, s->queries,
                 s->heads, s->kv_heads, s->D, s->keys, s->softcap, i, f(got)[i], want[i]);
}

static float *copy_of(struct guarded *g)
{
    float *p = malloc(g->len);
    memcpy(p, g->p, g->len);
    return p;
}

/* Each mask against scalar, forward and backward. */
static void compare_masks(struct setup *s)
{
    struct kernels ref, k;
    kernels_init(&ref, CPU_scalar);
    forward(s, &ref);
    backward(s, &ref);
    struct guarded *results[] = {&s->out, &s->dq, &s->dk, &s->dv, &s->dbias, &s->dsinks};
    static const char *const names[] = {"out", "dq", "dk", "dv", "dbias", "dsinks"};
    float *want[6];
    for (int i = 0; i < 6; i++)
        want[i] = copy_of(results[i]);
    unsigned mask;
    for (size_t step = 1; check_mask(step, &mask); step++) {
        for (int i = 0; i < 6; i++)
            memset(results[i]->p, 0xa5, results[i]->len);
        kernels_init(&k, mask);
        forward(s, &k);
        backward(s, &k);
        for (int i = 0; i < 6; i++)
            same(names[i], s, results[i], want[i]);
    }
    for (int i = 0; i < 6; i++)
        free(want[i]);
}

static void test_masks_agree(void **state)
{
    static const int widths[] = {12, 20, 32, 33, 64, 128, 1, 16};
    for (int i = 0; i < 160; i++) {
        int keys = 1 + (int)rng_below(&check_rng, 200), queries = 1 + (int)rng_below(&check_rng, 70);
        int kv = 1 + (int)rng_below(&check_rng, 3), group = 1 + (int)rng_below(&check_rng, 3);
        queries = i % PATTERNS == CAUSAL || i % PATTERNS == PREFIX ? (queries < keys / 2 ? queries : keys / 2 + 1) : queries;
        struct setup s = setup_new(queries, kv * group, kv, widths[rng_below(&check_rng, 8)], keys,
                                   1 + (int)rng_below(&check_rng, ATTN_SPANS), i % 5 == 4 ? 3.0f : 0.0f);
        s.near = i % 5 == 2 || i % 5 == 3;
        s.sunk = i % 3 == 1;
        set_spans(&s, i % PATTERNS);
        compare_masks(&s);
        setup_free(&s);
    }
}

/* More keys than fit the slots of a tile, and ranges that are not contiguous. */
static void test_long_sequences(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct setup s = setup_new(i % 2 ? 3 : 37, 2, 1, 20, 2500 + (int)rng_below(&check_rng, 300), 3, i == 3 ? 5.0f : 0);
        s.near = i < 3;
        s.sunk = i == 1;
        set_spans(&s, i < 2 ? CAUSAL : RANDOM);
        for (int r = 0; i >= 2 && r < s.queries; r += 2) {
            int32_t *span = (int32_t *)s.spans.p + r * 6;
            const int32_t wide[] = {3, 1200, 1300 + r, 1310, 1400, s.keys};
            memcpy(span, wide, sizeof(wide));
        }
        compare_masks(&s);
        setup_free(&s);
    }
}

/* A row's bits do not depend on the rows beside it, nor on whether keys lie in pages. */
static void test_rows_alone_and_pages(void **state)
{
    for (int round = 0; round < 24; round++) {
        int keys = 2 + (int)rng_below(&check_rng, 200), queries = 1 + (int)rng_below(&check_rng, (uint32_t)keys);
        int D = round % 2 ? 32 : 20;
        struct setup s = setup_new(queries, 2, 1, D, keys, 2, round % 3 == 2 ? 4.0f : 0);
        s.near = round % 3 == 1;
        s.sunk = round % 2;
        set_spans(&s, round % PATTERNS == PREFIX ? CAUSAL : round % PATTERNS);
        forward(&s, kernels_active());
        float *want = copy_of(&s.out);
        memset(s.out.p, 0, s.out.len);
        int n_pages = (keys + ATTN_PAGE - 1) / ATTN_PAGE;
        size_t page = (size_t)(2 * ATTN_PAGE * D);
        void **pages = calloc((size_t)n_pages, sizeof(*pages));
        for (int p = 0; p < n_pages; p++) {
            pages[p] = malloc(page * 4);
            memset(pages[p], 0xff, page * 4); /* what is not a key is NaN */
        }
        for (int j = 0; j < keys * D; j++) {
            float *at = (float *)pages[j / D / ATTN_PAGE] + j / D % ATTN_PAGE * D + j % D;
            at[0] = f(&s.k)[j];
            at[ATTN_PAGE * D] = f(&s.v)[j];
        }
        void *scratch = aligned_alloc(64, attn_scratch_bytes(D));
        for (int from = 0, to; from < queries; from = to) {
            to = from + 1 + (int)rng_below(&check_rng, 20);
            to = to < queries ? to : queries;
            struct attn a = job(&s, 0, from, to);
            a.k = (struct attn_kv){.pages = pages, .stride = D};
            a.v = (struct attn_kv){.pages = pages, .stride = D, .offset = ATTN_PAGE * D * 4};
            kernels_active()->attention(&a, scratch);
        }
        same("pages", &s, &s.out, want);
        free(scratch);
        free(want);
        for (int p = 0; p < n_pages; p++)
            free(pages[p]);
        free(pages);
        setup_free(&s);
    }
}

/* Packed pages: every mask gives the bits of attention over the unpacked rows. */
struct packed { enum dtype dt; void *pages[4]; };

static void packed_new(struct packed *p, enum dtype dt, struct setup *s, struct guarded *rows)
{
    size_t row = attn_row_bytes(dt, s->D);
    p->dt = dt;
    for (int i = 0; i < 4; i++)
        memset(p->pages[i] = malloc(ATTN_PAGE * row), 0xff, ATTN_PAGE * row);
    for (int j = 0; j < s->keys; j++) {
        float *x = f(rows) + j * s->D, full[160] = {0};
        unsigned char *to = (unsigned char *)p->pages[j / ATTN_PAGE] + (size_t)(j % ATTN_PAGE) * row;
        memcpy(full, x, (size_t)s->D * 4);
        dtype_table[dt].encode(full, to, (size_t)attn_row_width(dt, s->D));
        dtype_table[dt].decode(to, full, (size_t)attn_row_width(dt, s->D));
        memcpy(x, full, (size_t)s->D * 4);
    }
}

static void packed_free(struct packed *p)
{
    for (int i = 0; i < 4; i++)
        free(p->pages[i]);
}

static void test_packed_pages(void **state)
{
    static const enum dtype formats[] = {DT_BF16, DT_Q8_0, DT_Q4_0, DT_F32};
    static const int widths[] = {64, 20, 128, 32, 33, 8};
    for (int round = 0; round < 48; round++) {
        int keys = 1 + (int)rng_below(&check_rng, 4 * ATTN_PAGE), queries = 1 + (int)rng_below(&check_rng, round % 3 ? 4 : 40);
        struct setup s = setup_new(queries, 1 + round % 3, 1, widths[round % 6], keys, 2, round % 5 == 4 ? 4.0f : 0);
        struct packed k, v;
        struct kernels ref, isa;
        set_spans(&s, round % 4 == PREFIX ? RANDOM : round % 4);
        packed_new(&k, formats[rng_below(&check_rng, 4)], &s, &s.k);
        packed_new(&v, formats[rng_below(&check_rng, 4)], &s, &s.v);
        kernels_init(&ref, CPU_scalar);
        forward(&s, &ref);
        float *want = copy_of(&s.out);
        void *scratch = aligned_alloc(64, attn_scratch_bytes(s.D));
        unsigned mask;
        for (size_t step = 0; check_mask(step, &mask); step++) {
            kernels_init(&isa, mask);
            memset(s.out.p, 0xa5, s.out.len);
            struct attn a = job(&s, 0, 0, queries);
            a.k = (struct attn_kv){.pages = k.pages, .stride = s.D, .dt = k.dt};
            a.v = (struct attn_kv){.pages = v.pages, .stride = s.D, .dt = v.dt};
            isa.attention(&a, scratch);
            same(dtype_name(k.dt), &s, &s.out, want);
        }
        free(scratch);
        free(want);
        packed_free(&k);
        packed_free(&v);
        setup_free(&s);
    }
}

/* Forward and gradients of one row in double precision. */
static void row_double(struct setup *s, int i, int h, double *out, double *dq, double *dk, double *dv, double *dbias)
{
    int D = s->D, kv = s->kv_heads * D, n = 0;
    const float *q = f(&s->q) + (i * s->heads + h) * D, *dout = f(&s->dout) + (i * s->heads + h) * D;
    const float *k = f(&s->k) + h / (s->heads / s->kv_heads) * D, *v = f(&s->v) + (k - f(&s->k));
    const int32_t *span = (int32_t *)s->spans.p + i * 2 * s->n_spans;
    double *x = calloc((size_t)s->keys, 8), *slope = calloc((size_t)s->keys, 8), max = -INFINITY, z = 0, delta = 0;
    int *at = calloc((size_t)s->keys, sizeof(int));
    for (int p = 0; p < s->n_spans; p++)
        for (int j = span[2 * p] > 0 ? span[2 * p] : 0; j < span[2 * p + 1] && j < s->keys; j++)
            at[n++] = j;
    for (int j = 0; j < n; j++) {
        for (int d = 0; d < D; d++)
            x[j] += (double)s->scale * q[d] * k[at[j] * kv + d];
        double t = s->softcap != 0 ? tanh(x[j] / s->softcap) : 0;
        slope[j] = 1 - t * t;
        x[j] = s->softcap != 0 ? s->softcap * t : x[j];
        x[j] += s->near ? f(&s->bias)[(h * s->queries + i) * s->keys + at[j]] : 0;
        max = x[j] > max ? x[j] : max;
    }
    if (s->sunk) {
        max = f(&s->sinks)[h] > max ? f(&s->sinks)[h] : max;
        z = exp(f(&s->sinks)[h] - max);
    }
    for (int j = 0; j < n; j++)
        z += x[j] = exp(x[j] - max);
    for (int j = 0; j < n; j++)
        for (int d = 0; d < D; d++) {
            out[d] += x[j] / z * v[at[j] * kv + d];
            delta += x[j] / z * dout[d] * v[at[j] * kv + d];
        }
    for (int j = 0; j < n; j++) {
        double P = x[j] / z, dp = 0;
        for (int d = 0; d < D; d++)
            dp += (double)dout[d] * v[at[j] * kv + d];
        double ds = P * (dp - delta) * slope[j];
        dbias[(h * s->queries + i) * s->keys + at[j]] += ds;
        for (int d = 0; d < D; d++) {
            dq[d] += ds * s->scale * k[at[j] * kv + d];
            dk[at[j] * kv + d] += ds * s->scale * q[d];
            dv[at[j] * kv + d] += P * dout[d];
        }
    }
    free(x);
    free(slope);
    free(at);
}

/* Scores up to a few tens carry a relative error of exp of about |s| * D * 2^-24; sums stay below that. */
static void near(const char *what, const struct guarded *got, const double *want, double tolerance)
{
    double top = 0;
    for (size_t i = 0; i < got->len / 4; i++)
        top = fabs(want[i]) > top ? fabs(want[i]) : top;
    for (size_t i = 0; i < got->len / 4; i++) {
        double x = ((const float *)got->p)[i];
        if (!(fabs(x - want[i]) <= tolerance * top))
            fail_msg("%s at %zu: got %g, want %g (+- %g)", what, i, x, want[i], tolerance * top);
    }
}

static void test_double_precision(void **state)
{
    for (int round = 0; round < 24; round++) {
        int keys = 1 + (int)rng_below(&check_rng, 120);
        struct setup s = setup_new(keys, 4, round % 2 ? 4 : 2, round % 3 ? 32 : 20, keys, 2, round % 4 == 3 ? 6.0f : 0);
        s.near = round % 4 == 1;
        set_spans(&s, round % PATTERNS == PREFIX ? RANDOM : round % PATTERNS);
        forward(&s, kernels_active());
        backward(&s, kernels_active());
        size_t nq = s.q.len / 4, nk = s.k.len / 4;
        double *want = calloc(2 * (nq + nk) + s.bias.len / 4, 8), *dq = want + nq, *dk = dq + nq, *dv = dk + nk, *dbias = dv + nk;
        for (int i = 0; i < s.queries; i++)
            for (int h = 0; h < s.heads; h++) {
                int at = (i * s.heads + h) * s.D, kv = h / (s.heads / s.kv_heads) * s.D;
                row_double(&s, i, h, want + at, dq + at, dk + kv, dv + kv, dbias);
            }
        double tolerance = 30 * s.D * 0x1p-24;
        near("out", &s.out, want, tolerance);
        near("dq", &s.dq, dq, 4 * tolerance);
        near("dk", &s.dk, dk, 4 * tolerance);
        near("dv", &s.dv, dv, 4 * tolerance);
        if (s.near)
            near("dbias", &s.dbias, dbias, 4 * tolerance);
        free(want);
        setup_free(&s);
    }
}

struct timed { struct setup *s; const struct kernels *k; void (*run)(struct setup *, const struct kernels *); };

static void run_timed(void *arg)
{
    struct timed *t = arg;
    t->run(t->s, t->k);
}

static double pairs(const struct setup *s)
{
    double n = 0;
    for (int i = 0; i < s->queries * s->n_spans; i++) {
        const int32_t *span = (const int32_t *)s->spans.p + 2 * i;
        n += span[1] > span[0] ? span[1] - span[0] : 0;
    }
    return n * s->heads;
}

static void test_bench(void **state)
{
    static const struct { const char *name; int queries, heads, kv_heads, D, keys, pattern; } shapes[] = {
        {"tower 64", 64, 5, 5, 32, 64, ALL},           {"tower 65", 65, 5, 5, 32, 65, ALL},
        {"questions 400", 400, 6, 6, 32, 400, PREFIX}, {"causal 512, D 64, 4 to 1", 512, 8, 2, 64, 512, CAUSAL},
        {"decode 1 of 1000", 1, 9, 3, 64, 1000, ALL},
    };
    unsigned mask;
    for (size_t i = 0; check_bench && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct setup s = setup_new(shapes[i].queries, shapes[i].heads, shapes[i].kv_heads, shapes[i].D, shapes[i].keys, 2, 0);
        set_spans(&s, shapes[i].pattern);
        for (int r = 0; shapes[i].pattern == PREFIX && r < s.queries; r++) { /* a picture of 65, questions of 24 */
            int32_t *span = (int32_t *)s.spans.p + r * 4, from = 65 + (r - 65) / 24 * 24;
            const int32_t own[] = {0, 65, from, r + 1};
            memcpy(span, own, sizeof(own));
            if (r < 65)
                span[2] = span[3] = 0;
        }
        for (size_t step = 1; step < 3 && check_mask(step, &mask); step++) {
            struct kernels k;
            kernels_init(&k, mask);
            struct timed t = {&s, &k, forward};
            double fwd = check_time(run_timed, &t);
            t.run = backward;
            double bwd = check_time(run_timed, &t), flops = pairs(&s) * s.D * 2;
            fprintf(stderr, "%-26s %-7s forward %6.1f GFLOP/s (%.1f us)  backward %6.1f (%.1f us)\n", shapes[i].name,
                    cpu_isa_rows[step].name, 2 * flops / fwd * 1e-9, fwd * 1e6, 5 * flops / bwd * 1e-9, bwd * 1e6);
        }
        setup_free(&s);
    }
}

int main(int argc, char **argv)
{
    check_start(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_agree), cmocka_unit_test(test_long_sequences),
        cmocka_unit_test(test_rows_alone_and_pages), cmocka_unit_test(test_packed_pages), cmocka_unit_test(test_double_precision), cmocka_unit_test(test_bench)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

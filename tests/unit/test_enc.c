/* Encoders of block formats: errors against what the step of each format must give, values that a format
 * can hold come back as they were, odd values do no harm, blocks of another program survive. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "../check.h"
#include "base/file.h"
#include "base/rng.h"
#include "formats/gguf.h"
#include "tensor/dtype.h"

enum { N = 256 * 64 };
#define TYPES "../shared/fixtures/gguf/types/types.gguf"

/* levels: of a value; sub: values under one scale; one: a scale alone, no offset. `over`: how far the mean
 * squared error may exceed step^2 / 12, where the step is that of the full range of each sub-block: below 1,
 * since the search clips rare far values, above it for scales that are themselves rounded. */
static const struct coded { enum dtype dt; int levels, sub; bool one; double over; } coded[] = {
    {DT_Q4_0, 16, 32, true, 1.0},  {DT_Q4_1, 16, 32, false, 1.0}, {DT_Q5_0, 32, 32, true, 1.0}, {DT_Q5_1, 32, 32, false, 1.05},
    {DT_Q8_0, 255, 32, true, 1.05}, {DT_Q2_K, 4, 16, false, 1.4},  {DT_Q3_K, 8, 16, true, 1.1},  {DT_Q4_K, 16, 32, false, 1.1},
    {DT_Q5_K, 32, 32, false, 1.15}, {DT_Q6_K, 64, 16, true, 1.1}};
enum { CODED = sizeof coded / sizeof coded[0] };

static void round_trip(enum dtype dt, const float *x, float *y, size_t n)
{
    size_t bytes;
    check_ok(dtype_bytes(dt, n, &bytes));
    void *packed = mem_alloc(MEM_TEST, bytes);
    check_ok(dtype_from_f32(dt, x, packed, n));
    check_ok(dtype_to_f32(dt, packed, y, n));
    mem_free(packed);
}

/* The squared step of a sub-block's full range. */
static double step_of(const struct coded *c, const float *x)
{
    float lo = x[0], hi = x[0];
    for (int i = 1; i < c->sub; i++) {
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    if (!c->one)
        return (double)(fmaxf(hi, 0) - fminf(lo, 0)) / (c->levels - 1);
    return 2 * (double)fmaxf(hi, -lo) / c->levels;
}

static void check_error(const struct coded *c, const float *x, const char *what)
{
    static float y[N];
    double error = 0, theory = 0;
    round_trip(c->dt, x, y, N);
    for (int at = 0; at < N; at += c->sub) {
        double step = step_of(c, x + at);
        theory += (double)c->sub * step * step / 12;
        for (int i = at; i < at + c->sub; i++)
            error += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
    }
    if (!(error <= c->over * theory))
        fail_msg("%s, %s: mean squared error %g, theory %g: ratio %.3f", dtype_name(c->dt), what, error / N, theory / N,
                 error / theory);
}

static void test_errors_are_those_of_the_step(void **state)
{
    static float normal[N], flat[N];
    struct rng r = rng_at(5, 1);
    for (int i = 0; i < N; i++) {
        normal[i] = 0.02f * rng_normal(&r);
        flat[i] = rng_float(&r) - 0.5f;
    }
    for (int k = 0; k < CODED; k++) {
        check_error(&coded[k], normal, "normal");
        check_error(&coded[k], flat, "uniform");
    }
}

/* Every level, in a shuffled order, times a step that 16 bits hold: all formats must give it back. In a K
 * format all sub-blocks have the largest scale, 2^k times its greatest value. */
static void test_values_of_the_grid_come_back(void **state)
{
    float x[256], y[256];
    for (int k = 0; k < CODED; k++) {
        const struct coded *c = &coded[k];
        bool q8 = c->dt == DT_Q8_0;
        float scale_most = c->dt == DT_Q6_K ? 128 : c->dt == DT_Q3_K ? 32 : c->dt == DT_Q2_K ? 15 : 63;
        float step = 0.0078125f * (dtype_table[c->dt].block_values == 256 ? scale_most : 1);
        for (int i = 0; i < 256; i++) {
            int level = i * 7 % (q8 ? 128 : c->levels), lo = c->one && !q8 ? c->levels / 2 : 0;
            if (i % c->sub == 0 && q8)
                level = 127;
            if (i % c->sub == 0 && !q8)
                level = c->one ? 0 : c->levels - 1; /* the ends are there */
            if (i % c->sub == 1 && !q8)
                level = c->one ? lo : 0;
            x[i] = step * (float)(level - lo);
        }
        round_trip(c->dt, x, y, 256);
        for (int i = 0; i < 256; i++)
            if (x[i] != y[i])
                fail_msg("%s: value %d: expected %g, found %g", dtype_name(c->dt), i, (double)x[i], (double)y[i]);
    }
}

static void test_odd_values(void **state)
{
    float x[256], y[256];
    for (int k = 0; k < CODED; k++) {
        memset(x, 0, sizeof x);
        round_trip(coded[k].dt, x, y, 256);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 0);
        for (int i = 0; i < 256; i++)
            x[i] = 0.25f; /* one value only */
        round_trip(coded[k].dt, x, y, 256);
        for (int i = 0; i < 256; i++)
            assert_true(fabsf(y[i] - 0.25f) < 0.004f);
        x[3] = NAN; /* nothing but this block may suffer, and nothing may break */
        x[40] = INFINITY;
        x[99] = -3e38f;
        x[7] = 1e-42f;
        round_trip(coded[k].dt, x, y, 256);
    }
}

/* What ggml wrote has every level that its scale reaches: encoding its values again must lose little, and in
 * the formats with one scale and full range nothing. */
static void test_blocks_of_another_program(void **state)
{
    struct gguf *g;
    if (!file_exists(TYPES))
        skip();
    check_ok(gguf_open(TYPES, &g));
    int seen = 0;
    for (size_t i = 0; i < gguf_count(g); i++) {
        const struct st_tensor *t = gguf_at(g, i);
        size_t n;
        double error = 0, power = 0;
        if (!dtype_table[t->dtype].encode || dtype_table[t->dtype].block_values == 1)
            continue;
        check_ok(shape_count(&t->shape, &n));
        float *x = mem_calloc(MEM_TEST, n, sizeof *x), *y = mem_calloc(MEM_TEST, n, sizeof *y);
        check_ok(dtype_to_f32(t->dtype, t->data, x, n));
        round_trip(t->dtype, x, y, n);
        for (size_t k = 0; k < n; k++) {
            error += (double)(x[k] - y[k]) * (double)(x[k] - y[k]);
            power += (double)x[k] * (double)x[k];
        }
        bool exact = t->dtype == DT_Q8_0 || t->dtype == DT_Q4_0 || t->dtype == DT_Q5_0;
        if (exact ? error != 0 : error > 1e-2 * power)
            fail_msg("%s: relative squared error %g", t->name, error / power);
        seen++;
        mem_free(x);
        mem_free(y);
    }
    assert_int_equal(seen, CODED);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_those_of_the_step),
        cmocka_unit_test(test_values_of_the_grid_come_back),
        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_blocks_of_another_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

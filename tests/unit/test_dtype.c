/* The number formats: every 8 and 16-bit pattern, against the compiler's half type and against
 * brute-force rounding; sizes and names. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "base/err.h"
#include "base/rng.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

static float decode1(enum dtype dt, uint32_t pattern)
{
    float x = 0;
    assert_int_equal(dtype_to_f32(dt, &pattern, &x, 1), 0);
    return x;
}

static uint32_t encode1(enum dtype dt, float x)
{
    uint32_t pattern = 0;
    assert_int_equal(dtype_from_f32(dt, &x, &pattern, 1), 0);
    return pattern;
}

#ifdef __FLT16_MAX__
static void half_matches_the_compiler(void **state)
{
    for (uint32_t h = 0; h < 65536; h++) {
        _Float16 ref;
        uint16_t bits = (uint16_t)h;
        memcpy(&ref, &bits, 2);
        float want = (float)ref, got = decode1(DT_F16, h);
        if (isnan(want))
            assert_true(isnan(got));
        else
            assert_int_equal(dtype_f32_bits(got), dtype_f32_bits(want));
    }
    struct rng r = rng_at(11, 0);
    for (int i = 0; i < 2000000; i++) {
        /* half of the draws near the representable range, where rounding has work to do */
        uint32_t u = rng_u32(&r);
        float x = dtype_bits_f32(i & 1 ? u : (u & 0x8fffffffu) | 0x30000000u);
        _Float16 ref = (_Float16)x;
        uint16_t want;
        memcpy(&want, &ref, 2);
        if (!isnan(x))
            assert_int_equal(encode1(DT_F16, x), want);
    }
}
#endif

/* The nearest pattern by search, ties to the even pattern; NaN patterns are skipped. */
static uint32_t nearest(enum dtype dt, uint32_t patterns, float x)
{
    uint32_t best = 0;
    double gap = INFINITY;
    for (uint32_t p = 0; p < patterns; p++) {
        double v = decode1(dt, p);
        if (!isfinite(v) || (signbit(v) != 0) != (signbit(x) != 0))
            continue;
        double d = fabs(v - (double)x);
        if (d < gap || (d == gap && !(p & 1)))
            gap = d, best = p;
    }
    return best;
}

static void bytes_round_to_nearest_even(void **state)
{
    static const struct { enum dtype dt; float limit; } rows[] = {
        {DT_F8_E4M3, 464.0f}, {DT_F8_E5M2, 61439.0f},
    };
    struct rng r = rng_at(12, 0);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        for (int i = 0; i < 20000; i++) {
            float x = dtype_bits_f32((rng_u32(&r) & 0x87ffffffu) | 0x38000000u);
            if (i & 1) /* midpoints of neighbours: ties */
                x = (decode1(rows[k].dt, (uint32_t)i & 0xff) + decode1(rows[k].dt, ((uint32_t)i & 0xff) + 1)) / 2;
            if (fabsf(x) <= rows[k].limit)
                assert_int_equal(encode1(rows[k].dt, x), nearest(rows[k].dt, 256, x));
        }
    }
}

static void every_pattern_comes_back(void **state)
{
    static const struct { enum dtype dt; uint32_t patterns; } rows[] = {
        {DT_F16, 65536}, {DT_BF16, 65536}, {DT_F8_E4M3, 256}, {DT_F8_E5M2, 256}, {DT_F8_E8M0, 256},
        {DT_I8, 256}, {DT_U8, 256}, {DT_I16, 65536}, {DT_U16, 65536}, {DT_BOOL, 2},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (uint32_t p = 0; p < rows[k].patterns; p++) {
            float x = decode1(rows[k].dt, p);
            if (isnan(x))
                assert_true(isnan(decode1(rows[k].dt, encode1(rows[k].dt, x))));
            else
                assert_int_equal(encode1(rows[k].dt, x), p);
        }
}

static void known_values(void **state)
{
    static const struct { enum dtype dt; float x; uint32_t pattern; } rows[] = {
        {DT_F16, 65504.0f, 0x7bff}, {DT_F16, 65520.0f, 0x7c00}, {DT_F16, 65519.996f, 0x7bff},
        {DT_F16, 0x1p-24f, 0x0001}, {DT_F16, 0x1p-25f, 0x0000}, {DT_F16, 0x1.8p-25f, 0x0001},
        {DT_F16, -INFINITY, 0xfc00}, {DT_F16, -0.0f, 0x8000},
        {DT_BF16, 1.00390625f, 0x3f80}, {DT_BF16, 1.01171875f, 0x3f82}, {DT_BF16, 3.4e38f, 0x7f80},
        {DT_F8_E4M3, 448.0f, 0x7e}, {DT_F8_E4M3, 464.0f, 0x7e}, {DT_F8_E4M3, 465.0f, 0x7f},
        {DT_F8_E4M3, INFINITY, 0x7f}, {DT_F8_E4M3, -1e9f, 0xff}, {DT_F8_E4M3, 0x1p-9f, 0x01},
        {DT_F8_E4M3, 0x1p-10f, 0x00}, {DT_F8_E5M2, 57344.0f, 0x7b}, {DT_F8_E5M2, 61440.0f, 0x7c},
        {DT_F8_E8M0, 1.0f, 127}, {DT_F8_E8M0, 0x1p-127f, 0}, {DT_F8_E8M0, INFINITY, 254},
        {DT_I8, 2.5f, 2}, {DT_I8, 300.0f, 127}, {DT_I8, -3.5f, 0xfc}, {DT_U8, -4.0f, 0},
        {DT_I32, 3e9f, 0x7fffffff}, {DT_I32, NAN, 0}, {DT_U32, 5e9f, 0xffffffff}, {DT_BOOL, 0.5f, 1},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        assert_int_equal(encode1(rows[k].dt, rows[k].x), rows[k].pattern);
    int64_t big = 0;
    assert_int_equal(dtype_from_f32(DT_I64, &(float){1e30f}, &big, 1), 0);
    assert_true(big == INT64_MAX);
    assert_true(isnan(decode1(DT_F8_E4M3, 0xff)) && isnan(decode1(DT_F8_E8M0, 255)));
    assert_true(isinf(decode1(DT_F8_E5M2, 0x7c)));
}

static void names_and_sizes(void **state)
{
    enum dtype dt;
    for (int i = 0; i < DT_COUNT; i++) {
        assert_int_equal(dtype_parse(span_str(dtype_name((enum dtype)i)), &dt), 0);
        assert_int_equal(dt, i);
        if (dtype_table[i].gguf_id >= 0) {
            assert_int_equal(dtype_from_gguf((uint32_t)dtype_table[i].gguf_id, &dt), 0);
            assert_int_equal(dt, i);
        }
    }
    assert_int_equal(dtype_parse(SPAN("torch.bfloat16"), &dt), 0);
    assert_int_equal(dt, DT_BF16);
    assert_int_equal(dtype_parse(SPAN("F33"), &dt), NUN_EUNSUP);
    assert_int_equal(dtype_parse_st(SPAN(""), &dt), NUN_EUNSUP);
    assert_int_equal(dtype_parse_st(SPAN("f32"), &dt), NUN_EUNSUP);
    assert_int_equal(dtype_from_gguf(4, &dt), NUN_EUNSUP);
    size_t bytes = 7;
    assert_int_equal(dtype_bytes(DT_F64, SIZE_MAX / 8 + 1, &bytes), NUN_ELIMIT);
    assert_int_equal(bytes, 7);
    assert_int_equal(dtype_bytes(DT_F64, 3, &bytes), 0);
    assert_int_equal(bytes, 24);
    assert_int_equal(dtype_bytes((enum dtype)DT_COUNT, 3, &bytes), NUN_EARG);
}

static void shapes(void **state)
{
    size_t n = 0;
    char text[SHAPE_TEXT];
    struct shape s = SHAPE2(8192, 2048), scalar = {0};
    assert_int_equal(shape_count(&s, &n), 0);
    assert_int_equal(n, 8192 * 2048);
    assert_string_equal(shape_format(&s, text), "[8192, 2048]");
    assert_string_equal(shape_format(&scalar, text), "[]");
    assert_int_equal(shape_count(&scalar, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(shape_count(&SHAPE3(INT64_MAX, 3, 2), &n), NUN_ELIMIT);
    assert_int_equal(shape_count(&SHAPE4(INT64_MAX, 3, 2, 0), &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(shape_count(&SHAPE2(-1, 2), &n), NUN_EFORMAT);
    assert_int_equal(shape_count(&(struct shape){9, {0}}, &n), NUN_EARG);
    assert_true(shape_eq(&s, &SHAPE2(8192, 2048)));
    assert_false(shape_eq(&s, &SHAPE3(8192, 2048, 1)));
    struct shape widest = {8, {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN}};
    assert_int_equal(strlen(shape_format(&widest, text)), 8 * 20 + 7 * 2 + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef __FLT16_MAX__
        cmocka_unit_test(half_matches_the_compiler),
#endif
        cmocka_unit_test(bytes_round_to_nearest_even),
        cmocka_unit_test(every_pattern_comes_back),
        cmocka_unit_test(known_values),
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

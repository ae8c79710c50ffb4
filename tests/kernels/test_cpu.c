/* The mask language of kernels/cpu.h, the table that follows the mask, and the peaks measured under it. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include "kernels/gemm_micro.h"
#include "kernels/peak.h"
#include "nunchi/error.h"

static void test_parse(void **state)
{
    unsigned have = cpu_features(), m = 0;
    assert_true(have & CPU_scalar);
    assert_int_equal(cpu_mask_parse("all", &m), 0);
    assert_int_equal(m, have);
    assert_int_equal(cpu_mask_parse("scalar", &m), 0);
    assert_int_equal(m, CPU_scalar);
    assert_int_equal(cpu_mask_parse("all,-avx2", &m), 0);
    assert_int_equal(m, CPU_scalar); /* everything else builds on it */
    assert_int_equal(cpu_mask_parse("-amx", &m), 0);
    assert_int_equal(m, have & ~(unsigned)(CPU_amxbf16 | CPU_amxint8));
    if (have & CPU_avx512bf16) {
        assert_int_equal(cpu_mask_parse("avx512bf16", &m), 0);
        assert_int_equal(m, CPU_scalar | CPU_avx2 | CPU_avx512 | CPU_avx512bf16);
        assert_int_equal(cpu_mask_parse("avx512bf16,-avx512bf16", &m), 0);
        assert_int_equal(m, CPU_scalar | CPU_avx2 | CPU_avx512);
    }
}

static void test_parse_errors(void **state)
{
    static const char *const bad[] = {"", "neon9", "avx2,,avx512", "-", ",", "avx2,-mmx", " avx2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned m = 77;
        assert_int_equal(cpu_mask_parse(bad[i], &m), NUN_EARG);
        assert_int_equal(m, 77);
        assert_non_null(strstr(nun_error(), "scalar"));
    }
    if (!(cpu_features() & CPU_amxbf16)) {
        unsigned m;
        assert_int_equal(cpu_mask_parse("amxbf16", &m), NUN_EARG);
        assert_non_null(strstr(nun_error(), "this machine has"));
    }
}

static void test_print(void **state)
{
    char text[64], small[10];
    cpu_mask_print(CPU_scalar | CPU_avx2, text, sizeof(text));
    assert_string_equal(text, "scalar avx2");
    cpu_mask_print(~0u, small, sizeof(small));
    assert_true(strlen(small) < sizeof(small));
}

static void test_table(void **state)
{
    unsigned mask;
    for (size_t i = 0; check_mask(i, &mask); i++) {
        struct kernels k;
        cpu_set_mask(mask);
        kernels_init(&k, mask);
        assert_memory_equal(&k, kernels_active(), sizeof(k));
    }
    cpu_set_mask(CPU_scalar);
    assert_string_equal(kernels_active()->gemm[GEMM_BF16]->name, "gemm_bf16_scalar");
}

/* Peaks exist for what the mask allows, and are numbers a machine can have. */
static void test_peaks(void **state)
{
    static const struct { enum peak_kind kind; unsigned bit; } needs[] = {
        {PEAK_f32, CPU_scalar}, {PEAK_bf16, CPU_avx512bf16}, {PEAK_int8, CPU_avx512vnni},
        {PEAK_tile_bf16, CPU_amxbf16}, {PEAK_tile_int8, CPU_amxint8}, {PEAK_read, CPU_scalar}};
    struct pool *pool;
    struct peaks p;
    cpu_set_mask(cpu_features());
    assert_int_equal(pool_create(2, &pool), 0);
    assert_int_equal(peaks_measure(pool, &p), 0);
    for (int i = 0; i < PEAK_COUNT; i++) {
        bool there = cpu_features() & needs[i].bit;
        double one = p.one[needs[i].kind], all = p.all[needs[i].kind];
        assert_true(there ? one > 1e7 && one < 1e15 && all > 1e7 : one == 0 && all == 0);
    }
    assert_int_equal(peak_of_format(&p, GEMM_F32), PEAK_f32);
    pool_free(pool);
}

/* A slot is there with its unit, and counts what it does. */
static void test_peak_slots(void **state)
{
    cpu_set_mask(cpu_features());
    const struct kernels *k = kernels_active();
    const struct { double (*run)(long rounds); unsigned bit; } slots[] = {
        {k->peak_f32, CPU_scalar}, {k->peak_bf16, CPU_avx512bf16}, {k->peak_int8, CPU_avx512vnni},
        {k->peak_tile_bf16, CPU_amxbf16}, {k->peak_tile_int8, CPU_amxint8}};
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        assert_true(!slots[i].run == !(cpu_features() & slots[i].bit));
        if (slots[i].run) {
            double once = slots[i].run(1000);
            assert_true(once >= 1000 && slots[i].run(3000) == 3 * once);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_parse_errors),
                                       cmocka_unit_test(test_print), cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_peaks), cmocka_unit_test(test_peak_slots)};
    check_start(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

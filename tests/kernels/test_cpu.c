/* The mask language of kernels/cpu.h, and the table that follows the mask. */
/* SPDX-License-Identifier: MIT */
#include "checkasm.h"
#include "kernels/gemm_micro.h"
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_parse_errors),
                                       cmocka_unit_test(test_print), cmocka_unit_test(test_table)};
    check_start(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Errors, checked arithmetic, limits and UTF-8: the parts of base that judge outside input. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <errno.h>
#include <pthread.h>
#include "base/ck.h"
#include "base/limits.h"
#include "base/span.h"
#include "base/utf8.h"

static int failing_callee(void)
{
    return err_set(NUN_EFORMAT, "expected %d, found %d", 3, 4);
}

static int with_try(int *reached)
{
    TRY(failing_callee());
    *reached = 1;
    return 0;
}

static void test_sentence(void **state)
{
    int reached = 0;
    err_clear();
    assert_string_equal(nun_error(), "");
    assert_int_equal(with_try(&reached), NUN_EFORMAT);
    assert_int_equal(reached, 0);
    assert_string_equal(nun_error(), "expected 3, found 4");
    assert_int_equal(err_at(NUN_EFORMAT, "layer %d", 7), NUN_EFORMAT);
    assert_string_equal(nun_error(), "layer 7: expected 3, found 4");
    assert_int_equal(err_at(NUN_EFORMAT, "layer"), NUN_EFORMAT);
    assert_string_equal(nun_error(), "layer: layer 7: expected 3, found 4"); /* not that place, it only begins so */
    err_set(NUN_EFORMAT, "dir/file:7: expected 3, found 4");
    err_at(NUN_EFORMAT, "dir/file");
    err_at(NUN_EFORMAT, "%s", "dir"); /* said already */
    assert_string_equal(nun_error(), "dir/file:7: expected 3, found 4");
    err_set(NUN_EFORMAT, "layer 7: expected 3, found 4");
    err_set(NUN_EARG, "again: %s", nun_error()); /* the old sentence as an argument */
    assert_string_equal(nun_error(), "again: layer 7: expected 3, found 4");
    errno = ENOENT;
    assert_int_equal(err_errno("%s", "x.png"), NUN_EIO);
    assert_string_equal(nun_error(), "x.png: No such file or directory");
    assert_int_equal(err_nomem(77), NUN_ENOMEM);
    assert_non_null(strstr(nun_error(), "77"));
}

static void test_sentence_too_long(void **state)
{
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    err_set(NUN_EARG, "%s", big);
    err_at(NUN_EARG, "%s", big);
    assert_in_range(strlen(nun_error()), 500, 4999);
}

static void *other_thread(void *arg)
{
    err_set(NUN_EIO, "of the other thread");
    return NULL;
}

static void test_sentence_is_of_the_thread(void **state)
{
    pthread_t t;
    err_set(NUN_EARG, "of this thread");
    assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
    pthread_join(t, NULL);
    assert_string_equal(nun_error(), "of this thread");
}

static void test_code_names(void **state)
{
    assert_string_equal(nun_code_name(NUN_OK), "ok");
    assert_string_equal(nun_code_name(NUN_ELIMIT), "limit");
    assert_string_equal(nun_code_name(NUN_ESTOP), "stopped");
    assert_string_equal(nun_code_name(NUN_ESTOP - 1), "unknown");
    assert_string_equal(nun_code_name(1), "unknown");
    assert_string_equal(nun_code_name(INT32_MIN), "unknown");
}

static void test_checked_arithmetic(void **state)
{
    size_t out = 42;
    int small = 42;
    assert_true(ck_add(SIZE_MAX, 1, &out));
    assert_true(ck_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(ck_pad(SIZE_MAX, 64, &out));
    assert_true(ck_int(11, 0, 10, &small));
    assert_true(ck_int(INT64_MIN, INT32_MIN, 10, &small));
    assert_int_equal(out, 42);
    assert_int_equal(small, 42);
    assert_false(ck_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_false(ck_pad(65, 64, &out));
    assert_int_equal(out, 128);
    assert_true(ck_range(5, 5, 10));
    assert_false(ck_range(5, 6, 10));
    assert_false(ck_range(11, 0, 10));
    assert_false(ck_range(5, SIZE_MAX, 10));
}

static void test_limits(void **state)
{
    for (enum limit_id id = 0; id < LIMIT_COUNT; id++) {
        size_t at = limits_table[id].value;
        assert_true(at > 0);
        check_ok(limit_check(id, at - 1, "place"));
        check_ok(limit_check(id, at, "place"));
        check_fails(NUN_ELIMIT, limits_table[id].name, limit_check(id, at + 1, "place"));
        assert_true(strncmp(nun_error(), "place: ", 7) == 0);
    }
    check_fails(NUN_ELIMIT, "limit layers is 4096 layers, found 4097", limit_check(LIMIT_layers, 4097, "config.json"));
}

static void test_utf8_round_trip(void **state)
{
    for (uint32_t cp = 0; cp <= 0x110000; cp++) {
        char s[4];
        uint32_t back = 0;
        size_t n = utf8_encode(cp, s), expected = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        if ((cp >= 0xd800 && cp < 0xe000) || cp > 0x10ffff)
            expected = 0;
        if (n != expected || utf8_decode(s, n, &back) != n || (n && back != cp))
            fail_msg("U+%04X: %zu bytes, back as U+%04X", cp, n, back);
        for (size_t cut = 1; cut < n; cut++)
            if (utf8_decode(s, cut, &back) != 0 || utf8_incomplete_tail(s, cut) != cut)
                fail_msg("U+%04X cut to %zu bytes", cp, cut);
        if (n && utf8_incomplete_tail(s, n) != 0)
            fail_msg("U+%04X is complete", cp);
    }
}

static void test_utf8_invalid(void **state)
{
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",     "\xc1\xbf",         "\xe0\x80\x80",     "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",         "\xe2\x28\xa1",
        "\xf0\x9f\x98", "a\xf0\x9f\x98",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (utf8_valid(bad[i], strlen(bad[i])))
            fail_msg("sequence %zu passes as valid", i);
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("nul\0inside", 10));
    assert_true(utf8_valid("눈치 ✓ 😀", strlen("눈치 ✓ 😀")));
}

static void test_utf8_tail(void **state)
{
    assert_int_equal(utf8_incomplete_tail("", 0), 0);
    assert_int_equal(utf8_incomplete_tail("abc", 3), 0);
    assert_int_equal(utf8_incomplete_tail("ab\xf0\x9f\x98", 5), 3);
    assert_int_equal(utf8_incomplete_tail("ab\xf0\x9f", 4), 2);
    assert_int_equal(utf8_incomplete_tail("ab\xe2", 3), 1);
    assert_int_equal(utf8_incomplete_tail("ab\xe0\x80", 4), 0); /* can never become valid */
    assert_int_equal(utf8_incomplete_tail("\x80\x80\x80", 3), 0);
}

static void test_span(void **state)
{
    struct span s = SPAN("model.layers");
    assert_true(span_starts(s, SPAN("model.")));
    assert_false(span_starts(SPAN("mo"), SPAN("model.")));
    assert_true(span_ends(s, SPAN("layers")));
    assert_false(span_ends(SPAN("s"), SPAN("layers")));
    assert_true(span_is(span_from(s, 6), "layers"));
    assert_int_equal(span_from(s, 99).len, 0);
    assert_true(span_eq(span_of(NULL, 0), span_str("")));
    assert_true(span_u64("\1\2\0\0\0\0\0\x80") == 0x8000000000000201u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentence),      cmocka_unit_test(test_sentence_too_long),
        cmocka_unit_test(test_sentence_is_of_the_thread), cmocka_unit_test(test_code_names),
        cmocka_unit_test(test_checked_arithmetic), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_utf8_round_trip), cmocka_unit_test(test_utf8_invalid),
        cmocka_unit_test(test_utf8_tail),     cmocka_unit_test(test_span),
    };
    return cmocka_run_group_tests_name("base_err", tests, NULL, NULL);
}

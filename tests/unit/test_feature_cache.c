/* What was encoded is found again, the limit is kept, and what is thrown out lives on in those that hold it. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "runtime/feature_cache.h"

enum { N = 100 };

static struct digest name_of(int i)
{
    struct digest d;
    digest_of(&i, sizeof i, &d);
    return d;
}

static struct features *add(struct feature_cache *c, int i)
{
    float values[N];
    struct digest name = name_of(i);
    for (int k = 0; k < N; k++)
        values[k] = (float)(i * N + k);
    struct features *f = feature_cache_add(c, &name, values, N);
    assert_non_null(f);
    return f;
}

static bool has(struct feature_cache *c, int i)
{
    struct digest name = name_of(i);
    struct features *f = feature_cache_find(c, &name);
    if (f)
        assert_true(f->at[N - 1] == (float)(i * N + N - 1));
    features_drop(f);
    return f;
}

static void test_found_again(void **state)
{
    struct feature_cache c = {0};
    features_drop(add(&c, 1));
    features_drop(add(&c, 2));
    assert_true(has(&c, 1) && has(&c, 2) && !has(&c, 3));
    assert_int_equal(c.bytes, 2 * N * sizeof(float));
    feature_cache_free(&c);
    assert_false(has(&c, 1));
}

static void test_limit(void **state)
{
    struct feature_cache c = {0};
    size_t usual = limits_table[LIMIT_picture_cache].value;
    limits_table[LIMIT_picture_cache].value = 3 * N * sizeof(float);
    struct features *held = add(&c, 0);
    for (int i = 1; i < 4; i++) {
        features_drop(add(&c, i));
        assert_true(has(&c, 1)); /* used again and again: it stays */
    }
    assert_true(!has(&c, 0) && has(&c, 1) && has(&c, 2) && has(&c, 3));
    assert_true(held->at[5] == 5);
    features_drop(held);
    limits_table[LIMIT_picture_cache].value = 0;
    held = add(&c, 9);
    assert_true(!has(&c, 9) && c.bytes == 0 && held->at[0] == 9 * N);
    features_drop(held);
    limits_table[LIMIT_picture_cache].value = usual;
    feature_cache_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found_again), cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests_name("feature_cache", tests, NULL, NULL);
}

/* The thread pool with fewer, as many and more threads than this machine has CPUs. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include <stdatomic.h>
#include "base/limits.h"
#include "base/pool.h"
#include "base/seam.h"

enum { ROUNDS = 300, MOST = 8 };

struct job {
    struct pool *pool;
    atomic_int calls[MOST];
    int cell[MOST];
    atomic_int wrong;
};

static void count_job(void *arg, int ith, int nth)
{
    struct job *j = arg;
    j->wrong += nth != pool_threads(j->pool) || ith < 0 || ith >= nth;
    j->calls[ith]++;
}

/* Every thread writes its cell; after the barrier all must see all cells of this round. */
static void barrier_job(void *arg, int ith, int nth)
{
    struct job *j = arg;
    for (int round = 1; round <= ROUNDS; round++) {
        j->cell[ith] = round;
        pool_barrier(j->pool);
        for (int i = 0; i < nth; i++)
            j->wrong += j->cell[i] != round;
        pool_barrier(j->pool);
    }
}

static void test_runs_on_every_thread(void **state)
{
    static const int threads[] = {1, 2, 5};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        struct job j = {0};
        check_ok(pool_create(threads[t], &j.pool));
        assert_int_equal(pool_threads(j.pool), threads[t]);
        for (int i = 0; i < ROUNDS; i++)
            pool_run(j.pool, count_job, &j);
        for (int i = 0; i < MOST; i++)
            assert_int_equal(j.calls[i], i < threads[t] ? ROUNDS : 0);
        assert_int_equal(j.wrong, 0);
        pool_free(j.pool);
    }
}

static void test_barrier(void **state)
{
    static const int threads[] = {1, 2, 5};
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        struct job j = {0};
        check_ok(pool_create(threads[t], &j.pool));
        for (int i = 0; i < 3; i++)
            pool_run(j.pool, barrier_job, &j);
        assert_int_equal(j.wrong, 0);
        pool_free(j.pool);
    }
}

/* Long pauses: the waits go to sleep and must still be woken. */
static void slow_job(void *arg, int ith, int nth)
{
    struct job *j = arg;
    if (ith == 0)
        seam_get()->sleep_ns(2000000);
    pool_barrier(j->pool);
    if (ith == nth - 1)
        seam_get()->sleep_ns(2000000);
    j->calls[ith]++;
}

static void test_sleepers_wake(void **state)
{
    struct job j = {0};
    check_ok(pool_create(3, &j.pool));
    for (int i = 0; i < 10; i++) {
        pool_run(j.pool, slow_job, &j);
        seam_get()->sleep_ns(1000000);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(j.calls[i], 10);
    pool_free(j.pool);
}

static void test_shares(void **state)
{
    for (size_t count = 0; count < 70; count++)
        for (size_t unit = 1; unit < 20; unit += 3)
            for (int nth = 1; nth < 6; nth++) {
                size_t at = 0;
                for (int i = 0; i < nth; i++) {
                    size_t lo, hi;
                    pool_share(count, unit, i, nth, &lo, &hi);
                    assert_true(lo == at && hi >= lo && (lo % unit == 0 || lo == count));
                    at = hi;
                }
                assert_int_equal(at, count);
            }
}

static void test_arguments(void **state)
{
    struct pool *p = NULL;
    check_fails(NUN_EARG, "found -1", pool_create(-1, &p));
    check_fails(NUN_ELIMIT, "found 1025", pool_create((int)LIMIT_OF(threads) + 1, &p));
    assert_null(p);
    check_ok(pool_create(0, &p));
    assert_true(pool_threads(p) >= 1);
    pool_free(p);
    pool_free(NULL);
}

static int create_and_free(void *arg)
{
    struct pool *p = NULL;
    int rc = pool_create(2, &p);
    pool_free(p);
    return rc;
}

static void test_torture(void **state)
{
    assert_int_equal(torture_run("pool", create_and_free, NULL, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_on_every_thread), cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_sleepers_wake),        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_arguments),            cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("base_pool", tests, NULL, NULL);
}

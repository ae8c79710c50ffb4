/* Whole trainings of a tiny model: the same bytes whatever the threads, the stops and the kills; frozen
 * parts untouched. Runs from the project's root. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/seam.h"
#include "formats/safetensors.h"
#include "nunchi/train.h"
#include "train/recipe.h"

#define RECIPE "tests/data/train/tiny.yaml"
#define RUNS "build/test-train/runs"
#define OUT "build/test-train/model"

static int fresh(void)
{
    return file_exists(RUNS) ? file_remove_tree(RUNS) : 0;
}

static int train(int threads, bool resume, uint64_t stop_after)
{
    return nun_train(&(struct nun_train_options){.recipe = RECIPE, .threads = threads, .resume = resume, .stop_after = stop_after});
}

/* BLAKE2b of the finished weights and of the log without its timings. */
static void result(char hex[65])
{
    struct buf b;
    struct digest d;
    buf_init(&b, MEM_TEST, 64u << 20);
    assert_int_equal(file_read(OUT "/model.safetensors", &b), 0);
    digest_of(b.ptr, b.len, &d);
    digest_hex(&d, hex);
    buf_free(&b);
}

static void run_fresh(int threads, char hex[65])
{
    assert_int_equal(fresh(), 0);
    assert_int_equal(train(threads, false, 0), 0);
    result(hex);
}

static void same_bytes_for_any_threads(void **state)
{
    char one[65], two[65], again[65];
    run_fresh(1, one);
    run_fresh(2, two);
    run_fresh(2, again);
    assert_string_equal(one, two);
    assert_string_equal(two, again);
}

static void resume_is_the_same_run(void **state)
{
    char whole[65], parts[65];
    run_fresh(2, whole);
    for (uint64_t stop = 1; stop < 10; stop += 4) { /* also between checkpoints, and in both stages */
        assert_int_equal(fresh(), 0);
        assert_int_equal(train(2, false, stop), NUN_ESTOP);
        assert_int_equal(train(1, true, 3), NUN_ESTOP);
        int rc = train(2, true, 0);
        assert_int_equal(rc, 0);
        result(parts);
        assert_string_equal(parts, whole);
    }
}

/* A child trains and is killed after `us` microseconds. 1 when it had finished by itself. */
static int train_and_kill(useconds_t us)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(train(1, true, 0) == 0 ? 0 : 3);
    for (useconds_t waited = 0; waited < us; waited += 2000) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return 1;
        }
        usleep(2000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

static void kill_minus_nine_changes_nothing(void **state)
{
    char whole[65], killed[65];
    const char *more = getenv("NUNCHI_TEST_KILLS");
    int kills = more ? (int)strtol(more, NULL, 10) : 6;
    run_fresh(1, whole);
    assert_int_equal(fresh(), 0);
    struct rng r = rng_at(20, 0);
    int done = 0, finished = 0;
    uint64_t start = seam_now_ns();
    assert_int_equal(train(1, false, 1), NUN_ESTOP);
    useconds_t one_step = (useconds_t)((seam_now_ns() - start) / 1000) + 1000;
    while (done < kills) {
        if (train_and_kill(one_step / 2 + rng_below(&r, 6 * one_step))) {
            finished++;
            result(killed);
            assert_string_equal(killed, whole);
            assert_int_equal(fresh(), 0);
        } else {
            done++;
        }
    }
    while (!train_and_kill(60 * 1000 * 1000))
        ;
    result(killed);
    assert_string_equal(killed, whole);
    print_message("%d kills, %d runs finished between them\n", done, finished);
}

static void frozen_parts_keep_their_bytes(void **state)
{
    struct safetensors *before, *after;
    assert_int_equal(fresh(), 0);
    assert_int_equal(train(2, false, 6), NUN_ESTOP); /* the end of the first stage */
    assert_int_equal(st_open(RUNS "/step-00000006/model.safetensors", &before), 0);
    assert_int_equal(train(2, true, 0), 0);
    assert_int_equal(st_open(OUT "/model.safetensors", &after), 0);
    int frozen = 0, moved = 0;
    for (size_t i = 0; i < st_count(before); i++) {
        const struct st_tensor *a = st_at(before, i), *b = st_find(after, span_str(a->name));
        assert_non_null(b);
        bool same = memcmp(a->data, b->data, a->bytes) == 0;
        if (!strncmp(a->name, "vision_tower.", 13)) {
            assert_true(same);
            frozen++;
        } else {
            moved += !same;
        }
    }
    assert_true(frozen > 10 && moved > 10);
    st_close(before);
    st_close(after);
}

static void rates_follow_the_schedule(void **state)
{
    struct recipe_stage s = {.lr = 1, .schedule = (char *)"linear", .decay = 0.5f, .warmup = 10};
    assert_float_equal(recipe_rate(&s, 0, 101), 0.1, 1e-6);
    assert_float_equal(recipe_rate(&s, 50, 101), 1, 1e-6);
    assert_float_equal(recipe_rate(&s, 75, 101), 0.5, 1e-6);
    assert_float_equal(recipe_rate(&s, 100, 101), 0, 1e-6);
    s.schedule = (char *)"cosine";
    s.floor = 0.1f;
    assert_float_equal(recipe_rate(&s, 50, 101), 0.55, 1e-6);
    assert_float_equal(recipe_rate(&s, 100, 101), 0.1, 1e-6);
}

static void bad_recipes_are_refused(void **state)
{
    struct recipe *r;
    static const char *const bad[][2] = {
        {"name: x\n", "missing"},
        {"name: x\nmodel: m\noutput: o\nruns: r\nseed: 1\nstages: []\n", "number"},
        {"name: x\nunknown: 3\n", "key"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(file_mkdirs("build/test-train"), 0);
        assert_int_equal(file_write_durable("build/test-train/bad.yaml", bad[i][0], strlen(bad[i][0])), 0);
        assert_int_equal(recipe_load("build/test-train/bad.yaml", &r), NUN_EFORMAT);
        assert_non_null(strstr(nun_error(), "bad.yaml"));
        assert_null(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_follow_the_schedule), cmocka_unit_test(bad_recipes_are_refused),
        cmocka_unit_test(kill_minus_nine_changes_nothing), cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(resume_is_the_same_run), cmocka_unit_test(frozen_parts_keep_their_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The tagged heap, arenas, buffers and the map: counting, overflow edges, and every allocation failed
 * in turn. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"

static void test_counts(void **state)
{
    struct mem_stats before, now;
    mem_stats(MEM_TEST, &before);
    char *p = mem_alloc(MEM_TEST, 1000), *empty = mem_alloc(MEM_TEST, 0);
    assert_non_null(p);
    assert_non_null(empty);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_int_equal((uintptr_t)empty % 64, 0);
    mem_stats(MEM_TEST, &now);
    assert_int_equal(now.live_bytes - before.live_bytes, 1000);
    assert_int_equal(now.live_blocks - before.live_blocks, 2);
    assert_int_equal(now.calls - before.calls, 2);
    assert_true(now.peak_bytes >= before.live_bytes + 1000);
    mem_free(p);
    mem_free(empty);
    mem_free(NULL);
    mem_stats(MEM_TEST, &now);
    assert_int_equal(now.live_bytes, before.live_bytes);
    assert_int_equal(now.live_blocks, before.live_blocks);
    assert_string_equal(mem_tag_name(MEM_TEST), "test");
    assert_string_equal(mem_tag_name(MEM_TAG_COUNT), "total");
}

static void test_overflow(void **state)
{
    assert_null(mem_alloc(MEM_TEST, SIZE_MAX));
    assert_null(mem_alloc(MEM_TEST, SIZE_MAX - 64));
    assert_null(mem_calloc(MEM_TEST, SIZE_MAX / 2, 3));
    assert_non_null(strstr(nun_error(), "out of memory"));
    assert_null(mem_strndup(MEM_TEST, "", SIZE_MAX));
}

static void test_regrow(void **state)
{
    unsigned char *p = mem_realloc(MEM_TEST, NULL, 3), *q;
    memcpy(p, "abc", 3);
    p = mem_realloc(MEM_TEST, p, 100000);
    assert_memory_equal(p, "abc", 3);
    assert_int_equal((uintptr_t)p % 64, 0);
    mem_fail_at(1, false);
    q = mem_realloc(MEM_TEST, p, 200000);
    mem_fail_at(0, false);
    assert_null(q);
    assert_memory_equal(p, "abc", 3); /* the old block is still valid */
    p = mem_realloc(MEM_TEST, p, 2);
    assert_memory_equal(p, "ab", 2);
    mem_free(p);
}

static void test_fail_hook(void **state)
{
    void *p[4];
    mem_fail_at(2, false);
    for (int i = 0; i < 4; i++)
        p[i] = mem_alloc(MEM_TEST, 8);
    assert_int_equal(mem_fail_at(2, true), 4);
    assert_non_null(p[0]);
    assert_null(p[1]);
    assert_non_null(p[2]);
    for (int i = 0; i < 4; i++) {
        mem_free(p[i]);
        p[i] = mem_alloc(MEM_TEST, 8);
    }
    assert_int_equal(mem_fail_at(0, false), 4);
    assert_non_null(p[0]);
    assert_null(p[1]);
    assert_null(p[3]);
    mem_free(p[0]);
}

static void test_freeze(void **state)
{
    mem_freeze(true);
    assert_int_equal(mem_freeze_violations(), 0);
    mem_free(mem_alloc(MEM_TEST, 1));
    mem_free(mem_realloc(MEM_TEST, NULL, 1));
    mem_freeze(false);
    mem_free(mem_alloc(MEM_TEST, 1));
    assert_int_equal(mem_freeze_violations(), 2);
    mem_freeze(true);
    mem_freeze(false);
    assert_int_equal(mem_freeze_violations(), 0);
}

/* The canary: freeing what is not ours is refused and logged, and the host lives on. */
static void test_canary(void **state)
{
    struct mem_stats before, after;
    _Alignas(64) char fake[256] = {0};
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    mem_stats(MEM_TAG_COUNT, &before);
    dup2(null, STDERR_FILENO);
    mem_free(fake + 128);
    assert_null(mem_realloc(MEM_TEST, fake + 128, 8));
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
    mem_stats(MEM_TAG_COUNT, &after);
    assert_int_equal(after.live_blocks, before.live_blocks);
}

static void test_arena(void **state)
{
    struct arena a = {0};
    for (size_t size = 0; size < 5000; size = size * 2 + 1) {
        unsigned char *p = arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (size >= 64 ? 64 : 16), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    unsigned char *big = arena_alloc(&a, 3 << 20);
    assert_int_equal((uintptr_t)big % 64, 0);
    memset(big, 0xff, 3 << 20);
    char *s = arena_strndup(&a, "hello world", 5), *t = arena_printf(&a, "%s-%d", s, 42);
    assert_string_equal(s, "hello");
    assert_string_equal(t, "hello-42");
    assert_string_equal(arena_strdup(&a, ""), "");
    assert_null(arena_array(&a, SIZE_MAX, 2));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 100));
    assert_string_equal(s, "hello");
    arena_free(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 1)); /* may be used again */
    arena_free(&a);
}

static void test_arena_limit(void **state)
{
    struct arena a;
    arena_init(&a, MEM_TEST, 100);
    assert_non_null(arena_alloc(&a, 60));
    assert_null(arena_alloc(&a, 41));
    assert_non_null(strstr(nun_error(), "limit 100"));
    assert_non_null(arena_alloc(&a, 40));
    assert_null(arena_alloc(&a, 1));
    arena_free(&a);
}

static void test_buf(void **state)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 10);
    assert_string_equal(buf_cstr(&b), "");
    buf_str(&b, "abc");
    buf_char(&b, '-');
    buf_printf(&b, "%04d", 12);
    buf_span(&b, SPAN("xy"));
    assert_int_equal(buf_error(&b), 0);
    assert_string_equal(buf_cstr(&b), "abc-0012xy");
    buf_char(&b, '!'); /* one over the maximum */
    assert_int_equal(buf_error(&b), NUN_ELIMIT);
    assert_non_null(strstr(nun_error(), "limit 10"));
    buf_append(&b, "", 0);
    assert_int_equal(buf_error(&b), NUN_ELIMIT); /* sticky */
    assert_null(buf_take(&b));
    buf_reset(&b);
    buf_append(&b, "q", SIZE_MAX);
    assert_int_equal(buf_error(&b), NUN_ELIMIT);
    buf_reset(&b);
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    mem_free(empty);
    buf_str(&b, "again");
    assert_true(span_is(buf_view(&b), "again"));
    buf_free(&b);
}

static void test_map(void **state)
{
    enum { COUNT = 5000 };
    static char keys[COUNT][12];
    struct map m;
    int64_t v = -1;
    map_init(&m, MEM_TEST);
    assert_false(map_get(&m, SPAN("x"), &v));
    for (int i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "key %d", i);
        assert_int_equal(map_put(&m, span_str(keys[i]), i, NULL), 0);
    }
    assert_int_equal(m.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(map_get(&m, span_str(keys[i]), &v));
        assert_int_equal(v, i);
    }
    assert_false(map_get(&m, SPAN("key 5000"), &v));
    assert_false(map_get(&m, SPAN("key"), &v));
    assert_int_equal(map_put(&m, SPAN("key 7"), 700, &v), 1);
    assert_int_equal(v, 7);
    assert_true(map_get(&m, SPAN("key 7"), &v));
    assert_int_equal(v, 700);
    assert_int_equal(map_put(&m, span_of(NULL, 0), 9, NULL), 0); /* the empty key is a key */
    assert_true(map_get(&m, SPAN(""), &v));
    assert_int_equal(m.count, COUNT + 1);
    assert_true(map_reserve(&m, SIZE_MAX / 64) < 0);
    assert_true(map_reserve(&m, SIZE_MAX) < 0);
    map_free(&m);
    assert_int_equal(map_put(&m, SPAN("a"), 1, NULL), 0);
    map_free(&m);
}

static int scenario_fill(struct arena *a, struct buf *b, struct map *m)
{
    for (int i = 0; i < 50; i++) {
        char *name = arena_printf(a, "tensor %d", i);
        if (!name || !arena_array(a, 100, 8))
            return NUN_ENOMEM;
        TRY(map_put(m, span_str(name), i, NULL));
        buf_str(b, name);
    }
    return buf_error(b);
}

static int scenario(void *arg)
{
    struct arena a = {.tag = MEM_TEST};
    struct buf b;
    struct map m;
    buf_init(&b, MEM_TEST, 1 << 20);
    map_init(&m, MEM_TEST);
    int rc = scenario_fill(&a, &b, &m);
    map_free(&m);
    buf_free(&b);
    arena_free(&a);
    return rc;
}

static void test_torture(void **state)
{
    assert_in_range(torture_run("arena, buffer, map", scenario, NULL, 1), 5, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts), cmocka_unit_test(test_overflow),    cmocka_unit_test(test_regrow),
        cmocka_unit_test(test_fail_hook), cmocka_unit_test(test_freeze),   cmocka_unit_test(test_canary),
        cmocka_unit_test(test_arena),  cmocka_unit_test(test_arena_limit), cmocka_unit_test(test_buf),
        cmocka_unit_test(test_map),    cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("base_mem", tests, NULL, NULL);
}

/* Files through the seam: limits, maps, listing, and durable writes while every system call fails in
 * turn: afterwards either the old or the new content is there, whole, and nothing else. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/seam.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    check_ok(path_join(p, sizeof path[0], folder, name));
    return p;
}

static int folder_make(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/nunchi-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    seam_set(NULL);
    return file_remove_tree(folder);
}

static void assert_content(const char *path, const char *expected)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 1 << 20);
    check_ok(file_read(path, &b));
    assert_string_equal(buf_cstr(&b), expected);
    buf_free(&b);
}

static void test_read_limits(void **state)
{
    const char *path = in_folder("ten");
    struct buf b;
    check_ok(file_write_durable(path, "0123456789", 10));
    assert_int_equal(file_size(path), 10);
    buf_init(&b, MEM_TEST, 9);
    check_fails(NUN_ELIMIT, "9 bytes allowed here, found 10", file_read(path, &b));
    buf_free(&b);
    buf_init(&b, MEM_TEST, 10);
    check_ok(file_read(path, &b));
    assert_int_equal(b.len, 10);
    check_fails(NUN_ELIMIT, "0 bytes allowed", file_read(path, &b)); /* it appends */
    buf_free(&b);
    buf_init(&b, MEM_TEST, 9);
    check_fails(NUN_ELIMIT, "9 bytes allowed here, found at least 10", file_read("/dev/zero", &b)); /* no size to ask */
    buf_free(&b);
    buf_init(&b, MEM_TEST, 9);
    check_fails(NUN_EIO, "absent", file_read(in_folder("absent"), &b));
    buf_free(&b);
}

static void test_map(void **state)
{
    struct file_map m;
    check_ok(file_write_durable(in_folder("mapped"), "content", 7));
    check_ok(file_map(in_folder("mapped"), &m));
    assert_int_equal(m.len, 7);
    assert_memory_equal(m.ptr, "content", 7);
    file_unmap(&m);
    file_unmap(&m); /* twice is fine */
    check_ok(file_write_durable(in_folder("empty"), NULL, 0));
    check_ok(file_map(in_folder("empty"), &m));
    assert_int_equal(m.len, 0);
    assert_non_null(m.ptr);
    file_unmap(&m);
    check_fails(NUN_EIO, "not a regular file", file_map(folder, &m));
    check_fails(NUN_EIO, "No such file", file_map(in_folder("absent"), &m));
}

static void test_folders(void **state)
{
    char **names;
    size_t count;
    check_ok(file_mkdirs(in_folder("a/b//c")));
    check_ok(file_mkdirs(in_folder("a/b/c")));
    assert_true(file_is_dir(in_folder("a/b/c")));
    static const char *const made[] = {"a/zeta", "a/Alpha", "a/alpha", "a/b/inner"};
    for (size_t i = 0; i < 4; i++)
        check_ok(file_write_durable(in_folder(made[i]), made[i], strlen(made[i])));
    check_fails(NUN_EIO, "zeta", file_mkdirs(in_folder("a/zeta/x")));
    check_fails(NUN_EIO, "zeta", file_mkdirs(in_folder("a/zeta")));
    check_ok(file_list(in_folder("a"), &names, &count));
    assert_int_equal(count, 4);
    static const char *const expected[] = {"Alpha", "alpha", "b", "zeta"};
    for (size_t i = 0; i < count; i++)
        assert_string_equal(names[i], expected[i]);
    mem_free(names);
    check_ok(file_list(in_folder("a/b/c"), &names, &count));
    assert_int_equal(count, 0);
    mem_free(names);
    check_fails(NUN_EIO, "absent", file_list(in_folder("absent"), &names, &count));
    assert_int_equal(symlink(folder, in_folder("a/b/link")), 0); /* removed itself, never followed */
    check_ok(file_remove_tree(in_folder("a")));
    assert_false(file_exists(in_folder("a")));
    assert_true(file_is_dir(folder));
    check_ok(file_remove_tree(in_folder("a"))); /* absent is fine */
}

static void test_paths(void **state)
{
    char out[8];
    check_ok(path_join(out, sizeof out, "abc", "def"));
    assert_string_equal(out, "abc/def");
    check_fails(NUN_ELIMIT, "abcd/def", path_join(out, sizeof out, "abcd", "def"));
    check_ok(path_join(out, sizeof out, "/", "x"));
    assert_string_equal(out, "/x");
    check_ok(path_join(out, sizeof out, "", "x"));
    assert_string_equal(out, "x");
    assert_string_equal(path_base("a/b/c.png"), "c.png");
    assert_string_equal(path_base("c.png"), "c.png");
    assert_string_equal(path_base("a/"), "");
}

/* A seam that fails its call number `fail_at` with EIO, counting open, write, fsync, close and rename. */
static int calls, fail_at;

static int must_fail(void)
{
    errno = EIO;
    return ++calls == fail_at;
}
static int bad_open(const char *path, int flags, mode_t mode)
{
    return must_fail() ? -1 : seam_real()->open(path, flags, mode);
}
static ssize_t bad_write(int fd, const void *p, size_t n)
{
    return must_fail() ? -1 : seam_real()->write(fd, p, n > 3 ? 3 : n); /* short writes, always */
}
static int bad_fsync(int fd)
{
    return must_fail() ? -1 : seam_real()->fsync(fd);
}
static int bad_close(int fd)
{
    int rc = seam_real()->close(fd);
    return must_fail() ? -1 : rc;
}
static int bad_rename(const char *from, const char *to)
{
    return must_fail() ? -1 : seam_real()->rename(from, to);
}

static struct seam bad_seam(void)
{
    struct seam s = *seam_real();
    s.open = bad_open;
    s.write = bad_write;
    s.fsync = bad_fsync;
    s.close = bad_close;
    s.rename = bad_rename;
    return s;
}

static void test_durable_write_under_failures(void **state)
{
    const struct seam bad = bad_seam();
    char path[256], **names;
    check_ok(path_join(path, sizeof path, folder, "d/file"));
    check_ok(file_mkdirs(in_folder("d")));
    int failed = 0, rc;
    do {
        size_t count;
        check_ok(file_write_durable(path, "old content", 11));
        calls = 0;
        fail_at = failed + 1;
        seam_set(&bad);
        rc = file_write_durable(path, "new content!", 12);
        seam_set(NULL);
        struct buf b;
        buf_init(&b, MEM_TEST, 100);
        check_ok(file_read(path, &b));
        bool is_new = span_is(buf_view(&b), "new content!");
        assert_true(is_new || span_is(buf_view(&b), "old content"));
        assert_true(rc != 0 || is_new);
        assert_true(rc == 0 || strstr(nun_error(), "Input/output error"));
        buf_free(&b);
        check_ok(file_list(in_folder("d"), &names, &count));
        assert_int_equal(count, 1); /* no leftovers */
        mem_free(names);
    } while (rc != 0 && ++failed < 50);
    assert_in_range(failed, 9, 12); /* open, 4 writes, fsync, close, rename, open, fsync */
    assert_content(path, "new content!");
}

static ssize_t full_write(int fd, const void *p, size_t n)
{
    errno = ENOSPC;
    return -1;
}

static ssize_t interrupted_write(int fd, const void *p, size_t n)
{
    errno = EINTR;
    return ++calls % 2 ? -1 : seam_real()->write(fd, p, 1);
}

static ssize_t interrupted_read(int fd, void *p, size_t n)
{
    errno = EINTR;
    return ++calls % 2 ? -1 : seam_real()->read(fd, p, 1);
}

static void test_full_disk_and_interrupts(void **state)
{
    struct seam s = *seam_real();
    const char *path = in_folder("full");
    s.write = full_write;
    seam_set(&s);
    check_fails(NUN_EIO, "No space left", file_write_durable(path, "x", 1));
    assert_false(file_exists(path));
    calls = 0;
    s.write = interrupted_write;
    s.read = interrupted_read;
    check_ok(file_write_durable(path, "patience", 8));
    assert_content(path, "patience");
    seam_set(NULL);
    assert_true(seam_get() == seam_real());
}

static void test_seam_real(void **state)
{
    const struct seam *os = seam_real();
    unsigned char a[16] = {0}, b[16] = {0};
    uint64_t t = os->now_ns();
    os->sleep_ns(1000000);
    assert_true(os->now_ns() - t >= 1000000);
    assert_true(os->wall_s() > 1700000000);
    os->entropy(a, sizeof a);
    os->entropy(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(os->free_bytes(folder) > 0);
    assert_true(os->free_bytes("/absent/path") == -1);
}

static int file_scenario(void *arg)
{
    struct buf b;
    char **names = NULL;
    size_t count;
    buf_init(&b, MEM_TEST, 1 << 20);
    int rc = file_read(arg, &b);
    if (rc == 0)
        rc = file_list(folder, &names, &count);
    mem_free(names);
    buf_free(&b);
    return rc;
}

static void test_torture(void **state)
{
    char path[256];
    check_ok(path_join(path, sizeof path, folder, "torture"));
    check_ok(file_write_durable(path, "some bytes", 10));
    assert_in_range(torture_run("read and list", file_scenario, path, 1), 3, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_limits), cmocka_unit_test(test_map),
        cmocka_unit_test(test_folders),     cmocka_unit_test(test_paths),
        cmocka_unit_test(test_durable_write_under_failures), cmocka_unit_test(test_full_disk_and_interrupts),
        cmocka_unit_test(test_seam_real),   cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("base_file", tests, folder_make, folder_remove);
}

/* The checkpoint store under crashes: after every call, with every loss of what was not synced, the
 * newest readable step is the old one or the new one, whole. Also: failing calls, flipped bits. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "disk_sim.h"
#include "formats/checkpoint.h"

enum { STEPS = 4, SMALL = 700, LARGE = 5000, SEEDS = 12 };

static char base[64];

static const char *fresh(void)
{
    static char path[128];
    static int turn;
    snprintf(path, sizeof path, "%s/%d", base, turn++);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static int setup(void **state)
{
    log_set_level((enum log_level)-1); /* the store is loud by design */
    disk_plain();
    /* in memory where there is such a place: thousands of little files */
    snprintf(base, sizeof base, "%s/test_ckpt_XXXXXX", file_is_dir("/dev/shm") ? "/dev/shm" : "/tmp");
    return mkdtemp(base) ? 0 : -1;
}

static int teardown(void **state)
{
    return file_remove_tree(base);
}

static void fill(uint64_t step, uint64_t stream, unsigned char *p, size_t n)
{
    struct rng r = rng_at(step, stream);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_u32(&r);
}

static int emit_large(void *arg, struct sink *out)
{
    unsigned char bytes[LARGE];
    fill(*(const uint64_t *)arg, 2, bytes, sizeof bytes);
    sink_write(out, bytes, LARGE / 3);
    sink_write(out, bytes + LARGE / 3, LARGE - LARGE / 3);
    return 0;
}

static int save(struct ckpt_store *store, uint64_t step)
{
    unsigned char small[SMALL];
    struct ckpt *c = NULL;
    struct ckpt_facts facts = {"data-7", "config-9", 2};
    fill(step, 1, small, sizeof small);
    TRY(ckpt_begin(store, step, SMALL + LARGE, &c));
    ckpt_add_bytes(c, "state.bin", small, sizeof small);
    ckpt_add_file(c, "model.safetensors", emit_large, &step);
    return ckpt_commit(c, &facts);
}

static void same_bytes(const char *dir, const char *name, uint64_t step, uint64_t stream, size_t n)
{
    unsigned char want[LARGE];
    char path[CKPT_PATH + 64];
    struct buf got;
    fill(step, stream, want, n);
    buf_init(&got, MEM_TEST, 1 << 20);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_read(path, &got), 0);
    assert_int_equal(got.len, n);
    assert_memory_equal(got.ptr, want, n);
    buf_free(&got);
}

/* The newest step of the folder, whole; 0 when there is none. */
static uint64_t recovered(const char *dir)
{
    struct ckpt_store *store = NULL;
    struct ckpt_info info;
    assert_int_equal(ckpt_open(dir, 2, &store), 0);
    int rc = ckpt_latest(store, &info);
    ckpt_close(store);
    if (rc == 1)
        return 0;
    assert_int_equal(rc, 0);
    same_bytes(info.path, "state.bin", info.step, 1, SMALL);
    same_bytes(info.path, "model.safetensors", info.step, 2, LARGE);
    assert_string_equal(info.data_fingerprint, "data-7");
    assert_string_equal(info.config_hash, "config-9");
    assert_int_equal(info.world_size, 2);
    return info.step;
}

static int count_names(const char *dir)
{
    char **names;
    size_t n;
    assert_int_equal(file_list(dir, &names, &n), 0);
    mem_free(names);
    return (int)n;
}

static void keeps_two_and_finds_the_newest(void **state)
{
    const char *dir = fresh();
    struct ckpt_store *store;
    struct ckpt *c;
    assert_int_equal(ckpt_open(dir, 0, &store), 0);
    assert_int_equal(recovered(dir), 0);
    for (uint64_t step = 1; step <= 5; step++)
        assert_int_equal(save(store, step), 0);
    assert_int_equal(count_names(dir), 2);
    assert_int_equal(recovered(dir), 5);
    assert_int_equal(save(store, 5), NUN_EARG);
    assert_non_null(strstr(nun_error(), "there already"));
    assert_int_equal(ckpt_begin(store, 6, 0, &c), 0);
    assert_int_equal(ckpt_add_bytes(c, "../evil", "x", 1), NUN_EARG);
    assert_int_equal(ckpt_add_bytes(c, "good", "x", 1), NUN_EARG);
    assert_int_equal(ckpt_commit(c, NULL), NUN_EARG);
    assert_int_equal(ckpt_begin(store, 6, 0, &c), 0);
    ckpt_abort(c);
    assert_int_equal(ckpt_begin(store, 6, UINT64_MAX / 2, &c), NUN_EIO);
    assert_non_null(strstr(nun_error(), "bytes free"));
    assert_int_equal(count_names(dir), 2);
    ckpt_close(store);
}

/* committed[i]: calls recorded when save i + 1 returned. */
static int record_saves(int committed[STEPS])
{
    const char *dir = fresh();
    struct ckpt_store *store;
    disk_record(dir);
    assert_int_equal(ckpt_open(dir, 2, &store), 0);
    for (uint64_t step = 1; step <= STEPS; step++) {
        assert_int_equal(save(store, step), 0);
        committed[step - 1] = disk_calls();
    }
    ckpt_close(store);
    return disk_stop();
}

static void every_crash_leaves_old_or_new(void **state)
{
    int committed[STEPS], states = 0;
    int calls = record_saves(committed);
    assert_true(calls > 60);
    for (int k = 0; k <= calls; k++)
        for (int v = 0; v < 2 + SEEDS; v++) {
            char dir[128];
            uint64_t old = 0;
            snprintf(dir, sizeof dir, "%s", fresh());
            while (old < STEPS && committed[old] <= k)
                old++;
            disk_crash(k, v < 2 ? (enum disk_loss)v : DISK_RANDOM, (uint64_t)v, dir);
            uint64_t got = recovered(dir);
            if (got != old && got != old + 1)
                fail_msg("crash after call %d, loss %d: step %d or the next, found %d", k, v, (int)old, (int)got);
            struct ckpt_store *store; /* and life goes on */
            assert_int_equal(ckpt_open(dir, 2, &store), 0);
            assert_int_equal(save(store, got + 1), 0);
            ckpt_close(store);
            assert_int_equal(recovered(dir), got + 1);
            assert_int_equal(file_remove_tree(dir), 0);
            states++;
        }
    print_message("%d calls, %d crash states\n", calls, states);
}

/* A second crash, at every call of the recovery that follows the first. */
static void crash_during_recovery(void **state)
{
    int committed[STEPS];
    int calls = record_saves(committed);
    for (int k = committed[2]; k <= calls; k++)
        for (int j = 1;; j++) {
            char dir[128];
            struct ckpt_store *store = NULL;
            snprintf(dir, sizeof dir, "%s", fresh());
            disk_crash(k, DISK_RANDOM, (uint64_t)j, dir);
            disk_fail_at(j, EIO, 1);
            int rc = ckpt_open(dir, 2, &store);
            rc = rc ? rc : save(store, STEPS + 1);
            int seen = disk_fail_calls();
            disk_plain();
            ckpt_close(store);
            uint64_t got = recovered(dir);
            assert_true(got >= (k == calls ? STEPS : STEPS - 1));
            assert_int_equal(file_remove_tree(dir), 0);
            if (rc == 0 && seen < j)
                break;
        }
}

/* One failing call, or a disk that stays full: an error, the old step intact, the next save works. */
static void failing_calls(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EACCES};
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (int forever = 0; forever <= 1; forever++)
            for (int n = 1;; n++) {
                char dir[128];
                struct ckpt_store *store = NULL;
                snprintf(dir, sizeof dir, "%s", fresh());
                assert_int_equal(ckpt_open(dir, 2, &store), 0);
                for (uint64_t step = 1; step <= 2; step++)
                    assert_int_equal(save(store, step), 0);
                disk_fail_at(n, errors[e], forever);
                int rc = save(store, 3);
                int seen = disk_fail_calls();
                disk_plain();
                assert_true(rc == 0 || *nun_error());
                uint64_t got = recovered(dir);
                assert_true(rc == 0 ? got == 3 : got == 2 || got == 3);
                assert_int_equal(save(store, 4), 0);
                assert_int_equal(recovered(dir), 4);
                ckpt_close(store);
                assert_int_equal(file_remove_tree(dir), 0);
                if (seen < n)
                    break;
            }
}

static void flip_bit(const char *path, uint64_t seed)
{
    struct buf b;
    struct rng r = rng_at(seed, 0);
    buf_init(&b, MEM_TEST, 1 << 20);
    assert_int_equal(file_read(path, &b), 0);
    b.ptr[rng_below(&r, (uint32_t)b.len)] ^= (char)(1u << rng_below(&r, 8));
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(b.ptr, 1, b.len, f), b.len);
    fclose(f);
    buf_free(&b);
}

static void every_flipped_bit_is_found(void **state)
{
    static const char *const names[] = {"MANIFEST.json", "state.bin", "model.safetensors"};
    const char *dir = fresh();
    struct ckpt_store *store;
    assert_int_equal(ckpt_open(dir, 2, &store), 0);
    assert_int_equal(save(store, 1), 0);
    for (uint64_t seed = 0; seed < 600; seed++) {
        char path[256];
        assert_int_equal(save(store, 2), 0);
        snprintf(path, sizeof path, "%s/step-00000002/%s", dir, names[seed % 3]);
        flip_bit(path, seed);
        assert_int_equal(recovered(dir), 1);
    }
    assert_int_equal(save(store, 2), 0);
    assert_int_equal(recovered(dir), 2);
    ckpt_close(store);
}

static void failing_allocations(void **state)
{
    const char *dir = fresh();
    struct ckpt_store *store;
    struct mem_stats before, after;
    assert_int_equal(ckpt_open(dir, 2, &store), 0);
    assert_int_equal(save(store, 1), 0);
    mem_stats(MEM_TAG_COUNT, &before);
    int rc = -1;
    for (uint64_t n = 1; rc != 0; n++) {
        mem_fail_at(n, false);
        rc = save(store, 2);
        mem_fail_at(0, false);
        mem_stats(MEM_TAG_COUNT, &after);
        assert_int_equal(after.live_blocks, before.live_blocks);
        if (rc == NUN_EARG) /* the save before this one had succeeded but for its clean-up */
            break;
        assert_int_equal(recovered(dir), rc == 0 ? 2 : 1);
    }
    ckpt_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_two_and_finds_the_newest),
        cmocka_unit_test(every_crash_leaves_old_or_new),
        cmocka_unit_test(crash_during_recovery),
        cmocka_unit_test(failing_calls),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

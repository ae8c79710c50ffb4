/* What the kernel tests share: buffers that end at an unreadable page, numbers with awkward values
 * among them, the instruction-set masks step by step, and timing. Every test compares a variant with
 * the scalar reference, and `--bench` times the same calls. Include it once, in the test's file. */
/* SPDX-License-Identifier: MIT */
#ifndef CHECKASM_H
#define CHECKASM_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/pool.h"
#include "base/rng.h"
#include "base/seam.h"
#include "kernels/kernels.h"

#define CHECK static __attribute__((unused)) /* no test needs them all */

static struct rng check_rng;
static bool check_bench;

/* Options: --bench, --seed N. The seed of a run is printed, so that a failure can be repeated. */
CHECK void check_start(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            check_bench = true;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
    }
    check_rng = rng_at(seed, 0);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
}

/* ---- guarded buffers: [canary | bytes][unreadable page] ---- */

struct guarded { char *map; size_t map_len, len; void *p; };

static size_t check_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* `len` bytes that end where reading faults; filled with 0xa5. 64-byte aligned when len is a
 * multiple of 64. */
CHECK struct guarded guard_new(size_t len)
{
    size_t page = check_page(), body = (len + page - 1) / page * page + page;
    struct guarded g = {.map_len = body + page, .len = len};
    g.map = mmap(NULL, g.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.map, MAP_FAILED);
    memset(g.map, 0xa5, body);
    assert_int_equal(mprotect(g.map + body, page, PROT_NONE), 0);
    g.p = g.map + body - len;
    return g;
}

/* Nothing was written before the buffer. */
CHECK void guard_free(struct guarded *g)
{
    size_t before = (size_t)((char *)g->p - g->map);
    for (size_t i = 0; i < before; i++)
        assert_int_equal((unsigned char)g->map[i], 0xa5);
    munmap(g->map, g->map_len);
    memset(g, 0, sizeof(*g));
}

/* ---- numbers ---- */

/* Mostly near 1, now and then zeros of both signs, subnormals, tiny and large ones. */
CHECK float check_float(void)
{
    static const float odd[] = {0.0f, -0.0f, 0x1p-149f, -0x1.8p-130f, 0x1p-126f, -0x1.fffffep-127f, 0x1p-70f,
                                -0x1.8p-66f, 0x1.01p-63f, 0x1p40f, -0x1.fep40f, 1.0f, -1.0f, 0x1.ffp-1f};
    if (rng_below(&check_rng, 8) == 0)
        return odd[rng_below(&check_rng, sizeof(odd) / sizeof(odd[0]))];
    return rng_normal(&check_rng);
}

CHECK void check_fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = check_float();
}

/* Equal bits. Two NaNs are equal. Returns the first index that differs, or n. */
CHECK size_t check_diff(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, a + i, 4);
        memcpy(&y, b + i, 4);
        bool nans = (x & 0x7fffffffu) > 0x7f800000u && (y & 0x7fffffffu) > 0x7f800000u;
        if (x != y && !nans)
            return i;
    }
    return n;
}

/* ---- masks ---- */

/* The i-th step of the ladder (0: scalar alone; each row of isa.def adds itself); false when done.
 * Steps the machine lacks repeat the one below. */
CHECK bool check_mask(size_t i, unsigned *mask)
{
    unsigned m = CPU_scalar;
    if (i >= cpu_isa_count)
        return false;
    for (size_t r = 0; r <= i; r++)
        m |= cpu_isa_rows[r].bit;
    *mask = m & cpu_features();
    return true;
}

/* ---- timing ---- */

/* Seconds of the fastest of several runs of fn, about 0.2 s in all. */
CHECK double check_time(void (*fn)(void *), void *arg)
{
    double best = 1e9;
    uint64_t begin = seam_now_ns();
    for (int i = 0; i < 3 || seam_now_ns() - begin < 200000000u; i++) {
        uint64_t t = seam_now_ns();
        fn(arg);
        double s = (double)(seam_now_ns() - t) * 1e-9;
        best = s < best ? s : best;
    }
    return best;
}

#endif

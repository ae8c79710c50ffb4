/* Replays a corpus through one fuzz target: each argument is a file or a folder of files. With
 * -mutate=N each file is also tried with N random edits, a smoke test where no fuzzing engine is at
 * hand; -hostile=PARSER feeds the target that parser's rows of hostile.def instead. Linked with one
 * fuzz_*.c; libFuzzer brings its own main instead. */
/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/rng.h"
#include "hostile.h"

#define INPUT_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long mutations;
static size_t runs;

/* An exact-size heap copy, so that a sanitizer sees one byte too far. */
static int run_copy(const char *p, size_t n)
{
    uint8_t *copy = mem_alloc(MEM_TEST, n);
    if (!copy)
        return -1;
    memcpy(copy, p, n);
    LLVMFuzzerTestOneInput(copy, n);
    mem_free(copy);
    runs++;
    return 0;
}

/* A few random edits: bytes, small numbers near the edges of their range, cuts. */
static void run_mutated(char *p, size_t n, uint64_t seed)
{
    static const uint64_t nasty[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                     0x100000000, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    struct rng r = rng_at(seed, 1);
    if (n == 0)
        return;
    for (uint32_t edits = 1 + rng_below(&r, 4); edits; edits--) {
        size_t at = rng_below(&r, (uint32_t)n), width = (size_t)1 << rng_below(&r, 4);
        uint64_t v = nasty[rng_below(&r, sizeof nasty / sizeof *nasty)];
        switch (rng_below(&r, 4)) {
        case 0: p[at] = (char)rng_u32(&r); break;
        case 1: p[at] ^= (char)(1u << rng_below(&r, 8)); break;
        case 2: memcpy(p + at, &v, n - at < width ? n - at : width); break;
        default: n = n > 1 && rng_below(&r, 4) == 0 ? 1 + at : n; break;
        }
    }
    run_copy(p, n);
}

static int run_file(const char *path)
{
    struct buf b, edited;
    buf_init(&b, MEM_TEST, INPUT_MAX);
    int rc = file_read(path, &b);
    if (rc == 0)
        rc = run_copy(buf_cstr(&b), b.len);
    for (unsigned long i = 0; rc == 0 && i < mutations; i++) {
        buf_init(&edited, MEM_TEST, INPUT_MAX);
        buf_span(&edited, buf_view(&b));
        rc = buf_error(&edited);
        if (rc == 0)
            run_mutated(edited.ptr, edited.len, i * 1000003u + b.len);
        buf_free(&edited);
    }
    if (rc)
        fprintf(stderr, "replay: %s\n", nun_error());
    buf_free(&b);
    return rc;
}

static int run_folder(const char *dir)
{
    char **names = NULL, path[4096];
    size_t count = 0;
    int rc = file_list(dir, &names, &count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = path_join(path, sizeof path, dir, names[i]);
        if (rc == 0 && !file_is_dir(path))
            rc = run_file(path);
    }
    mem_free(names);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    if (argc == 2 && strncmp(argv[1], "-hostile=", 9) == 0)
        return hostile_run(argv[1] + 9);
    for (int i = 1; i < argc && rc == 0; i++) {
        if (strncmp(argv[i], "-mutate=", 8) == 0)
            mutations = strtoul(argv[i] + 8, NULL, 10);
        else if (file_is_dir(argv[i]))
            rc = run_folder(argv[i]);
        else if (file_exists(argv[i]))
            rc = run_file(argv[i]);
    }
    fprintf(stderr, "replay: %zu runs\n", runs);
    return rc || runs == 0; /* an empty corpus proves nothing */
}

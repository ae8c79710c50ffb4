/* Malformed weight files that other projects met: each gives what its manifest states, through every door that opens
 * such files, and nothing is allocated from a size that a file only claims. Skipped where ../shared is absent. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/file.h"
#include "../check.h"
#include "formats/json.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

#define FOLDER "../shared/vectors/bad-files"

enum { FILES = 64, PATH = 256, CONSTANT = 256 << 10 }; /* bytes that opening takes, whatever the file */

struct bad { char path[PATH]; char expect[64]; size_t size; };

static int by_size(const void *a, const void *b)
{
    const struct bad *x = a, *y = b;
    return x->size < y->size ? -1 : x->size > y->size;
}

/* Smallest first, so that the peak of all before says nothing about the next. */
static size_t read_manifest(struct bad *out)
{
    json_t *manifest = NULL, *row;
    size_t i, n = 0;
    check_ok(json_load_file_limited(FOLDER "/MANIFEST.json", &manifest));
    json_array_foreach(manifest, i, row) {
        struct stat facts;
        assert_true(n < FILES);
        snprintf(out[n].path, PATH, FOLDER "/%s", json_string_value(json_object_get(row, "file")));
        snprintf(out[n].expect, sizeof out[n].expect, "%s", json_string_value(json_object_get(row, "expect")));
        assert_int_equal(stat(out[n].path, &facts), 0);
        out[n++].size = (size_t)facts.st_size;
    }
    json_decref(manifest);
    qsort(out, n, sizeof *out, by_size);
    return n;
}

static void check_memory(const struct bad *b, size_t live_before, const char *door)
{
    struct mem_stats s;
    mem_stats(MEM_TAG_COUNT, &s);
    if (s.live_bytes != live_before)
        fail_msg("%s: %s leaks %zu bytes", b->path, door, s.live_bytes - live_before);
    if (s.peak_bytes > live_before + 4 * b->size + CONSTANT)
        fail_msg("%s: %s takes %zu bytes for a file of %zu", b->path, door, s.peak_bytes - live_before, b->size);
}

/* Read as what it is: the manifest's word. */
static int look_into(const struct bad *b, bool ok, bool either)
{
    char *json;
    size_t len;
    int rc = nun_inspect(b->path, &json, &len);
    if (rc == 0)
        nun_free(json);
    if (!either && (rc == 0) != ok)
        fail_msg("%s: expected %s, found %d %s", b->path, b->expect, rc, nun_error());
    if (rc < 0 && !strstr(nun_error(), b->path))
        fail_msg("%s is not named: %s", b->path, nun_error());
    return rc;
}

/* Not one is a model or a vocabulary. */
static void try_doors(const struct bad *b)
{
    struct nun_model *m = NULL;
    struct nun_tokenizer *t = NULL;
    assert_true(nun_model_open(b->path, &(struct nun_model_options){.threads = 1, .facts_only = true}, &m) < 0);
    assert_true(nun_tokenizer_open(b->path, &t) < 0);
    assert_true(strlen(nun_error()) > 20);
}

static void test_bad_files(void **state)
{
    static struct bad files[FILES];
    size_t opened = 0, refused = 0;
    if (!file_exists(FOLDER "/MANIFEST.json"))
        skip();
    size_t n = read_manifest(files);
    for (size_t i = 0; i < n; i++) {
        struct mem_stats before;
        mem_stats(MEM_TAG_COUNT, &before);
        int rc = look_into(&files[i], !strcmp(files[i].expect, "ok"), !strcmp(files[i].expect, "either"));
        check_memory(&files[i], before.live_bytes, "inspect");
        try_doors(&files[i]);
        check_memory(&files[i], before.live_bytes, "another door");
        opened += rc == 0;
        refused += rc < 0;
    }
    fprintf(stderr, "bad-files: %zu opened, %zu refused, as stated\n", opened, refused);
    assert_int_equal(n, 47);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad_files)};
    return cmocka_run_group_tests_name("bad_files", tests, NULL, NULL);
}

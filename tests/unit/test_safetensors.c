/* safetensors: the public malformed files, every fixture, shards, the writer, failing allocations. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/json.h"
#include "formats/safetensors.h"

#define BAD "../shared/vectors/bad-files"
#define FIXTURES "../shared/fixtures"

static char dir[64];

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/test_st_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return file_remove_tree(dir);
}

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void malformed_files(void **state)
{
    json_t *manifest = NULL;
    size_t i, seen = 0;
    json_t *row;
    if (!file_exists(BAD "/MANIFEST.json"))
        skip();
    assert_int_equal(json_load_file_limited(BAD "/MANIFEST.json", &manifest), 0);
    json_array_foreach(manifest, i, row) {
        char path[256];
        const char *file = json_string_value(json_object_get(row, "file"));
        const char *expect = json_string_value(json_object_get(row, "expect"));
        if (strncmp(file, "safetensors/", 12) != 0)
            continue;
        struct safetensors *st = NULL;
        snprintf(path, sizeof path, BAD "/%s", file);
        int rc = st_open(path, &st);
        if (strcmp(expect, "either") != 0 && (rc == 0) != (strcmp(expect, "ok") == 0))
            fail_msg("%s: expected %s, found %d %s", file, expect, rc, nun_error());
        assert_true(rc == 0 || strstr(nun_error(), file) != NULL);
        seen++;
        if (rc == 0)
            st_close(st);
    }
    json_decref(manifest);
    assert_true(seen >= 26);
}

static void every_fixture_opens(void **state)
{
    char **names = NULL, path[512];
    size_t count = 0, opened = 0;
    if (!file_is_dir(FIXTURES))
        skip();
    assert_int_equal(file_list(FIXTURES, &names, &count), 0);
    for (size_t i = 0; i < count; i++) {
        struct safetensors *st = NULL;
        snprintf(path, sizeof path, FIXTURES "/%s/model.safetensors", names[i]);
        if (!file_exists(path))
            continue;
        snprintf(path, sizeof path, FIXTURES "/%s", names[i]);
        if (st_open(path, &st) != 0)
            fail_msg("%s", nun_error());
        assert_true(st_count(st) > 0);
        const struct st_tensor *t = st_at(st, st_count(st) - 1);
        assert_ptr_equal(st_find(st, span_str(t->name)), t);
        assert_string_equal(st_metadata(st, "format"), "pt");
        st_close(st);
        opened++;
    }
    mem_free(names);
    assert_true(opened >= 100);
}

/* The same tensors in the same file: rewriting a reference file gives its very bytes. */
static void writer_matches_the_reference(void **state)
{
    static const char *const files[] = {FIXTURES "/llama", FIXTURES "/gpt2", FIXTURES "/qwen3-moe"};
    for (size_t k = 0; k < 3; k++) {
        char path[512];
        struct safetensors *st = NULL;
        snprintf(path, sizeof path, "%s/model.safetensors", files[k]);
        if (!file_exists(path))
            skip();
        assert_int_equal(st_open(path, &st), 0);
        struct st_item *items = mem_calloc(MEM_TEST, st_count(st), sizeof *items);
        for (size_t i = 0; i < st_count(st); i++) {
            const struct st_tensor *t = st_at(st, st_count(st) - 1 - i);
            items[i] = (struct st_item){.name = t->name, .dtype = t->dtype, .shape = t->shape, .data = t->data};
        }
        assert_int_equal(st_write(in_dir("again.safetensors"), items, st_count(st), NULL), 0);
        struct file_map a, b;
        assert_int_equal(file_map(path, &a), 0);
        assert_int_equal(file_map(in_dir("again.safetensors"), &b), 0);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.ptr, b.ptr, a.len);
        file_unmap(&a);
        file_unmap(&b);
        mem_free(items);
        st_close(st);
    }
}

static int emit_ramp(void *arg, struct sink *out)
{
    for (uint16_t i = 0; i < *(const int *)arg; i++)
        sink_write(out, &i, sizeof i);
    return 0;
}

static void writer_rules(void **state)
{
    int six = 6;
    static const float ones[4] = {1, 1, 1, 1};
    static const uint8_t bytes[3] = {1, 2, 3};
    static const struct st_meta meta[] = {{"step", "7"}, {"say", "\"hi\"\n"}, {NULL, NULL}};
    const struct st_item items[] = {
        {.name = "b.bytes", .dtype = DT_U8, .shape = SHAPE1(3), .data = bytes},
        {.name = "a.half", .dtype = DT_F16, .shape = SHAPE2(2, 3), .emit = emit_ramp, .arg = &six},
        {.name = "z.ones", .dtype = DT_F32, .shape = SHAPE2(2, 2), .data = ones},
        {.name = "scalar", .dtype = DT_F32, .shape = {0}, .data = ones},
        {.name = "empty", .dtype = DT_F32, .shape = SHAPE2(0, 5)},
    };
    struct safetensors *st = NULL;
    const struct st_tensor *t;
    assert_int_equal(st_write(in_dir("w.safetensors"), items, 5, meta), 0);
    assert_int_equal(st_open(in_dir("w.safetensors"), &st), 0);
    assert_int_equal(st_count(st), 5);
    assert_int_equal(st_total_bytes(st), 3 + 12 + 16 + 4);
    assert_string_equal(st_metadata(st, "step"), "7");
    assert_string_equal(st_metadata(st, "say"), "\"hi\"\n");
    assert_null(st_metadata(st, "format"));
    assert_int_equal(st_need(st, SPAN("a.half"), &SHAPE2(2, 3), &t), 0);
    assert_int_equal((uintptr_t)t->data % 2, 0);
    assert_int_equal(((const uint16_t *)t->data)[5], 5);
    assert_int_equal(st_need(st, SPAN("a.half"), &SHAPE2(3, 2), &t), NUN_EFORMAT);
    assert_non_null(strstr(nun_error(), "tensor \"a.half\": expected [3, 2], file has [2, 3]"));
    assert_int_equal(st_need(st, SPAN("a"), NULL, &t), NUN_EFORMAT);
    st_close(st);

    const struct st_item twice[] = {items[0], items[0]};
    const struct st_item no_data = {.name = "x", .dtype = DT_F32, .shape = SHAPE1(1)};
    int seven = 7;
    struct st_item too_long = items[1];
    too_long.arg = &seven;
    assert_int_equal(st_write(in_dir("no.safetensors"), twice, 2, NULL), NUN_EARG);
    assert_int_equal(st_write(in_dir("no.safetensors"), &no_data, 1, NULL), NUN_EARG);
    assert_int_equal(st_write(in_dir("no.safetensors"), &too_long, 1, NULL), NUN_EARG);
    assert_non_null(strstr(nun_error(), "expected 12 bytes of data, found 14"));
    char **names;
    size_t count;
    assert_int_equal(file_list(dir, &names, &count), 0);
    for (size_t i = 0; i < count; i++) /* nothing half-written is left */
        assert_null(strstr(names[i], "no.safetensors"));
    mem_free(names);
}

static void write_text(const char *path, const char *text)
{
    assert_int_equal(file_write_durable(path, text, strlen(text)), 0);
}

static void index_refused(const char *index, const char *sentence)
{
    struct safetensors *st = NULL;
    write_text(in_dir("model.safetensors.index.json"), index);
    assert_int_equal(st_open(dir, &st), NUN_EFORMAT);
    assert_non_null(strstr(nun_error(), sentence));
}

static void shards(void **state)
{
    static const float x[2] = {3, 4};
    const struct st_item a = {.name = "a", .dtype = DT_F32, .shape = SHAPE1(2), .data = x};
    const struct st_item b = {.name = "b", .dtype = DT_F32, .shape = SHAPE1(1), .data = x + 1};
    struct safetensors *st = NULL;
    assert_int_equal(st_write(in_dir("s1.safetensors"), &a, 1, NULL), 0);
    assert_int_equal(st_write(in_dir("s2.safetensors"), &b, 1, NULL), 0);
    write_text(in_dir("model.safetensors.index.json"),
               "{\"metadata\": {\"total_size\": 12}, "
               "\"weight_map\": {\"a\": \"s1.safetensors\", \"b\": \"s2.safetensors\"}}");
    assert_int_equal(st_open(dir, &st), 0);
    assert_int_equal(st_count(st), 2);
    assert_true(*(const float *)st_find(st, SPAN("b"))->data == 4.0f);
    st_close(st);
    assert_int_equal(st_open(in_dir("model.safetensors.index.json"), &st), 0);
    st_close(st);
    index_refused("{\"weight_map\": {\"a\": \"s2.safetensors\", \"b\": \"s1.safetensors\"}}",
                  "tensor \"a\": expected in s2");
    index_refused("{\"weight_map\": {\"a\": \"s1.safetensors\", \"c\": \"s2.safetensors\"}}", "tensor \"c\"");
    index_refused("{\"weight_map\": {\"a\": \"../s1.safetensors\"}}", "weight_map");
    index_refused("{\"weight_map\": {\"a\": 1}}", "weight_map");
    index_refused("{\"weight_map\": []}", "weight_map");
    index_refused("{}", "weight_map");
    assert_int_equal(st_write(in_dir("s2.safetensors"), &a, 1, NULL), 0);
    index_refused("{\"weight_map\": {\"a\": \"s1.safetensors\", \"b\": \"s2.safetensors\"}}", "found in two files");
    write_text(in_dir("model.safetensors.index.json"), "{\"weight_map\": {\"a\": \"gone.safetensors\"}}");
    assert_int_equal(st_open(dir, &st), NUN_EIO);
    unlink(in_dir("model.safetensors.index.json"));
    assert_int_equal(st_open(dir, &st), NUN_EIO);
    assert_non_null(strstr(nun_error(), "found neither"));
    write_text(in_dir("pytorch_model.bin"), "x");
    assert_int_equal(st_open(dir, &st), NUN_EUNSUP);
    assert_non_null(strstr(nun_error(), "pytorch_model.bin: pickled"));
    unlink(in_dir("pytorch_model.bin"));
}

/* One line is one header that must be refused, with a piece of the sentence. Data: 8 bytes. */
static void refused_headers(void **state)
{
    static const char *const rows[][2] = {
        {"[]", "to be an object"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,7]}}", "expected 8 bytes for F32 [2]"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9]}}", "within the 8 data bytes"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "expected offset 0"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "cover the 8 data bytes"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", "dimension"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "dimension"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", "array of integers"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", "two integers"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "within"},
        {"{\"x\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", "F33"},
        {"{\"x\":{\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]}}", "to be a string"},
        {"{\"x\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "an object of"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"extra\":1}}", "an object of"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", "dimensions"},
        {"{\"__metadata__\":{\"a\":1}}", "strings"},
        {"{\"__metadata__\":[]}", "object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char file[512] = {0};
        uint64_t n = strlen(rows[i][0]);
        struct safetensors *st = NULL;
        memcpy(file, &n, 8);
        memcpy(file + 8, rows[i][0], n);
        assert_int_not_equal(st_open_bytes(span_of(file, 8 + n + 8), "t", &st), 0);
        if (!strstr(nun_error(), rows[i][1]))
            fail_msg("row %zu: expected \"%s\" in: %s", i, rows[i][1], nun_error());
    }
}

static void header_limit(void **state)
{
    size_t old = LIMIT_OF(safetensors_header);
    static const char file[] = "\x04\0\0\0\0\0\0\0{}  ";
    for (size_t limit = 3; limit <= 5; limit++) {
        struct safetensors *st = NULL;
        limits_table[LIMIT_safetensors_header].value = limit;
        assert_int_equal(st_open_bytes(span_of(file, 12), "t", &st), limit < 4 ? NUN_ELIMIT : 0);
        st_close(st);
    }
    limits_table[LIMIT_safetensors_header].value = old;
}

/* A 3 GB file opens without its data being read: hardly a page is touched. */
static void opening_is_lazy(void **state)
{
    static const char header[] = "{\"x\":{\"dtype\":\"U8\",\"shape\":[3000000000],\"data_offsets\":[0,3000000000]}}  ";
    uint64_t n = sizeof header - 1;
    struct rusage before, after;
    struct safetensors *st = NULL;
    FILE *f = fopen(in_dir("large.safetensors"), "wb");
    fwrite(&n, 1, sizeof n, f);
    fwrite(header, 1, n, f);
    fflush(f);
    if (ftruncate(fileno(f), (off_t)(8 + n + 3000000000u)) != 0)
        skip();
    fclose(f);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(st_open(in_dir("large.safetensors"), &st), 0);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(st_total_bytes(st), 3000000000u);
    assert_true(after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt < 1000);
    st_close(st);
    unlink(in_dir("large.safetensors"));
}

/* Every truncation and every failing allocation ends in an error, and nothing leaks. */
static void torn_files_and_failing_allocations(void **state)
{
    static const float x[2] = {3, 4};
    const struct st_item a = {.name = "a", .dtype = DT_F32, .shape = SHAPE1(2), .data = x};
    struct mem_stats before, after;
    struct safetensors *st = NULL;
    struct file_map m;
    assert_int_equal(st_write(in_dir("t.safetensors"), &a, 1, NULL), 0);
    assert_int_equal(file_map(in_dir("t.safetensors"), &m), 0);
    for (size_t n = 0; n < m.len; n++)
        assert_int_not_equal(st_open_bytes(span_of(m.ptr, n), "t", &st), 0);
    mem_stats(MEM_TAG_COUNT, &before);
    int rc = -1;
    for (uint64_t n = 1; rc != 0 && n < 10000; n++) {
        st = NULL;
        mem_fail_at(n, false);
        rc = st_write(in_dir("u.safetensors"), &a, 1, NULL);
        if (rc == 0)
            rc = st_open(in_dir("u.safetensors"), &st);
        mem_fail_at(0, false);
        st_close(st);
        mem_stats(MEM_TAG_COUNT, &after);
        assert_int_equal(after.live_blocks, before.live_blocks);
    }
    assert_int_equal(rc, 0);
    file_unmap(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_files),
        cmocka_unit_test(every_fixture_opens),
        cmocka_unit_test(writer_matches_the_reference),
        cmocka_unit_test(writer_rules),
        cmocka_unit_test(shards),
        cmocka_unit_test(refused_headers),
        cmocka_unit_test(header_limit),
        cmocka_unit_test(opening_is_lazy),
        cmocka_unit_test(torn_files_and_failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

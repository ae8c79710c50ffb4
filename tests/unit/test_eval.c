/* The interval that scores are given with, and the doors that evaluation stands on: scenes written, read,
 * judged, shown as other files. No model is needed. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "../torture.h"
#include "nunchi/data.h"
#include "nunchi/eval.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

static void near(double a, double b)
{
    if (!(fabs(a - b) < 5e-5))
        fail_msg("expected %.6f, found %.6f", b, a);
}

/* Figures of Newcombe (1998), table I, method 3. */
static void test_wilson(void **state)
{
    static const struct { int right, asked; double low, high; } rows[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0.0, 0.1611},
        {1, 29, 0.0061, 0.1718},   {29, 29, 0.8830, 1.0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nun_eval_share s = nun_eval_wilson(rows[i].right, rows[i].asked);
        near(s.low, rows[i].low);
        near(s.high, rows[i].high);
        near(s.share, (double)rows[i].right / rows[i].asked);
    }
    assert_true(isnan(nun_eval_wilson(0, 0).share));
}

static char folder[256];

static int make_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/nunchi-test-eval-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return file_remove_tree(folder);
}

static int dataset(const char *name, struct nun_dataset **out)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int rc = nun_scenes_write(&(struct nun_scenes_options){.folder = path, .count = 9, .seed = 4, .questions = 32});
    return rc < 0 ? rc : nun_dataset_open(path, out);
}

/* Judged by its own answers a dataset is all right, by foreign ones not. */
static void test_tally(void **state)
{
    struct nun_dataset *d;
    struct nun_scenes_tally *t;
    int asked, right, sum = 0, turns = 0;
    assert_int_equal(dataset("tally", &d), 0);
    assert_int_equal(nun_scenes_tally_create(&t), 0);
    for (size_t i = 0; i < nun_dataset_count(d); i++)
        for (int k = 0; k < nun_dataset_turns(d, i); k++, turns++) {
            struct nun_data_turn q;
            nun_dataset_turn(d, i, k, &q);
            assert_int_equal(nun_scenes_tally_add(t, &q, q.answer, strlen(q.answer)), 1);
            assert_int_equal(nun_scenes_tally_add(t, &q, "?", 1), 0);
            q.kind = "smell";
            assert_int_equal(nun_scenes_tally_add(t, &q, "?", 1), NUN_EFORMAT);
            assert_non_null(strstr(nun_error(), "smell"));
        }
    for (int k = 0; nun_scenes_kind(k); k++) {
        nun_scenes_tally_kind(t, k, &asked, &right);
        assert_int_equal(asked, 2 * right);
        sum += right;
    }
    assert_int_equal(sum, turns);
    nun_scenes_tally_free(t);
    nun_dataset_close(d);
}

static void read_first(struct nun_dataset *d, struct buf *out)
{
    char path[4096];
    assert_int_equal(nun_dataset_image_path(d, 0, 0, path, sizeof path), 0);
    buf_init(out, MEM_TEST, 1 << 24);
    assert_int_equal(file_read(path, out), 0);
}

static void test_recode(void **state)
{
    struct nun_dataset *d;
    struct buf file;
    void *jpeg, *again;
    size_t n, m;
    assert_int_equal(dataset("recode", &d), 0);
    read_first(d, &file);
    assert_string_equal(nun_image_format(file.ptr, file.len), "png");
    assert_int_equal(nun_image_recode(file.ptr, file.len, 0.5, "jpeg", 80, &jpeg, &n), 0);
    assert_string_equal(nun_image_format(jpeg, n), "jpeg");
    assert_int_equal(nun_image_recode(jpeg, n, 0, "png", 0, &again, &m), NUN_EARG);
    assert_int_equal(nun_image_recode("no picture", 10, 1, "png", 0, &again, &m), NUN_EFORMAT);
    assert_null(nun_image_format("no picture", 10));
    nun_free(jpeg);
    buf_free(&file);
    nun_dataset_close(d);
}

static void test_preview(void **state)
{
    struct nun_dataset *d;
    struct buf file;
    char *text;
    size_t n;
    assert_int_equal(dataset("preview", &d), 0);
    read_first(d, &file);
    assert_int_equal(nun_image_preview(file.ptr, file.len, "ascii", 10, &text, &n), 0);
    assert_int_equal(n, strlen(text));
    assert_int_equal(text[n - 1], '\n');
    nun_free(text);
    assert_int_equal(nun_image_preview(file.ptr, file.len, "crayon", 10, &text, &n), NUN_EARG);
    buf_free(&file);
    nun_dataset_close(d);
}

static void test_refusals(void **state)
{
    char *text;
    struct nun_dataset *d;
    struct nun_tokenizer *t;
    assert_int_equal(nun_inspect("/nowhere/at/all", &text, NULL), NUN_EIO);
    assert_int_equal(nun_dataset_open("/nowhere/at/all", &d), NUN_EIO);
    assert_true(nun_tokenizer_open("/nowhere/at/all", &t) < 0);
    check_fails(NUN_EARG, "tset",
                nun_scenes_write(&(struct nun_scenes_options){.folder = folder, .split = "tset", .count = 1}));
}

/* ---- every allocation fails once ------------------------------------------------------------- */

static int do_inspect(void *arg)
{
    char *text;
    TRY(nun_inspect(arg, &text, NULL));
    nun_free(text);
    return 0;
}

static int do_dump(void *arg)
{
    char path[320];
    snprintf(path, sizeof path, "%s/dump.safetensors", folder);
    return nun_dump_tensors(arg, path);
}

static int do_pictures(void *arg)
{
    const struct buf *file = arg;
    void *bytes;
    char *text;
    size_t n;
    TRY(nun_image_recode(file->ptr, file->len, 0.8, "webp", 80, &bytes, &n));
    nun_free(bytes);
    TRY(nun_image_preview(file->ptr, file->len, "blocks", 10, &text, &n));
    nun_free(text);
    return 0;
}

static int do_tally(void *arg)
{
    struct nun_scenes_tally *t;
    struct nun_data_turn q = {"How many?", "1", "count", NULL, NULL};
    TRY(nun_scenes_tally_create(&t));
    int rc = nun_scenes_tally_add(t, &q, "one", 3);
    nun_scenes_tally_free(t);
    return rc < 0 ? rc : 0;
}

static void test_torture(void **state)
{
    char gguf[] = "tests/fuzz/corpus/gguf/types", st[] = "tests/fuzz/corpus/safetensors/two";
    struct nun_dataset *d;
    struct buf file;
    torture_run("inspect gguf", do_inspect, gguf, 1);
    torture_run("inspect safetensors", do_inspect, st, 1);
    torture_run("dump", do_dump, st, 1);
    assert_int_equal(dataset("torture", &d), 0);
    read_first(d, &file);
    torture_run("pictures", do_pictures, &file, 1);
    torture_run("tally", do_tally, NULL, 1);
    buf_free(&file);
    nun_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson),  cmocka_unit_test(test_tally),    cmocka_unit_test(test_recode),
        cmocka_unit_test(test_preview), cmocka_unit_test(test_refusals), cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests_name("eval", tests, make_folder, remove_folder);
}

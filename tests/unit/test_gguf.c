/* GGUF: the public malformed files, real files, getters, truncation; and every block format against
 * what the format's own library makes of it, bit for bit. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/json.h"

#define BAD "../shared/vectors/bad-files"
#define STORIES "../shared/vectors/stories260k"
#define TYPES "../shared/fixtures/gguf/types"

static void malformed_files(void **state)
{
    json_t *manifest = NULL, *row;
    size_t i, seen = 0;
    if (!file_exists(BAD "/MANIFEST.json"))
        skip();
    assert_int_equal(json_load_file_limited(BAD "/MANIFEST.json", &manifest), 0);
    json_array_foreach(manifest, i, row) {
        char path[256];
        const char *file = json_string_value(json_object_get(row, "file"));
        const char *expect = json_string_value(json_object_get(row, "expect"));
        struct gguf *g = NULL;
        struct mem_stats stats;
        if (strncmp(file, "gguf/", 5) != 0)
            continue;
        snprintf(path, sizeof path, BAD "/%s", file);
        int rc = gguf_open(path, &g);
        if (strcmp(expect, "either") != 0 && (rc == 0) != (strcmp(expect, "ok") == 0))
            fail_msg("%s: expected %s, found %d %s", file, expect, rc, nun_error());
        gguf_close(g);
        mem_stats(MEM_FORMAT, &stats);
        assert_true(stats.peak_bytes < 4u << 20); /* no allocation from a declared size */
        seen++;
    }
    json_decref(manifest);
    assert_true(seen >= 21);
}

static void every_folder_file_opens(void **state)
{
    static const char *const dirs[] = {STORIES, "../shared/fixtures/gguf", "../shared/vectors/tokenizers/gguf"};
    size_t opened = 0;
    if (!file_is_dir(STORIES))
        skip();
    for (size_t d = 0; d < 3; d++) {
        char **names = NULL, path[512];
        size_t count = 0;
        assert_int_equal(file_list(dirs[d], &names, &count), 0);
        for (size_t i = 0; i < count; i++) {
            struct gguf *g = NULL;
            struct span arch;
            if (!span_ends(span_str(names[i]), SPAN(".gguf")))
                continue;
            snprintf(path, sizeof path, "%s/%s", dirs[d], names[i]);
            if (gguf_open(path, &g) != 0)
                fail_msg("%s", nun_error());
            assert_int_equal(gguf_get_string(g, "general.architecture", &arch), 0);
            assert_true(arch.len > 0);
            gguf_close(g);
            opened++;
        }
        mem_free(names);
    }
    assert_true(opened >= 36);
}

static void getters(void **state)
{
    struct gguf *g = NULL;
    const struct gguf_value *tokens, *scores, *types;
    struct span s;
    int64_t n = -1;
    double x = 0;
    bool yes = false;
    size_t at = 0, count = 0;
    if (!file_is_dir(STORIES))
        skip();
    assert_int_equal(gguf_open(STORIES "/stories260K.gguf", &g), 0);
    assert_int_equal(gguf_version(g), 3);
    assert_int_equal(gguf_get_int(g, "llama.block_count", 1, 100, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(gguf_get_int(g, "llama.block_count", 6, 100, &n), NUN_EFORMAT);
    assert_string_equal(nun_error(),
                        STORIES "/stories260K.gguf: llama.block_count: expected integer in [6, 100], found 5");
    assert_int_equal(gguf_get_int(g, "nothing", 1, 100, &n), 1);
    assert_int_equal(gguf_get_int(g, "general.architecture", 1, 100, &n), NUN_EFORMAT);
    assert_int_equal(gguf_get_bool(g, "llama.block_count", &yes), NUN_EFORMAT);
    assert_int_equal(gguf_get_double(g, "llama.attention.layer_norm_rms_epsilon", 0, 1, &x), 0);
    assert_true(x == (double)1e-5f);
    assert_int_equal(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens), 0);
    assert_int_equal(gguf_get_array(g, "tokenizer.ggml.scores", GGUF_F32, &scores), 0);
    assert_int_equal(gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types), 0);
    assert_int_equal(gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_STRING, &types), NUN_EFORMAT);
    assert_int_equal(gguf_get_array(g, "llama.block_count", GGUF_I32, &types), NUN_EFORMAT);
    while (gguf_next_string(tokens, &at, &s))
        count += count != 1 || span_is(s, "<s>");
    assert_int_equal(count, 512);
    assert_int_equal(tokens->count, 512);
    const struct st_tensor *t = gguf_find(g, SPAN("token_embd.weight"));
    assert_non_null(t);
    assert_true(shape_eq(&t->shape, &SHAPE2(512, 64)));
    assert_int_equal(t->dtype, DT_F32);
    assert_null(gguf_find(g, SPAN("token_embd")));
    gguf_close(g);
}

/* The float tensors are the HF folder's, so the two readers must agree. */
static void agrees_with_safetensors(void **state)
{
    struct gguf *g = NULL;
    struct safetensors *st = NULL;
    const struct st_tensor *b;
    if (!file_exists(STORIES "/hf/model.safetensors"))
        skip();
    assert_int_equal(gguf_open(STORIES "/stories260K.gguf", &g), 0);
    assert_int_equal(st_open(STORIES "/hf", &st), 0);
    const struct st_tensor *a = gguf_find(g, SPAN("blk.4.ffn_down.weight"));
    assert_int_equal(st_need(st, SPAN("model.layers.4.mlp.down_proj.weight"), &a->shape, &b), 0);
    assert_int_equal(b->dtype, a->dtype);
    assert_memory_equal(a->data, b->data, a->bytes);
    gguf_close(g);
    st_close(st);
}

static void block_formats_are_bit_exact(void **state)
{
    struct gguf *g = NULL;
    struct safetensors *st = NULL;
    if (!file_is_dir(TYPES))
        skip();
    assert_int_equal(gguf_open(TYPES "/types.gguf", &g), 0);
    assert_int_equal(st_open(TYPES "/expected.safetensors", &st), 0);
    assert_int_equal(gguf_count(g), 25);
    for (size_t i = 0; i < gguf_count(g); i++) {
        const struct st_tensor *t = gguf_at(g, i), *want;
        float got[6 * 512];
        assert_string_equal(t->name, dtype_name(t->dtype));
        assert_int_equal(st_need(st, span_str(t->name), &t->shape, &want), 0);
        assert_int_equal(want->bytes, sizeof got);
        assert_int_equal(dtype_to_f32(t->dtype, t->data, got, sizeof got / sizeof *got), 0);
        for (size_t k = 0; k < sizeof got / sizeof *got; k++) {
            float w;
            memcpy(&w, (const char *)want->data + k * sizeof w, sizeof w);
            if (dtype_f32_bits(w) != dtype_f32_bits(got[k]))
                fail_msg("%s: value %zu: expected %.9g, found %.9g", t->name, k, (double)w, (double)got[k]);
        }
    }
    gguf_close(g);
    st_close(st);
}

/* Each quantised twin of a real model stays near the float one: its error's energy is a known small part. */
static void twins_are_near(void **state)
{
    static const char *const files[] = {"F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL"};
    static const double worst[DT_COUNT] = {
        [DT_F16] = 1e-6,  [DT_Q8_0] = 1e-4, [DT_Q6_0] = 1e-3,   [DT_Q5_1] = 3e-3,
        [DT_Q5_0] = 3e-3, [DT_Q4_1] = 1e-2, [DT_Q4_0] = 1.5e-2, [DT_IQ4_NL] = 1e-2,
    };
    struct gguf *ref = NULL, *g = NULL;
    if (!file_is_dir(STORIES))
        skip();
    assert_int_equal(gguf_open(STORIES "/stories260K.gguf", &ref), 0);
    for (size_t r = 0; r < sizeof files / sizeof *files; r++) {
        char path[256];
        snprintf(path, sizeof path, STORIES "/stories260K-%s.gguf", files[r]);
        assert_int_equal(gguf_open(path, &g), 0);
        for (size_t i = 0; i < gguf_count(g); i++) {
            const struct st_tensor *t = gguf_at(g, i), *want = gguf_find(ref, span_str(t->name));
            size_t n = want->bytes / sizeof(float);
            double error = 0, energy = 0;
            float *x = mem_alloc(MEM_TEST, n * sizeof *x), w;
            assert_true(shape_eq(&t->shape, &want->shape));
            assert_int_equal(dtype_to_f32(t->dtype, t->data, x, n), 0);
            for (size_t k = 0; k < n; k++) {
                memcpy(&w, (const char *)want->data + k * sizeof w, sizeof w);
                error += ((double)x[k] - w) * ((double)x[k] - w);
                energy += (double)w * w;
            }
            if (error > worst[t->dtype] * energy)
                fail_msg("%s %s (%s): relative error energy %g", files[r], t->name, dtype_name(t->dtype),
                         error / energy);
            mem_free(x);
        }
        gguf_close(g);
    }
    gguf_close(ref);
}

/* A block format must come in whole blocks, and is only read. */
static void block_sizes(void **state)
{
    float y[256] = {0};
    uint8_t block[256] = {0};
    size_t bytes = 0;
    assert_int_equal(dtype_bytes(DT_Q4_K, 512, &bytes), 0);
    assert_int_equal(bytes, 288);
    assert_int_equal(dtype_bytes(DT_Q4_K, 500, &bytes), NUN_EFORMAT);
    assert_int_equal(dtype_to_f32(DT_Q8_0, block, y, 31), NUN_EARG);
    assert_int_equal(dtype_from_f32(DT_IQ1_S, y, block, 256), NUN_EUNSUP);
}

static void every_truncation_is_refused(void **state)
{
    struct file_map m;
    struct gguf *g = NULL;
    if (!file_is_dir(TYPES))
        skip();
    assert_int_equal(file_map(TYPES "/types.gguf", &m), 0);
    for (size_t n = 0; n + 32 < m.len; n += 1 + n / 64) /* the last bytes may be padding */
        assert_int_not_equal(gguf_open_bytes(span_of(m.ptr, n), "cut", &g), 0);
    assert_int_equal(gguf_open_bytes(span_of(m.ptr, m.len), "whole", &g), 0);
    gguf_close(g);
    file_unmap(&m);
}

static void failing_allocations(void **state)
{
    struct mem_stats before, after;
    if (!file_is_dir(STORIES))
        skip();
    mem_stats(MEM_TAG_COUNT, &before);
    int rc = -1;
    for (uint64_t n = 1; rc != 0; n++) {
        struct gguf *g = NULL;
        mem_fail_at(n, false);
        rc = gguf_open(STORIES "/stories260K.gguf", &g);
        mem_fail_at(0, false);
        assert_true(rc == 0 || rc == NUN_ENOMEM);
        gguf_close(g);
        mem_stats(MEM_TAG_COUNT, &after);
        assert_int_equal(after.live_blocks, before.live_blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_files),
        cmocka_unit_test(every_folder_file_opens),
        cmocka_unit_test(getters),
        cmocka_unit_test(agrees_with_safetensors),
        cmocka_unit_test(block_formats_are_bit_exact),
        cmocka_unit_test(twins_are_near),
        cmocka_unit_test(block_sizes),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

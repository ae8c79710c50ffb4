/* Weights of quantised folders: bitsandbytes' and MXFP4's numbers bit for bit, packings by hand, and what
 * must be refused. Whole models of each method are in the verify test. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "models/model.h"
#include "models/quant_folder.h"
#include "nunchi/error.h"
#include "../torture.h"

#define FIXTURES "../shared/fixtures/"
static const char *const file = "test_quant_folder.safetensors";

/* A file of these tensors under this quantization_config. */
struct folder { json_t *config; struct safetensors *st; struct quant_folder *q; struct arena arena; };

static int folder_open(struct folder *f, const char *settings, const struct st_item *items, size_t n)
{
    char text[2048];
    snprintf(text, sizeof text, "{\"quantization_config\": %s}", settings);
    *f = (struct folder){0};
    arena_init(&f->arena, MEM_TEST, 0);
    assert_int_equal(json_parse_span(span_str(text), "config", &f->config), 0);
    assert_int_equal(st_write(file, items, n, NULL), 0);
    assert_int_equal(st_open(file, &f->st), 0);
    return quant_folder_open(f->config, "config.json", f->st, &f->arena, &f->q);
}

static void folder_close(struct folder *f)
{
    quant_folder_close(f->q);
    st_close(f->st);
    json_decref(f->config);
    arena_free(&f->arena);
    remove(file);
}

static struct st_item copy_of(const struct safetensors *st, const char *group, const char *key, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", group, key);
    const struct st_tensor *t = st_find(st, span_str(full));
    return t ? (struct st_item){name, t->dtype, t->shape, t->data, NULL, NULL} : (struct st_item){0};
}

static void same_bits(struct folder *f, const char *name, const struct st_item *want)
{
    const struct st_tensor *got;
    assert_true(quant_folder_has(f->q, span_str(name)));
    int rc = quant_folder_need(f->q, span_str(name), &want->shape, &got);
    if (rc)
        print_message("%s\n", nun_error());
    assert_int_equal(rc, 0);
    assert_int_equal(got->dtype, DT_F32);
    assert_memory_equal(got->data, want->data, got->bytes);
}

static void four_bit(void **state)
{
    const char *name = *state;
    char state_key[64], state_text[512];
    struct safetensors *st;
    json_t *json, *one = NULL;
    if (!file_is_dir(FIXTURES "quant-bnb"))
        skip();
    assert_int_equal(st_open(FIXTURES "quant-bnb/verify/expected.safetensors", &st), 0);
    assert_int_equal(json_load_file_limited(FIXTURES "quant-bnb/verify/case.json", &json), 0);
    size_t i;
    json_array_foreach(json_object_get(json, "cases"), i, one)
        if (!strcmp(json_string_value(json_object_get(one, "name")), name))
            break;
    assert_non_null(one);
    const char *stored = json_string_value(json_object_get(one, "quant_state_json"));
    if (stored)
        snprintf(state_text, sizeof state_text, "%s", stored);
    else
        snprintf(state_text, sizeof state_text, "{\"quant_type\": \"%.3s\", \"blocksize\": %d, \"dtype\": \"float32\", \"shape\": [64, 128]}",
                 name, (int)json_integer_value(json_object_get(one, "blocksize")));
    snprintf(state_key, sizeof state_key, "x.weight.quant_state.bitsandbytes__%.3s", name);
    struct st_item items[8] = {
        copy_of(st, name, "bytes", "x.weight"), copy_of(st, name, "absmax", "x.weight.absmax"),
        copy_of(st, name, "quant_map", "x.weight.quant_map"),
        {state_key, DT_U8, SHAPE1((int64_t)strlen(state_text)), state_text, NULL, NULL},
        copy_of(st, name, "nested_absmax", "x.weight.nested_absmax"),
        copy_of(st, name, "nested_quant_map", "x.weight.nested_quant_map")};
    struct st_item want = copy_of(st, name, "dequantised", "want");
    struct folder f;
    assert_int_equal(folder_open(&f, "{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}", items, items[4].name ? 6 : 4), 0);
    same_bits(&f, "x.weight", &want);
    assert_true(quant_folder_part(f.q, "x.weight.absmax") && quant_folder_part(f.q, state_key));
    assert_false(quant_folder_part(f.q, "y.weight.absmax"));
    folder_close(&f);
    json_decref(json);
    st_close(st);
}

static void int8_rows(void **state)
{
    struct safetensors *st;
    if (!file_is_dir(FIXTURES "quant-bnb"))
        skip();
    assert_int_equal(st_open(FIXTURES "quant-bnb/verify/expected.safetensors", &st), 0);
    struct st_item items[2] = {copy_of(st, "int8", "bytes", "x.weight"), copy_of(st, "int8", "row_absmax", "x.SCB")};
    struct st_item want = copy_of(st, "int8", "dequantised", "want");
    struct folder f;
    assert_int_equal(folder_open(&f, "{\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true}", items, 2), 0);
    const struct st_tensor *got;
    assert_int_equal(quant_folder_need(f.q, SPAN("x.weight"), &want.shape, &got), 0);
    for (size_t i = 0; i < got->bytes / 4; i++) /* the library divides or multiplies, as its backend pleases: one rounding */
        assert_true(fabsf(((const float *)got->data)[i] - ((const float *)want.data)[i]) <= 2e-7f * fabsf(((const float *)want.data)[i]));
    folder_close(&f);
    st_close(st);
}

static void mxfp4(void **state)
{
    const char *name = *state;
    struct safetensors *st;
    if (!file_is_dir(FIXTURES "mxfp4"))
        skip();
    assert_int_equal(st_open(FIXTURES "mxfp4/verify/expected.safetensors", &st), 0);
    struct st_item items[2] = {copy_of(st, name, "blocks", "x.gate_up_proj_blocks"), copy_of(st, name, "scales", "x.gate_up_proj_scales")};
    struct st_item want = copy_of(st, name, "dequantised", "want");
    struct folder f;
    assert_int_equal(folder_open(&f, "{\"quant_method\": \"mxfp4\"}", items, 2), 0);
    same_bits(&f, "x.gate_up_proj", &want);
    assert_true(quant_folder_part(f.q, "x.gate_up_proj_scales"));
    folder_close(&f);
    st_close(st);
}

/* 3 bits: 32 inputs in three words, values crossing their borders; group 16; zero 3 stored as 2. */
static void three_bits(void **state)
{
    uint32_t words[3] = {0}, zeros[3] = {0};
    float scales[2 * 32], want[32 * 32];
    uint32_t all[3 * 32];
    for (int i = 0; i < 32; i++) {
        uint64_t v = (uint64_t)(i * 5 % 8) << 3 * i % 32;
        words[3 * i / 32] |= (uint32_t)v;
        if (3 * i / 32 < 2)
            words[3 * i / 32 + 1] |= (uint32_t)(v >> 32);
        uint64_t z = 2ull << 3 * i % 32;
        zeros[3 * i / 32] |= (uint32_t)z;
        if (3 * i / 32 < 2)
            zeros[3 * i / 32 + 1] |= (uint32_t)(z >> 32);
    }
    uint32_t both[6];
    memcpy(both, zeros, sizeof zeros);
    memcpy(both + 3, zeros, sizeof zeros);
    for (int o = 0; o < 32; o++) {
        for (int w = 0; w < 3; w++)
            all[w * 32 + o] = words[w];
        scales[o] = 0.5f;
        scales[32 + o] = 2.0f;
        for (int i = 0; i < 32; i++)
            want[o * 32 + i] = (float)(i * 5 % 8 - 3) * (i < 16 ? 0.5f : 2.0f);
    }
    const struct st_item items[] = {{"x.qweight", DT_I32, SHAPE2(3, 32), all, NULL, NULL}, {"x.qzeros", DT_I32, SHAPE2(2, 3), both, NULL, NULL},
                                    {"x.scales", DT_F32, SHAPE2(2, 32), scales, NULL, NULL}};
    const struct st_item expected = {"want", DT_F32, SHAPE2(32, 32), want, NULL, NULL};
    struct folder f;
    assert_int_equal(folder_open(&f, "{\"quant_method\": \"gptq\", \"bits\": 3, \"group_size\": 16}", items, 3), 0);
    same_bits(&f, "x.weight", &expected);
    folder_close(&f);
}

/* compressed-tensors, 4 bits, asymmetric: zero points packed along the outputs. */
static void packed_zero_points(void **state)
{
    uint32_t packed[8], zeros[1] = {0};
    float scales[8], want[64];
    int64_t shape[2] = {8, 8};
    for (uint32_t o = 0; o < 8; o++) {
        packed[o] = 0;
        for (uint32_t i = 0; i < 8; i++) {
            packed[o] |= (o + i) % 16 << 4 * i;
            want[o * 8 + i] = ((float)((o + i) % 16) - (float)(15 - o)) * 0.25f;
        }
        zeros[0] |= (15 - o) << 4 * o;
        scales[o] = 0.25f;
    }
    const struct st_item items[] = {
        {"x.weight_packed", DT_I32, SHAPE2(8, 1), packed, NULL, NULL}, {"x.weight_scale", DT_F32, SHAPE2(8, 1), scales, NULL, NULL},
        {"x.weight_zero_point", DT_I32, SHAPE2(1, 1), zeros, NULL, NULL}, {"x.weight_shape", DT_I64, SHAPE1(2), shape, NULL, NULL}};
    const struct st_item expected = {"want", DT_F32, SHAPE2(8, 8), want, NULL, NULL};
    const char *settings = "{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", \"config_groups\": {\"g\": "
                           "{\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 4, \"type\": \"int\", \"strategy\": \"channel\"}}}}";
    struct folder f;
    assert_int_equal(folder_open(&f, settings, items, 4), 0);
    same_bits(&f, "x.weight", &expected);
    folder_close(&f);
    shape[1] = 9; /* more columns than words hold */
    assert_int_equal(folder_open(&f, settings, items, 4), 0);
    const struct st_tensor *t;
    assert_true(quant_folder_need(f.q, SPAN("x.weight"), NULL, &t) < 0);
    folder_close(&f);
}

static void refused_settings(void **state)
{
    static const char *const bad[][2] = {
        {"{\"quant_method\": \"hqq\"}", "hqq"},
        {"{\"bits\": 4}", "quant_method"},
        {"{\"quant_method\": \"gptq\", \"bits\": 5}", "5"},
        {"{\"quant_method\": \"gptq\", \"checkpoint_format\": \"marlin\"}", "marlin"},
        {"{\"quant_method\": \"gptq\", \"dynamic\": {\"-:mlp\": {}}}", "dynamic"},
        {"{\"quant_method\": \"gptq\", \"rotation\": \"hadamard\"}", "rotation"},
        {"{\"quant_method\": \"awq\", \"version\": \"gemv\"}", "gemv"},
        {"{\"quant_method\": \"awq\", \"zero_point\": false}", "zero_point"},
        {"{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"}", "e5m2"},
        {"{\"quant_method\": \"bitsandbytes\", \"bnb_4bit_quant_type\": \"nf3\"}", "nf3"},
        {"{\"quant_method\": \"compressed-tensors\", \"format\": \"marlin-24\"}", "marlin-24"},
        {"{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", \"kv_cache_scheme\": {\"num_bits\": 8}}", "kv_cache_scheme"},
    };
    float one = 1;
    const struct st_item item = {"x.weight", DT_F32, SHAPE1(1), &one, NULL, NULL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct folder f;
        int rc = folder_open(&f, bad[i][0], &item, 1);
        assert_true(rc < 0);
        if (!strstr(nun_error(), bad[i][1]))
            fail_msg("%s: %s", bad[i][0], nun_error());
        folder_close(&f);
    }
}

/* Parts that do not fit each other, indices outside, integers that nothing explains. */
static void refused_parts(void **state)
{
    int32_t words[64] = {0}, groups[32] = {0};
    float scales[64] = {0};
    int8_t bytes[16] = {0};
    const struct st_tensor *t;
    struct st_item items[] = {{"x.qweight", DT_I32, SHAPE2(4, 8), words, NULL, NULL}, {"x.qzeros", DT_I32, SHAPE2(1, 1), words, NULL, NULL},
                              {"x.scales", DT_F32, SHAPE2(1, 8), scales, NULL, NULL}, {"x.g_idx", DT_I32, SHAPE1(32), groups, NULL, NULL},
                              {"y.weight", DT_I8, SHAPE2(4, 4), bytes, NULL, NULL}};
    const char *settings = "{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 32}";
    struct folder f;
    assert_int_equal(folder_open(&f, settings, items, 5), 0);
    assert_int_equal(quant_folder_need(f.q, SPAN("x.weight"), &SHAPE2(8, 32), &t), 0);
    assert_true(quant_folder_need(f.q, SPAN("x.weight"), &SHAPE2(32, 8), &t) < 0);
    assert_true(quant_folder_need(f.q, SPAN("y.weight"), NULL, &t) < 0);
    assert_false(quant_folder_has(f.q, SPAN("z.weight")));
    folder_close(&f);
    groups[31] = 1;
    assert_int_equal(folder_open(&f, settings, items, 5), 0);
    assert_true(quant_folder_need(f.q, SPAN("x.weight"), NULL, &t) < 0);
    assert_non_null(strstr(nun_error(), "g_idx"));
    folder_close(&f);
    groups[31] = 0;
    items[2].shape = SHAPE2(8, 1);
    assert_int_equal(folder_open(&f, settings, items, 5), 0);
    assert_true(quant_folder_need(f.q, SPAN("x.weight"), NULL, &t) < 0);
    folder_close(&f);
    assert_int_equal(folder_open(&f, settings, items, 1), 0);
    assert_true(quant_folder_need(f.q, SPAN("x.weight"), NULL, &t) < 0);
    folder_close(&f);
}

static int load_model(void *folder)
{
    struct model *m;
    TRY(model_load(folder, &m));
    model_free(m);
    return 0;
}

static void failing_allocations(void **state)
{
    static char *const folders[] = {FIXTURES "llama-gptq-act", FIXTURES "llama-bnb-nf4", FIXTURES "llama-ct-pack"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (file_is_dir(folders[i]))
            assert_true(torture_run(folders[i], load_model, folders[i], 3) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"nf4_b64", four_bit, NULL, NULL, (void *)(uintptr_t)"nf4_b64"}, {"nf4_b64_double", four_bit, NULL, NULL, (void *)(uintptr_t)"nf4_b64_double"},
        {"nf4_b128", four_bit, NULL, NULL, (void *)(uintptr_t)"nf4_b128"}, {"nf4_b128_double", four_bit, NULL, NULL, (void *)(uintptr_t)"nf4_b128_double"},
        {"fp4_b64", four_bit, NULL, NULL, (void *)(uintptr_t)"fp4_b64"}, {"fp4_b64_double", four_bit, NULL, NULL, (void *)(uintptr_t)"fp4_b64_double"},
        {"fp4_b128", four_bit, NULL, NULL, (void *)(uintptr_t)"fp4_b128"}, {"fp4_b128_double", four_bit, NULL, NULL, (void *)(uintptr_t)"fp4_b128_double"},
        {"mxfp4 random", mxfp4, NULL, NULL, (void *)(uintptr_t)"random"}, {"mxfp4 all", mxfp4, NULL, NULL, (void *)(uintptr_t)"all"},
        cmocka_unit_test(int8_rows), cmocka_unit_test(three_bits), cmocka_unit_test(packed_zero_points),
        cmocka_unit_test(refused_settings), cmocka_unit_test(refused_parts),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("quant_folder", tests, NULL, NULL);
}

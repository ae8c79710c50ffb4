/* Phi 3.5 Vision: what its config may say, and its embedding under either name on disk. Numbers, ids and invariance are
 * in test_verify.c, test_sight_prompts.c and test_sight_invariance.c; plans in test_media_plan.c. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"
#include <stdio.h>
#include "base/file.h"
#include "formats/json.h"
#include "nunchi/nunchi.h"
#include "nunchi/verify.h"

#define MODEL "tests/data/phi3v"
#define COPY "test_phi3v_copy"
static const char own[] = "model.embed_tokens.weight", shared[] = "model.vision_embed_tokens.wte.weight";

static void copy_file(const char *name)
{
    char from[256], to[256];
    struct buf b;
    buf_init(&b, MEM_TEST, 16 << 20);
    snprintf(from, sizeof from, MODEL "/%s", name);
    snprintf(to, sizeof to, COPY "/%s", name);
    check_ok(file_read(from, &b));
    check_ok(file_write_durable(to, b.ptr, b.len));
    buf_free(&b);
}

static int copy_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    file_remove_tree(COPY);
    check_ok(file_mkdirs(COPY));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        copy_file(names[i]);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return file_remove_tree(COPY);
}

static int open_copy(void)
{
    struct nun_model *m = NULL;
    int rc = nun_model_open(COPY, &(struct nun_model_options){.threads = 1, .facts_only = true}, &m);
    nun_model_close(m);
    return rc;
}

/* The config with one key set; a dotted key is inside an object. */
static void write_config(const char *object, const char *key, json_t *value)
{
    json_t *config;
    check_ok(json_load_file_limited(MODEL "/config.json", &config));
    json_t *in = *object ? json_object_get(config, object) : config;
    assert_int_equal(value ? json_object_set_new(in, key, value) : json_object_del(in, key), 0);
    check_ok(json_write_file(COPY "/config.json", config));
    json_decref(config);
}

static void what_is_unknown_is_refused(void **state)
{
    (void)state;
    static const struct { const char *object, *key, *value, *says; } rows[] = {
        {"embd_layer", "hd_transform_order", "glb_sub", "hd_transform_order: expected sub_glb, found glb_sub"},
        {"embd_layer", "projection_cls", "linear", "projection_cls: expected mlp, found linear"},
        {"embd_layer", "use_hd_transform", NULL, "use_hd_transform: expected true"},
        {"embd_layer", "with_learnable_separator", NULL, "with_learnable_separator: expected true"},
        {"img_processor", "model_name", "openai/clip-vit-base-patch16", "found clip_vision_model of openai/clip-vit-base-patch16"},
        {"img_processor", "name", "siglip", "expected clip_vision_model"},
        {"img_processor", "type_feature", "cls_patch", "type_feature"},
        {"img_processor", "use_flash", "yes", "img_processor.use_flash: expected only keys"},
        {"", "logit_scale", "2", "logit_scale: expected only keys"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_config(rows[i].object, rows[i].key, rows[i].value ? json_string(rows[i].value) : NULL);
        int rc = open_copy();
        if (rc >= 0 || !strstr(nun_error(), rows[i].says))
            fail_msg("%s.%s: expected \"...%s...\", found %d \"%s\"", rows[i].object, rows[i].key, rows[i].says, rc, nun_error());
    }
    write_config("img_processor", "image_dim_out", json_integer(25));
    check_fails(NUN_EFORMAT, "image_dim_out: expected the tower's 24, found 25", open_copy());
    write_config("img_processor", "layer_idx", json_integer(-9));
    check_fails(NUN_EFORMAT, "vision feature layer -9", open_copy());
    write_config("img_processor", "layer_idx", json_integer(-2));
    check_ok(open_copy());
}

/* The file with `from` named `to`. */
static void rename_tensor(const char *from, const char *to)
{
    struct buf in, out, text;
    uint64_t len;
    json_t *head;
    buf_init(&text, MEM_TEST, 1 << 20);
    buf_init(&in, MEM_TEST, 16 << 20);
    buf_init(&out, MEM_TEST, 16 << 20);
    check_ok(file_read(MODEL "/model.safetensors", &in));
    memcpy(&len, in.ptr, sizeof len);
    check_ok(json_parse_span(span_of(in.ptr + 8, (size_t)len), "header", &head));
    assert_int_equal(json_object_set(head, to, json_object_get(head, from)), 0);
    assert_int_equal(json_object_del(head, from), 0);
    check_ok(json_write(head, JSON_TIGHT, &text));
    uint64_t now = text.len;
    buf_append(&out, &now, sizeof now);
    buf_span(&out, buf_view(&text));
    buf_append(&out, in.ptr + 8 + len, in.len - 8 - (size_t)len);
    check_ok(file_write_durable(COPY "/model.safetensors", out.ptr, out.len));
    json_decref(head);
    buf_free(&text);
    buf_free(&in);
    buf_free(&out);
}

static void the_embedding_has_either_name(void **state)
{
    (void)state;
    struct nun_verify_summary s;
    struct nun_verify_options o = {.threads = 1, .cases = MODEL};
    rename_tensor(own, shared);
    assert_int_equal(nun_verify(COPY, &o, &s), 0);
    assert_true(s.cases > 4 && s.failed == 0 && s.worst_f32 < 5e-5);
    rename_tensor(own, "model.vision_embed_tokens.other");
    check_fails(NUN_EFORMAT, own, nun_verify(COPY, &o, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_unknown_is_refused, copy_folder, drop_folder),
        cmocka_unit_test_setup_teardown(the_embedding_has_either_name, copy_folder, drop_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

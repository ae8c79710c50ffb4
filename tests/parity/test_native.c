/* Towers of native sizes: features, of inner layers too, against what the reference's towers gave; the same bits alone, in
 * a batch and on any number of threads; a picture is a step of a video; newer names and nested configs are the same
 * model; configs that do not fit together are refused. Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "graph/plan.h"
#include "models/model.h"
#include "nunchi/nunchi.h"
#include "nunchi/verify.h"
#include "runtime/picture.h"

#define FIXTURES "../shared/fixtures/"
static const char *const folders[] = {"qwen2-vl", "qwen2-5-vl", "qwen3-vl"};
enum { FOLDERS = sizeof folders / sizeof folders[0], PATH = 512, HIDDEN = 64 };

/* Greatest distance seen was 4e-6. */
static const double NEAR = 2e-5;

static bool folder_of(const char *name, char folder[PATH])
{
    snprintf(folder, PATH, FIXTURES "%s", name);
    return file_is_dir(folder);
}

static void open_model(const char *folder, int threads, enum nun_compute compute, struct nun_model **out)
{
    check_ok(nun_model_open(folder, &(struct nun_model_options){.threads = threads, .compute = compute}, out));
}

/* Files of the verify folder, encoded; `seconds` 0: a picture. */
static struct picture *picture_of(struct nun_model *m, const char *folder, const char *const *names, int n, double seconds)
{
    char paths[8][PATH + 32];
    const char *list[8];
    struct picture *p;
    assert_true(n <= 8);
    for (int i = 0; i < n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/verify/%s", folder, names[i]);
        list[i] = paths[i];
    }
    check_ok(picture_from_files(m, list, n, seconds, 1, NULL, &p));
    return p;
}

/* ---- against the reference ----------------------------------------------------------------- */

/* Part `part` of rows [from, from + n) against rows of a stored tensor [.., HIDDEN]; how many rows it has. */
static size_t compare(const struct safetensors *expected, const char *key, const struct picture *p, int parts, int part, size_t from)
{
    const struct st_tensor *t = st_find(expected, span_str(key));
    assert_non_null(t);
    const float *want = t->data;
    size_t rows = (size_t)p->n_features, width = (size_t)parts * HIDDEN;
    assert_true((int64_t)(from + rows) <= t->shape.d[0] && t->shape.d[1] == HIDDEN);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < HIDDEN; i++) {
            double got = p->features[r * width + (size_t)part * HIDDEN + i];
            if (!(fabs(got - want[(from + r) * HIDDEN + i]) < NEAR))
                fail_msg("%s row %zu value %zu: %g, expected %g", key, r, i, got, want[(from + r) * HIDDEN + i]);
        }
    return (size_t)t->shape.d[0];
}

static size_t compare_all(const struct safetensors *expected, const char *name, const struct picture *p, int parts, size_t from)
{
    char key[PATH];
    snprintf(key, sizeof key, "%s/model.visual", name);
    size_t rows = compare(expected, key, p, parts, 0, from);
    for (int i = 1; i < parts; i++) {
        snprintf(key, sizeof key, "%s/model.visual.deepstack_merger_list.%d", name, i - 1);
        compare(expected, key, p, parts, i, from);
    }
    return rows;
}

static void test_features(void **state)
{
    static const char *const files[] = {"a.png", "b.png", "c.png"}, *const frames[] = {"v0.png", "v1.png", "v2.png", "v3.png", "v4.png", "v5.png"};
    char folder[PATH], path[PATH + 32];
    struct nun_model *m;
    struct safetensors *expected;
    if (!folder_of(*state, folder))
        skip();
    open_model(folder, 2, NUN_F32, &m);
    snprintf(path, sizeof path, "%s/verify/expected.safetensors", folder);
    check_ok(st_open(path, &expected));
    int parts = model_feature_width(m->model) / HIDDEN, n_frames = strcmp(*state, "qwen2-5-vl") ? 4 : 6;
    assert_int_equal(parts, strcmp(*state, "qwen3-vl") ? 1 : 3);
    size_t from = 0;
    for (int i = 0; i < 3; i++) {
        struct picture *p = picture_of(m, folder, &files[i], 1, 0);
        check_ok(engine_encode(m, &p, 1));
        size_t rows = compare_all(expected, i ? "pictures" : "picture", p, parts, from);
        from += (size_t)p->n_features;
        if (i != 1) { /* the last of its case */
            assert_int_equal(from, rows);
            from = 0;
        }
        picture_drop(p);
    }
    struct picture *video = picture_of(m, folder, frames, n_frames, 0.5);
    check_ok(engine_encode(m, &video, 1));
    assert_int_equal(compare_all(expected, "video", video, parts, 0), video->n_features);
    picture_drop(video);
    st_close(expected);
    nun_model_close(m);
}

/* ---- the same bits ------------------------------------------------------------------------- */

static void same_features(const struct nun_model *m, const struct picture *a, const struct picture *b)
{
    assert_int_equal(a->n_features, b->n_features);
    assert_memory_equal(a->features, b->features, (size_t)a->n_features * (size_t)model_feature_width(m->model) * sizeof(float));
}

static void test_bits(void **state)
{
    static const char *const files[] = {"a.png", "b.png", "a.png", "c.png", "a.png"};
    enum { N = sizeof files / sizeof files[0] };
    char folder[PATH];
    if (!folder_of(*state, folder))
        skip();
    for (int compute = 0; compute < 2; compute++) {
        struct nun_model *one, *two;
        struct picture *alone[N], *together[N];
        open_model(folder, 1, (enum nun_compute)compute, &one);
        open_model(folder, 2, (enum nun_compute)compute, &two);
        for (int i = 0; i < N; i++) {
            alone[i] = picture_of(one, folder, &files[i], 1, 0);
            together[i] = picture_of(two, folder, &files[i], 1, 0);
            check_ok(engine_encode(one, &alone[i], 1));
        }
        check_ok(engine_encode(two, together, N));
        for (int i = 0; i < N; i++)
            same_features(one, alone[i], together[i]);
        for (int i = 0; i < N; i++) {
            picture_drop(alone[i]);
            picture_drop(together[i]);
        }
        nun_model_close(one);
        nun_model_close(two);
    }
}

/* The last frame stands for one that is missing, and frames of another step do not show. */
static void test_steps(void **state)
{
    static const char *const odd[] = {"v0.png", "v1.png", "v2.png"}, *const even[] = {"v0.png", "v1.png", "v2.png", "v2.png"};
    char folder[PATH];
    struct nun_model *m;
    if (!folder_of(*state, folder))
        skip();
    open_model(folder, 2, NUN_BF16, &m);
    struct picture *a = picture_of(m, folder, odd, 3, 1), *b = picture_of(m, folder, even, 4, 1);
    check_ok(engine_encode(m, &a, 1));
    check_ok(engine_encode(m, &b, 1));
    if (a->plan.tile_width == b->plan.tile_width && a->plan.tile_height == b->plan.tile_height)
        same_features(m, a, b);
    struct picture *first = picture_of(m, folder, even, 2, 1);
    check_ok(engine_encode(m, &first, 1));
    if (first->plan.tile_width == b->plan.tile_width && first->plan.tile_height == b->plan.tile_height)
        assert_memory_equal(first->features, b->features,
                            (size_t)first->n_features * (size_t)model_feature_width(m->model) * sizeof(float));
    picture_drop(a);
    picture_drop(b);
    picture_drop(first);
    nun_model_close(m);
}

/* ---- memory -------------------------------------------------------------------------------- */

static size_t bytes_of(const struct model *m, int side)
{
    struct graph *g;
    struct plan *plan;
    int pixels = side * m->vision.facts.patch;
    struct preprocess_plan p = {.frames = 1, .tiles = 1, .columns = 1, .rows = 1, .overview = -1, .tile_width = pixels,
                                .tile_height = pixels, .patch_columns = side, .patch_rows = side, .steps = 1};
    check_ok(graph_create(GEMM_BF16, 2, &g));
    struct g_tensor *in = g_input(g, "pixels", DT_F32, SHAPE4(1, 3, pixels, pixels));
    g_output(model_images(g, m, in, &p, 1));
    check_ok(graph_error(g));
    check_ok(plan_create(g, &plan));
    size_t bytes = plan->memory_bytes + plan->scratch_bytes;
    plan_free(plan);
    graph_free(g);
    return bytes;
}

/* Four times the patches, four times the bytes: 4096 of them need no square of anything. */
static void test_memory(void **state)
{
    char folder[PATH];
    struct model *m;
    if (!folder_of(*state, folder))
        skip();
    check_ok(model_load(folder, &m));
    size_t few = bytes_of(m, 32), many = bytes_of(m, 64);
    assert_true(many < 4 * few + few / 2);
    model_free(m);
}

/* ---- what verify sees ---------------------------------------------------------------------- */

static void count_modules(void *arg, const struct nun_verify_case *c)
{
    int *modules = arg;
    for (size_t i = 0; i < c->n_items && !strcmp(c->path, "f32"); i++)
        if (c->items[i].module) {
            assert_true(c->items[i].max_abs < NEAR);
            ++*modules;
        }
}

static void test_modules(void **state)
{
    char folder[PATH];
    int modules = 0;
    if (!folder_of("qwen3-vl", folder))
        skip();
    check_ok(nun_verify(folder, &(struct nun_verify_options){.threads = 2, .modules = true, .report = count_modules, .arg = &modules}, NULL));
    assert_true(modules >= 2 * 7 + 3); /* pictures may be there already */
}

/* ---- the other spelling -------------------------------------------------------------------- */

static void rename_to(const char *name, char out[PATH])
{
    bool tower = !strncmp(name, "visual.", 7), text = !strncmp(name, "model.", 6);
    snprintf(out, PATH, "%s%s", tower ? "model." : text ? "model.language_model." : "", text ? name + 6 : name);
}

/* The folder as current writers have it: the decoder's config nested, every name beginning with model. */
static void write_newer(const char *folder, const char *out)
{
    static char names[256][PATH];
    struct st_item items[256];
    struct safetensors *st;
    char path[PATH + 32];
    json_t *config, *text;
    check_ok(st_open(folder, &st));
    assert_true(st_count(st) <= 256);
    for (size_t i = 0; i < st_count(st); i++) {
        const struct st_tensor *t = st_at(st, i);
        rename_to(t->name, names[i]);
        items[i] = (struct st_item){.name = names[i], .dtype = t->dtype, .shape = t->shape, .data = t->data};
    }
    mkdir(out, 0777);
    snprintf(path, sizeof path, "%s/model.safetensors", out);
    check_ok(st_write(path, items, st_count(st), NULL));
    st_close(st);
    snprintf(path, sizeof path, "%s/config.json", folder);
    check_ok(json_load_file_limited(path, &config));
    text = json_copy(config);
    json_object_del(text, "vision_config");
    json_object_del(text, "architectures");
    json_object_set_new(text, "model_type", json_string("qwen2_vl_text"));
    json_object_set_new(json_object_get(config, "vision_config"), "model_type", json_string("qwen2_vl"));
    for (const char *const *key = (const char *const[]){"hidden_size", "rope_scaling", "rope_theta", "num_hidden_layers", NULL}; *key; key++)
        json_object_del(config, *key);
    json_object_set_new(config, "text_config", text);
    snprintf(path, sizeof path, "%s/config.json", out);
    check_ok(json_write_file(path, config));
    json_decref(config);
}

static void last_logits(const char *folder, float *out, size_t cap)
{
    struct nun_model *m;
    struct nun_timeline *t;
    const float *logits;
    int32_t ids[] = {314, 82, 88, 10, 20, 30};
    size_t n;
    open_model(folder, 1, NUN_F32, &m);
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_ids(t, ids, sizeof ids / sizeof ids[0]));
    check_ok(nun_timeline_prefill(t));
    check_ok(nun_timeline_logits(t, &logits, &n));
    assert_int_equal(n, cap);
    memcpy(out, logits, n * sizeof *out);
    nun_timeline_free(t);
    nun_model_close(m);
}

static void test_spelling(void **state)
{
    static float older[320], newer[320];
    static const char *const out = "test_native_newer";
    char folder[PATH], path[PATH];
    if (!folder_of("qwen2-vl", folder))
        skip();
    write_newer(folder, out);
    last_logits(folder, older, 320);
    last_logits(out, newer, 320);
    assert_memory_equal(older, newer, sizeof older);
    for (const char *const *file = (const char *const[]){"model.safetensors", "config.json", NULL}; *file; file++) {
        snprintf(path, sizeof path, "%s/%s", out, *file);
        remove(path);
    }
    remove(out);
}

/* ---- configs that do not fit --------------------------------------------------------------- */

static void refused(const char *name, const char *path, const char *key, const char *value, int code, const char *part)
{
    char file[PATH + 32], folder[PATH];
    json_t *config, *v;
    struct model *m;
    if (!folder_of(name, folder))
        skip();
    snprintf(file, sizeof file, "%s/config.json", folder);
    check_ok(json_load_file_limited(file, &config));
    check_ok(json_parse_span(span_str(value), "value", &v));
    assert_int_equal(json_object_set_new((json_t *)(uintptr_t)(*path ? json_dig(config, path) : config), key, v), 0);
    check_fails(code, part, model_init(config, 1, &m));
    json_decref(config);
}

static void test_refused(void **state)
{
    refused("qwen2-vl", "", "rope_scaling", "{\"type\": \"default\"}", NUN_EFORMAT, "mrope_section");
    refused("qwen2-vl", "rope_scaling", "mrope_section", "[2, 3, 4]", NUN_EFORMAT, "2, 3 and 4 are not the 8 pairs");
    refused("qwen2-vl", "rope_scaling", "mrope_section", "[8]", NUN_EFORMAT, "expected 3 numbers");
    refused("qwen2-vl", "vision_config", "hidden_size", "65", NUN_EFORMAT, "65 wide");
    refused("qwen2-vl", "vision_config", "num_heads", "16", NUN_EFORMAT, "heads of 2 dimensions");
    refused("qwen2-vl", "vision_config", "unheard_of", "1", NUN_EUNSUP, "unheard_of");
    refused("qwen2-vl", "", "unheard_of", "1", NUN_EUNSUP, "unheard_of");
    refused("qwen2-5-vl", "vision_config", "window_size", "8", NUN_EFORMAT, "window_size");
    refused("qwen2-5-vl", "vision_config", "fullatt_block_indexes", "[3]", NUN_EFORMAT, "fullatt_block_indexes");
    refused("qwen3-vl", "vision_config", "deepstack_visual_indexes", "[0, 0]", NUN_EFORMAT, "deepstack_visual_indexes");
    refused("qwen3-vl", "text_config", "num_hidden_layers", "1", NUN_EFORMAT, "features for 2 layers");
    refused("qwen3-vl", "text_config.rope_scaling", "mrope_interleaved", "false", NUN_EUNSUP, "mrope_interleaved");
}

int main(void)
{
    struct CMUnitTest tests[4 * FOLDERS + 3];
    static char titles[4 * FOLDERS][64];
    static const struct { const char *title; void (*run)(void **state); } each[] = {
        {"features", test_features}, {"same bits", test_bits}, {"steps", test_steps}, {"memory", test_memory}};
    for (size_t i = 0; i < 4 * FOLDERS; i++) {
        snprintf(titles[i], sizeof titles[i], "%s: %s", folders[i / 4], each[i % 4].title);
        tests[i] = (struct CMUnitTest){titles[i], each[i % 4].run, NULL, NULL, (void *)(uintptr_t)folders[i / 4]};
    }
    tests[4 * FOLDERS] = (struct CMUnitTest)cmocka_unit_test(test_spelling);
    tests[4 * FOLDERS + 1] = (struct CMUnitTest)cmocka_unit_test(test_refused);
    tests[4 * FOLDERS + 2] = (struct CMUnitTest)cmocka_unit_test(test_modules);
    return cmocka_run_group_tests_name("native", tests, NULL, NULL);
}

/* Parity of grids and sizes: every size of tiling.json with every model's settings against what the
 * original image processors decide, refusals too. Skipped where the fixtures are not. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "../check.h"
#include "base/file.h"
#include "formats/json.h"
#include "media/preprocess.h"

static const char path[] = "../shared/fixtures/tiling.json";
static size_t grids, numbers, refusals;

/* ---- facts of a model: a processor's config, and tokens of a tile ---- */

#define ONEVISION "{\"image_processor_type\":\"LlavaOnevisionImageProcessor\"}"
static const struct model_row {
    const char *key, *config;
    int tile_tokens;
    const char *checks; /* letters: see the table below */
} models[] = {
    {"qwen2_vl", "{\"image_processor_type\":\"Qwen2VLImageProcessor\",\"min_pixels\":3136,\"max_pixels\":12845056}", 0,
     "RT"},
    {"qwen2_vl_small",
     "{\"image_processor_type\":\"Qwen2VLImageProcessor\",\"min_pixels\":200704,\"max_pixels\":1003520}", 0, "RT"},
    {"qwen3_vl", "{\"image_processor_type\":\"Qwen2VLImageProcessorFast\",\"patch_size\":16,"
     "\"size\":{\"shortest_edge\":65536,\"longest_edge\":16777216}}", 0, "RT"},
    {"internvl2", "{\"image_processor_type\":\"GotOcr2ImageProcessor\",\"crop_to_patches\":true,"
     "\"size\":{\"height\":448,\"width\":448},\"max_patches\":12}", 256, "GNTH"},
    {"nvlm_d", "{\"image_processor_type\":\"GotOcr2ImageProcessor\",\"crop_to_patches\":true,"
     "\"size\":{\"height\":448,\"width\":448},\"max_patches\":6}", 256, "GNTH"},
    {"llava_next", "{\"image_processor_type\":\"LlavaNextImageProcessor\"}", 576, "BNT"},
    {"llava_onevision", ONEVISION, 729, "BNT"},
    {"mllama", "{\"image_processor_type\":\"MllamaImageProcessor\",\"size\":{\"height\":560,\"width\":560},"
     "\"max_image_tiles\":4}", 1601, "CINAX"},
    {"idefics3", "{\"image_processor_type\":\"Idefics3ImageProcessor\",\"size\":{\"longest_edge\":1456},"
     "\"max_image_size\":{\"longest_edge\":364}}", 169, "FSrcNU"},
    {"smolvlm", "{\"image_processor_type\":\"SmolVLMImageProcessor\",\"size\":{\"longest_edge\":1536},"
     "\"max_image_size\":{\"longest_edge\":384}}", 81, "FSrcNU"},
    {"smolvlm_500m", "{\"image_processor_type\":\"SmolVLMImageProcessor\",\"size\":{\"longest_edge\":2048},"
     "\"max_image_size\":{\"longest_edge\":512}}", 64, "FSrcNU"},
    {"gemma3", "{\"image_processor_type\":\"Gemma3ImageProcessor\",\"size\":{\"height\":896,\"width\":896}}", 256,
     "RT"},
    {"pixtral", "{\"image_processor_type\":\"PixtralImageProcessor\",\"size\":{\"longest_edge\":1024},"
     "\"patch_size\":16}", 0, "RyxT"},
    {"fuyu", "{\"image_processor_type\":\"FuyuImageProcessor\"}", 0, "IyxT"},
};
enum { MODEL_COUNT = sizeof models / sizeof *models };

/* ---- what is compared ---- */

struct found { const struct preprocess_facts *f; const struct preprocess_plan *p; };

static int64_t rows_of(const struct preprocess_plan *p) { return p->overview < 0 ? 0 : p->rows; }
static int64_t columns_of(const struct preprocess_plan *p) { return p->overview < 0 ? 0 : p->columns; }

static const struct check_row {
    char letter;
    const char *key;
    int count; /* 2: a list [width, height] */
} checks[] = {
    {'R', "resized", 2}, {'I', "resized", 2}, {'G', "grid", 2}, {'B', "best", 2}, {'C', "canvas", 2},
    {'F', "first_resize", 2}, {'S', "second_resize", 2}, {'N', "tiles", 1}, {'T', "tokens", 1}, {'H', "thumbnail", 1},
    {'A', "aspect_ratio_id", 1}, {'X', "cross_tokens", 1}, {'U', "image_tokens", 1}, {'r', "rows", 1},
    {'c', "cols", 1}, {'y', "rows", 1}, {'x', "cols", 1},
};

static void found_numbers(char letter, const struct found *it, int64_t out[2])
{
    const struct preprocess_plan *p = it->p;
    out[1] = 0;
    switch (letter) {
    case 'R': out[0] = p->tile_width, out[1] = p->tile_height; break;
    case 'I': out[0] = p->inside_width, out[1] = p->inside_height; break;
    case 'G': out[0] = p->columns, out[1] = p->rows; break;
    case 'B': case 'C': case 'S': out[0] = p->canvas_width, out[1] = p->canvas_height; break;
    case 'F': out[0] = p->first_width, out[1] = p->first_height; break;
    case 'N': out[0] = p->tiles; break;
    case 'H': out[0] = p->overview >= 0; break;
    case 'A': out[0] = p->aspect_id; break;
    case 'r': out[0] = rows_of(p); break;
    case 'c': out[0] = columns_of(p); break;
    case 'y': out[0] = p->patch_rows; break;
    case 'x': out[0] = p->patch_columns; break;
    default: out[0] = preprocess_tokens(it->f, p); break;
    }
}

static int64_t number_of(const json_t *value)
{
    return json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);
}

static void compare(const char *model, const json_t *expected, char letter, const struct found *it)
{
    const struct check_row *row = checks;
    while (row->letter != letter)
        row++;
    const json_t *value = json_object_get(expected, row->key);
    assert_non_null(value);
    int64_t found[2];
    found_numbers(letter, it, found);
    for (int i = 0; i < row->count; i++, numbers++) {
        int64_t want = number_of(row->count == 1 ? value : json_array_get(value, (size_t)i));
        if (found[i] != want)
            fail_msg("%s: %d x %d: %s[%d]: expected %lld, found %lld", model, it->p->width, it->p->height, row->key, i,
                     (long long)want, (long long)found[i]);
    }
}

static void check_model(const struct model_row *m, const struct preprocess_facts *f, int width, int height,
                        const json_t *expected)
{
    struct preprocess_plan p;
    struct preprocess_input in = {.width = width, .height = height};
    if (json_object_get(expected, "error")) {
        check_fails(NUN_EUNSUP, "aspect ratio", preprocess_plan(f, &in, &p));
        refusals++;
        return;
    }
    check_ok(preprocess_plan(f, &in, &p));
    for (const char *letter = m->checks; *letter; letter++)
        compare(m->key, expected, *letter, &(struct found){f, &p});
    grids++;
}

static void test_tiling(void **state)
{
    (void)state;
    if (!file_is_dir("../shared/fixtures"))
        skip();
    json_t *all = NULL;
    check_ok(json_load_file_limited(path, &all));
    const json_t *cases = json_dig(all, "cases");
    assert_int_equal(json_object_size(json_dig(all, "models")), MODEL_COUNT);
    for (size_t m = 0; m < MODEL_COUNT; m++) {
        struct preprocess_facts f;
        check_ok(preprocess_parse(span_str(models[m].config), models[m].key, &f));
        f.tile_tokens = models[m].tile_tokens;
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *one = json_array_get(cases, i), *expected = json_dig(one, models[m].key);
            assert_non_null(expected);
            check_model(&models[m], &f, (int)json_integer_value(json_dig(one, "width")),
                        (int)json_integer_value(json_dig(one, "height")), expected);
        }
    }
    printf("%zu grids, %zu numbers, %zu refusals of %zu sizes and %d models\n", grids, numbers, refusals,
           json_array_size(cases), MODEL_COUNT);
    assert_int_equal(grids + refusals, json_array_size(cases) * MODEL_COUNT);
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

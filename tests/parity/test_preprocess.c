/* Parity of preprocessing: every picture of the reference fixtures against the tensor that the
 * original image processor made of it. Skipped where the fixtures are not. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "media/preprocess.h"

static const char root[] = "../shared/fixtures";
static const double tolerance = 0;

static const char *const folders[] = {
    "clip", "clip-vision", "llava", "llava-siglip", "siglip", "siglip-vision", "vipllava", /* the main ones */
    "vit", "vit-mae", "swin", "dinov2", "blip2", "instructblip", "paligemma", "paligemma2",
    "resnet-basic", "resnet-bottleneck", "convnext", "efficientnet",
};

static void fixture_path(char out[512], const char *folder, const char *name)
{
    snprintf(out, 512, "%s/%s/%s", root, folder, name);
}

/* expected: [3, height, width] */
static void check_pixels(const char *path, const struct preprocess_facts *facts, const float *expected, int height,
                         int width)
{
    struct image img;
    check_ok(image_load(path, NULL, &img));
    int w, h;
    check_ok(preprocess_size(facts, img.width, img.height, &w, &h));
    assert_int_equal(w, width);
    assert_int_equal(h, height);
    size_t n = 3 * (size_t)w * (size_t)h;
    float *found = mem_calloc(MEM_TEST, n, sizeof *found);
    assert_non_null(found);
    check_ok(preprocess_run(facts, &img, found, n));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)found[i] - expected[i]) <= tolerance))
            fail_msg("%s: value %zu of %zu: expected %.9g, found %.9g", path, i, n, expected[i], found[i]);
    mem_free(found);
    image_free(&img);
}

/* A case may have been made with some keys of the config replaced (others are the text processor's). */
static void case_facts(const char *folder, json_t *config, const json_t *replaced, struct preprocess_facts *out)
{
    json_t *merged = json_copy(config);
    if (replaced)
        assert_int_equal(json_object_update_existing(merged, (json_t *)replaced), 0);
    check_ok(preprocess_read(merged, folder, out));
    json_decref(merged);
}

/* Returns how many pictures were compared. */
static size_t check_case(const char *folder, const json_t *one, const struct safetensors *st, json_t *config)
{
    const json_t *images = json_dig(one, "images");
    const char *tensor = json_string_value(json_dig(one, "expected.pixel_values"));
    if (!images || !tensor)
        return 0;
    struct preprocess_facts facts;
    case_facts(folder, config, json_dig(one, "processor_arguments"), &facts);
    const struct st_tensor *t;
    check_ok(st_need(st, span_str(tensor), NULL, &t));
    assert_int_equal(t->shape.n, 4);
    assert_int_equal(t->shape.d[0], json_array_size(images));
    int height = (int)t->shape.d[2], width = (int)t->shape.d[3];
    for (size_t i = 0; i < json_array_size(images); i++) {
        char path[512], name[256];
        snprintf(name, sizeof name, "verify/%s", json_string_value(json_array_get(images, i)));
        fixture_path(path, folder, name);
        const float *data = t->data;
        check_pixels(path, &facts, data + i * 3 * (size_t)height * (size_t)width, height, width);
    }
    return json_array_size(images);
}

static size_t check_folder(const char *folder)
{
    char path[512];
    json_t *cases = NULL, *config = NULL;
    fixture_path(path, folder, "preprocessor_config.json");
    check_ok(json_load_file_limited(path, &config));
    struct safetensors *st = NULL;
    fixture_path(path, folder, "verify/case.json");
    check_ok(json_load_file_limited(path, &cases));
    fixture_path(path, folder, "verify/expected.safetensors");
    check_ok(st_open(path, &st));
    const json_t *list = json_dig(cases, "cases");
    size_t compared = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        compared += check_case(folder, json_array_get(list, i), st, config);
    st_close(st);
    json_decref(config);
    json_decref(cases);
    return compared;
}

static void test_fixtures(void **state)
{
    (void)state;
    if (!file_is_dir(root))
        skip();
    size_t compared = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        size_t here = check_folder(folders[i]);
        if (here == 0)
            fail_msg("%s: no picture was compared", folders[i]);
        compared += here;
    }
    assert_true(compared >= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

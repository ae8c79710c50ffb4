/* Preprocessing without the fixtures: configs read, refused and written back; sizes; padding and
 * cropping; the float arithmetic. */
/* SPDX-License-Identifier: MIT */
#include "../torture.h"
#include "formats/json.h"
#include "media_testing.h"
#include "media/preprocess.h"

static int parse(const char *json, struct preprocess_facts *out)
{
    return preprocess_parse(span_str(json), "test", out);
}

static void test_reads(void **state)
{
    (void)state;
    struct preprocess_facts f;
    check_ok(parse("{\"image_processor_type\":\"CLIPImageProcessorFast\",\"size\":{\"shortest_edge\":336},"
                   "\"crop_size\":{\"height\":330,\"width\":336},\"do_normalize\":null,\"resample\":1,"
                   "\"rescale_factor\":0.5,\"image_mean\":[0.1,0.2,0.3],\"something_new\":null}", &f));
    assert_int_equal(f.size.shortest_edge, 336);
    assert_int_equal(f.crop.height, 330);
    assert_int_equal(f.resample, RESIZE_LANCZOS);
    assert_true(f.do_resize && f.do_center_crop && f.do_rescale && !f.do_normalize);
    assert_true(f.rescale_factor == 0.5 && f.mean[1] == 0.2 && f.std[0] == 0.26862954);
    check_ok(parse("{\"feature_extractor_type\":\"CLIPFeatureExtractor\",\"size\":32,\"crop_size\":30}", &f));
    assert_int_equal(f.size.shortest_edge, 32);
    assert_int_equal(f.crop.width, 30);
    check_ok(parse("{\"image_processor_type\":\"ViTImageProcessor\",\"size\":32}", &f));
    assert_int_equal(f.size.width, 32);
    assert_int_equal(f.size.shortest_edge, 0);
    check_ok(parse("{\"image_processor\":{\"image_processor_type\":\"SiglipImageProcessor\"},\"num_tokens\":3}", &f));
    assert_int_equal(f.size.height, 224);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct { int code; const char *word, *json; } rows[] = {
        {NUN_EUNSUP, "test: crop_n_patches: ", "\"crop_n_patches\":2"},
        {NUN_EUNSUP, "do_center_crop: expected false for the Siglip", "\"do_center_crop\":true"},
        {NUN_EUNSUP, "do_pad", "\"do_pad\":true"},
        {NUN_EUNSUP, "channels_last", "\"data_format\":\"channels_last\""},
        {NUN_EUNSUP, "size.depth", "\"size\":{\"depth\":10}"},
        {NUN_EFORMAT, "height and width", "\"size\":{\"longest_edge\":10}"},
        {NUN_EUNSUP, "max_image_tiles", "\"max_image_tiles\":4"},
        {NUN_EFORMAT, "size", "\"size\":{\"height\":10}"},
        {NUN_EFORMAT, "size", "\"size\":{\"height\":10,\"width\":5,\"shortest_edge\":5}"},
        {NUN_EFORMAT, "height and width", "\"size\":{\"shortest_edge\":5}"},
        {NUN_EFORMAT, "size", "\"size\":{\"height\":0,\"width\":5}"},
        {NUN_EFORMAT, "size", "\"size\":{\"height\":32769,\"width\":5}"},
        {NUN_EFORMAT, "size", "\"size\":\"large\""},
        {NUN_EFORMAT, "resample", "\"resample\":6"},
        {NUN_EFORMAT, "image_mean", "\"image_mean\":[0.5,0.5]"},
        {NUN_EFORMAT, "image_mean[1]", "\"image_mean\":[0.5,\"x\",0.5]"},
        {NUN_EFORMAT, "image_std[2]", "\"image_std\":[0.5,0.5,0]"},
        {NUN_EFORMAT, "do_resize", "\"do_resize\":3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[256];
        struct preprocess_facts f;
        snprintf(json, sizeof json, "{\"image_processor_type\":\"SiglipImageProcessor\",%s}", rows[i].json);
        check_fails(rows[i].code, rows[i].word, parse(json, &f));
    }
    struct preprocess_facts f;
    check_fails(NUN_EFORMAT, "image_processor_type", parse("{}", &f));
    check_fails(NUN_EFORMAT, "image_processor_type", parse("[]", &f));
    check_fails(NUN_EUNSUP, "MagicImageProcessor", parse("{\"image_processor_type\":\"MagicImageProcessor\"}", &f));
    check_fails(NUN_EUNSUP, "CLIPTokenizer", preprocess_default("CLIPTokenizer", &f));
}

static bool same_facts(const struct preprocess_facts *a, const struct preprocess_facts *b)
{
    return a->kind == b->kind && a->do_pad == b->do_pad && a->do_resize == b->do_resize &&
           a->do_center_crop == b->do_center_crop && a->do_rescale == b->do_rescale &&
           a->do_normalize == b->do_normalize && memcmp(&a->size, &b->size, sizeof a->size) == 0 &&
           memcmp(&a->crop, &b->crop, sizeof a->crop) == 0 && a->resample == b->resample &&
           a->rescale_factor == b->rescale_factor && a->crop_pct == b->crop_pct &&
           memcmp(a->mean, b->mean, sizeof a->mean) == 0 && memcmp(a->std, b->std, sizeof a->std) == 0;
}

static void test_writes_what_it_reads(void **state)
{
    (void)state;
    static const char *const names[] = {
        "CLIPImageProcessor", "LlavaImageProcessor", "VideoLlavaImageProcessor", "BitImageProcessor",
        "SiglipImageProcessor", "BlipImageProcessor", "ViTImageProcessor", "DeiTImageProcessor",
        "ConvNextImageProcessor", "EfficientNetImageProcessor",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct preprocess_facts f, back;
        json_t *json = NULL;
        check_ok(preprocess_default(names[i], &f));
        f.rescale_factor = 1 / 127.0;
        f.resample = RESIZE_HAMMING;
        check_ok(preprocess_json(&f, &json));
        assert_string_equal(json_string_value(json_object_get(json, "image_processor_type")), names[i]);
        check_ok(preprocess_read(json, "again", &back));
        json_decref(json);
        assert_true(same_facts(&f, &back));
    }
}

static void check_size(const struct preprocess_facts *f, int width, int height, int expect_width, int expect_height)
{
    int w, h;
    check_ok(preprocess_size(f, width, height, &w, &h));
    if (w != expect_width || h != expect_height)
        fail_msg("%dx%d: expected %dx%d, found %dx%d", width, height, expect_width, expect_height, w, h);
}

static void test_sizes(void **state)
{
    (void)state;
    struct preprocess_facts f;
    int w, h;
    check_ok(parse("{\"image_processor_type\":\"CLIPImageProcessor\",\"size\":{\"shortest_edge\":336},"
                   "\"do_center_crop\":false}", &f));
    check_size(&f, 640, 480, 448, 336);
    check_size(&f, 480, 640, 336, 448);
    check_size(&f, 500, 333, 504, 336);
    check_size(&f, 333, 334, 336, 337); /* 337.009 is cut */
    check_size(&f, 7, 7, 336, 336);
    check_fails(NUN_ELIMIT, "image_side", preprocess_size(&f, 1, 1000, &w, &h));
    check_fails(NUN_EFORMAT, "picture width", preprocess_size(&f, 0, 5, &w, &h));
    f.do_resize = false;
    check_size(&f, 33, 44, 33, 44);
    f.do_center_crop = true;
    check_size(&f, 33, 44, 224, 224);
}

/* A picture of one colour a pixel, 3x2, values 1 to 18. */
static void counting_image(struct image *img)
{
    check_ok(image_alloc("test", 3, 2, 3, img));
    for (int i = 0; i < 18; i++)
        img->data[i] = (uint8_t)(i + 1);
}

static void test_crop_pads_with_zero_bytes(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct image img;
    counting_image(&img);
    check_ok(parse("{\"image_processor_type\":\"CLIPImageProcessor\",\"do_resize\":false,\"do_rescale\":false,"
                   "\"do_normalize\":false,\"crop_size\":{\"height\":3,\"width\":2}}", &f));
    float out[18];
    check_ok(preprocess_run(&f, &img, out, 18));
    static const float red[6] = {0, 0, 1, 4, 10, 13}; /* one row of zeros above; the left two columns */
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 6; i++)
            assert_true(out[c * 6 + i] == (red[i] ? red[i] + (float)c : 0));
    check_fails(NUN_EARG, "room for 3x3x2", preprocess_run(&f, &img, out, 17));
    img.channels = 4;
    check_fails(NUN_EARG, "RGB", preprocess_run(&f, &img, out, 18));
    img.channels = 3;
    image_free(&img);
}

static void test_pad_to_square(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct image img;
    counting_image(&img);
    check_ok(parse("{\"image_processor_type\":\"LlavaImageProcessor\",\"do_pad\":true,\"do_resize\":false,"
                   "\"do_rescale\":false,\"do_normalize\":false,\"do_center_crop\":false}", &f));
    float out[27];
    check_size(&f, 3, 2, 3, 3);
    check_ok(preprocess_run(&f, &img, out, 27));
    static const float red[9] = {1, 4, 7, 10, 13, 16, 122, 122, 122}; /* (3 - 2) / 2 = 0 rows above */
    static const float blue_pad = 104;                                 /* 0.40821073 * 255, cut */
    for (int i = 0; i < 9; i++)
        assert_true(out[i] == red[i]);
    assert_true(out[26] == blue_pad);
    image_free(&img);
}

static void test_arithmetic(void **state)
{
    (void)state;
    struct preprocess_facts f;
    struct image img;
    check_ok(preprocess_default("CLIPImageProcessor", &f));
    f.do_resize = f.do_center_crop = false;
    check_ok(image_alloc("test", 256, 1, 3, &img));
    for (int i = 0; i < 768; i++)
        img.data[i] = (uint8_t)(i / 3);
    float out[768];
    check_ok(preprocess_run(&f, &img, out, 768));
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = (float)(v * (1 / 255.0));
            assert_true(out[c * 256 + v] == (x - (float)f.mean[c]) / (float)f.std[c]);
        }
    image_free(&img);
}

static int preprocess_scenario(void *arg)
{
    static float out[3 * 28 * 28];
    struct image img;
    TRY(image_alloc("torture", 40, 30, 3, &img));
    media_noise(img.data, image_bytes(&img));
    int rc = preprocess_run(arg, &img, out, 3 * 28 * 28);
    image_free(&img);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    struct preprocess_facts f;
    check_ok(parse("{\"image_processor_type\":\"LlavaImageProcessor\",\"do_pad\":true,\"size\":{\"shortest_edge\":28},"
                   "\"crop_size\":28}", &f));
    torture_run("preprocess", preprocess_scenario, &f, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_writes_what_it_reads),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_crop_pads_with_zero_bytes),
        cmocka_unit_test(test_pad_to_square),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

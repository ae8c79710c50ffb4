/* Encoding, by decoding again: lossless formats exactly, lossy ones nearly; quality, determinism,
 * bounded buffers. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "../torture.h"
#include "media_testing.h"
#include "media/image_write.h"

/* A smooth picture, which lossy formats keep well. */
static void smooth_image(int width, int height, int channels, struct image *out)
{
    check_ok(image_alloc("smooth", width, height, channels, out));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                image_at(out, x, y)[c] = (uint8_t)(c == 3 ? 255 - 3 * x : 40 + 3 * x + 2 * y);
}

static int worst_difference(const struct image *a, const struct image *b)
{
    int worst = 0;
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width; x++)
            for (int c = 0; c < b->channels; c++) {
                int expected = c == 3 && a->channels != 4 ? 255 : image_at(a, x, y)[a->channels < 3 ? 0 : c];
                int d = abs(expected - image_at(b, x, y)[c]);
                worst = d > worst ? d : worst;
            }
    return worst;
}

static void test_round_trips(void **state)
{
    (void)state;
    static const struct { const char *format; int channels, quality, most; } rows[] = {
        {"png", 1, 0, 0}, {"png", 3, 0, 0}, {"png", 4, 0, 0}, {"webp-lossless", 1, 0, 0}, {"webp-lossless", 3, 0, 0},
        {"webp-lossless", 4, 0, 0}, {"jpeg", 1, 95, 3}, {"jpg", 3, 95, 4}, {"jpeg", 3, 0, 8}, {"webp", 1, 95, 6},
        {"webp", 3, 95, 6}, {"webp", 4, 95, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct image img, back;
        struct image_options options = {rows[i].channels == 4 ? IMAGE_ALPHA_KEEP : IMAGE_ALPHA_DROP, true};
        struct buf out;
        buf_init(&out, MEM_TEST, 1 << 20);
        smooth_image(33, 21, rows[i].channels, &img);
        check_ok(image_encode(&img, rows[i].format, rows[i].quality, &out));
        check_ok(image_decode(buf_view(&out), &options, &back));
        assert_int_equal(back.width, 33);
        assert_int_equal(back.height, 21);
        int worst = worst_difference(&img, &back);
        if (worst > rows[i].most)
            fail_msg("%s with %d channels: expected at most %d off, found %d", rows[i].format, rows[i].channels,
                     rows[i].most, worst);
        image_free(&img);
        image_free(&back);
        buf_free(&out);
    }
}

static size_t encoded_length(const struct image *img, const char *format, int quality)
{
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 22);
    check_ok(image_encode(img, format, quality, &out));
    size_t len = out.len;
    buf_free(&out);
    return len;
}

static void test_quality_and_same_bytes(void **state)
{
    (void)state;
    struct image img;
    media_noise_image(64, 64, 3, &img);
    assert_true(encoded_length(&img, "jpeg", 20) * 2 < encoded_length(&img, "jpeg", 95));
    assert_true(encoded_length(&img, "webp", 10) * 2 < encoded_length(&img, "webp", 95));
    struct buf a, b;
    static const char *const formats[] = {"png", "jpeg", "webp", "webp-lossless"};
    for (size_t i = 0; i < 4; i++) {
        buf_init(&a, MEM_TEST, 1 << 22);
        buf_init(&b, MEM_TEST, 1 << 22);
        check_ok(image_encode(&img, formats[i], 50, &a));
        check_ok(image_encode(&img, formats[i], 50, &b));
        assert_true(span_eq(buf_view(&a), buf_view(&b)));
        buf_free(&a);
        buf_free(&b);
    }
    image_free(&img);
}

static void test_refusals(void **state)
{
    (void)state;
    struct image img;
    struct buf out;
    media_noise_image(64, 64, 4, &img);
    static const char *const formats[] = {"png", "webp", "webp-lossless"};
    for (size_t i = 0; i < 3; i++) {
        buf_init(&out, MEM_TEST, 100);
        check_fails(NUN_ELIMIT, "100", image_encode(&img, formats[i], 0, &out));
        buf_free(&out);
    }
    buf_init(&out, MEM_TEST, 1 << 20);
    check_fails(NUN_EARG, "1 or 3 channels", image_encode(&img, "jpeg", 0, &out));
    check_fails(NUN_EARG, "found tiff", image_encode(&img, "tiff", 0, &out));
    check_fails(NUN_EARG, "quality", image_encode(&img, "png", 101, &out));
    struct image none = {0};
    check_fails(NUN_EARG, "0x0", image_encode(&none, "png", 0, &out));
    check_fails(NUN_EARG, "nothing", image_save(&img, "nothing", 0));
    buf_free(&out);
    image_free(&img);
}

static void test_save_and_load(void **state)
{
    (void)state;
    char dir[] = "/tmp/nunchi-media-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/noise.png", dir);
    struct image img, back;
    media_noise_image(7, 5, 3, &img);
    check_ok(image_save(&img, path, 0));
    check_ok(image_load(path, NULL, &back));
    assert_memory_equal(img.data, back.data, image_bytes(&img));
    image_free(&img);
    image_free(&back);
    check_ok(file_remove_tree(dir));
}

static int encode_scenario(void *arg)
{
    struct image img;
    struct buf out;
    buf_init(&out, MEM_TEST, 1 << 20);
    int rc = image_alloc("torture", 30, 30, 1, &img);
    if (rc == 0) {
        media_noise(img.data, image_bytes(&img));
        rc = image_encode(&img, arg, 0, &out);
    }
    image_free(&img);
    buf_free(&out);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    char formats[][16] = {"png", "jpeg", "webp", "webp-lossless"};
    for (size_t i = 0; i < 4; i++)
        torture_run(formats[i], encode_scenario, formats[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_quality_and_same_bytes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
